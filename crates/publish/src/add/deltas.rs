//! Deltas from earlier releases. Nothing of those has to be kept apart from what is published: a base
//! is decoded from its own full payload, into a file without a name, and proven by its root hash.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use twinroot_payload::delta::Kind as What;
use twinroot_payload::encode::delta::{Draft, Identity, PatchMeta, Patcher};
use twinroot_payload::encode::{Layout as PayloadLayout, SegmentMeta};
use twinroot_payload::index::{self, Expect, Index};
use twinroot_payload::io::{CodedSource, Fault, ReadAt, WriteAt};
use twinroot_payload::job::Io;
use twinroot_payload::plan::Plan;
use twinroot_payload::stage::in_turn;
use twinroot_payload::verity::{TreeShape, root_of};
use twinroot_trust::digest::Digest;
use twinroot_trust::manifest::{Coding, Delta, IndexRef, Kind, Manifest, Payload};

use super::image::ImageFile;
use super::payloads::{self, Progress};
use super::{AddPlan, Record};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::repository::Repository;

/// The number of the delta format that we write.
const FORMAT: u32 = twinroot_payload::delta::model::FORMAT;

/// A delta is published where a node fetches less than so many percent of what it would fetch
/// without: of the segments that reuse of the base leaves over, or of the file sent plain. What is
/// won below that does not pay for one more file in the repository and on every mirror.
const PAYS_BELOW_PERCENT: u64 = 90;

/// What became of a delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddedDelta {
    /// `root`, `usr` or `uki`.
    pub kind: &'static str,
    /// The release that it starts from.
    pub from: String,
    /// Bytes of the delta.
    pub bytes: u64,
    /// Bytes that a node would fetch without it.
    pub instead_of: u64,
    /// Whether it is published: only if it pays.
    pub published: bool,
}

/// Everything that the deltas of one release are made from.
pub(super) struct Inputs<'a> {
    pub(super) plan: &'a AddPlan,
    pub(super) image: &'a ImageFile,
    pub(super) planned: &'a PayloadLayout,
    pub(super) metas: &'a [SegmentMeta],
    pub(super) root_hash: Digest,
    pub(super) uki: Digest,
    pub(super) progress: Progress<'a>,
}

/// The deltas to be listed, and what became of all.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) image: Vec<Delta>,
    pub(super) uki: Vec<Delta>,
    pub(super) all: Vec<AddedDelta>,
}

impl Repository {
    /// Makes deltas from the last releases of the channel.
    pub(super) fn deltas(&self, inputs: &Inputs<'_>, records: &[Record]) -> Result<Made> {
        let mut made = Made::default();
        let plan = inputs.plan;
        let before = records.iter().rev().filter(|r| r.version < plan.version);
        let mut left = plan.delta_from;
        for record in before {
            // A release of another channel: no node that follows this one starts from it.
            let Ok((manifest, _)) = self.manifest_of(&plan.channel, &record.version) else {
                continue;
            };
            if left == 0 {
                break;
            }
            left -= 1;
            let from = record.version.to_string();
            if manifest.system_image().kind() == plan.kind {
                let (delta, told) = self.image_delta(inputs, &manifest, &from)?;
                made.image.extend(delta);
                made.all.push(told);
            }
            if manifest.uki().digest() != inputs.uki {
                let (delta, told) = self.uki_delta(inputs, &manifest, &from)?;
                made.uki.extend(delta);
                made.all.push(told);
            }
        }
        Ok(made)
    }

    fn image_delta(
        &self,
        inputs: &Inputs<'_>,
        manifest: &Manifest,
        from: &str,
    ) -> Result<(Option<Delta>, AddedDelta)> {
        let base = rebuild(&self.layout, manifest)?;
        let identity = Identity {
            kind: What::Image,
            base: *manifest.verity().root_hash.as_bytes(),
            target: *inputs.root_hash.as_bytes(),
        };
        let draft = Draft::make(&base, inputs.image, &identity, &inputs.plan.delta_params())
            .map_err(|cause| wrong(inputs.image.path(), cause))?;
        let payload = self.cut(inputs, &draft, &base, inputs.image)?;
        let kind = inputs.plan.kind.as_str();
        let instead_of = by_reuse(inputs, &draft);
        Ok(self.judge(kind, from, manifest.verity().root_hash, payload, instead_of))
    }

