//! Unified kernel images (UKI): reading what one says of itself, and making one.
//!
//! A UKI is a PE file whose sections are the kernel, the initramfs, the command line and a copy of
//! `os-release`. Input may be hostile, so every offset is checked (by `object`, which is built for
//! that), and sizes are bounded here. What is read here decides nothing by itself: a UKI is
//! installed only if its digest stands in a signed manifest.

mod build;
mod os_release;
mod signature;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::ImageNtHeaders;
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_trust::digest::Digest;

use crate::error::{Code, Failure};

pub use build::build_uki;
pub use os_release::OsRelease;
pub use signature::{Signed, signed};

/// Longest command line that is read. The kernel's own limit on x86-64 is 2048 (arm64 too).
const MAX_CMDLINE: usize = 2048;
/// Longest `.osrel` that is read: a page is ten times what distributions ship.
const MAX_OSREL: usize = 4096;
/// Longest `.uname` that is read: `struct utsname` has 65 bytes a field.
const MAX_UNAME: usize = 128;
/// Most sections that are looked at. A stub has ten, a UKI with every section of the
/// specification twenty.
const MAX_SECTIONS: usize = 64;

/// Beginning of a file in which all of its headers must lie. Those of a UKI end within 4 KiB; the
/// specification puts no bound, so this one is ours.
const HEADERS: usize = 64 * 1024;

/// The machine that a PE file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// arm64.
    Arm64,
}

impl Machine {
    const fn pe_number(self) -> u16 {
        match self {
            Machine::X86_64 => pe::IMAGE_FILE_MACHINE_AMD64.0,
            Machine::Arm64 => pe::IMAGE_FILE_MACHINE_ARM64.0,
        }
    }

    /// The manifest's spelling of the architecture.
    #[must_use]
    pub const fn architecture(self) -> &'static str {
        match self {
            Machine::X86_64 => "x86-64",
            Machine::Arm64 => "arm64",
        }
    }
}

/// One section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its name, at most eight characters.
    pub name: &'a str,
    /// Where it is loaded, relative to the image base.
    pub address: u32,
    /// Its bytes, without the padding up to the file alignment.
    pub data: &'a [u8],
}

/// What a UKI says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UkiInfo {
    /// The machine it is for.
    pub machine: Machine,
    /// The kernel command line, without the trailing line break or NUL.
    pub cmdline: String,
    /// The root hash on the command line.
    pub root_hash: Digest,
    /// The copy of `os-release`.
    pub os_release: OsRelease,
    /// The kernel's release, where the UKI says it.
    pub uname: Option<String>,
}

/// The sections of a PE file, in file order.
///
/// # Errors
/// `uki-invalid`, naming `subject`, for anything that is no whole 64-bit PE file.
pub fn sections<'a>(subject: &str, file: &'a [u8]) -> Result<Vec<Section<'a>>, Failure> {
    let headers = Headers::parse(subject, file, file.len() as u64)?;
    let section = |place: &Place<'a>| {
        // Checked against the file's size when the headers were read.
        let start = place.offset as usize;
        let data = &file[start..start + place.length];
        Section {
            name: place.name,
            address: place.address,
            data,
        }
    };
    Ok(headers.places.iter().map(section).collect())
}

/// Where a section lies in the file.
#[derive(Debug)]
struct Place<'a> {
    name: &'a str,
    address: u32,
    offset: u64,
    /// Bytes in the file, padding included.
    stored: u64,
    /// Bytes that it has both in the file and in memory.
    length: usize,
}

/// What stands before the sections.
#[derive(Debug)]
struct Headers<'a> {
    /// Offset of the NT headers in the file.
    nt_at: usize,
    machine: u16,
    places: Vec<Place<'a>>,
}

impl<'a> Headers<'a> {
    /// Reads them from the beginning of a file of `size` bytes.
    fn parse(subject: &str, start: &'a [u8], size: u64) -> Result<Self, Failure> {
        let no_pe =
            |error: object::Error| invalid(subject, format!("it is no 64-bit PE file ({error})"));
        let nt_at = pe::ImageDosHeader::parse(start)
            .map_err(no_pe)?
            .nt_headers_offset();
        let mut offset = nt_at.into();
        let (nt, _) = pe::ImageNtHeaders64::parse(start, &mut offset).map_err(no_pe)?;
        let table = nt.sections(start, offset).map_err(no_pe)?;
        if table.len() > MAX_SECTIONS {
            return Err(invalid(subject, format!("it has {} sections", table.len())));
        }
        let place = |header: &'a pe::ImageSectionHeader| place(subject, header, size);
        Ok(Self {
            nt_at: nt_at as usize,
            machine: nt.file_header.machine.get(LE).0,
            places: table.iter().map(place).collect::<Result<_, _>>()?,
        })
    }

    /// Exactly one section of a name: with two, the loader and we might not mean the same.
    fn one(&self, subject: &str, name: &str) -> Result<&Place<'a>, Failure> {
        let mut found = self.places.iter().filter(|place| place.name == name);
        match (found.next(), found.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => Err(invalid(subject, format!("it has no section {name}"))),
            (Some(_), Some(_)) => Err(invalid(subject, format!("it has two sections {name}"))),
        }
    }
}

