//! Loading the drivers of the initramfs.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::kmod::{ModuleInitFlags, finit_module};

use crate::log;
use crate::trouble::{Outcome, Trouble};

/// Where the image build puts them, named so that the order of names is the order of loading.
const FOLDER: &str = "/modules";

/// Loads every driver. One for hardware that is not there refuses to load: that is no failure, and
/// what is really missing shows where it is needed.
pub(crate) fn load_all() -> Outcome<()> {
    let (mut loaded, mut refused) = (0, 0);
    for path in in_order(Path::new(FOLDER))? {
        let file = File::open(&path).map_err(Trouble::on("open", &path))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => loaded += 1,
            Err(errno) => {
                refused += 1;
                log::debug(&format!("{}: {errno}", path.display()));
            }
        }
    }
    log::info(&format!("{loaded} drivers loaded, {refused} not needed"));
    Ok(())
}

/// The `.ko` files of a folder, in the order of their names; none where there is no folder, as in
/// an image whose kernel has everything built in.
fn in_order(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(Trouble::on("list", folder))?,
    };
    let mut paths = Vec::new();
    for entry in listed {
        let path = entry.map_err(Trouble::on("list", folder))?.path();
        if path.extension().is_some_and(|end| end == "ko") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_load_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["010-b.ko", "002-a.ko", "notes.txt", "100-c.ko"] {
            File::create(folder.path().join(name)).unwrap();
        }
        let paths = in_order(folder.path()).unwrap();
        let names: Vec<_> = paths.iter().flat_map(|path| path.file_name()).collect();
        assert_eq!(names, ["002-a.ko", "010-b.ko", "100-c.ko"]);
        assert_eq!(
            in_order(&folder.path().join("none")).unwrap(),
            [""; 0].map(PathBuf::from)
        );
    }
}
