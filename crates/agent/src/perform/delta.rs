//! Updates by delta: which one fits, and writing the inactive slot by it. Where the base does not give
//! what the delta names, the slot is left to the full payload, which keeps everything that is right
//! already.

use std::cell::OnceCell;

use twinroot_payload::delta::stream::Signed;
use twinroot_payload::delta::{self, DeltaIndex, Expect, Kind};
use twinroot_payload::error::Error as PayloadError;
use twinroot_payload::io::ReadAt;
use twinroot_payload::verity::{BLOCK, claimed_root};
use twinroot_ports::Outcome;
use twinroot_trust::manifest::{Artefact, Coding, Delta, Payload};

use super::crew::{Crew, Left};
use super::metadata::DISTRUSTED;
use super::stage::{BaseSlot, Source, Target};
use crate::agent::Agent;

/// The delta of an artefact that starts from `base`, where the manifest has one and it is smaller
/// than the full payload.
///
/// It is not weighed against reuse: the publisher lists a delta only where it is smaller than what
/// reuse of the same base would fetch, and what a slot holds already counts for it just the same.
/// So the full payload's index need not be fetched to choose.
pub(crate) fn fitting<'a>(artefact: &'a Artefact, base: &[u8; 32]) -> Option<&'a Delta> {
    let fits = |d: &&Delta| d.base.as_bytes() == base && d.payload.size < artefact.full.size;
    artefact
        .deltas
        .iter()
        .filter(fits)
        .min_by_key(|d| d.payload.size)
}

/// What the manifest says of a delta.
///
/// # Errors
/// [`PayloadError::FormatUnknown`] where it has no index: deltas of other shapes are skipped when the
/// manifest is read.
pub(crate) fn signed(
    artefact: &Artefact,
    delta: &Delta,
    kind: Kind,
) -> Result<Signed, PayloadError> {
    let Payload { size, coding, .. } = &delta.payload;
    let Coding::Segments { index, .. } = coding else {
        return Err(PayloadError::FormatUnknown {
            found: 0,
            known: delta::model::FORMAT,
        });
    };
    let expect = Expect {
        kind,
        base: *delta.base.as_bytes(),
        target: *artefact.digest().as_bytes(),
        target_bytes: artefact.size,
        file_bytes: *size,
    };
    Ok(Signed {
        index_size: index.size,
        index_digest: *index.sha256.as_bytes(),
        expect,
    })
}

/// Fetches and checks a delta's index by itself.
pub(crate) fn index(source: &Source<'_>, signed: &Signed) -> Result<DeltaIndex, PayloadError> {
    let bytes = delta::load(source, signed.index_size, &signed.index_digest)?;
    DeltaIndex::open(&bytes, &signed.expect)
}

/// A failure that the full payload need not have as well: of the delta, not of network or disk.
pub(crate) fn is_of_the_delta(error: &PayloadError, source: &Source<'_>) -> bool {
    !matches!(error, PayloadError::Io { .. }) || source.lacks_it()
}

/// Writes what the delta can give. `false` where something is left to the full payload.
///
/// # Errors
/// Where the network, the target or the caller ends it; what was written is found at the next try.
pub(super) fn write(
    agent: &Agent<'_>,
    target: &Target<'_>,
    base: &BaseSlot,
    delta: &Delta,
) -> Outcome<bool> {
    let path = delta.payload.path.as_str();
    let source = Source::new(agent.ports, path);
    match passes(agent, target, base, delta, &source) {
        Ok(whole) => Ok(whole),
        Err(error) if is_of_the_delta(&error, &source) => Ok(false),
        Err(error) => Err(source.explain(path, &error)),
    }
}

/// Passes over the delta until nothing is missing that another mirror might have right.
fn passes(
    agent: &Agent<'_>,
    target: &Target<'_>,
    base: &BaseSlot,
    delta: &Delta,
    source: &Source<'_>,
) -> Result<bool, PayloadError> {
    let signed = signed(target.candidate.image(), delta, Kind::Image)?;
    let crew = Crew {
        agent,
        target,
        base,
    };
    let opened = OnceCell::new();
    let mut left = if begun(&*target.tree, &*target.data) {
        let index = index(source, &signed)?;
        crew.begin(signed.index_size)?;
        crew.ranges(opened.get_or_init(|| index), source)?
    } else {
        crew.whole(&signed, &opened, source)?
    };
    let mut tries = DISTRUSTED;
    loop {
        let flushed = target.data.flush();
        flushed.map_err(|fault| PayloadError::Io {
            doing: "flush the target slot",
            fault,
        })?;
        match (left, opened.get()) {
            (Left::Nothing, _) => return Ok(true),
            (Left::Damaged, Some(index)) if tries > 0 && agent.ports.fetch.distrust() => {
                tries -= 1;
                left = crew.ranges(index, source)?;
            }
            (Left::Damaged | Left::Lost, _) => return Ok(false),
        }
    }
}

/// Whether an earlier try seems to have left something in the slot: it claims nothing, as it does while
/// it is written, and yet begins with something. Then much of the delta may be there, and its index is
/// fetched by itself to see what; else all of the delta comes in one request. A wrong answer costs a
/// request, or bytes on their way when the stream is left, and nothing else.
pub(crate) fn begun(tree: &dyn ReadAt, data: &dyn ReadAt) -> bool {
    let mut first = [0; BLOCK];
    matches!(claimed_root(tree), Ok(None))
        && data.read_at(0, &mut first).is_ok()
        && first != [0; BLOCK]
}
