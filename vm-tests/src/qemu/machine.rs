//! What a machine is made of, and the QEMU command line that says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::running::Running;
use crate::host::{capture, tool};
use twinroot_vm_guest::wire::PORT;

/// Where Debian's `ovmf` puts firmware.
const OVMF: &str = "/usr/share/OVMF";

/// x86-64-v2. Wider vectors are emulated slowly and taken by whoever finds them, the kernel's SHA-256 first of all:
/// in one comparison by hand, on a loaded host, reading through dm-verity cost half the CPU time that it does
/// with `max`, and a start somewhat less.
const CPU: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand";

/// The disk that the machine is booted from.
#[derive(Debug, Clone)]
pub enum Disk {
    /// A copy-on-write layer over a raw image that nobody changes.
    Over(PathBuf),
    /// A raw image of its own, copied from this one, with every write and flush recorded beside it in
    /// the format of the kernel's dm-log-writes.
    Recorded(PathBuf),
}

/// How the disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// `virtio-blk-pci`.
    Virtio,
    /// `nvme`.
    Nvme,
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its folder; what is in it is replaced.
    pub folder: PathBuf,
    /// The disk that it boots from.
    pub disk: Disk,
    /// How that is attached.
    pub bus: Bus,
    /// Further disks, raw, never changed: they get layers of their own.
    pub more_disks: Vec<PathBuf>,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub processors: u32,
    /// With a hardware watchdog (i6300esb) that resets it.
    pub watchdog: bool,
    /// With a TPM 2.0 (swtpm).
    pub tpm: bool,
    /// systemd credentials, handed over as SMBIOS strings.
    pub credentials: Vec<(String, String)>,
}

impl Spec {
    /// The plain machine over a base image.
    ///
    /// One processor: a boot costs 17.6 CPU-seconds with one against 22.2 with two (facts of the
    /// recipe), and the build host's second one does something else meanwhile. 512 MiB: the largest
    /// that is needed by a container and an update together.
    #[must_use]
    pub fn plain(folder: &Path, base: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            disk: Disk::Over(base.to_owned()),
            bus: Bus::Virtio,
            more_disks: Vec::new(),
            memory: 512,
            processors: 1,
            watchdog: false,
            tpm: false,
            credentials: Vec::new(),
        }
    }
}

/// A machine that is off.
#[derive(Debug)]
pub struct Machine {
    spec: Spec,
    starts: u32,
}

impl Machine {
    /// Makes its folder: disk layer, firmware variables.
    ///
    /// # Errors
    /// When a tool or the firmware is missing, or the disk is full.
    pub fn make(spec: Spec) -> Result<Self> {
        let folder = &spec.folder;
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let machine = Self { spec, starts: 0 };
        match &machine.spec.disk {
            Disk::Over(base) => layer(base, &machine.disk_file())?,
            Disk::Recorded(base) => {
                capture(
                    Command::new("cp")
                        .arg("--sparse=always")
                        .arg(base)
                        .arg(machine.disk_file()),
                )?;
                std::fs::File::create(machine.log_file())?;
            }
        }
        for (number, disk) in machine.spec.more_disks.iter().enumerate() {
            layer(disk, &machine.more_disk(number))?;
        }
        // Without keys, so in setup mode: Secure Boot is off until somebody enrols some.
        let vars = Path::new(OVMF).join("OVMF_VARS_4M.fd");
        std::fs::copy(&vars, machine.vars_file())
            .with_context(|| format!("cannot copy {} (package ovmf)", vars.display()))?;
        Ok(machine)
    }

