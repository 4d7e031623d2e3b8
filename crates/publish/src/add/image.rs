//! Files given as input: the root image as blocks, the hash tree beside it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinroot_payload::io::{Fault, FaultKind, ReadAt};
use twinroot_payload::verity::{self, Superblock, TreeShape};
use twinroot_trust::digest::Digest;

use crate::error::{Error, Result};

/// An input file that is read at positions.
#[derive(Debug)]
pub(crate) struct ImageFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl ImageFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|cause| Error::io("open", path, cause))?;
        let metadata = file
            .metadata()
            .map_err(|cause| Error::io("look at", path, cause))?;
        if !metadata.is_file() {
            return Err(Error::InputFile {
                path: path.to_owned(),
                why: "it is no regular file".into(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            length: metadata.len(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// An error about this file.
    pub(crate) fn wrong(&self, why: impl ToString) -> Error {
        Error::InputFile {
            path: self.path.clone(),
            why: why.to_string(),
        }
    }

    /// The shape of the hash tree over an image of this size.
    pub(crate) fn shape(&self) -> Result<TreeShape> {
        if self.length == 0 || !self.length.is_multiple_of(verity::BLOCK as u64) {
            return Err(self.wrong(format!(
                "its size of {} bytes is no multiple of {}; pad the image with zeros when it is built",
                self.length,
                verity::BLOCK
            )));
        }
        TreeShape::for_size(self.length).map_err(|cause| self.wrong(cause))
    }
}

impl ReadAt for ImageFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::result::Result<(), Fault> {
        self.file.read_exact_at(buffer, offset).map_err(|cause| {
            Fault::new(FaultKind::Disk, format!("{}: {cause}", self.path.display()))
        })
    }

    fn len(&self) -> std::result::Result<u64, Fault> {
        Ok(self.length)
    }
}

/// What the superblock of a tree file states. Its UUID may be any: node and manifest do not use it.
///
/// # Errors
/// [`Error::InputFile`] when the file does not start with a superblock of the kind we sign for.
fn superblock(tree: &ImageFile) -> Result<Superblock> {
    let mut block = [0; verity::BLOCK];
    tree.read_at(0, &mut block)
        .map_err(|cause| tree.wrong(cause.message))?;
    let why = "it does not start with a verity superblock for SHA-256 and blocks of 4096 bytes";
    Superblock::decode(&block).ok_or_else(|| tree.wrong(why))
}

/// The salt that a tree file states. Only a hint for the publisher: it is signed later, in the
/// manifest, and the whole tree is compared.
pub(crate) fn salt_of_tree(tree: &ImageFile) -> Result<Vec<u8>> {
    Ok(superblock(tree)?.salt)
}

/// Compares a tree that was built elsewhere with what we compute from the image.
pub(crate) fn check_tree(
    tree: &ImageFile,
    shape: &TreeShape,
    salt: &[u8],
    computed: &Digest,
) -> Result<()> {
    let stated = superblock(tree)?;
    if stated.data_blocks != shape.data_blocks() {
        let blocks = shape.data_blocks();
        return Err(tree.wrong(format!(
            "it is a tree over {} blocks, the image has {blocks}",
            stated.data_blocks
        )));
    }
    // An image of one block has no tree: its root hash is that of the block.
    if let Some(offset) = shape.root_offset() {
        let mut block = [0; verity::BLOCK];
        tree.read_at(offset, &mut block)
            .map_err(|cause| tree.wrong(cause.message))?;
        let found = Digest::from_bytes(verity::block_hash(&stated.salt, &block));
        if found != *computed {
            return Err(Error::RootHashMismatch {
                what: tree.path().display().to_string(),
                found: found.to_string(),
                computed: computed.to_string(),
            });
        }
    }
    verity::check_stored_tree(tree, shape, salt, computed.as_bytes(), None)
        .map_err(|cause| tree.wrong(format!("it is not the tree of this image: {cause}")))
}