    fn uki_delta(
        &self,
        inputs: &Inputs<'_>,
        manifest: &Manifest,
        from: &str,
    ) -> Result<(Option<Delta>, AddedDelta)> {
        let old = manifest.uki();
        let base = ImageFile::open(&self.layout.targets().join(&old.full.path))?;
        let target = ImageFile::open(&inputs.plan.uki)?;
        let identity = Identity {
            kind: What::File,
            base: *old.digest().as_bytes(),
            target: *inputs.uki.as_bytes(),
        };
        let draft = Draft::make(&base, &target, &identity, &inputs.plan.delta_params())
            .map_err(|cause| wrong(target.path(), cause))?;
        let payload = self.cut(inputs, &draft, &base, &target)?;
        let (kind, instead_of) = (Kind::Uki.as_str(), target.length());
        Ok(self.judge(kind, from, old.digest(), payload, instead_of))
    }

    /// Keeps a delta that pays; removes one that does not.
    fn judge(
        &self,
        kind: &'static str,
        from: &str,
        base: Digest,
        payload: Payload,
        instead_of: u64,
    ) -> (Option<Delta>, AddedDelta) {
        let published = payload.size * 100 < instead_of * PAYS_BELOW_PERCENT;
        let told = AddedDelta {
            kind,
            from: from.to_owned(),
            bytes: payload.size,
            instead_of,
            published,
        };
        if published {
            return (Some(Delta { base, payload }), told);
        }
        // Nothing refers to it; a left-over would be found and named by `check`.
        let _ = std::fs::remove_file(self.layout.targets().join(&payload.path));
        (None, told)
    }

    /// Codes a draft and writes the file, its index first.
    fn cut(
        &self,
        inputs: &Inputs<'_>,
        draft: &Draft,
        base: &dyn ReadAt,
        target: &dyn ReadAt,
    ) -> Result<Payload> {
        let work = inputs.plan.uki.as_path();
        let (coded_path, mut coded) = nameless(&self.layout, "coded")?;
        let failed = |cause| Error::io("write", &coded_path, cause);
        let total = draft.segments().len();
        let mut metas: Vec<PatchMeta> = Vec::with_capacity(total);
        payloads::in_order(
            inputs.plan.threads,
            total,
            &|| {
                let mut patcher = Patcher::new();
                Box::new(move |number| patcher.segment(draft, number, base, target))
            },
            &mut |patch| {
                let patch = patch.map_err(|cause| wrong(work, cause))?;
                coded.write_all(&patch.bytes).map_err(failed)?;
                metas.push(patch.meta);
                (inputs.progress)(metas.len() as u64, total as u64);
                Ok(())
            },
        )?;
        let index = draft.finish(&metas).map_err(|cause| wrong(work, cause))?;
        let temporary = self.layout.payloads().join(".delta.new");
        let mut out = payloads::create(&temporary)?;
        let failed = |cause| Error::io("write", &temporary, cause);
        out.write_all(&index).map_err(failed)?;
        coded
            .seek(SeekFrom::Start(0))
            .and_then(|_| std::io::copy(&mut coded, &mut out))
            .map_err(failed)?;
        drop(out);
        let (size, sha256) = payloads::digest_of(&temporary)?;
        payloads::keep(&*self.files, &self.layout, &temporary, &sha256)?;
        let index = IndexRef {
            size: index.len() as u64,
            sha256: Digest::of(&index),
        };
        Ok(Payload {
            path: Layout::payload_name(&sha256),
            size,
            sha256,
            coding: Coding::Segments {
                format: FORMAT,
                index,
            },
        })
    }
}

