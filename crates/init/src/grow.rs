//! Growing the state partition and its file system to what the disk has.
//!
//! An image is smaller than the disk it is written to. What is done here is found out from the disk
//! each time, so that a cut at any moment is caught up with by the next start.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gptman::GPT;
use nix::libc;
use twinroot_core::layout::Partition;

use crate::disk::{self, Disk};
use crate::log;
use crate::trouble::{Outcome, Trouble};

/// Partitions end at multiples of this, as they begin (`core::layout::plan`).
const ALIGN: u64 = 1 << 20;
/// Less than this is not worth touching a partition table.
const WORTH: u64 = 16 << 20;

/// Makes the last partition of a disk as large as the disk allows. Nothing where it is that already,
/// or where another partition follows.
pub(crate) fn partition(disk: &Disk, state: &Partition) -> Outcome<Option<Partition>> {
    let path = disk::node(&disk.name);
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(Trouble::on("open", &path))?;
    let mut gpt = GPT::find_from(&mut file).map_err(Trouble::on("read the table of", &path))?;
    let size = file
        .seek(SeekFrom::End(0))
        .map_err(Trouble::on("measure", &path))?;
    let Some((last, writes)) =
        plan(&mut gpt, state, size).map_err(Trouble::on("plan the table of", &path))?
    else {
        return Ok(None);
    };
    // The copy at the end first: until the one at the beginning is written, the old table holds, and
    // while that is being written the copy is whole.
    let (copy, main): (Vec<_>, Vec<_>) = writes.into_iter().partition(|(at, _)| *at > size / 2);
    for half in [copy, main] {
        for (at, bytes) in half {
            file.write_all_at(&bytes, at)
                .map_err(Trouble::on("write the table of", &path))?;
        }
        file.sync_all().map_err(Trouble::on("flush", &path))?;
    }
    let grown = Partition {
        last,
        ..state.clone()
    };
    let bytes = grown.bytes(disk.table.sector);
    tell_kernel(&file, grown.number, bytes.start, bytes.end - bytes.start)
        .map_err(Trouble::on("announce the larger partition of", &path))?;
    log::info(&format!(
        "the state partition has {} MiB now",
        (bytes.end - bytes.start) >> 20
    ));
    Ok(Some(grown))
}

/// The new last sector of `state` and what is to be written; nothing where nothing is to be done.
fn plan(
    gpt: &mut GPT,
    state: &Partition,
    size: u64,
) -> Result<Option<(u64, Vec<Piece>)>, gptman::Error> {
    let mut recorder = Recorder {
        size,
        at: 0,
        pieces: Vec::new(),
    };
    // Read from the copy at the end: the one at the beginning is damaged, which is not ours to mend.
    if !gpt.header.is_primary() {
        return Ok(None);
    }
    gpt.header.update_from(&mut recorder, gpt.sector_size)?;
    let usable_end = (gpt.header.last_usable_lba + 1) * gpt.sector_size;
    let last = usable_end / ALIGN * ALIGN / gpt.sector_size - 1;
    let followed = gpt
        .iter()
        .any(|(_, other)| other.is_used() && other.starting_lba > state.last);
    let gain = last
        .saturating_sub(state.last)
        .saturating_mul(gpt.sector_size);
    if followed || gain < WORTH {
        return Ok(None);
    }
    gpt[state.number].ending_lba = last;
    gpt.write_into(&mut recorder)?;
    GPT::write_protective_mbr_into(&mut recorder, gpt.sector_size)?;
    Ok(Some((last, recorder.pieces)))
}

/// Bytes and where they go.
type Piece = (u64, Vec<u8>);

/// A disk that only writes down what is written to it, so that the order can be ours.
struct Recorder {
    size: u64,
    at: u64,
    pieces: Vec<Piece>,
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pieces.push((self.at, bytes.to_vec()));
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Recorder {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Tells the kernel of a partition that has grown while others of the disk are in use, for which
/// reading the whole table again would be refused.
#[expect(unsafe_code, reason = "the kernel takes this by ioctl only")]
fn tell_kernel(disk: &File, number: u32, start: u64, length: u64) -> Result<(), nix::errno::Errno> {
    /// `BLKPG` and `BLKPG_RESIZE_PARTITION` of `linux/blkpg.h`.
    const BLKPG: libc::c_ulong = 0x1269;
    const RESIZE: libc::c_int = 3;
    #[repr(C)]
    struct Part {
        start: i64,
        length: i64,
        number: libc::c_int,
        names: [u8; 128],
    }
    #[repr(C)]
    struct Request {
        operation: libc::c_int,
        flags: libc::c_int,
        length: libc::c_int,
        data: *mut Part,
    }
    let big = |_| nix::errno::Errno::EFBIG;
    let mut part = Part {
        start: i64::try_from(start).map_err(big)?,
        length: i64::try_from(length).map_err(big)?,
        number: libc::c_int::try_from(number).map_err(|_| nix::errno::Errno::EINVAL)?,
        names: [0; 128],
    };
    let request = Request {
        operation: RESIZE,
        flags: 0,
        length: size_of::<Part>() as libc::c_int,
        data: &raw mut part,
    };
    // SAFETY: the kernel reads one `struct blkpg_ioctl_arg` and the `struct blkpg_partition` it
    // points to, both laid out as C does and alive until the call returns.
    let told = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw const request) };
    nix::errno::Errno::result(told).map(drop)
}

