//! The revocation level of the loader on the ESP: what its `.sbat` section says of each component
//! (<https://github.com/rhboot/shim/blob/main/SBAT.md>). It is reported, so that a fleet can see which hosts
//! have a loader that a revocation would stop from starting.

use twinroot_core::bootfmt::pe;
use twinroot_ports::Outcome;

use super::volume::Volume;

/// Where systemd-boot is installed, the place that firmware falls back to last.
const PLACES: [&str; 4] = [
    "EFI/systemd/systemd-bootx64.efi",
    "EFI/systemd/systemd-bootaa64.efi",
    "EFI/BOOT/BOOTX64.EFI",
    "EFI/BOOT/BOOTAA64.EFI",
];
/// A loader has a tenth of this.
const LARGEST: u64 = 4 << 20;

/// Component and generation of each line, as `systemd-boot,1`; empty where no loader says any.
pub(super) fn of_loader(volume: &Volume) -> Outcome<Vec<String>> {
    for place in PLACES {
        if let Some(bytes) = volume.read_small(place, LARGEST)? {
            return Ok(levels(place, &bytes));
        }
    }
    Ok(Vec::new())
}

fn levels(place: &str, file: &[u8]) -> Vec<String> {
    let sections = pe::sections(place, file).unwrap_or_default();
    let Some(sbat) = sections.iter().find(|section| section.name == ".sbat") else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(sbat.data);
    let level = |line: &str| {
        let mut fields = line.trim_matches('\0').split(',');
        let (component, generation) = (fields.next()?, fields.next()?);
        Some(format!("{component},{generation}"))
    };
    // The first line is the format's own.
    text.lines().skip(1).filter_map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroot_core::bootfmt::pe::{Machine, build_uki};

    #[test]
    fn the_level_of_each_component_is_read_and_a_file_without_any_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::open(dir.path(), None).unwrap();
        assert_eq!(of_loader(&volume).unwrap(), [""; 0]);
        assert_eq!(levels("x", b"no PE file"), [""; 0]);
        let text = "sbat,1,SBAT Version,sbat,1,https://example.org\n\
                    systemd,1,The systemd Developers,systemd,257,https://systemd.io/\n\
                    systemd-boot,2,systemd-boot,systemd-boot,257,https://systemd.io/\n\0\0";
        let sections = [(".sbat", text.as_bytes())];
        let loader = build_uki("loader", None, Machine::X86_64, &sections).unwrap();
        std::fs::create_dir_all(dir.path().join("EFI/systemd")).unwrap();
        let mut file = std::fs::File::create(dir.path().join(PLACES[0])).unwrap();
        std::io::Write::write_all(&mut file, &loader).unwrap();
        assert_eq!(of_loader(&volume).unwrap(), ["systemd,1", "systemd-boot,2"]);
    }
}
