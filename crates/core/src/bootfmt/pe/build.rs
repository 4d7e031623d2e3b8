//! Making a UKI: sections appended to a stub, or to a bare header where none is given.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::PeFile64;

use super::{Failure, MAX_SECTIONS, Machine, invalid, sections};

/// Sections start on a page: the stub hands them to the kernel in place, and the kernel wants its
/// own image and the initramfs page-aligned.
const PAGE: u32 = 4096;
/// File alignment of the bare header; the smallest that PE allows.
const FILE_ALIGNMENT: u32 = 512;
/// Offset of the PE signature in the bare header, right after the 64-byte DOS header.
const BARE_NT_AT: usize = 64;
/// Size of the PE32+ optional header with its sixteen data directories.
const OPTIONAL_HEADER: usize = 112 + 16 * 8;
/// Bytes of one row of the section table.
const ROW: usize = 40;

/// Appends `added` (name and content) to `stub`, in the order given. Put `.linux` last: it is the
/// largest, and the kernel may use memory behind itself.
///
/// Without a stub the result has a bare header for `machine`: readable as a UKI by every tool, and
/// by the machine in files, but nothing that firmware could start.
///
/// # Errors
/// `uki-invalid`, naming `subject`, if the stub is no PE file for `machine`, has no room for more
/// section headers, or the sum of all sections passes 4 GiB; also for section names that do not fit.
pub fn build_uki(
    subject: &str,
    stub: Option<&[u8]>,
    machine: Machine,
    added: &[(&str, &[u8])],
) -> Result<Vec<u8>, Failure> {
    let mut file = match stub {
        Some(stub) => stub.to_vec(),
        None => bare_header(machine),
    };
    let layout = Layout::of(subject, &file, machine)?;
    layout.check_room(subject, &file, added)?;
    let mut address = layout.end_of_image;
    let mut data_size: u32 = 0;
    for (n, (name, content)) in added.iter().enumerate() {
        let too_large = || {
            invalid(
                subject,
                format!("section {name} makes it larger than 4 GiB"),
            )
        };
        let length = u32::try_from(content.len()).map_err(|_| too_large())?;
        let stored = round_up(length, layout.file_alignment).ok_or_else(too_large)?;
        pad(&mut file, layout.file_alignment);
        let offset = u32::try_from(file.len()).map_err(|_| too_large())?;
        let row = section_row(name, [length, address, stored, offset]);
        let at = layout.rows_end + n * ROW;
        file[at..at + ROW].copy_from_slice(&row);
        file.extend_from_slice(content);
        pad(&mut file, layout.file_alignment);
        address = address
            .checked_add(length)
            .and_then(|end| round_up(end, layout.page))
            .ok_or_else(too_large)?;
        data_size = data_size.checked_add(stored).ok_or_else(too_large)?;
    }
    layout.finish(&mut file, added.len(), address, data_size);
    Ok(file)
}

/// Where things stand in the stub.
struct Layout {
    nt_at: usize,
    /// End of the section table in use.
    rows_end: usize,
    rows: usize,
    size_of_headers: usize,
    end_of_image: u32,
    file_alignment: u32,
    page: u32,
}

impl Layout {
    fn of(subject: &str, file: &[u8], machine: Machine) -> Result<Self, Failure> {
        let image: PeFile64<'_> = PeFile64::parse(file)
            .map_err(|error| invalid(subject, format!("it is no 64-bit PE file ({error})")))?;
        let headers = image.nt_headers();
        let number = headers.file_header.machine.get(LE).0;
        if number != machine.pe_number() {
            let wanted = machine.architecture();
            return Err(invalid(
                subject,
                format!("the stub is not for {wanted} ({number:#06x})"),
            ));
        }
        let optional = &headers.optional_header;
        let alignment = optional.file_alignment.get(LE);
        let page = optional.section_alignment.get(LE).max(PAGE);
        if !alignment.is_power_of_two() || alignment > PAGE || !page.is_power_of_two() {
            return Err(invalid(
                subject,
                format!("the stub's alignment is {alignment}, {page}"),
            ));
        }
        let rows = usize::from(headers.file_header.number_of_sections.get(LE));
        let nt_at = image.dos_header().nt_headers_offset() as usize;
        let optional_size = usize::from(headers.file_header.size_of_optional_header.get(LE));
        let mut ends = image.section_table().iter().map(|header| {
            let memory = header
                .virtual_size
                .get(LE)
                .max(header.size_of_raw_data.get(LE));
            header.virtual_address.get(LE).checked_add(memory)
        });
        let size_of_headers = optional.size_of_headers.get(LE);
        let end = ends
            .try_fold(size_of_headers, |most, end| end.map(|end| most.max(end)))
            .and_then(|end| round_up(end, page))
            .ok_or_else(|| invalid(subject, "the stub's sections end past 4 GiB".to_string()))?;
        Ok(Layout {
            nt_at,
            rows_end: nt_at + 24 + optional_size + rows * ROW,
            rows,
            size_of_headers: size_of_headers as usize,
            end_of_image: end,
            file_alignment: alignment,
            page,
        })
    }

