//! Names of boot entries, in which systemd-boot keeps its counters.
//!
//! Automatic Boot Assessment puts the counters at the end of the name, before the suffix:
//! `<stem>+<left>.efi` or `<stem>+<left>-<done>.efi`. The loader renames before each start, one
//! from `left` to `done`; a name without counter is good and is not counted; `+0` has used up its
//! tries. Our own stems are `twinroot_<version>_<first 16 hex digits of the UKI's SHA-256>`, so that
//! two different UKIs can never want the same name, and an entry is never overwritten by another.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use crate::error::{Code, Failure};
use crate::facts::Tries;

/// Longest file name on FAT, in UTF-16 units; we allow ASCII only, so in bytes as well.
const MAX_NAME: usize = 255;
/// Counters longer than this are not ours and not systemd's: nine digits always fit 32 bits.
const MAX_DIGITS: usize = 9;
/// Hex digits of the UKI's digest in a stem: 64 bits keep names of different UKIs apart, and a
/// short name needs fewer FAT directory slots, so that a rename more often stays in one sector.
const STEM_DIGITS: usize = 16;
/// What every stem of ours begins with.
const OURS: &str = "twinroot_";
/// The suffix of a UKI on the ESP.
const SUFFIX: &str = ".efi";

/// A checked file name of a boot entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    file_name: String,
    stem: String,
    tries: Option<Tries>,
}

impl EntryName {
    /// The name that the UKI of a release gets, without counter.
    #[must_use]
    pub fn for_release(version: &Version, uki: &Digest) -> Self {
        let digest = uki.to_string();
        Self::from_stem(format!("{OURS}{version}_{}", &digest[..STEM_DIGITS]), None)
    }

    /// Reads a file name, ours or another system's.
    ///
    /// # Errors
    /// `entry-name-invalid` for anything that is not a plain `.efi` name on FAT: directories,
    /// control or non-ASCII characters, hidden or over-long names. A `+` that is followed by
    /// something else than counters belongs to the stem, as it does for systemd-boot.
    pub fn parse(file_name: &str) -> Result<Self, Failure> {
        check_plain(file_name)?;
        let body = file_name
            .strip_suffix(SUFFIX)
            .filter(|body| !body.is_empty())
            .ok_or_else(|| refused(file_name, "it does not end in .efi"))?;
        let (stem, tries) = split_counter(body);
        if stem.is_empty() {
            return Err(refused(file_name, "there is nothing before the counter"));
        }
        Ok(Self {
            file_name: file_name.to_string(),
            stem: stem.to_string(),
            tries,
        })
    }

    fn from_stem(stem: String, tries: Option<Tries>) -> Self {
        let file_name = match tries {
            None => format!("{stem}{SUFFIX}"),
            Some(Tries { left, done: 0 }) => format!("{stem}+{left}{SUFFIX}"),
            Some(Tries { left, done }) => format!("{stem}+{left}-{done}{SUFFIX}"),
        };
        Self {
            file_name,
            stem,
            tries,
        }
    }

    /// The name as it stands in the directory.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The name without counter and suffix; it stays the same while the entry is counted down.
    #[must_use]
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The counters; nothing once the entry is blessed, or where it was never counted.
    #[must_use]
    pub const fn tries(&self) -> Option<Tries> {
        self.tries
    }