    /// Its parts.
    #[must_use]
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its parts, to change while it is off.
    pub const fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.spec.folder
    }

    /// The file of its disk.
    #[must_use]
    pub fn disk_file(&self) -> PathBuf {
        self.folder().join(match self.spec.disk {
            Disk::Over(_) => "disk.qcow2",
            Disk::Recorded(_) => "disk.raw",
        })
    }

    /// Format of that file, as QEMU names it.
    #[must_use]
    pub const fn disk_format(&self) -> &'static str {
        match self.spec.disk {
            Disk::Over(_) => "qcow2",
            Disk::Recorded(_) => "raw",
        }
    }

    /// The recorded writes.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder().join("writes.log")
    }

    fn vars_file(&self) -> PathBuf {
        self.folder().join("vars.fd")
    }

    fn more_disk(&self, number: usize) -> PathBuf {
        self.folder().join(format!("disk-{}.qcow2", number + 2))
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn power_on(&mut self) -> Result<Running> {
        self.starts += 1;
        let console = self.folder().join(format!("console-{}.log", self.starts));
        let sockets = tempfile::TempDir::with_prefix("twinroot-vm-")?;
        let mut words = self.words();
        words.extend(channel_words(sockets.path(), &console));
        let tpm = match self.spec.tpm {
            true => Some(self.tpm(sockets.path(), &mut words)?),
            false => None,
        };
        Running::start(&words, &console, sockets, tpm)
    }

    fn words(&self) -> Vec<String> {
        let code = Path::new(OVMF).join("OVMF_CODE_4M.fd");
        let mut words = Words::default();
        // Asked for by name: a /dev/kvm may be there and not work.
        words.add("-accel", "tcg,thread=multi,tb-size=256");
        words.add("-machine", "q35,smm=off");
        words.add("-cpu", CPU);
        words.add("-smp", self.spec.processors);
        words.add("-m", self.spec.memory);
        words.0.push("-nodefaults".into());
        words.add("-display", "none");
        let pflash = "if=pflash,format=raw";
        words.add(
            "-drive",
            format!("{pflash},unit=0,readonly=on,file={}", code.display()),
        );
        // `unsafe` only where losing power is not what is tested: QEMU ends in good order else.
        let vars = self.vars_file();
        words.add(
            "-drive",
            format!("{pflash},unit=1,cache=unsafe,file={}", vars.display()),
        );
        words.add("-drive", self.drive());
        words.add("-device", self.device("d0", 0, self.spec.bus));
        for number in 0..self.spec.more_disks.len() {
            let (id, file) = (format!("d{}", number + 1), self.more_disk(number));
            let drive = format!("if=none,id={id},format=qcow2,cache=unsafe");
            words.add("-drive", format!("{drive},file={}", file.display()));
            words.add("-device", self.device(&id, number + 1, Bus::Virtio));
        }
        words.add("-netdev", "user,id=n0");
        words.add("-device", "virtio-net-pci,netdev=n0,romfile=");
        words.add("-device", "virtio-rng-pci");
        if self.spec.watchdog {
            words.add("-device", "i6300esb");
            words.add("-action", "watchdog=reset");
        }
        for (name, value) in &self.spec.credentials {
            // A comma ends a value on QEMU's command line; two stand for one.
            let value = value.replace(',', ",,");
            let string = format!("type=11,value=io.systemd.credential:{name}={value}");
            words.add("-smbios", string);
        }
        words.0
    }

    fn drive(&self) -> String {
        let file = self.disk_file();
        match self.spec.disk {
            Disk::Over(_) => format!(
                "if=none,id=d0,format=qcow2,cache=unsafe,discard=unmap,file={}",
                file.display()
            ),
            Disk::Recorded(_) => format!(
                "if=none,id=d0,driver=blklogwrites,file.driver=raw,file.file.driver=file,\
                 file.file.filename={},log.driver=file,log.filename={},log-sector-size=512,\
                 log-append=off,discard=unmap",
                file.display(),
                self.log_file().display()
            ),
        }
    }

    fn device(&self, id: &str, index: usize, bus: Bus) -> String {
        // Requests to write zeros break the record: blklogwrites writes them in two parts, between which another
        // request may take the same place in the log (mended in QEMU 9.0).
        let zeros = match (id, &self.spec.disk) {
            ("d0", Disk::Recorded(_)) => ",write-zeroes=off",
            _ => "",
        };
        match bus {
            Bus::Virtio => format!("virtio-blk-pci,drive={id},bootindex={index}{zeros}"),
            Bus::Nvme => format!("nvme,drive={id},serial=twinroot-{id},bootindex={index}"),
        }
    }

    /// Starts a TPM whose state lies in the machine's folder.
    fn tpm(&self, sockets: &Path, words: &mut Vec<String>) -> Result<std::process::Child> {
        let state = self.folder().join("tpm");
        if !state.exists() {
            std::fs::create_dir(&state)?;
            let setup = tool("swtpm_setup").context("swtpm_setup is missing (swtpm-tools)")?;
            let mut setup = Command::new(setup);
            setup.args([
                "--tpm2",
                "--createek",
                "--pcr-banks",
                "sha256",
                "--tpmstate",
            ]);
            capture(setup.arg(&state))?;
        }
        let socket = sockets.join("tpm");
        let swtpm = tool("swtpm").context("swtpm is missing (package swtpm)")?;
        // `--terminate`: it ends when QEMU hangs up.
        let child = dies_with_us(&swtpm)
            .args([
                "socket",
                "--tpm2",
                "--flags",
                "startup-clear",
                "--terminate",
            ])
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .spawn()
            .context("cannot start swtpm")?;
        words.extend(
            [
                "-chardev",
                &format!("socket,id=tpm,path={}", socket.display()),
                "-tpmdev",
                "emulator,id=tpm0,chardev=tpm",
                "-device",
                "tpm-crb,tpmdev=tpm0",
            ]
            .map(String::from),
        );
        let deadline = crate::host::Deadline::seconds(20);
        while !socket.exists() {
            anyhow::ensure!(!deadline.is_over(), "swtpm made no socket in 20 s");
            std::thread::yield_now();
        }
        Ok(child)
    }
}