    /// New rows go between the last row and the first section's bytes; headers are not moved, since
    /// other parts of a stub hold file offsets.
    fn check_room(
        &self,
        subject: &str,
        file: &[u8],
        added: &[(&str, &[u8])],
    ) -> Result<(), Failure> {
        let wanted = self.rows_end + added.len() * ROW;
        let present = sections(subject, file)?;
        let mut names: Vec<&str> = present.iter().map(|section| section.name).collect();
        for (name, _) in added {
            if name.is_empty() || name.len() > 8 || !name.is_ascii() {
                return Err(invalid(
                    subject,
                    format!("{name:?} is no name of a section"),
                ));
            }
            if names.contains(name) {
                return Err(invalid(subject, format!("section {name} is there already")));
            }
            names.push(name);
        }
        let room = self.size_of_headers.min(file.len());
        if wanted > room || self.rows + added.len() > MAX_SECTIONS {
            let cause = format!(
                "the stub's headers have no room for {} sections",
                added.len()
            );
            return Err(invalid(subject, cause));
        }
        Ok(())
    }

    fn finish(&self, file: &mut [u8], added: usize, end_of_image: u32, data_size: u32) {
        let optional_at = self.nt_at + 24;
        let rows = (self.rows + added) as u16; // bounded by MAX_SECTIONS
        file[self.nt_at + 6..self.nt_at + 8].copy_from_slice(&rows.to_le_bytes());
        let initialised = read_u32(file, optional_at + 8).saturating_add(data_size);
        write_u32(file, optional_at + 8, initialised);
        write_u32(file, optional_at + 56, end_of_image);
        // The checksum is of the stub, and so is a signature: both would lie. 0 means 'none'.
        write_u32(file, optional_at + 64, 0);
        let directories = read_u32(file, optional_at + 108) as usize;
        if directories > pe::IMAGE_DIRECTORY_ENTRY_SECURITY {
            let at = optional_at + 112 + pe::IMAGE_DIRECTORY_ENTRY_SECURITY * 8;
            write_u32(file, at, 0);
            write_u32(file, at + 4, 0);
        }
    }
}

/// One row of the section table: `[virtual size, address, stored size, offset]`.
fn section_row(name: &str, numbers: [u32; 4]) -> [u8; ROW] {
    let mut row = [0; ROW];
    row[..name.len()].copy_from_slice(name.as_bytes());
    for (n, number) in numbers.iter().enumerate() {
        write_u32(&mut row, 8 + n * 4, *number);
    }
    write_u32(
        &mut row,
        36,
        (pe::IMAGE_SCN_CNT_INITIALIZED_DATA | pe::IMAGE_SCN_MEM_READ).0,
    );
    row
}

/// A PE file with no section and no code.
fn bare_header(machine: Machine) -> Vec<u8> {
    // Room for seventeen rows of the section table.
    let size_of_headers = 1024;
    let mut file = vec![0; size_of_headers];
    file[..2].copy_from_slice(b"MZ");
    write_u32(&mut file, 60, BARE_NT_AT as u32);
    file[BARE_NT_AT..BARE_NT_AT + 4].copy_from_slice(b"PE\0\0");
    let coff = BARE_NT_AT + 4;
    file[coff..coff + 2].copy_from_slice(&machine.pe_number().to_le_bytes());
    file[coff + 16..coff + 18].copy_from_slice(&(OPTIONAL_HEADER as u16).to_le_bytes());
    let flags = pe::IMAGE_FILE_EXECUTABLE_IMAGE | pe::IMAGE_FILE_LARGE_ADDRESS_AWARE;
    file[coff + 18..coff + 20].copy_from_slice(&flags.0.to_le_bytes());
    let optional = BARE_NT_AT + 24;
    file[optional..optional + 2].copy_from_slice(&pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC.to_le_bytes());
    write_u32(&mut file, optional + 32, PAGE);
    write_u32(&mut file, optional + 36, FILE_ALIGNMENT);
    write_u32(&mut file, optional + 60, size_of_headers as u32);
    file[optional + 68..optional + 70]
        .copy_from_slice(&pe::IMAGE_SUBSYSTEM_EFI_APPLICATION.0.to_le_bytes());
    write_u32(&mut file, optional + 108, 16);
    file
}

fn pad(file: &mut Vec<u8>, alignment: u32) {
    file.resize(file.len().next_multiple_of(alignment as usize), 0);
}

fn round_up(value: u32, to: u32) -> Option<u32> {
    value.checked_next_multiple_of(to)
}

fn read_u32(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]])
}

fn write_u32(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
