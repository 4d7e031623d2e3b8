//! Requests to the kernel's device mapper and its answers, as bytes (`linux/dm-ioctl.h`).
//!
//! Building them is pure; the one system call that carries them is made by the initramfs, which sets
//! up dm-verity, and by `host`, which reads back what the kernel enforces.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use twinroot_trust::digest::Digest;

/// Bytes of `struct dm_ioctl`.
pub const HEADER: usize = 312;
/// Bytes of a request: header, one target and its parameters. The longest table of ours (two device
/// numbers, a root hash, a salt of 256 bytes in hex) has about 800.
pub const REQUEST: usize = 2048;
/// The ioctl's type byte (`DM_IOCTL`).
pub const IOCTL: u8 = 0xfd;
/// Bytes of `struct dm_target_spec`.
const TARGET: usize = 40;
/// Name and UUID fields, NUL included.
const NAME_MAX: usize = 128;
const UUID_MAX: usize = 129;
/// Field offsets of `struct dm_ioctl`.
const DATA_SIZE_AT: usize = 12;
const DATA_START_AT: usize = 16;
const TARGET_COUNT_AT: usize = 20;
const FLAGS_AT: usize = 28;
const DEVICE_AT: usize = 40;
const NAME_AT: usize = 48;
const UUID_AT: usize = NAME_AT + NAME_MAX;
/// `DM_READONLY_FLAG` and `DM_STATUS_TABLE_FLAG`.
const READ_ONLY: u32 = 1;
const STATUS_TABLE: u32 = 1 << 4;

/// Number of a command, as `linux/dm-ioctl.h` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `DM_DEV_CREATE`.
    Create = 3,
    /// `DM_DEV_REMOVE`.
    Remove = 4,
    /// `DM_DEV_SUSPEND`, which without its flag resumes.
    Resume = 6,
    /// `DM_TABLE_LOAD`.
    Load = 9,
    /// `DM_TABLE_STATUS`.
    Status = 12,
}

/// One target over the whole of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Kind: `verity`, `linear`.
    pub kind: String,
    /// Parameters, in the kind's own format.
    pub parameters: String,
}

impl Target {
    /// dm-verity over a data and a tree device (`major:minor`). Everything but the root hash comes
    /// from the superblock, and is bound by the root hash: the salt goes into every hash, and the
    /// number of blocks decides which blocks are hashed. A corrupted block panics the kernel, so
    /// that nothing wrong is ever read and the start counts as failed.
    #[must_use]
    pub fn verity(devices: (&str, &str), blocks: u64, salt: &[u8], root: &Digest) -> Self {
        /// Sectors of a block of 4096 bytes, the only block size of ours.
        const BLOCK: u64 = 8;
        let (data, tree) = devices;
        let salt = match salt {
            [] => "-".to_string(),
            salt => salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        // Version 1, 4096-byte blocks, hash blocks from block 1 on: block 0 is the superblock.
        let parameters = format!(
            "1 {data} {tree} 4096 4096 {blocks} 1 sha256 {root} {salt} 1 panic_on_corruption"
        );
        Target {
            sectors: blocks.saturating_mul(BLOCK),
            kind: "verity".to_string(),
            parameters,
        }
    }

    /// A plain window over the whole of a device.
    #[must_use]
    pub fn linear(device: &str, sectors: u64) -> Self {
        Target {
            sectors,
            kind: "linear".to_string(),
            parameters: format!("{device} 0"),
        }
    }

    /// The root hash and the data device of a dm-verity target; nothing for every other.
    #[must_use]
    pub fn verity_root(&self) -> Option<(Digest, &str)> {
        let fields: Vec<&str> = self.parameters.split(' ').collect();
        let data = fields.get(1).filter(|_| self.kind == "verity")?;
        Some((fields.get(8)?.parse().ok()?, data))
    }
}

/// The UUID of the mapping of a root, as cryptsetup names it, so that its tools and systemd's know
/// what it is.
#[must_use]
pub fn verity_uuid(root: &Digest, name: &str) -> String {
    let half: String = root.as_bytes()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("CRYPT-VERITY-{half}-{name}")
}

/// A request about the mapping `name`, with nothing more to say.
#[must_use]
pub fn request(name: &str) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    // Interface version 4.0: the kernel accepts every minor below its own.
    put32(&mut bytes, 0, 4);
    put32(&mut bytes, DATA_SIZE_AT, REQUEST as u32);
    put32(&mut bytes, DATA_START_AT, HEADER as u32);
    text(&mut bytes, NAME_AT, NAME_MAX, name);
    bytes
}