    /// Whether twinroot made the name. Only such files are ever changed or removed.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.release().is_some()
    }

    /// Version and first hex digits of the UKI's digest, for a name of ours.
    #[must_use]
    pub fn release(&self) -> Option<(Version, &str)> {
        let (version, digest) = self.stem.strip_prefix(OURS)?.rsplit_once('_')?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let whole = digest.len() == STEM_DIGITS && digest.bytes().all(hex);
        Some((version.parse().ok()?, digest)).filter(|_| whole)
    }

    /// Whether this is the name that a UKI with this digest gets.
    #[must_use]
    pub fn names(&self, uki: &Digest) -> bool {
        self.release()
            .is_some_and(|(_, digest)| uki.to_string().starts_with(digest))
    }

    /// Counted and used up: the loader sorts it last.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        matches!(self.tries, Some(Tries { left: 0, .. }))
    }

    /// The same entry on trial, with `left` tries and none done.
    #[must_use]
    pub fn on_trial(&self, left: u32) -> Self {
        Self::from_stem(self.stem.clone(), Some(Tries { left, done: 0 }))
    }

    /// What the loader renames the entry to before it starts it; nothing where it does not count:
    /// blessed entries and those that have no try left.
    #[must_use]
    pub fn count_down(&self) -> Option<Self> {
        let Tries { left, done } = self.tries.filter(|tries| tries.left > 0)?;
        let tries = Tries {
            left: left - 1,
            done: done.saturating_add(1),
        };
        Some(Self::from_stem(self.stem.clone(), Some(tries)))
    }

    /// What the loader found it as before it counted this start: a start that was refused for a
    /// reason outside of the release takes no try. Nothing where no start was counted.
    #[must_use]
    pub fn give_back(&self) -> Option<Self> {
        let Tries { left, done } = self.tries.filter(|tries| tries.done > 0)?;
        let tries = Tries {
            left: left.saturating_add(1),
            done: done - 1,
        };
        Some(Self::from_stem(self.stem.clone(), Some(tries)))
    }

    /// What the entry is called once it is good.
    #[must_use]
    pub fn bless_name(&self) -> Self {
        Self::from_stem(self.stem.clone(), None)
    }

    /// What the entry is called once it is bad: no try left, those done kept for the record.
    #[must_use]
    pub fn bad_name(&self) -> Self {
        let done = self.tries.map_or(0, |tries| tries.done);
        Self::from_stem(self.stem.clone(), Some(Tries { left: 0, done }))
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file_name)
    }
}

/// Stem and counter of a name without suffix. systemd-boot takes the last `+`.
fn split_counter(body: &str) -> (&str, Option<Tries>) {
    let Some((stem, counter)) = body.rsplit_once('+') else {
        return (body, None);
    };
    let tries = match counter.split_once('-') {
        Some((left, done)) => number(left).zip(number(done)),
        None => number(counter).map(|left| (left, 0)),
    };
    match tries {
        Some((left, done)) => (stem, Some(Tries { left, done })),
        None => (body, None),
    }
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain && text.len() <= MAX_DIGITS {
        text.parse().ok()
    } else {
        None
    }
}

fn check_plain(name: &str) -> Result<(), Failure> {
    if name.len() > MAX_NAME {
        return Err(refused(name, "it is longer than 255 characters"));
    }
    if name.starts_with('.') {
        return Err(refused(name, "it begins with a dot"));
    }
    // FAT's own list of characters that no long name may hold, with both kinds of slash.
    let forbidden = |c: char| !matches!(c, ' '..='~') || "\"*/:<>?\\|".contains(c);
    match name.chars().find(|c| forbidden(*c)) {
        Some(c) => Err(refused(
            name,
            &format!("it holds {c:?}, which no such name may"),
        )),
        None => Ok(()),
    }
}