/// Lets the mounted file system fill its device, where that has become larger.
pub(crate) fn file_system(device: &Path, mounted: &str, sectors: u64) {
    let grown = File::open(device)
        .and_then(|file| blocks_of(&file))
        .and_then(|(blocks, block)| {
            let wanted = sectors * 512 / block;
            if wanted.saturating_sub(blocks) * block < WORTH {
                return Ok(());
            }
            resize(&File::open(mounted)?, wanted)?;
            log::info(&format!(
                "the state file system has {} MiB now",
                (wanted * block) >> 20
            ));
            Ok(())
        });
    if let Err(error) = grown {
        log::warning(&format!("the state file system stays as it is: {error}"));
    }
}

/// Number of blocks and bytes of a block, by ext4's superblock (kernel documentation, 'ext4 Data
/// Structures and Algorithms', 4.1).
fn blocks_of(device: &File) -> io::Result<(u64, u64)> {
    const AT: u64 = 1024;
    const MAGIC: [u8; 2] = [0x53, 0xEF];
    let mut bytes = [0; 1024];
    device.read_exact_at(&mut bytes, AT)?;
    let word = |at: usize| {
        u64::from(u32::from_le_bytes([
            bytes[at],
            bytes[at + 1],
            bytes[at + 2],
            bytes[at + 3],
        ]))
    };
    if bytes[0x38..0x3A] != MAGIC {
        return Err(io::Error::other("its superblock is none of ext4's"));
    }
    Ok((word(0x4) | word(0x150) << 32, 1024 << word(0x18).min(6)))
}

#[expect(unsafe_code, reason = "ext4 takes this by ioctl only")]
fn resize(mounted: &File, blocks: u64) -> io::Result<()> {
    /// `EXT4_IOC_RESIZE_FS`: `_IOW('f', 16, __u64)`.
    const CODE: libc::c_ulong = nix::request_code_write!(b'f', 16, size_of::<u64>());
    // SAFETY: the kernel reads one u64 at the pointer.
    let told = unsafe { libc::ioctl(mounted.as_raw_fd(), CODE, &raw const blocks) };
    nix::errno::Errno::result(told)
        .map(drop)
        .map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use twinroot_core::layout::{
        Architecture, DiskSize, Guid, Holds, SectorSize, SizesWanted, plan_table,
    };

    const MIB: u64 = 1 << 20;

    /// A disk of `size` bytes with a table that was made for one of `made_for` bytes.
    fn disk(made_for: u64, size: u64) -> (Cursor<Vec<u8>>, Partition) {
        let wanted = SizesWanted {
            holds: Holds::Root,
            architecture: Architecture::X86_64,
            esp: MIB,
            data: MIB,
            tree: MIB,
            state: MIB,
        };
        let sector = SectorSize::S512;
        let table = plan_table(
            "d",
            DiskSize {
                bytes: made_for,
                sector,
            },
            &wanted,
            Guid::from_number(5),
        )
        .unwrap();
        let mut disk = Cursor::new(vec![0; made_for as usize]);
        let mut gpt = GPT::new_from(&mut disk, 512, table.uuid.to_disk()).unwrap();
        for one in &table.partitions {
            gpt[one.number].partition_type_guid = one.kind.to_disk();
            gpt[one.number].unique_partition_guid = one.uuid.to_disk();
            gpt[one.number].starting_lba = one.first;
            gpt[one.number].ending_lba = one.last;
        }
        gpt.write_into(&mut disk).unwrap();
        disk.get_mut().resize(size as usize, 0);
        (disk, table.partitions.last().unwrap().clone())
    }

    #[test]
    fn state_grows_to_the_end_and_is_then_left_alone() {
        let (mut disk, state) = disk(20 * MIB, 64 * MIB);
        let mut gpt = GPT::find_from(&mut disk).unwrap();
        let (last, pieces) = plan(&mut gpt, &state, 64 * MIB).unwrap().unwrap();
        assert_eq!((last + 1) * 512, 63 * MIB);
        for (at, bytes) in pieces {
            disk.get_mut()[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        let mut gpt = GPT::find_from(&mut disk).unwrap();
        assert_eq!(gpt[state.number].ending_lba, last);
        let grown = Partition { last, ..state };
        assert!(plan(&mut gpt, &grown, 64 * MIB).unwrap().is_none());
    }

    #[test]
    fn a_cut_at_any_write_leaves_a_table_that_is_found() {
        let (disk, state) = disk(20 * MIB, 64 * MIB);
        let mut gpt = GPT::find_from(&mut disk.clone()).unwrap();
        let (_, pieces) = plan(&mut gpt, &state, 64 * MIB).unwrap().unwrap();
        let (copy, main): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|(at, _)| *at > 32 * MIB);
        let mut disk = disk;
        for (at, bytes) in copy.iter().chain(&main) {
            disk.get_mut()[*at as usize..*at as usize + bytes.len()].copy_from_slice(bytes);
            let found = GPT::find_from(&mut disk).unwrap();
            assert_eq!(
                found.iter().filter(|(_, one)| one.is_used()).count(),
                6,
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_disk_that_is_as_large_as_its_table_says_is_not_written() {
        let (mut disk, state) = disk(64 * MIB, 64 * MIB);
        let mut gpt = GPT::find_from(&mut disk).unwrap();
        assert!(plan(&mut gpt, &state, 64 * MIB).unwrap().is_none());
    }
}