/// What a node with the base fetches of the full payload: its index, and the segments of which the
/// base lacks a block.
fn by_reuse(inputs: &Inputs<'_>, draft: &Draft) -> u64 {
    let missing: std::collections::HashSet<u32> = draft
        .segments()
        .iter()
        .flat_map(|segment| segment.blocks.iter().copied())
        .collect();
    let both = inputs.planned.segments().iter().zip(inputs.metas);
    let fetched = both.filter(|(planned, _)| planned.blocks.iter().any(|b| missing.contains(b)));
    inputs.planned.index_bytes() + fetched.map(|(_, m)| u64::from(m.coded_bytes)).sum::<u64>()
}

/// The image of an earlier release, decoded from its own full payload.
fn rebuild(layout: &Layout, manifest: &Manifest) -> Result<Nameless> {
    let artefact = manifest.system_image();
    let path = layout.targets().join(&artefact.full.path);
    let damaged = |cause: String| Error::damaged(path.display().to_string(), cause);
    let Coding::Segments { index, .. } = &artefact.full.coding else {
        return Err(damaged("it is no payload of segments".into()));
    };
    let source = PayloadFile(File::open(&path).map_err(|cause| Error::io("open", &path, cause))?);
    let bytes = index::load(&source, index.size, index.sha256.as_bytes())
        .map_err(|cause| damaged(cause.to_string()))?;
    let verity = manifest.verity();
    let expect = Expect {
        image_bytes: artefact.size,
        root_hash: *verity.root_hash.as_bytes(),
        file_bytes: artefact.full.size,
    };
    let (to, file) = nameless(layout, "base")?;
    file.set_len(artefact.size)
        .map_err(|cause| Error::io("write", &to, cause))?;
    let base = Nameless {
        file,
        length: artefact.size,
    };
    let made = (|| {
        let index = Index::open(&bytes, &expect)?;
        let plan = Plan::everything(&index)?;
        in_turn(&Io {
            index: &index,
            plan: &plan,
            table: None,
            source: &source,
            target: &base,
            compare: false,
        })?;
        root_of(&base, &TreeShape::for_size(artefact.size)?, &verity.salt)
    })();
    match made {
        Ok(found) if found == *verity.root_hash.as_bytes() => Ok(base),
        Ok(_) => Err(damaged("it does not give the image it is for".into())),
        Err(cause) => Err(damaged(cause.to_string())),
    }
}

fn wrong(path: &Path, cause: impl ToString) -> Error {
    Error::Encoding {
        path: path.to_owned(),
        why: cause.to_string(),
    }
}

/// A file in the work folder that is gone as soon as it is closed, however that happens.
fn nameless(layout: &Layout, name: &str) -> Result<(PathBuf, File)> {
    let path = layout.lock().with_file_name(format!(".{name}.new"));
    let file = payloads::create(&path)?;
    std::fs::remove_file(&path).map_err(|cause| Error::io("remove", &path, cause))?;
    Ok((path, file))
}

struct Nameless {
    file: File,
    length: u64,
}

fn disk(cause: std::io::Error) -> Fault {
    Fault::disk(format!("the image of an earlier release: {cause}"))
}

impl ReadAt for Nameless {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::result::Result<(), Fault> {
        self.file.read_exact_at(buffer, offset).map_err(disk)
    }

    fn len(&self) -> std::result::Result<u64, Fault> {
        Ok(self.length)
    }
}

impl WriteAt for Nameless {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> std::result::Result<(), Fault> {
        self.file.write_all_at(buffer, offset).map_err(disk)
    }

    fn flush(&self) -> std::result::Result<(), Fault> {
        Ok(()) // it is read by this process only
    }
}

/// A full payload of the repository, as a source.
struct PayloadFile(File);

impl CodedSource for PayloadFile {
    fn fetch(
        &self,
        range: std::ops::Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> std::result::Result<(), Fault>,
    ) -> std::result::Result<(), Fault> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.0
            .read_exact_at(&mut bytes, range.start)
            .map_err(|cause| Fault::disk(format!("the payload of an earlier release: {cause}")))?;
        take(&bytes)
    }
}
