//! The device mapper: one ioctl, four commands.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::libc;
use twinroot_core::bootfmt::dm::{
    Command, HEADER, IOCTL, REQUEST, Target, create, load, minor, request,
};

use crate::trouble::{Outcome, Trouble};

/// Where the kernel takes requests.
const CONTROL: &str = "/dev/mapper/control";
/// Where the names of mappings are kept, as links, for as long as no udev runs.
const NAMES: &str = "/dev/mapper";

/// A mapping that is in force.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    /// Its device node.
    pub(crate) node: String,
}

/// Makes the mapping `name` and puts it in force.
pub(crate) fn map(name: &str, uuid: &str, target: &Target, read_only: bool) -> Outcome<Mapping> {
    let control = File::options()
        .read(true)
        .write(true)
        .open(CONTROL)
        .map_err(Trouble::on("open", Path::new(CONTROL)))?;
    let failed = |verb: &str| {
        let verb = format!("{verb} the {} mapping", target.kind);
        move |errno: nix::errno::Errno| Trouble::failed(&verb, name, errno)
    };
    let table = load(name, target, read_only)
        .ok_or_else(|| Trouble::failed("map", name, "its table is too long"))?;
    let made = send(&control, Command::Create, create(name, uuid)).map_err(failed("make"))?;
    send(&control, Command::Load, table).map_err(failed("load"))?;
    send(&control, Command::Resume, request(name)).map_err(failed("start"))?;
    let node = format!("/dev/dm-{}", minor(&made));
    let link = Path::new(NAMES).join(name);
    std::os::unix::fs::symlink(format!("../dm-{}", minor(&made)), &link)
        .map_err(Trouble::on("name", &link))?;
    Ok(Mapping { node })
}

#[expect(unsafe_code, reason = "the kernel takes these requests by ioctl only")]
fn send(
    control: &File,
    command: Command,
    mut bytes: [u8; REQUEST],
) -> Result<[u8; REQUEST], nix::errno::Errno> {
    let code = nix::request_code_readwrite!(IOCTL, command as u8, HEADER);
    // SAFETY: the kernel reads and writes at most `data_size` bytes at the pointer; `request` sets
    // that to REQUEST, the size of the array, which lives until the call returns. The structure has
    // no pointers in it.
    let answer = unsafe { libc::ioctl(control.as_raw_fd(), code, bytes.as_mut_ptr()) };
    nix::errno::Errno::result(answer).map(|_| bytes)
}
