//! Promises that cross rooms, without a virtual machine.
//!
//! Reason to exist: what no single room can prove about itself is tested here, against the built
//! programs and against judges that were written elsewhere. Layer: on top of everything. This library
//! holds only what several of those tests share. Must never: be needed by a program.

pub mod openapi;
pub mod pages;
pub mod python_tuf;

pub mod crash;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// Prints the line that `./x test` counts as a skipped test. The test returns right after it:
/// `let Some(tool) = find() else { return twinroot_tests::skip("veritysetup is not installed") };`
pub fn skip(reason: &str) {
    println!("SKIP {reason}");
}

/// Set by whoever has built all programs before the tests run.
const BUILT: &str = "TWINROOT_TESTS_BUILT";

/// The built program `name` (`twinroot`, `twinroot-publish`, `lab`), built here where nobody else has.
///
/// Cargo builds programs only for the tests of their own package, so a test over here has to see to it.
///
/// # Panics
/// Where the program cannot be built: a test that needs it cannot say anything then.
pub fn program(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/<test>
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/<profile>/deps");
    BUILD.call_once(|| {
        // `./x test` has built everything, and a build amid running tests would pull the programs away
        // from under them.
        if std::env::var_os(BUILT).is_some() {
            return;
        }
        // Always asked, not only when the file is missing: a stale program would test yesterday's code.
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args([
            "build",
            "--quiet",
            "-p",
            "twinroot",
            "-p",
            "twinroot-publish",
            "-p",
            "twinroot-tests",
            "--bins",
        ]);
        if profile.ends_with("release") {
            command.arg("--release");
        }
        let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "the programs do not build"
        );
    });
    let program = profile.join(name);
    assert!(program.is_file(), "the build left no {}", program.display());
    program
}
