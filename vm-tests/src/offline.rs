//! The disk of a machine that is off, read by tools that are not ours: `qemu-img`, `sfdisk`, mtools.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::host::{capture, tool};
use crate::qemu::Machine;

/// A raw image.
#[derive(Debug)]
pub struct RawDisk {
    path: PathBuf,
    partitions: Vec<Partition>,
}

/// A partition, by the table as `sfdisk` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name in the table.
    pub name: String,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl RawDisk {
    /// A raw copy of the disk as it lies there now.
    ///
    /// # Errors
    /// When it cannot be copied or has no table.
    pub fn of(machine: &Machine) -> Result<Self> {
        let path = machine.folder().join("offline.raw");
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", machine.disk_format(), "-O", "raw"]);
        capture(convert.arg(machine.disk_file()).arg(&path))?;
        Self::open(&path)
    }

    /// A raw image that is there.
    ///
    /// # Errors
    /// When it has no table.
    pub fn open(path: &Path) -> Result<Self> {
        let sfdisk = tool("sfdisk").context("sfdisk is missing (package fdisk)")?;
        let dump = capture(Command::new(sfdisk).arg("--json").arg(path))?;
        let table: Value = serde_json::from_str(&dump).context("sfdisk printed no JSON")?;
        let table = &table["partitiontable"];
        let sector = table["sectorsize"].as_u64().unwrap_or(512);
        let listed = table["partitions"]
            .as_array()
            .with_context(|| format!("{}: sfdisk lists no partitions", path.display()))?;
        let partitions = listed
            .iter()
            .map(|entry| {
                let sectors = |key: &str| entry[key].as_u64().unwrap_or(0) * sector;
                Partition {
                    name: entry["name"].as_str().unwrap_or_default().to_owned(),
                    offset: sectors("start"),
                    size: sectors("size"),
                }
            })
            .collect();
        Ok(Self {
            path: path.to_owned(),
            partitions,
        })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A partition by its name.
    ///
    /// # Errors
    /// When the table has none of that name.
    pub fn partition(&self, name: &str) -> Result<&Partition> {
        self.partitions
            .iter()
            .find(|partition| partition.name == name)
            .with_context(|| format!("the disk has no partition '{name}'"))
    }

    /// Whether a partition begins with the bytes of a file.
    ///
    /// # Errors
    /// When either cannot be read.
    pub fn begins_with(&self, name: &str, file: &Path) -> Result<bool> {
        let partition = self.partition(name)?;
        let wanted = BufReader::with_capacity(1 << 20, File::open(file)?);
        let mut disk = File::open(&self.path)?;
        disk.seek(SeekFrom::Start(partition.offset))?;
        let length = file.metadata()?.len();
        if length > partition.size {
            return Ok(false);
        }
        same(wanted, BufReader::with_capacity(1 << 20, disk.take(length)))
    }

    /// Copies a partition into a file of its own.
    ///
    /// # Errors
    /// When either cannot be read or written.
    pub fn extract(&self, name: &str, to: &Path) -> Result<()> {
        let partition = self.partition(name)?;
        let mut disk = File::open(&self.path)?;
        disk.seek(SeekFrom::Start(partition.offset))?;
        let mut out = File::create(to)?;
        std::io::copy(&mut disk.take(partition.size), &mut out)
            .with_context(|| format!("cannot copy partition {name}"))
            .map(drop)
    }

    /// File names in a folder of the ESP, as mtools reads them, sorted.
    ///
    /// # Errors
    /// When mtools finds no file system or no such folder.
    pub fn esp_list(&self, folder: &str) -> Result<Vec<String>> {
        let mut mdir = self.mtools("mdir")?;
        let listed = capture(mdir.args(["-b", &format!("::/{folder}")]))?;
        let mut names: Vec<String> = listed
            .lines()
            .filter_map(|line| line.trim_end_matches('/').rsplit('/').next())
            .map(str::to_owned)
            .collect();
        names.sort();
        Ok(names)
    }

    /// A file of the ESP, as mtools reads it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn esp_read(&self, path: &str) -> Result<Vec<u8>> {
        let mut mcopy = self.mtools("mcopy")?;
        let output = mcopy.args(["-n", &format!("::/{path}"), "-"]).output()?;
        anyhow::ensure!(
            output.status.success(),
            "mcopy of {path}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(output.stdout)
    }

    /// Whether a file of the ESP begins as a boot image does, by the first cluster that its folder names: this
    /// holds too where the rest of its clusters is lost.
    ///
    /// # Errors
    /// When there is no such file, or the ESP is no FAT.
    pub fn esp_begins_as_image(&self, path: &str) -> Result<bool> {
        let mut mshowfat = self.mtools("mshowfat")?;
        let shown = capture(mshowfat.arg(format!("::/{path}")))?;
        // "::/EFI/Linux/x.efi <35507-70511>"; an empty file has none.
        let Some((_, clusters)) = shown.split_once(" <") else {
            return Ok(false);
        };
        let digits: String = clusters.chars().take_while(char::is_ascii_digit).collect();
        let cluster: u64 = digits
            .parse()
            .with_context(|| format!("mshowfat: {shown}"))?;
        let disk = File::open(&self.path)?;
        let esp = self.partition("esp")?.offset;
        let mut head = [0; 64];
        disk.read_exact_at(&mut head, esp)?;
        // "EFI FAT32 File System", 3.1: sector size, sectors a cluster, reserved, tables, sectors a table.
        let word = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let table = word(36) | word(38) << 16;
        let data = word(14) + u64::from(head[16]) * table;
        let sector = data + cluster.saturating_sub(2) * u64::from(head[13]);
        let mut magic = [0; 2];
        disk.read_exact_at(&mut magic, esp + sector * word(11))?;
        Ok(&magic == b"MZ")
    }

    /// Copies a file onto the ESP.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn esp_write(&self, path: &str, file: &Path) -> Result<()> {
        let mut mcopy = self.mtools("mcopy")?;
        capture(mcopy.arg("-o").arg(file).arg(format!("::/{path}"))).map(drop)
    }

    fn mtools(&self, program: &str) -> Result<Command> {
        let esp = self.partition("esp")?;
        let program = tool(program).with_context(|| format!("{program} is missing (mtools)"))?;
        let mut command = Command::new(program);
        let image = format!("{}@@{}", self.path.display(), esp.offset);
        command.env("MTOOLS_SKIP_CHECK", "1").args(["-i", &image]);
        Ok(command)
    }
}

/// Two streams have the same bytes.
fn same(mut one: impl Read, mut other: impl Read) -> Result<bool> {
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = fill(&mut one, &mut left)?;
        if count != fill(&mut other, &mut right)? || left[..count] != right[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_the_same_only_to_the_last_byte() {
        let long = vec![7u8; (1 << 20) + 5];
        assert!(same(&long[..], &long[..]).unwrap());
        assert!(!same(&long[..], &long[1..]).unwrap());
        let mut other = long.clone();
        other[1 << 20] = 8;
        assert!(!same(&long[..], &other[..]).unwrap());
    }
}
