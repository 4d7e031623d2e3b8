//! Reads the rules of a time zone.

use std::path::Path;

use twinroot_core::error::{Code, Failure};
use twinroot_core::schedule::Zone;
use twinroot_ports::Outcome;

/// Where every distribution keeps the IANA database.
const FOLDER: &str = "/usr/share/zoneinfo";

/// The zone of that name. UTC needs no file.
///
/// # Errors
/// `config-value` where the image has no such zone: a window must never be read by the wrong clock.
pub fn read(name: &str) -> Outcome<Zone> {
    read_from(Path::new(FOLDER), name)
}

fn read_from(folder: &Path, name: &str) -> Outcome<Zone> {
    if name == "UTC" {
        return Ok(Zone::utc());
    }
    let refuse = |cause: String| {
        let subject = format!("reboot.zone, {name}");
        Failure::new(Code::ConfigValue, subject, cause)
            .with_remedy("name an IANA zone that the image carries (package tzdata), or UTC")
    };
    // `core` has checked the name; it is joined below a folder, so it is looked at again here.
    if !Zone::is_name(name) {
        return Err(refuse(String::from("is no name of a zone")));
    }
    let path = folder.join(name);
    let bytes =
        std::fs::read(&path).map_err(|error| refuse(format!("{}: {error}", path.display())))?;
    Zone::from_tzif(name, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_is_not_there_is_refused_and_never_taken_for_utc() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read_from(home.path(), "UTC").unwrap(), Zone::utc());
        for name in ["Europe/Berlin", "../etc/passwd"] {
            let failure = read_from(home.path(), name).unwrap_err();
            assert_eq!(failure.code, Code::ConfigValue, "{failure}");
        }
    }

    #[test]
    fn a_file_that_is_no_zone_is_refused() {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/status", home.path().join("Zone")).unwrap();
        assert_eq!(
            read_from(home.path(), "Zone").unwrap_err().code,
            Code::ConfigValue
        );
    }
}
