//! The distribution's packages: installed into a tree once, kept by their inputs, and used again by
//! every build with the same inputs.
//!
//! An adapter gives two things: the tree with every package as its scripts left it, and the plain
//! files of packages that the build needs (kernel, stub, loader, tools). `docs/image.md` says what an
//! adapter for another distribution would need.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;
use crate::output::Progress;
use crate::recipe::{Archive, Base};
use crate::tool::Tool;
use crate::tree::{Package, parse_status};

/// Raised when what is kept changes, so that an older cache is not taken for a current one.
const CACHE_FORMAT: u32 = 2;

/// Everything inside gets this time until the image has one of its own: 2024-01-01.
const EPOCH: &str = "1704067200";

/// A distribution's packages, ready to use.
#[derive(Debug, Clone)]
pub struct Packages {
    folder: PathBuf,
    /// Digest of what it was made from.
    pub key: String,
    /// Whether it was there already.
    pub kept: bool,
}

/// What decides about the packages.
#[derive(Debug)]
pub struct Request<'a> {
    /// The distribution.
    pub base: &'a Base,
    /// Packages to install.
    pub packages: &'a [String],
    /// Folder with what is kept.
    pub cache: &'a Path,
    /// Get them anew even where they are kept, since the archive has moved on.
    pub refresh: bool,
}

impl Packages {
    /// The packages, kept or installed now.
    ///
    /// # Errors
    /// `not-permitted` without root, `tool-missing`, `tool-failed` (a package that the archive does not
    /// have), `disk-full`.
    pub fn get(request: &Request<'_>, progress: &Progress) -> Outcome<Self> {
        if request.base.kind != "debian" {
            let cause = format!(
                "there is no adapter for {:?}; there is one for debian",
                request.base.kind
            );
            return Err(Failure::new(Code::ConfigValue, "base.kind", cause));
        }
        let key = key_of(request);
        let folder = request.cache.join(format!("base-{}", &key[..16]));
        let kept = folder.join("base.tar").is_file() && !request.refresh;
        let packages = Packages { folder, key, kept };
        if !kept {
            progress.step("packages from the archive");
            packages.install(request)?;
        }
        Ok(packages)
    }

    /// The tree as a tar file.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.folder.join("base.tar")
    }

    /// Files of the packages that the build needs, unpacked.
    #[must_use]
    pub fn pool(&self) -> PathBuf {
        self.folder.join("pool")
    }

    /// Packages of which files go into the image though they are not installed: kernel and stub.
    ///
    /// # Errors
    /// `file-io`.
    pub fn boot_packages(&self) -> Outcome<Vec<Package>> {
        let all = parse_status(&files::read_text(&self.folder.join("pool.status"))?);
        let used = |package: &Package| {
            package.name.starts_with("linux-image") || package.name == "systemd-boot-efi"
        };
        Ok(all.into_iter().filter(used).collect())
    }

    /// When the newest of the archives was made, in Unix seconds: the packages are not older.
    ///
    /// # Errors
    /// `file-io` where the record is missing or damaged.
    pub fn dated(&self) -> Outcome<u64> {
        let path = self.folder.join("dated");
        let text = files::read_text(&path)?;
        text.trim().parse().map_err(|_| {
            Failure::new(
                Code::FileIo,
                path.display().to_string(),
                "is no number of seconds",
            )
            .with_remedy("remove the folder, so that the packages are got anew")
        })
    }

    fn install(&self, request: &Request<'_>) -> Outcome<()> {
        if !is_root() {
            return Err(Failure::new(
                Code::NotPermitted,
                "build",
                "packages install themselves as root only",
            )
            .with_remedy("run it as root; `disk` and `check` need no root"));
        }
        // Beside its place and named last, so that what is there is whole.
        let new = request.cache.join(format!("base-{}.new", &self.key[..16]));
        files::remove(&new)?;
        files::make_folder(&new.join("debs"))?;
        let sources = sources(request.base)?;
        files::write(&new.join("sources.list"), &sources)?;
        let hook = format!(
            "set -e; cd '{debs}'; export APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\"; \
             kernel=$(apt-cache depends {kernel} | sed -n 's/^ *Depends: //p' | grep ^linux-image); \
             apt-get download -qq $kernel {build}; \
             sed -n 's/^Date: //p' \"$1\"/var/lib/apt/lists/*Release >'{new}/dates'",
            debs = new.join("debs").display(),
            kernel = request.base.kernel,
            build = request.base.build.join(" "),
            new = new.display(),
        );
        Tool::new("mmdebstrap")
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .args([
                "--quiet",
                "--mode=root",
                "--format=tar",
                "--variant=essential",
                "--architectures=amd64",
            ])
            .arg(format!("--include={}", request.packages.join(",")))
            .args([
                "--aptopt=APT::Install-Recommends \"false\"",
                "--aptopt=Acquire::Languages \"none\"",
            ])
            .args(dropped_paths())
            .arg(format!("--customize-hook={hook}"))
            .arg(&request.base.suite)
            .arg(new.join("base.tar"))
            .arg(new.join("sources.list"))
            .run()?;
        unpack_pool(&new)?;
        let dates = files::read_text(&new.join("dates"))?;
        files::write(&new.join("dated"), newest(&dates)?.to_string())?;
        files::remove(&self.folder)?;
        files::rename(&new, &self.folder)
    }
}