/// Makes a mapping.
#[must_use]
pub fn create(name: &str, uuid: &str) -> [u8; REQUEST] {
    let mut bytes = request(name);
    text(&mut bytes, UUID_AT, UUID_MAX, uuid);
    bytes
}

/// Gives a mapping its table. Nothing if the table is longer than a request.
#[must_use]
pub fn load(name: &str, target: &Target, read_only: bool) -> Option<[u8; REQUEST]> {
    let mut bytes = request(name);
    put32(&mut bytes, TARGET_COUNT_AT, 1);
    put32(&mut bytes, FLAGS_AT, if read_only { READ_ONLY } else { 0 });
    let spec = HEADER;
    bytes[spec + 8..spec + 16].copy_from_slice(&target.sectors.to_le_bytes());
    text(&mut bytes, spec + 24, 16, &target.kind);
    let parameters = target.parameters.as_bytes();
    let at = spec + TARGET;
    // One NUL must stay behind the parameters.
    bytes
        .get_mut(at..at + parameters.len() + 1)?
        .get_mut(..parameters.len())?
        .copy_from_slice(parameters);
    Some(bytes)
}

/// Asks for the table that is in force.
#[must_use]
pub fn table(name: &str) -> [u8; REQUEST] {
    let mut bytes = request(name);
    put32(&mut bytes, FLAGS_AT, STATUS_TABLE);
    bytes
}

/// Minor number of the mapping that an answer is about.
#[must_use]
pub fn minor(answer: &[u8; REQUEST]) -> u64 {
    let mut device = [0; 8];
    device.copy_from_slice(&answer[DEVICE_AT..DEVICE_AT + 8]);
    let device = u64::from_le_bytes(device);
    // `huge_encode_dev`: bits 8..20 are the major number, the minor number is split around them.
    device & 0xff | (device >> 12) & !0xff
}

/// The one target in the answer to [`table`]; nothing where there are more, or none.
#[must_use]
pub fn only_target(answer: &[u8; REQUEST]) -> Option<Target> {
    let start = get32(answer, DATA_START_AT) as usize;
    if get32(answer, TARGET_COUNT_AT) != 1 {
        return None;
    }
    let spec = answer.get(start..)?;
    let (spec, parameters) = spec.split_at_checked(TARGET)?;
    let mut sectors = [0; 8];
    sectors.copy_from_slice(&spec[8..16]);
    Some(Target {
        sectors: u64::from_le_bytes(sectors),
        kind: until_nul(&spec[24..])?,
        parameters: until_nul(parameters)?,
    })
}

fn until_nul(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    String::from_utf8(bytes[..end].to_vec()).ok()
}

fn put32(bytes: &mut [u8; REQUEST], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn get32(bytes: &[u8; REQUEST], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

/// A text with a NUL behind it, cut to its field. Names of ours are short; a cut one would be
/// refused by the kernel as unknown, not taken for another.
fn text(bytes: &mut [u8; REQUEST], at: usize, field: usize, value: &str) {
    let length = value.len().min(field - 1);
    bytes[at..at + length].copy_from_slice(&value.as_bytes()[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_a_root_names_its_hash_and_its_data_device() {
        let root = Digest::of(b"a root");
        let target = Target::verity(("253:2", "253:3"), 20_000, &[0xab, 0xcd], &root);
        assert_eq!(target.sectors, 160_000);
        let line =
            format!("1 253:2 253:3 4096 4096 20000 1 sha256 {root} abcd 1 panic_on_corruption");
        assert_eq!(target.parameters, line);
        assert_eq!(target.verity_root(), Some((root, "253:2")));
        assert_eq!(Target::linear("253:6", 8).verity_root(), None);
    }

    #[test]
    fn a_table_that_was_loaded_reads_back_as_it_was() {
        let root = Digest::of(b"a root");
        let target = Target::verity(("253:2", "253:3"), 5, &[1; 32], &root);
        let bytes = load("root", &target, true).unwrap();
        assert_eq!(only_target(&bytes), Some(target));
        let long = Target {
            parameters: "x".repeat(REQUEST),
            ..Target::linear("1:2", 1)
        };
        assert_eq!(load("root", &long, false), None);
    }

    #[test]
    fn the_minor_number_is_read_as_the_kernel_writes_it() {
        let mut answer = request("root");
        // major 253, minor 0x12345: huge_encode_dev gives 0x1230fd45.
        answer[DEVICE_AT..DEVICE_AT + 8].copy_from_slice(&0x1230_fd45_u64.to_le_bytes());
        assert_eq!(minor(&answer), 0x12345);
    }
}
