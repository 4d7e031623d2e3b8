//! What can go wrong on the signing side. Each error names the thing, the cause and the remedy.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error as ThisError;
use twinroot_core::error::{Code, Failure};

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal or failure of the publisher's tool.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The file system said no.
    #[error("{path}: cannot {verb} it: {cause}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        cause: io::Error,
    },
    /// `init` on a directory that already holds a repository.
    #[error("{}: there is a repository already", .0.display())]
    RepositoryExists(PathBuf),
    /// A directory that holds no repository.
    #[error("{}: there is no repository here (no publish.toml)", .0.display())]
    RepositoryMissing(PathBuf),
    /// Another process works on the repository.
    #[error("{}: another twinroot-publish holds the lock", .0.display())]
    RepositoryLocked(PathBuf),
    /// Something that was published or drafted cannot be read back.
    #[error("{thing}: {why}")]
    Damaged {
        /// File or role.
        thing: String,
        /// What is wrong with it.
        why: String,
    },
    /// An argument that makes no sense.
    #[error("{what}: {why}")]
    Argument {
        /// The argument with its value.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file given as input is not what it must be.
    #[error("{}: {why}", path.display())]
    InputFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A key of that name is there already.
    #[error("{}: there is a key of this name already", .0.display())]
    KeyExists(PathBuf),
    /// No key of that name or file.
    #[error("key {name}: not found in {}", dir.display())]
    KeyMissing {
        /// The name asked for.
        name: String,
        /// The directory that was searched.
        dir: PathBuf,
    },
    /// A key file that cannot be read or decrypted.
    #[error("{}: {why}", path.display())]
    KeyUnreadable {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A kind of key that the key policy does not allow.
    #[error("key {name}: P-256 keys are not allowed by this repository's key policy")]
    KeyKindRefused {
        /// The key's name.
        name: String,
    },
    /// An external signer failed or answered nonsense.
    #[error("signer command `{command}`: {why}")]
    SignerFailed {
        /// The command line.
        command: String,
        /// What it did.
        why: String,
    },
    /// A signature that no key of the role made.
    #[error("draft {draft}: {signer} is no key of this role")]
    SignatureUseless {
        /// The role of the draft.
        draft: String,
        /// Who signed.
        signer: String,
    },
    /// There is no draft of that role.
    #[error("draft {0}: there is none")]
    DraftMissing(String),
    /// A draft lacks signatures.
    #[error("draft {draft}: {missing}")]
    DraftIncomplete {
        /// The role of the draft.
        draft: String,
        /// What is missing, in words.
        missing: String,
    },
    /// A key that is needed now, for an online role, is not at hand.
    #[error("role {role}: {have} of {need} keys are at hand in {}", dir.display())]
    OnlineKeyMissing {
        /// The role.
        role: String,
        /// Keys found.
        have: usize,
        /// Keys needed.
        need: u64,
        /// Where they were looked for.
        dir: PathBuf,
    },
    /// A threshold that its keys can never meet.
    #[error("role {role}: threshold {threshold} cannot be met by {keys} keys")]
    ThresholdUnmeetable {
        /// The role.
        role: String,
        /// Signatures wanted.
        threshold: u64,
        /// Keys there are.
        keys: usize,
    },
    /// A channel that the repository does not have.
    #[error("channel {channel}: the repository has only {known}")]
    ChannelUnknown {
        /// The channel asked for.
        channel: String,
        /// Those there are.
        known: String,
    },
    /// A release that is not there.
    #[error("release {version} on channel {channel}: not listed")]
    ReleaseMissing {
        /// The channel searched.
        channel: String,
        /// The version asked for.
        version: String,
    },
    /// A version that was released before.
    #[error("release {version} on channel {channel}: it exists already, and releases never change")]
    ReleaseExists {
        /// The channel.
        channel: String,
        /// The version.
        version: String,
    },
    /// Two statements about the root hash differ.
    #[error("{what}: root hash {found}, but the root image has {computed}")]
    RootHashMismatch {
        /// Who states it: the tree file or the UKI.
        what: String,
        /// What it states.
        found: String,
        /// What was computed from the image.
        computed: String,
    },
    /// A root hash that an earlier release has.
    #[error("root hash {root_hash}: release {version} has it already")]
    RootHashUsed {
        /// The root hash.
        root_hash: String,
        /// The earlier release.
        version: String,
    },
    /// A salt other than the product's.
    #[error("salt {found}: the product {product} uses {known}")]
    SaltChanged {
        /// The salt given.
        found: String,
        /// The product.
        product: String,
        /// The salt of all earlier releases.
        known: String,
    },
    /// A rollout policy beyond what the manifest allows.
    #[error("rollout of {channel}: {why}")]
    RolloutTooWide {
        /// The channel.
        channel: String,
        /// The rule broken.
        why: String,
    },
    /// What would be published is refused by the client that nodes run.
    #[error("the new metadata: a node would refuse it: {0}")]
    WouldBeRefused(String),
    /// A rule of `core` was broken, by the UKI for instance.
    #[error("{}: {}", .0.subject, .0.cause)]
    Core(Box<Failure>),
    /// Found by `check`.
    #[error("{problems} problems in the repository")]
    CheckFailed {
        /// How many.
        problems: usize,
    },
    /// Encoding a payload failed.
    #[error("{}: {why}", path.display())]
    Encoding {
        /// The image.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Core(Box::new(failure))
    }
}

impl Error {
    /// An I/O error with its path.
    pub fn io(verb: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            verb,
            path: path.to_owned(),
            cause,
        }
    }

    /// A published or drafted thing that cannot be read back.
    pub fn damaged(thing: impl Into<String>, why: impl ToString) -> Self {
        Self::Damaged {
            thing: thing.into(),
            why: why.to_string(),
        }
    }

    /// An argument that makes no sense.
    pub fn argument(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Argument {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// The stable code: a row of the project's error table, which gives category and exit code.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } => Code::FileIo,
            Self::RepositoryExists(_) => Code::RepositoryExists,
            Self::RepositoryMissing(_) => Code::RepositoryMissing,
            Self::RepositoryLocked(_) => Code::LockHeld,
            Self::Damaged { .. } => Code::RepositoryDamaged,
            Self::Argument { .. } => Code::BadRequest,
            Self::InputFile { .. } | Self::Encoding { .. } => Code::InputFileInvalid,
            Self::KeyExists(_) => Code::KeyExists,
            Self::KeyMissing { .. } | Self::OnlineKeyMissing { .. } => Code::KeyMissing,
            Self::KeyUnreadable { .. } => Code::KeyUnreadable,
            Self::KeyKindRefused { .. } => Code::KeyKindRefused,
            Self::SignerFailed { .. } => Code::SignerFailed,
            Self::SignatureUseless { .. } => Code::SignatureUseless,
            Self::DraftMissing(_) => Code::DraftMissing,
            Self::DraftIncomplete { .. } => Code::ThresholdNotMet,
            Self::ThresholdUnmeetable { .. } => Code::ThresholdUnmeetable,
            Self::ChannelUnknown { .. } => Code::ChannelUnknown,
            Self::ReleaseMissing { .. } => Code::TargetNotFound,
            Self::ReleaseExists { .. } => Code::ReleaseExists,
            Self::RootHashMismatch { .. } => Code::RootHashMismatch,
            Self::RootHashUsed { .. } => Code::RootHashUsed,
            Self::SaltChanged { .. } => Code::SaltChanged,
            Self::RolloutTooWide { .. } => Code::RolloutTooWide,
            Self::WouldBeRefused(_) => Code::WouldBeRefused,
            Self::Core(failure) => failure.code,
            Self::CheckFailed { .. } => Code::CheckFailed,
        }
    }

    /// What the publisher can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::DraftIncomplete { .. } => {
                "have the missing keys sign (`twinroot-publish status` lists them)".into()
            }
            Self::OnlineKeyMissing { .. } => {
                "give --keys, or --signer NAME=COMMAND for a key kept elsewhere".into()
            }
            Self::ReleaseMissing { .. } => "look at the releases that `status` lists".into(),
            Self::RootHashMismatch { .. } => {
                "build image, tree and UKI anew in one run; they are of different builds".into()
            }
            Self::RolloutTooWide { .. } => {
                "the manifest's rollout-limit binds: start later, or use smaller waves and longer soaks".into()
            }
            Self::Core(failure) => failure.remedy.clone(),
            _ => self.code().remedy().into(),
        }
    }
}
