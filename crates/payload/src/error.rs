//! What can go wrong with a payload, each with a stable code.

use alloc::string::String;

use crate::io::Fault;

/// Why a payload, an index, a tree or a slot was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A read, write, flush or fetch failed.
    #[error("{doing}: {fault}")]
    Io {
        /// What was being done, and on what.
        doing: &'static str,
        /// What the door reported.
        fault: Fault,
    },
    /// The file does not start as a payload does.
    #[error("this is not a twinroot payload: {found}; publish the release again")]
    NotAPayload {
        /// What stands there instead.
        found: String,
    },
    /// The payload is of a format newer than this program.
    #[error("the payload is of format {found}, this program reads format {known}; update it first")]
    FormatUnknown {
        /// The format the payload names.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },
    /// The index contradicts itself or ends early.
    #[error("the payload's index is damaged: {what}; fetch it again or publish the release again")]
    IndexInvalid {
        /// Which rule is broken, and where.
        what: String,
    },
    /// The index is not the one that the signed manifest names.
    #[error("the index does not have the digest that the manifest names; fetch it again")]
    IndexDigest,
    /// The index describes another image than the signed manifest.
    #[error("the index is for another image: {what}")]
    IndexForAnotherImage {
        /// The field that differs, with both values.
        what: String,
    },
    /// A count or size is beyond what this program accepts.
    #[error("{what} is {found}, more than the limit of {limit}")]
    TooLarge {
        /// The thing counted.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// A segment's coding is not known.
    #[error(
        "segment {segment} is coded in a way (number {coding}) that this program does not know; update it first"
    )]
    CodingUnknown {
        /// Number of the segment in the index.
        segment: u32,
        /// The coding byte found.
        coding: u8,
    },
    /// Coded bytes do not have the digest that the index names.
    #[error(
        "the coded bytes of segment {segment} do not have the digest that the index names; the copy fetched is damaged or was replaced"
    )]
    SegmentDigest {
        /// Number of the segment in the index.
        segment: u32,
    },
    /// Coded bytes with the right digest do not decode to the declared length.
    #[error("segment {segment} does not decode: {what}; publish the release again")]
    SegmentInvalid {
        /// Number of the segment in the index.
        segment: u32,
        /// What the decoder reports.
        what: String,
    },
    /// A patch gives something else than the index names: the base is not what it should be.
    #[error(
        "segment {segment} of the delta does not give what its index names; the base it was made for is damaged or another, so that part is fetched from the full payload"
    )]
    SegmentOutput {
        /// Number of the segment in the delta's index.
        segment: u32,
    },
    /// The written image does not have the signed root hash, even after fetching all that differs.
    #[error(
        "the written image has root hash {found}, the manifest names {expected}; the payload is for another image or the disk does not keep what is written to it"
    )]
    RootHash {
        /// Hex of the hash computed from the data read back.
        found: String,
        /// Hex of the hash asked for.
        expected: String,
    },
    /// A slot does not claim to hold the release asked for.
    #[error("the slot claims {}, not {expected}; stage the release again", found.as_ref().map_or("nothing", |hash| hash.as_str()))]
    NotClaimed {
        /// Hex of the root hash that it claims, if any.
        found: Option<String>,
        /// Hex of the hash asked for.
        expected: String,
    },
    /// The hash tree read back is not the one that was computed.
    #[error(
        "the hash tree is wrong at byte {offset} of its partition; the disk does not keep what is written to it, or the tree was changed"
    )]
    TreeWrong {
        /// Where the wrong block starts in the tree's partition.
        offset: u64,
    },
    /// The image's size cannot be that of a slot image.
    #[error("an image of {size} bytes cannot be coded: {why}")]
    ImageSize {
        /// The size in bytes.
        size: u64,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// The salt is longer than a verity superblock holds.
    #[error("a verity salt has at most 256 bytes, this one has {found}")]
    SaltTooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// A history file is damaged or of another product.
    #[error(
        "the history file is unusable: {what}; without it the release is coded as if every block were new"
    )]
    HistoryInvalid {
        /// Which rule is broken.
        what: String,
    },
    /// Parameters that no payload can be made with.
    #[error("cannot code with these parameters: {what}")]
    Parameters {
        /// The parameter and its bounds.
        what: String,
    },
    /// The compressor failed.
    #[error("segment {segment} could not be compressed: {what}")]
    Compressor {
        /// Number of the segment.
        segment: u32,
        /// What the compressor reports.
        what: String,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// Wraps a door's fault; `doing` says what was being done.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(Fault) -> Self {
        move |fault| Self::Io { doing, fault }
    }

    /// The stable kebab-case code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { fault, .. } => match fault.kind {
                crate::io::FaultKind::Disk => "payload-disk",
                crate::io::FaultKind::Network => "payload-fetch",
                crate::io::FaultKind::PastEnd => "payload-past-end",
                crate::io::FaultKind::Cancelled => "payload-cancelled",
            },
            Self::NotAPayload { .. } => "payload-not-a-payload",
            Self::FormatUnknown { .. } => "payload-format-unknown",
            Self::IndexInvalid { .. } => "payload-index-invalid",
            Self::IndexDigest => "payload-index-digest",
            Self::IndexForAnotherImage { .. } => "payload-index-for-another-image",
            Self::TooLarge { .. } => "payload-too-large",
            Self::CodingUnknown { .. } => "payload-coding-unknown",
            Self::SegmentDigest { .. } => "payload-segment-digest",
            Self::SegmentInvalid { .. } => "payload-segment-invalid",
            Self::SegmentOutput { .. } => "payload-segment-output",
            Self::RootHash { .. } => "payload-root-hash",
            Self::NotClaimed { .. } => "payload-not-claimed",
            Self::TreeWrong { .. } => "payload-tree-wrong",
            Self::ImageSize { .. } => "payload-image-size",
            Self::SaltTooLong { .. } => "payload-salt-too-long",
            Self::HistoryInvalid { .. } => "payload-history-invalid",
            Self::Parameters { .. } => "payload-parameters",
            Self::Compressor { .. } => "payload-compressor",
        }
    }
}

/// Every code that [`Error::code`] can give, for the table of errors.
#[must_use]
pub fn codes() -> &'static [&'static str] {
    &[
        "payload-disk",
        "payload-fetch",
        "payload-past-end",
        "payload-cancelled",
        "payload-not-a-payload",
        "payload-format-unknown",
        "payload-index-invalid",
        "payload-index-digest",
        "payload-index-for-another-image",
        "payload-too-large",
        "payload-coding-unknown",
        "payload-segment-digest",
        "payload-segment-invalid",
        "payload-segment-output",
        "payload-root-hash",
        "payload-not-claimed",
        "payload-tree-wrong",
        "payload-image-size",
        "payload-salt-too-long",
        "payload-history-invalid",
        "payload-parameters",
        "payload-compressor",
    ]
}
