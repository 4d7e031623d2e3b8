//! Cutting payload files, named by their content, before anything refers to them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use sha2::{Digest as _, Sha256};
use twinroot_payload::encode::{Compressor, History, Layout as PayloadLayout, Params, SegmentMeta};
use twinroot_trust::digest::Digest;
use twinroot_trust::manifest::{Coding, IndexRef, Payload};

use super::image::ImageFile;
use crate::error::{Error, Result};
use crate::files::{self, Files};
use crate::layout::Layout;

/// The number of the payload format that we write.
const FORMAT: u32 = 1;
/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// Told how many of how many segments are coded.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Makes the full payload of an image with `threads` workers; the bytes do not depend on how many.
/// Also gives what became of each segment.
pub(crate) fn cut_full(
    files: &dyn Files,
    layout: &Layout,
    image: &ImageFile,
    planned: &PayloadLayout,
    work: Work<'_>,
) -> Result<(Payload, Vec<SegmentMeta>)> {
    let temporary = layout.payloads().join(".full.new");
    let mut out = create(&temporary)?;
    let failed = |cause| Error::io("write", &temporary, cause);
    out.seek(SeekFrom::Start(planned.index_bytes()))
        .map_err(failed)?;
    let mut metas = Vec::with_capacity(planned.segments().len());
    let total = planned.segments().len();
    let level = work.params.level;
    in_order(
        work.threads,
        total,
        &|| {
            let mut compressor = Compressor::new(level);
            Box::new(move |number| match &mut compressor {
                Ok(compressor) => compressor.segment(planned, number, image),
                Err(cause) => Err(cause.clone()),
            })
        },
        &mut |coded| {
            let coded = coded.map_err(|cause| wrong(image, cause))?;
            out.write_all(&coded.bytes).map_err(failed)?;
            metas.push(coded.meta);
            (work.progress)(metas.len() as u64, total as u64);
            Ok(())
        },
    )?;
    let index = planned
        .finish(&metas)
        .map_err(|cause| wrong(image, cause))?;
    out.seek(SeekFrom::Start(0))
        .and_then(|_| out.write_all(&index))
        .map_err(failed)?;
    drop(out);
    let (size, sha256) = digest_of(&temporary)?;
    keep(files, layout, &temporary, &sha256)?;
    let index = IndexRef {
        size: index.len() as u64,
        sha256: Digest::of(&index),
    };
    let coding = Coding::Segments {
        format: FORMAT,
        index,
    };
    let payload = Payload {
        path: Layout::payload_name(&sha256),
        size,
        sha256,
        coding,
    };
    Ok((payload, metas))
}

/// How segments are coded.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) params: &'a Params,
    pub(crate) threads: usize,
    pub(crate) progress: Progress<'a>,
}

/// What codes the segments of one worker.
pub(crate) type Worker<'a, T> = Box<dyn FnMut(usize) -> T + 'a>;

/// Does `total` pieces of work on worker threads and takes what they give in order.
///
/// Worker w does the pieces w, w + n, … and hands each over a channel of one place, so at most
/// two results a worker are in memory however slow the taker is.
pub(crate) fn in_order<'a, T: Send>(
    threads: usize,
    total: usize,
    worker: &(dyn Fn() -> Worker<'a, T> + Sync),
    take: &mut dyn FnMut(T) -> Result<()>,
) -> Result<()> {
    let workers = threads.clamp(1, total.max(1));
    std::thread::scope(|scope| {
        let queues: Vec<Receiver<T>> = (0..workers)
            .map(|first| {
                let (give, queue) = sync_channel(1);
                scope.spawn(move || {
                    let mut work = worker();
                    for number in (first..total).step_by(workers) {
                        // The taker has stopped because of an error of its own: so do we.
                        if give.send(work(number)).is_err() {
                            return;
                        }
                    }
                });
                queue
            })
            .collect();
        for number in 0..total {
            let done = queues[number % workers]
                .recv()
                .expect("a worker ends early only where it panics, and the scope passes that on");
            take(done)?;
        }
        Ok(())
    })
}

/// Copies a file as it is, named by its content.
pub(crate) fn copy_plain(
    files: &dyn Files,
    layout: &Layout,
    input: &Path,
) -> Result<(u64, Digest)> {
    let bytes = files::read(input)?;
    let sha256 = Digest::of(&bytes);
    let path = layout.targets().join(Layout::payload_name(&sha256));
    if !has(&path, bytes.len() as u64, &sha256)? {
        files::write_durably(files, &path, &bytes)?;
    }
    Ok((bytes.len() as u64, sha256))
}

/// The history of an earlier release, if it was made with this salt; under another it says nothing.
pub(crate) fn history(path: &Path, salt: &[u8]) -> Result<Option<History>> {
    let Some(bytes) = files::read_if_there(path)? else {
        return Ok(None);
    };
    let history = History::decode(&bytes)
        .map_err(|cause| Error::damaged(path.display().to_string(), cause))?;
    Ok(history.has_salt(salt).then_some(history))
}

pub(crate) fn create(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|cause| Error::io("create", path, cause))
}

/// Gives a finished file its name, unless the same content is there already.
pub(crate) fn keep(
    files: &dyn Files,
    layout: &Layout,
    temporary: &Path,
    sha256: &Digest,
) -> Result<PathBuf> {
    let path = layout.targets().join(Layout::payload_name(sha256));
    files::name_durably(files, temporary, &path)?;
    Ok(path)
}

/// Whether a file of this name holds this content; a left-over of a crash might not.
fn has(path: &Path, size: u64, sha256: &Digest) -> Result<bool> {
    Ok(path.is_file() && digest_of(path)? == (size, *sha256))
}

/// Size and SHA-256 of a file, read in pieces.
///
/// # Errors
/// [`Error::Io`].
pub fn digest_of(path: &Path) -> Result<(u64, Digest)> {
    let failed = |cause| Error::io("read", path, cause);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        match file.read(&mut chunk).map_err(failed)? {
            0 => return Ok((size, Digest::from_bytes(hasher.finalize().into()))),
            got => {
                hasher.update(&chunk[..got]);
                size += got as u64;
            }
        }
    }
}

fn wrong(image: &ImageFile, why: impl ToString) -> Error {
    Error::Encoding {
        path: image.path().to_owned(),
        why: why.to_string(),
    }
}