/// A command that the kernel kills when this program ends, however it ends.
pub(super) fn dies_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, option: &str, value: impl ToString) {
        self.0.push(option.to_owned());
        self.0.push(value.to_string());
    }
}

fn channel_words(sockets: &Path, console: &Path) -> Vec<String> {
    let mut words = Words::default();
    // A socket as well as a log, so that a person can type while a scenario waits.
    let serial = sockets.join("console");
    words.add(
        "-chardev",
        format!(
            "socket,id=serial,server=on,wait=off,path={},logfile={}",
            serial.display(),
            console.display()
        ),
    );
    words.add("-serial", "chardev:serial");
    words.add("-device", "virtio-serial-pci");
    let guest = sockets.join("guest");
    let socket = format!(
        "socket,id=guest,server=on,wait=off,path={}",
        guest.display()
    );
    words.add("-chardev", socket);
    words.add(
        "-device",
        format!("virtserialport,chardev=guest,name={PORT}"),
    );
    let qmp = sockets.join("qmp");
    words.add("-qmp", format!("unix:{},server=on,wait=off", qmp.display()));
    words.0
}

fn layer(base: &Path, file: &Path) -> Result<()> {
    let base = base
        .canonicalize()
        .with_context(|| format!("there is no {}", base.display()))?;
    let mut make = Command::new("qemu-img");
    make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
    capture(make.arg(base).arg(file)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_asks_for_emulation_by_name_and_records_only_where_told() {
        let mut spec = Spec::plain(Path::new("/m"), Path::new("/base.raw"));
        let machine = Machine {
            spec: spec.clone(),
            starts: 0,
        };
        let words = machine.words().join(" ");
        assert!(words.contains("-accel tcg"), "{words}");
        assert!(!words.contains("blklogwrites"), "{words}");
        spec.disk = Disk::Recorded("/base.raw".into());
        spec.credentials = vec![("a".into(), "b,c".into())];
        let machine = Machine { spec, starts: 0 };
        let words = machine.words().join(" ");
        assert!(words.contains("driver=blklogwrites"), "{words}");
        assert!(words.contains("bootindex=0,write-zeroes=off"), "{words}");
        assert!(words.contains("io.systemd.credential:a=b,,c"), "{words}");
    }
}
