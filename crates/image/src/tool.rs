//! The only place that starts other programs: what is missing is named with the package that has it,
//! what fails is shown with its own words.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use twinroot_core::error::{Code, Failure};

use crate::Outcome;

/// Debian packages of the tools, for the remedy.
const PACKAGES: [(&str, &str); 24] = [
    ("apt-get", "apt"),
    ("mmdebstrap", "mmdebstrap"),
    ("dpkg-deb", "dpkg"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("depmod", "kmod"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mmd", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("systemd-analyze", "systemd"),
    ("systemd-sysusers", "systemd"),
    ("systemd-tmpfiles", "systemd"),
    ("blockdev", "util-linux"),
    ("fsck.erofs", "erofs-utils"),
    ("sbsign", "sbsigntool"),
    ("sbverify", "sbsigntool"),
    ("openssl", "openssl"),
    ("skopeo", "skopeo"),
    ("cpio", "cpio"),
    ("gzip", "gzip"),
    ("chroot", "coreutils"),
    ("cp", "coreutils"),
    ("mkfs.erofs", "erofs-utils"),
];

/// The loader of programs in an image, and the libraries that systemd's programs need.
const LD: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: [&str; 2] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/systemd",
];

/// A command line being put together.
#[derive(Debug)]
pub struct Tool {
    name: String,
    command: Command,
}

impl Tool {
    /// The tool `name`, from `PATH` or by its path.
    #[must_use]
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        let shown = Path::new(&name).file_name().unwrap_or(name.as_ref());
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that spawns"
        )]
        let mut command = Command::new(&name);
        // Whatever a tool prints or sorts, it does the same on every machine.
        command
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        Self {
            name: shown.to_string_lossy().into_owned(),
            command,
        }
    }

    /// The program `place` of the image `root`, run by the image's own loader of programs and with its own
    /// libraries: units, catalogs and the like are judged and made by the systemd that will read them.
    #[must_use]
    pub fn of_image(root: &Path, place: &str) -> Self {
        let libraries = LIBRARIES.map(|folder| root.join(folder).display().to_string());
        let mut tool = Self::new(root.join(LD))
            .arg("--library-path")
            .arg(libraries.join(":"))
            .arg(root.join(place));
        place.clone_into(&mut tool.name);
        tool
    }

    /// An argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Several.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs in a folder.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it; gives what it printed.
    ///
    /// # Errors
    /// `tool-missing` with the package to install; `tool-failed` with the end of what it said.
    pub fn run(mut self) -> Outcome<Vec<u8>> {
        let output = self
            .command
            .output()
            .map_err(|error| self.unusable(&error))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(self.failed(&output))
    }

    /// Runs it; gives its text, and its verdict instead of an error where it ran and failed.
    ///
    /// # Errors
    /// `tool-missing`.
    pub fn judge(mut self) -> Outcome<(bool, String)> {
        let output = self
            .command
            .output()
            .map_err(|error| self.unusable(&error))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), text))
    }

    /// Runs it; gives what it printed as text.
    ///
    /// # Errors
    /// As [`Tool::run`].
    pub fn text(self) -> Outcome<String> {
        let bytes = self.run()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn failed(&self, output: &std::process::Output) -> Failure {
        let said = String::from_utf8_lossy(&output.stderr);
        // The end tells the cause; six lines are a screen's worth beside everything else.
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let end = lines[lines.len().saturating_sub(6)..].join(" | ");
        let words: Vec<_> = self
            .command
            .get_args()
            .take(4)
            .map(OsStr::to_string_lossy)
            .collect();
        let subject = format!("{} {}", self.name, words.join(" "));
        Failure::new(
            Code::ToolFailed,
            subject.trim_end(),
            format!("{}: {end}", output.status),
        )
    }

    fn unusable(&self, error: &std::io::Error) -> Failure {
        let failure = Failure::new(Code::ToolMissing, &self.name, error.to_string());
        match PACKAGES.iter().find(|(tool, _)| *tool == self.name) {
            Some((_, package)) => failure.with_remedy(format!("install the package {package}")),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_a_remedy() {
        let failure = Tool::new("no-such-tool-anywhere").run().unwrap_err();
        assert_eq!(failure.code, Code::ToolMissing);
        assert_eq!(failure.subject, "no-such-tool-anywhere");
    }

    #[test]
    fn a_failing_tool_is_shown_with_its_own_words() {
        let failure = Tool::new("sh")
            .args(["-c", "echo the cause >&2; exit 3"])
            .run()
            .unwrap_err();
        assert_eq!(failure.code, Code::ToolFailed);
        assert!(failure.cause.contains("the cause"), "{failure}");
    }
}
