//! One file of the journal: its header, its entries in order, and the fields of one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The kernel's id of a boot, its bytes in written order.
pub(crate) type BootId = [u8; 16];

const SIGNATURE: &[u8] = b"LPKSHHRH";
/// Bytes of the header that every version has, up to the time of the last entry.
const HEADER: usize = 208;
/// What this reader knows of `incompatible_flags`: compression by XZ, LZ4 and ZSTD, keyed hashes, and
/// the compact form. A file with any other is another format.
const KNOWN: u32 = 0b1_1111;
const COMPACT: u32 = 16;

/// Types of objects.
const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;
/// Bytes before what an object holds: `ObjectHeader`, and the fixed part of each kind.
const OBJECT: u64 = 16;
const ENTRY_FIXED: u64 = 64;
const ARRAY_FIXED: u64 = 24;
const DATA_FIXED: u64 = 64;
const DATA_FIXED_COMPACT: u64 = 72;
/// Flags of a data object: how it is compressed.
const ZSTD: u8 = 4;
const COMPRESSED: u8 = 7;

/// Arrays of a file at the most: each is about twice as long as the one before.
const ARRAYS: usize = 64;
/// Items of an entry that are looked at: an entry has some thirty fields.
const ITEMS: u64 = 128;
/// Longest field that is read, as stored and as unpacked. Command lines and messages are far shorter.
const LONGEST: usize = 32 * 1024;

/// A file of the journal.
#[derive(Debug)]
pub(super) struct File {
    file: fs::File,
    length: u64,
    compact: bool,
    written: u64,
    /// Offset and number of items of each array of entries, in order.
    arrays: Vec<(u64, u64)>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) boot: BootId,
    /// Microseconds since 1970.
    pub(super) at: u64,
    offset: u64,
    size: u64,
}

/// What an entry says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) message: Vec<u8>,
    pub(super) who: Vec<u8>,
    /// The agent's word for what has happened (`core::journal`); empty in what others say.
    pub(super) what: Vec<u8>,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let part = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
    part.map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let part = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
    part.map_or(0, u32::from_le_bytes)
}

impl File {
    /// Opens what is a file of the journal in a form that is known.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let file = fs::File::open(path).ok()?;
        let meta = file.metadata().ok()?;
        if !meta.is_file() {
            return None;
        }
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).ok()?;
        let flags = u32_at(&header, 12);
        if &header[..8] != SIGNATURE || flags & !KNOWN != 0 {
            return None;
        }
        let mut journal = Self {
            file,
            length: meta.len(),
            compact: flags & COMPACT != 0,
            written: u64_at(&header, 192),
            arrays: Vec::new(),
        };
        journal.arrays = journal.chain(u64_at(&header, 176), u64_at(&header, 152))?;
        Some(journal)
    }

    /// When something was last written to it, by its own word.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// How many entries it has.
    pub(super) fn entries(&self) -> u64 {
        self.arrays.iter().map(|(_, items)| items).sum()
    }

    const fn item(&self) -> u64 {
        if self.compact { 4 } else { 8 }
    }

    /// The arrays of entries, from the first; together they have `entries` items.
    fn chain(&self, first: u64, entries: u64) -> Option<Vec<(u64, u64)>> {
        let mut arrays = Vec::new();
        let (mut at, mut left) = (first, entries);
        while at != 0 && left > 0 && arrays.len() < ARRAYS {
            let size = self.object(at, ENTRY_ARRAY, ARRAY_FIXED)?.1;
            let items = ((size - ARRAY_FIXED) / self.item()).min(left);
            arrays.push((at + ARRAY_FIXED, items));
            left -= items;
            let next = u64_at(&self.bytes(at + OBJECT, 8)?, 0);
            // They are only ever appended: one that leads back would lead in a circle.
            if next != 0 && next <= at {
                return None;
            }
            at = next;
        }
        Some(arrays)
    }

    fn bytes(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    /// Flags and size of the object at an offset, where it is of that type and lies within the file.
    fn object(&self, at: u64, kind: u8, fixed: u64) -> Option<(u8, u64)> {
        let head = self.bytes(at, 16)?;
        let size = u64_at(&head, 8);
        let within = at.checked_add(size)? <= self.length;
        (head[0] == kind && size >= fixed && within).then_some((head[1], size))
    }

    /// The offset that stands in the item at `at`.
    fn reference(&self, at: u64) -> Option<u64> {
        match self.compact {
            true => Some(u64::from(u32_at(&self.bytes(at, 4)?, 0))),
            false => Some(u64_at(&self.bytes(at, 8)?, 0)),
        }
    }

    /// The entry with that number, counted from the oldest.
    pub(super) fn entry(&self, number: u64) -> Option<Entry> {
        let mut left = number;
        let array = self.arrays.iter().find(|(_, items)| {
            let here = left < *items;
            left -= if here { 0 } else { *items };
            here
        })?;
        let offset = self.reference(array.0 + left * self.item())?;
        let (_, size) = self.object(offset, ENTRY, ENTRY_FIXED)?;
        let fixed = self.bytes(offset, 64)?;
        Some(Entry {
            boot: fixed[40..56].try_into().ok()?,
            at: u64_at(&fixed, 24),
            offset,
            size,
        })
    }

    /// What the entry with that number says; nothing of what cannot be read.
    pub(super) fn fields(&self, number: u64) -> Fields {
        let mut fields = Fields::default();
        let Some(entry) = self.entry(number) else {
            return fields;
        };
        // Beside each offset the long form has a hash.
        let item = self.item() * if self.compact { 1 } else { 2 };
        let items = ((entry.size - ENTRY_FIXED) / item).min(ITEMS);
        for number in 0..items {
            let at = self.reference(entry.offset + ENTRY_FIXED + number * item);
            let Some(data) = at.and_then(|at| self.data(at)) else {
                continue;
            };
            let Some(split) = data.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let value = || data[split + 1..].to_vec();
            match &data[..split] {
                b"MESSAGE" => fields.message = value(),
                b"TWINROOT_WHAT" => fields.what = value(),
                b"SYSLOG_IDENTIFIER" => fields.who = value(),
                b"_COMM" if fields.who.is_empty() => fields.who = value(),
                _ => {}
            }
        }
        fields
    }

    /// What a data object holds: `NAME=value`.
    fn data(&self, at: u64) -> Option<Vec<u8>> {
        let fixed = if self.compact {
            DATA_FIXED_COMPACT
        } else {
            DATA_FIXED
        };
        let (flags, size) = self.object(at, DATA, fixed)?;
        let length = usize::try_from(size - fixed).ok()?;
        if length > LONGEST {
            return None;
        }
        let stored = self.bytes(at + fixed, length)?;
        match flags & COMPRESSED {
            0 => Some(stored),
            ZSTD => unpack(&stored),
            // LZ4 and XZ, of systemd before 246: a long text that is left out.
            _ => None,
        }
    }
}

/// One zstd frame that names the size of what is in it, as systemd writes it.
fn unpack(stored: &[u8]) -> Option<Vec<u8>> {
    let size = zstd_safe::get_frame_content_size(stored).ok()??;
    let size = usize::try_from(size).ok().filter(|size| *size <= LONGEST)?;
    let mut plain = vec![0; size];
    let written = zstd_safe::decompress(plain.as_mut_slice(), stored).ok()?;
    plain.truncate(written);
    Some(plain)
}