/// Documentation that no image carries; copyright files stay until the list of packages has read them.
fn dropped_paths() -> Vec<String> {
    let dropped = ["doc", "man", "info", "locale", "lintian", "bug"];
    let mut options: Vec<String> = dropped
        .iter()
        .map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*"))
        .collect();
    options.push("--dpkgopt=path-include=/usr/share/doc/*/copyright".into());
    options
}

fn unpack_pool(new: &Path) -> Outcome<()> {
    let debs = files::list(&new.join("debs"))?;
    if debs.is_empty() {
        return Err(Failure::new(
            Code::ToolFailed,
            "apt-get download",
            "it got no package",
        ));
    }
    files::make_folder(&new.join("pool"))?;
    let mut records = String::new();
    for deb in debs {
        Tool::new("dpkg-deb")
            .arg("-x")
            .arg(&deb)
            .arg(new.join("pool"))
            .run()?;
        records.push_str(&Tool::new("dpkg-deb").arg("-f").arg(&deb).text()?);
        records.push('\n');
    }
    files::write(&new.join("pool.status"), records)
}

/// Lines for the package manager: the addresses are those that this machine uses itself.
fn sources(base: &Base) -> Outcome<String> {
    let known = Tool::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .text()?;
    let mut lines = String::new();
    for archive in &base.archive {
        let address = address_of(archive, &known).ok_or_else(|| {
            let cause = "this machine's package manager knows no such archive";
            Failure::new(
                Code::ConfigMissing,
                format!("archive {}", archive.name),
                cause,
            )
            .with_remedy("add it to the sources of apt, with any suite, and run `apt-get update`")
        })?;
        for suite in &archive.suites {
            lines.push_str(&format!("deb {address} {suite} main\n"));
        }
    }
    Ok(lines)
}

fn address_of<'a>(archive: &Archive, known: &'a str) -> Option<&'a str> {
    let mut addresses = known.lines().map(|line| line.trim_end_matches('/'));
    addresses.find(|address| address.rsplit('/').next() == Some(archive.name.as_str()))
}

/// Digest of everything that decides about the packages, the archive's state aside.
fn key_of(request: &Request<'_>) -> String {
    let mut packages = request.packages.to_vec();
    packages.sort();
    let archives: Vec<String> = request
        .base
        .archive
        .iter()
        .map(|a| format!("{} {}", a.name, a.suites.join(" ")))
        .collect();
    let parts = [
        CACHE_FORMAT.to_string(),
        request.base.suite.clone(),
        archives.join("\n"),
        request.base.kernel.clone(),
        request.base.build.join(" "),
        packages.join(" "),
        dropped_paths().join(" "),
    ];
    twinroot_payload::verity::hex(&Sha256::digest(parts.join("\0").as_bytes()))
}

/// The newest date of `Release` files, which is RFC 5322's: `Sat, 15 Nov 2025 10:02:18 UTC`.
fn newest(dates: &str) -> Outcome<u64> {
    let invalid = |line: &str| {
        Failure::new(
            Code::ToolFailed,
            "date of the archive",
            format!("{line:?} is no date"),
        )
    };
    let mut newest = None;
    for line in dates.lines().filter(|line| !line.is_empty()) {
        newest = newest.max(Some(seconds(line).ok_or_else(|| invalid(line))?));
    }
    newest.ok_or_else(|| invalid(""))
}

fn seconds(date: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<&str> = date.split_whitespace().collect();
    let [_, day, month, year, time, _] = words.as_slice() else {
        return None;
    };
    let month = u64::try_from(MONTHS.find(month)? / 3).ok()? + 1;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<u64> = time
        .split(':')
        .map_while(|part| part.parse().ok())
        .collect();
    let [hours, minutes, seconds] = clock.as_slice() else {
        return None;
    };
    // Days since 1970 in the proleptic Gregorian calendar, years counted from March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

/// Whether this process may install packages and give files to other users.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_known_by_the_last_part_of_its_address() {
        let known = "http://a/debian-security/\nhttp://a/debian/\n";
        let archive = |name: &str| Archive {
            name: name.into(),
            suites: vec![],
        };
        assert_eq!(
            address_of(&archive("debian"), known),
            Some("http://a/debian")
        );
        assert_eq!(
            address_of(&archive("debian-security"), known),
            Some("http://a/debian-security")
        );
        assert_eq!(address_of(&archive("ubuntu"), known), None);
    }

    #[test]
    fn the_newest_date_of_the_archives_counts() {
        // `date -u -d 'Sat, 15 Nov 2025 10:02:18 UTC' +%s`, and of the two others.
        let dates = "Sat, 06 Sep 2025 10:21:14 UTC\nSat, 15 Nov 2025 10:02:18 UTC\n";
        assert_eq!(newest(dates).unwrap(), 1_763_200_938);
        assert_eq!(
            seconds("Thu, 29 Feb 2024 00:00:00 UTC"),
            Some(1_709_164_800)
        );
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:01 UTC"), Some(1));
        assert!(newest("").is_err());
        assert!(newest("yesterday\n").is_err());
    }
}
