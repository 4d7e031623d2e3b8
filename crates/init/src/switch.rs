//! The hand-over to the system's own service manager.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot, execve};

use crate::log;
use crate::trouble::{Outcome, Trouble};

/// Who is started, the first that is there.
const PROGRAMS: [&str; 2] = ["/usr/lib/systemd/systemd", "/sbin/init"];
/// What goes with the root.
const MOVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// Makes `root` the root and starts the system in it.
pub(crate) fn into_root(root: &str) -> Outcome<Infallible> {
    for place in MOVED {
        let target = format!("{root}{place}");
        moved(place, &target)?;
    }
    let folder = Path::new(root);
    chdir(folder).map_err(Trouble::on("enter", folder))?;
    // What the initramfs holds is memory that nobody could free later.
    clear(Path::new("/"));
    moved(".", "/")?;
    chroot(".").map_err(Trouble::on("change the root to", folder))?;
    chdir("/").map_err(Trouble::on("enter", Path::new("/")))?;
    start()
}

fn moved(from: &str, to: &str) -> Outcome<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(|errno| Trouble::failed(&format!("move {from} to"), to, errno))
}

/// Removes everything on the file system that `folder` is on, and nothing that is mounted below it.
fn clear(folder: &Path) {
    let Ok(device) = std::fs::symlink_metadata(folder).map(|meta| meta.dev()) else {
        return;
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.dev() != device {
            continue;
        }
        let removed = match meta.is_dir() {
            true => {
                clear(&path);
                std::fs::remove_dir(&path)
            }
            false => std::fs::remove_file(&path),
        };
        if let Err(error) = removed {
            log::debug(&format!("{} stays in memory: {error}", path.display()));
        }
    }
}

fn start() -> Outcome<Infallible> {
    let text = |text: &str| CString::new(text).expect("the texts here hold no NUL");
    // The kernel passes words of its command line as variables; systemd reads that line itself.
    let environment = ["HOME=/", "TERM=linux"].map(text);
    let mut causes = Vec::new();
    for program in PROGRAMS {
        match execve(&text(program), &[text(program)], &environment) {
            Ok(never) => match never {},
            Err(errno) => causes.push(format!("{program}: {errno}")),
        }
    }
    Err(Trouble::Failed(format!(
        "cannot start the system: {}",
        causes.join(", ")
    )))
}