fn refused(name: &str, cause: &str) -> Failure {
    let shown: String = name.chars().take(80).collect();
    Failure::new(
        Code::EntryNameInvalid,
        format!("boot entry {shown:?}"),
        cause,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn name(text: &str) -> EntryName {
        EntryName::parse(text).expect("a good name")
    }

    #[test]
    fn names_read_as_the_loader_reads_them() {
        // (file name, stem, tries left and done)
        for (text, stem, tries) in [
            ("os_1.0.efi", "os_1.0", None),
            ("os_1.0+3.efi", "os_1.0", Some((3, 0))),
            ("os_1.0+2-1.efi", "os_1.0", Some((2, 1))),
            ("os_1.0+0-3.efi", "os_1.0", Some((0, 3))),
            ("a+b+3.efi", "a+b", Some((3, 0))),
            ("a+b.efi", "a+b", None),
            ("a+3-.efi", "a+3-", None),
            ("a+-1.efi", "a+-1", None),
            ("a+9999999999.efi", "a+9999999999", None),
            ("a+3-1-1.efi", "a+3-1-1", None),
        ] {
            let read = name(text);
            assert_eq!(read.stem(), stem, "{text}");
            assert_eq!(read.tries().map(|t| (t.left, t.done)), tries, "{text}");
            assert_eq!(read.file_name(), text);
        }
    }

    #[test]
    fn counting_goes_down_to_nothing_and_then_stops() {
        let mut entry = name("os.efi").on_trial(3);
        let mut seen = Vec::from([entry.file_name().to_string()]);
        while let Some(next) = entry.count_down() {
            seen.push(next.file_name().to_string());
            entry = next;
        }
        assert_eq!(seen, ["os+3.efi", "os+2-1.efi", "os+1-2.efi", "os+0-3.efi"]);
        assert!(entry.is_exhausted());
        assert_eq!(entry.bless_name().file_name(), "os.efi");
        assert!(name("os.efi").count_down().is_none());
    }

    #[test]
    fn a_try_that_is_given_back_undoes_the_count() {
        for text in ["os+3.efi", "os+2-1.efi", "os+1-2.efi"] {
            let counted = name(text).count_down().expect("it has tries left");
            assert_eq!(counted.give_back(), Some(name(text)), "{text}");
        }
        assert_eq!(name("os+3.efi").give_back(), None);
        assert_eq!(name("os.efi").give_back(), None);
    }

    #[test]
    fn a_bad_entry_keeps_what_was_tried() {
        assert_eq!(name("os+2-1.efi").bad_name().file_name(), "os+0-1.efi");
    }

    #[test]
    fn our_names_say_version_and_uki_and_nothing_else_is_ours() {
        let uki = Digest::of(b"a uki");
        let version: Version = "2026.11.2~rc1".parse().expect("a version");
        let ours = EntryName::for_release(&version, &uki).on_trial(3);
        let read = name(ours.file_name());
        assert!(read.is_ours() && read.names(&uki) && !read.names(&Digest::of(b"another")));
        assert_eq!(read.release().map(|(v, _)| v), Some(version));
        for other in [
            "os.efi",
            "twinroot_.efi",
            "twinroot_1.0_abc.efi",
            "twinroot_1.0.efi",
            "twinroot_1.0_0123456789ABCDEF.efi",
            "xtwinroot_1.0_0123456789abcdef.efi",
        ] {
            assert!(!name(other).is_ours(), "{other}");
        }
    }

    #[test]
    fn the_longest_version_still_gives_a_name_that_fits() {
        let version: Version = "1".repeat(Version::MAX_LENGTH).parse().expect("a version");
        let entry = EntryName::for_release(&version, &Digest::of(b"")).on_trial(999_999_999);
        assert!(EntryName::parse(entry.file_name()).is_ok());
    }

    #[test]
    fn names_that_leave_the_directory_or_break_fat_are_refused() {
        for text in [
            "",
            ".efi",
            "../x.efi",
            "a/b.efi",
            "a\\b.efi",
            "a\0.efi",
            "a\n.efi",
            "..efi",
            ".hidden.efi",
            "ä.efi",
            "a:b.efi",
            "a*.efi",
            "x.EFI",
            "x.conf",
            "x",
            "+3.efi",
        ] {
            let failure = EntryName::parse(text).expect_err(text);
            assert_eq!(failure.code, Code::EntryNameInvalid, "{text:?}");
        }
        let long = "a".repeat(252) + ".efi";
        assert!(EntryName::parse(&long).is_err());
        assert!(EntryName::parse(&long[1..]).is_ok());
    }
}
