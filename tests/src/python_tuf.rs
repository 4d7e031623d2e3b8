//! The reference client as a judge: python-tuf, installed from PyPI into the build directory with
//! its versions pinned.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The Python of an environment with the pinned judge; none where PyPI cannot be reached or Python
/// is missing.
///
/// # Panics
/// Where the build directory cannot be written.
pub fn python() -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MADE.get_or_init(make).clone()
}

fn make() -> Option<PathBuf> {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test
        .ancestors()
        .nth(3)
        .expect("tests lie in target/<profile>/deps");
    let environment = target.join("interop/python-tuf-7.0.0-client");
    let python = environment.join("bin/python");
    let ready = environment.join("ready");
    if ready.is_file() {
        return Some(python);
    }
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/requirements.txt");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&environment);
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    pip.args(["--retries", "1", "--timeout", "20", "-r"])
        .arg(requirements);
    // For the signing side of the judge, which makes repositories here.
    pip.arg("securesystemslib[crypto]==1.6.0");
    for command in [&mut venv, &mut pip] {
        if !command.status().is_ok_and(|status| status.success()) {
            return None;
        }
    }
    std::fs::write(ready, "").expect("the build directory can be written");
    Some(python)
}