fn place<'a>(
    subject: &str,
    header: &'a pe::ImageSectionHeader,
    size: u64,
) -> Result<Place<'a>, Failure> {
    let name = core::str::from_utf8(header.raw_name())
        .map_err(|_| invalid(subject, "a section's name is no text".to_string()))?;
    let (stored, memory) = (header.size_of_raw_data.get(LE), header.virtual_size.get(LE));
    // A section that has no bytes in the file points nowhere.
    let offset = match stored {
        0 => 0,
        _ => u64::from(header.pointer_to_raw_data.get(LE)),
    };
    // A section that is larger in memory than in the file is filled with zeros; none that we read
    // is, and a UKI whose stored size runs past the file's end has been cut.
    if offset + u64::from(stored) > size {
        return Err(invalid(
            subject,
            format!("section {name} runs past the file's end"),
        ));
    }
    Ok(Place {
        name,
        address: header.virtual_address.get(LE),
        offset,
        stored: u64::from(stored),
        length: stored.min(memory) as usize,
    })
}

/// Reads a UKI.
///
/// # Errors
/// `uki-invalid` if it is no PE file for a machine we know, or lacks kernel, command line or
/// `os-release`, or has one of them twice; `uki-root-hash-missing` if the command line does not
/// carry exactly one root hash.
pub fn read_uki(subject: &str, file: &[u8]) -> Result<UkiInfo, Failure> {
    read_uki_from(subject, &file)
}

/// Reads a UKI of any size without holding more of it than its headers and its few texts.
///
/// # Errors
/// As [`read_uki`]; `file-io` where the file cannot be read.
pub fn read_uki_from(subject: &str, file: &dyn ReadAt) -> Result<UkiInfo, Failure> {
    let unreadable = |fault: Fault| unreadable(subject, &fault);
    let size = file.len().map_err(unreadable)?;
    let read = |offset: u64, length: usize| {
        let mut bytes = alloc::vec![0; length];
        file.read_at(offset, &mut bytes)
            .map_err(unreadable)
            .map(|()| bytes)
    };
    let start = read(0, HEADERS.min(usize::try_from(size).unwrap_or(HEADERS)))?;
    let headers = Headers::parse(subject, &start, size)?;
    let text = |name: &str, most: usize| {
        let place = headers.one(subject, name)?;
        if place.length > most {
            return Err(invalid(
                subject,
                format!("section {name} is longer than {most} bytes"),
            ));
        }
        plain_text(subject, name, &read(place.offset, place.length)?)
    };
    let machine = machine(subject, headers.machine)?;
    let cmdline = text(".cmdline", MAX_CMDLINE)?;
    let os_release = text(".osrel", MAX_OSREL)?;
    if headers.one(subject, ".linux")?.length == 0 {
        return Err(invalid(subject, "its kernel is empty".to_string()));
    }
    let uname = match headers.places.iter().any(|place| place.name == ".uname") {
        true => Some(text(".uname", MAX_UNAME)?),
        false => None,
    };
    Ok(UkiInfo {
        machine,
        root_hash: root_hash(subject, &cmdline)?,
        cmdline,
        os_release: OsRelease::parse(&os_release),
        uname,
    })
}

fn machine(subject: &str, number: u16) -> Result<Machine, Failure> {
    [Machine::X86_64, Machine::Arm64]
        .into_iter()
        .find(|machine| machine.pe_number() == number)
        .ok_or_else(|| invalid(subject, format!("it is for machine {number:#06x}")))
}

fn plain_text(subject: &str, name: &str, bytes: &[u8]) -> Result<String, Failure> {
    let text = core::str::from_utf8(bytes)
        .map_err(|_| invalid(subject, format!("section {name} is no text")))?;
    let text = text.trim_end_matches(['\0', '\n']);
    if text.contains('\0') {
        return Err(invalid(subject, format!("section {name} holds a NUL")));
    }
    Ok(text.to_string())
}

/// The one root hash of a command line: `roothash=` or `usrhash=`, 64 lowercase hex digits.
///
/// # Errors
/// `uki-root-hash-missing` if there is none, more than one (the kernel side takes the last, another
/// reader the first), or one that is no SHA-256.
pub fn root_hash(subject: &str, cmdline: &str) -> Result<Digest, Failure> {
    let refused = |cause: &str| Failure::new(Code::UkiRootHashMissing, subject, cause);
    let mut found = cmdline.split_ascii_whitespace().filter_map(|word| {
        // A quote would let two readers cut the word differently; none belongs into a digest.
        let word = word.trim_matches('"');
        word.strip_prefix("roothash=")
            .or_else(|| word.strip_prefix("usrhash="))
    });
    match (found.next(), found.next()) {
        (None, _) => Err(refused("its command line carries no root hash")),
        (Some(_), Some(_)) => Err(refused("its command line carries more than one root hash")),
        (Some(hash), None) => hash
            .parse()
            .map_err(|_| refused("the root hash on its command line is no SHA-256")),
    }
}

fn unreadable(subject: &str, fault: &Fault) -> Failure {
    Failure::new(Code::FileIo, subject, fault.to_string())
}

fn invalid(subject: &str, cause: String) -> Failure {
    Failure::new(Code::UkiInvalid, subject, cause)
}

#[cfg(test)]
mod tests;
