//! Kernel modules of the root: those that the recipe names with all they need, unpacked, so that a small
//! change stays small in an update.

use std::path::{Path, PathBuf};

use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;
use crate::modules::Graph;
use crate::tool::Tool;

/// Files that `depmod` and `modprobe` read beside the modules.
const BESIDE: [&str; 3] = [
    "modules.order",
    "modules.builtin",
    "modules.builtin.modinfo",
];

/// The one kernel of the packages: its release and the folder of its modules.
pub(crate) fn find(pool: &Path) -> Outcome<(String, PathBuf)> {
    let folder = pool.join("usr/lib/modules");
    match files::list(&folder)?.as_slice() {
        [one] => Ok((
            one.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            one.clone(),
        )),
        several => {
            let cause = format!("{} kernels are there, one is needed", several.len());
            Err(Failure::new(
                Code::ConfigValue,
                folder.display().to_string(),
                cause,
            ))
        }
    }
}

/// What its modules need of each other. `depmod` writes beside the modules, once.
pub(crate) fn graph(pool: &Path) -> Outcome<Graph> {
    let (release, folder) = find(pool)?;
    if !folder.join("modules.dep").is_file() {
        // depmod looks below lib/modules; the package has them below usr.
        files::link("usr/lib", &pool.join("lib"))?;
        Tool::new("depmod")
            .arg("-b")
            .arg(pool)
            .arg(&release)
            .run()?;
    }
    let text = |name: &str| files::read_text(&folder.join(name));
    Ok(Graph::parse(
        &text("modules.dep")?,
        &text("modules.builtin")?,
    ))
}

/// The bytes of a module, unpacked.
pub(crate) fn module(pool: &Path, path: &str) -> Outcome<Vec<u8>> {
    let (_, folder) = find(pool)?;
    let file = folder.join(path);
    match path.ends_with(".xz") {
        true => Tool::new("xz")
            .args(["--decompress", "--stdout"])
            .arg(&file)
            .run(),
        false => files::read(&file),
    }
}

/// Puts the modules of `keep` into the tree; gives the kernel's release and the bytes they take.
pub(super) fn modules(root: &Path, pool: &Path, keep: &[String]) -> Outcome<(String, u64)> {
    let (release, folder) = find(pool)?;
    let place = root.join("usr/lib/modules").join(&release);
    for path in graph(pool)?.kept(keep)? {
        let plain = path.trim_end_matches(".xz");
        files::write(&place.join(plain), module(pool, &path)?)?;
    }
    for name in BESIDE {
        files::write(&place.join(name), files::read(&folder.join(name))?)?;
    }
    Tool::new("depmod")
        .arg("-b")
        .arg(root)
        .arg(&release)
        .run()?;
    // depmod's own files have the modes of whoever builds.
    for path in files::list(&place)? {
        if files::metadata(&path)?.is_file() {
            files::set_mode(&path, 0o644)?;
        }
    }
    let bytes = files::bytes_below(&place)?;
    Ok((release, bytes))
}
