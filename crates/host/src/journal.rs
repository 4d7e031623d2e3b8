//! Entries for systemd's journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram
//! an entry, so that fields stay fields.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest value that is sent. A datagram of the default size holds several; what is longer is a file's
/// content and belongs elsewhere.
const LONGEST: usize = 32 * 1024;

/// The journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// The journal, where this program's standard error goes there anyway: `JOURNAL_STREAM` names device
    /// and inode of the stream (systemd.exec(5)). Nothing otherwise, so that a person sees what is said.
    #[must_use]
    pub fn of_service() -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the service manager's protocol, not configuration"
        )]
        let named = std::env::var("JOURNAL_STREAM").ok()?;
        let stat = nix::sys::stat::fstat(io::stderr()).ok()?;
        if named != format!("{}:{}", stat.st_dev, stat.st_ino) {
            return None;
        }
        Self::connect(Path::new(SOCKET)).ok()
    }

    fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { socket })
    }

    /// Sends one entry.
    ///
    /// # Errors
    /// Where the journal is gone; nobody can be told of that.
    pub fn send<'a>(&self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> io::Result<()> {
        let mut entry = Vec::new();
        for (name, value) in fields {
            append(&mut entry, name, value);
        }
        self.socket.send(&entry).map(drop)
    }
}

/// `NAME=value`, or for a value of several lines its length before it: a line of a server's answer must not
/// become a field.
fn append(entry: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(LONGEST);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value[..end];
    entry.extend_from_slice(field_name(name).as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// Names are capitals, digits and underscores, begin with a letter, and have at most 64 characters.
fn field_name(name: &str) -> String {
    let fits = |c: char| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    };
    let name: String = name.chars().map(fits).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_uppercase());
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(fields: &[(&str, &str)]) -> Vec<u8> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        Journal::connect(&path)
            .unwrap()
            .send(fields.iter().copied())
            .unwrap();
        let mut bytes = vec![0; 1 << 17];
        let count = listener.recv(&mut bytes).unwrap();
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn an_entry_is_one_datagram_of_fields() {
        let bytes = sent(&[("MESSAGE", "it is staged"), ("twinroot.what", "staged")]);
        assert_eq!(bytes, b"MESSAGE=it is staged\nTWINROOT_WHAT=staged\n");
    }

    #[test]
    fn a_value_of_several_lines_cannot_bring_fields_along() {
        let bytes = sent(&[("MESSAGE", "a\nPRIORITY=0")]);
        let mut expected = b"MESSAGE\n".to_vec();
        expected.extend_from_slice(&[12, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(b"a\nPRIORITY=0\n");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_value_without_end_is_cut_between_characters_and_a_name_is_made_fit() {
        let bytes = sent(&[("MESSAGE", &"ä".repeat(40_000))]);
        assert_eq!(bytes.len(), "MESSAGE=\n".len() + LONGEST);
        assert!(String::from_utf8(bytes).is_ok());
        assert_eq!(field_name("__1log.target"), "LOG_TARGET");
    }
}
