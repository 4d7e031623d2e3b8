//! What a PE file's signature covers, and where it lies.
//!
//! Source: "Windows Authenticode Portable Executable Signature Format", 'Calculating the PE Image
//! Hash', which firmware follows (edk2, `HashPeImage`).

use alloc::vec::Vec;
use core::ops::Range;

use super::{Failure, HEADERS, Headers, ToString, invalid, unreadable};
use twinroot_payload::io::ReadAt;

/// Offsets in the optional header of a 64-bit file: size of headers, checksum, and the fifth data
/// directory (certificate table: file offset and size).
const SIZE_OF_HEADERS_AT: usize = 60;
const CHECKSUM_AT: usize = 64;
const CERTIFICATES_AT: usize = 144;
/// Offset of the optional header behind the NT signature: four bytes and the file header of twenty.
const OPTIONAL_AT: usize = 24;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS: u16 = 2;
/// Bytes before a certificate's content: length, revision, kind.
const CERTIFICATE_HEADER: usize = 8;
/// More signatures than anybody puts into one file.
const MOST: usize = 8;

/// What is signed of a file, and the signatures (PKCS #7) in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The pieces of the file that are hashed, in the order in which they are.
    pub ranges: Vec<Range<u64>>,
    /// The signatures; none in an unsigned file.
    pub signatures: Vec<Vec<u8>>,
}

/// Finds out what of a file is signed, and by what.
///
/// # Errors
/// `uki-invalid` for anything that is no whole 64-bit PE file; `file-io` where it cannot be read.
pub fn signed(subject: &str, file: &dyn ReadAt) -> Result<Signed, Failure> {
    let size = file.len().map_err(|fault| unreadable(subject, &fault))?;
    let mut start = alloc::vec![0; HEADERS.min(usize::try_from(size).unwrap_or(HEADERS))];
    file.read_at(0, &mut start)
        .map_err(|fault| unreadable(subject, &fault))?;
    let headers = Headers::parse(subject, &start, size)?;
    let cut = || invalid(subject, "its headers are cut".to_string());
    let word = |at: usize| -> Result<u32, Failure> {
        let bytes = start.get(at..at + 4).ok_or_else(cut)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let optional = headers.nt_at + OPTIONAL_AT;
    let ends = u64::from(word(optional + SIZE_OF_HEADERS_AT)?);
    let table = u64::from(word(optional + CERTIFICATES_AT)?);
    let table = table..table + u64::from(word(optional + CERTIFICATES_AT + 4)?);
    let at = |offset: usize| (optional + offset) as u64;
    // Without a table the directory is zero, and nothing is cut off.
    let signed_end = if table.is_empty() { size } else { table.start };
    if ends > signed_end || (!table.is_empty() && table.end != size) {
        return Err(invalid(
            subject,
            "its certificate table is not at its end".to_string(),
        ));
    }
    let mut ranges = alloc::vec![
        0..at(CHECKSUM_AT),
        at(CHECKSUM_AT + 4)..at(CERTIFICATES_AT),
        at(CERTIFICATES_AT + 8)..ends,
    ];
    let mut stored: Vec<Range<u64>> = headers
        .places
        .iter()
        .map(|place| place.offset..place.offset + place.stored)
        .filter(|range| !range.is_empty())
        .collect();
    stored.sort_by_key(|range| range.start);
    let hashed: u64 = ends
        + stored
            .iter()
            .map(|range| range.end - range.start)
            .sum::<u64>();
    ranges.extend(stored);
    // Whatever stands between the last section and the table; the format counts bytes here, not
    // positions.
    ranges.push(hashed.min(signed_end)..signed_end);
    Ok(Signed {
        ranges,
        signatures: signatures(subject, file, table)?,
    })
}

fn signatures(
    subject: &str,
    file: &dyn ReadAt,
    table: Range<u64>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut found = Vec::new();
    let mut at = table.start;
    while table.end.saturating_sub(at) >= CERTIFICATE_HEADER as u64 && found.len() < MOST {
        let mut header = [0; CERTIFICATE_HEADER];
        file.read_at(at, &mut header)
            .map_err(|fault| unreadable(subject, &fault))?;
        let length = u64::from(u32::from_le_bytes([
            header[0], header[1], header[2], header[3],
        ]));
        let kind = u16::from_le_bytes([header[6], header[7]]);
        if length < CERTIFICATE_HEADER as u64 || length > table.end - at {
            return Err(invalid(subject, "its certificate table is cut".to_string()));
        }
        if kind == PKCS {
            let mut bytes = alloc::vec![0; length as usize - CERTIFICATE_HEADER];
            file.read_at(at + CERTIFICATE_HEADER as u64, &mut bytes)
                .map_err(|fault| unreadable(subject, &fault))?;
            found.push(bytes);
        }
        at += length.next_multiple_of(8);
    }
    Ok(found)
}
