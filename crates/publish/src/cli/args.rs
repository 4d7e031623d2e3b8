//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use twinroot_publish::add::DELTA_FROM;
use twinroot_publish::init::RolePlan;
use twinroot_trust::digest::Digest;
use twinroot_trust::name::Name;
use twinroot_trust::policy::Wave;
use twinroot_trust::time::{Day, Seconds, UnixTime};
use twinroot_trust::version::Version;

/// Publishes releases for twinroot nodes: keys, signatures, payloads, rollouts.
#[derive(Debug, Parser)]
#[command(name = "twinroot-publish", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The repository directory
    #[arg(
        short = 'C',
        long,
        global = true,
        default_value = ".",
        value_name = "DIR"
    )]
    pub(crate) repository: PathBuf,
    /// The directory with key files; keep it apart from the repository
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// A file whose first line is the passphrase of the key files
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Let a program sign for a key: it reads the bytes on standard input and writes the
    /// signature as hex or base64. Repeatable
    #[arg(long, global = true, value_name = "NAME=COMMAND", value_parser = signer)]
    pub(crate) signer: Vec<(String, Vec<String>)>,
    /// Print JSON instead of words
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Take this for the present time, to repeat a publication exactly
    #[arg(long, global = true, value_name = "YYYY-MM-DDTHH:MM:SSZ")]
    pub(crate) now: Option<UnixTime>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a repository: roles, thresholds, channels; everything is drafted and awaits signatures
    Init(InitArgs),
    /// Make, list and replace keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Add a release: check image, tree and UKI, cut payloads, write the manifest, draft the channel
    Add(AddArgs),
    /// List a release of one channel under another one as well
    Promote(PromoteArgs),
    /// Look at drafts, carry them to other machines and back
    #[command(subcommand)]
    Draft(DraftCommand),
    /// Add a signature to a draft
    Sign(SignArgs),
    /// Show what is published, what is drafted and which signatures are missing
    Status,
    /// Publish every complete draft
    Release(ReleaseArgs),
    /// Sign the timestamp again (daily), and the snapshot when it is due
    Refresh,
    /// Offer a release to the nodes of a channel, in waves
    Rollout(RolloutArgs),
    /// Stop the rollout of a channel
    Pause(PolicyArgs),
    /// Let the rollout of a channel go on
    Resume(PolicyArgs),
    /// Withdraw a release: nodes do not install it any more
    Withdraw(WithdrawArgs),
    /// List every problem of the repository
    Check,
    /// Serve the published files, for trying out
    Serve(ServeArgs),
    /// Write the manual pages into a directory
    Man(ManArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The directory to make
    pub(crate) dir: PathBuf,
    /// The product that is published here
    #[arg(long)]
    pub(crate) product: Name,
    /// The processor architecture of its images
    #[arg(long, default_value = "x86-64")]
    pub(crate) architecture: Name,
    /// The variant of the product
    #[arg(long)]
    pub(crate) variant: Option<Name>,
    /// A channel with its threshold; repeatable. Its keys are called CHANNEL-1, CHANNEL-2, …
    #[arg(long, required = true, value_name = "NAME:MofN", value_parser = threshold)]
    pub(crate) channel: Vec<(String, u64, u64)>,
    /// The threshold of root, targets, snapshot, timestamp or rollout [defaults: root:2of3,
    /// targets:2of3, the others 1of1]
    #[arg(long, value_name = "ROLE:MofN", value_parser = threshold)]
    pub(crate) role: Vec<(String, u64, u64)>,
    /// The keys of a role or channel by name, instead of numbered ones
    #[arg(long, value_name = "ROLE=KEY,KEY,…", value_parser = role_keys)]
    pub(crate) role_keys: Vec<(String, Vec<String>)>,
    /// Make the keys that are missing in the key directory (for trying out; in earnest each
    /// holder makes their own and hands over NAME.pub)
    #[arg(long)]
    pub(crate) create_keys: bool,
    /// Make those keys without a passphrase
    #[arg(long, requires = "create_keys")]
    pub(crate) no_passphrase: bool,
    /// Allow P-256 keys; the key policy inside the image must allow them too
    #[arg(long)]
    pub(crate) allow_p256: bool,
    /// How long a role is good for, e.g. timestamp=7d; roles: root, targets, channels, rollout,
    /// snapshot, timestamp
    #[arg(long, value_name = "ROLE=PERIOD", value_parser = period)]
    pub(crate) expiry: Vec<(String, Seconds)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key: NAME.key (encrypted, mode 0600) and NAME.pub
    New {
        /// Its name
        name: String,
        /// Its kind
        #[arg(long = "type", default_value = "ed25519")]
        kind: KeyType,
        /// Leave the key file unencrypted
        #[arg(long, conflicts_with = "passphrase_file")]
        no_passphrase: bool,
    },
    /// List the keys of the key directory with their ids
    List,
    /// Replace a key of a role; drafts what has to be signed for it
    Rotate {
        /// root, targets, snapshot, timestamp, rollout or a channel
        role: String,
        /// The name of the key that goes
        old: String,
        /// The name of the key that comes; NAME.pub must be in the key directory
        new: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyType {
    Ed25519,
    P256,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ImageKind {
    Root,
    Usr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Urgency {
    Routine,
    Security,
    Critical,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The channel that lists the release
    #[arg(long)]
    pub(crate) channel: String,
    /// Its version
    #[arg(long)]
    pub(crate) version: Version,
    /// The root image
    #[arg(long, value_name = "IMAGE")]
    pub(crate) root: PathBuf,
    /// What the image holds
    #[arg(long, default_value = "root")]
    pub(crate) kind: ImageKind,
    /// The hash tree as the image build made it; compared with ours
    #[arg(long, value_name = "TREE")]
    pub(crate) verity: Option<PathBuf>,
    /// The UKI with roothash= on its command line
    #[arg(long, value_name = "FILE")]
    pub(crate) uki: PathBuf,
    /// The salt of the hash tree in hex [default: that of the tree or of earlier releases]
    #[arg(long, value_name = "HEX", value_parser = hex)]
    pub(crate) salt: Option<Hex>,
    /// How long health must hold, e.g. 5m
    #[arg(long, value_name = "PERIOD")]
    pub(crate) health: Option<Seconds>,
    /// The lowest version that may go here directly
    #[arg(long, value_name = "VERSION")]
    pub(crate) from: Option<Version>,
    /// The processor level it needs, e.g. x86-64-v3
    #[arg(long)]
    pub(crate) cpu: Option<Name>,
    /// The floor rises to this version when a node has committed the release
    #[arg(long, value_name = "VERSION")]
    pub(crate) revokes_below: Option<Version>,
    /// How urgent it is
    #[arg(long, default_value = "routine")]
    pub(crate) severity: Urgency,
    /// One line for people
    #[arg(long, default_value = "")]
    pub(crate) summary: String,
    /// Until when it gets fixes
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) supported_until: Option<Day>,
    /// No rollout may start before this [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) earliest: Option<UnixTime>,
    /// A wave of the fastest rollout allowed, as PERCENT:SOAK; repeatable [default: all at once]
    #[arg(long, value_name = "PERCENT[:SOAK]", value_parser = wave)]
    pub(crate) wave: Vec<Wave>,
    /// The version of a component, for people; repeatable
    #[arg(long, value_name = "NAME=VERSION", value_parser = pair)]
    pub(crate) component: Vec<(String, String)>,
    /// The bill of materials
    #[arg(long, value_name = "FILE")]
    pub(crate) sbom: Option<PathBuf>,
    /// zstd's level, 1 to 22
    #[arg(long, default_value_t = 19, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub(crate) level: i32,
    /// zstd's level of deltas [default: 22, or --level where that is below 19]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub(crate) delta_level: Option<i32>,
    /// Make deltas from so many of the channel's last releases; 0 makes none
    #[arg(long, value_name = "RELEASES", default_value_t = DELTA_FROM)]
    pub(crate) delta_from: usize,
    /// Threads that compress [default: one a processor]
    #[arg(long)]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// The channel that lists it
    #[arg(long)]
    pub(crate) from: String,
    /// The channel that is to list it too
    #[arg(long)]
    pub(crate) to: String,
    /// The release
    pub(crate) version: Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DraftCommand {
    /// Print a draft as it stands
    Show {
        /// The role
        role: String,
    },
    /// Write a draft to a file, to be signed on another machine with `sign --file`
    Export {
        /// The role
        role: String,
        /// The file
        file: PathBuf,
    },
    /// Take over the signatures of a file that was exported and signed
    Import {
        /// The role
        role: String,
        /// The file
        file: PathBuf,
    },
    /// Draft a role as it is with a new expiry, to be signed again before it expires
    Renew {
        /// The role
        role: String,
    },
    /// Throw a draft away
    Discard {
        /// The role
        role: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// The role whose draft is signed, or `all`
    #[arg(required_unless_present = "file")]
    pub(crate) draft: Option<String>,
    /// Sign this exported draft instead; needs no repository
    #[arg(long, value_name = "FILE", conflicts_with = "draft")]
    pub(crate) file: Option<PathBuf>,
    /// A key file, or the name of a key in the key directory; repeatable [default: every key of
    /// the role that is at hand]
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) key: Vec<String>,
    /// A program that signs; everything after it is its arguments
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true, conflicts_with = "key")]
    pub(crate) signer_command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArgs {
    /// Only these drafts [default: every complete one]
    pub(crate) role: Vec<String>,
    /// Publish a new root although a lost key of the old one cannot sign timestamp or snapshot
    #[arg(long)]
    pub(crate) accept_gap: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RolloutArgs {
    /// The channel
    #[arg(long)]
    pub(crate) channel: String,
    /// The release to offer
    #[arg(long, value_name = "VERSION")]
    pub(crate) offer: Version,
    /// When the first wave opens [default: as soon as the manifest allows]
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<UnixTime>,
    /// A wave as PERCENT:SOAK; repeatable [default: as the manifest allows]
    #[arg(long, value_name = "PERCENT[:SOAK]", value_parser = wave)]
    pub(crate) wave: Vec<Wave>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArgs {
    /// The channel
    #[arg(long)]
    pub(crate) channel: String,
    /// Why, for the journal
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WithdrawArgs {
    /// A version of the channel, or a release id
    pub(crate) release: String,
    /// The channel
    #[arg(long)]
    pub(crate) channel: String,
    /// Why, for the journal
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) addr: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The directory
    pub(crate) dir: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Bytes that were typed as hex (clap takes a bare `Vec<u8>` for a repeatable number).
#[derive(Debug, Clone)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

fn hex(text: &str) -> Result<Hex, String> {
    let even = text.len().is_multiple_of(2) && text.is_ascii();
    let bytes = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    match bytes.collect::<Option<Vec<u8>>>() {
        Some(bytes) if even => Ok(Hex(bytes)),
        _ => Err("pairs of hex digits are wanted".into()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn signer(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, command) = pair(text)?;
    Ok((
        name,
        command.split_whitespace().map(str::to_owned).collect(),
    ))
}

fn role_keys(text: &str) -> Result<(String, Vec<String>), String> {
    let (role, keys) = pair(text)?;
    Ok((role, keys.split(',').map(str::to_owned).collect()))
}

fn period(text: &str) -> Result<(String, Seconds), String> {
    let (role, period) = pair(text)?;
    let period = period
        .parse()
        .map_err(|cause: twinroot_trust::error::BadValue| cause.to_string())?;
    Ok((role, period))
}

fn threshold(text: &str) -> Result<(String, u64, u64), String> {
    let wanted = || format!("'{text}' is not of the form NAME:MofN, e.g. stable:2of3");
    let (name, counts) = text.split_once(':').ok_or_else(wanted)?;
    let (needed, keys) = counts.split_once("of").ok_or_else(wanted)?;
    match (needed.parse(), keys.parse()) {
        (Ok(needed), Ok(keys)) if needed >= 1 && needed <= keys && keys <= 64 => {
            Ok((name.to_owned(), needed, keys))
        }
        _ => Err(wanted()),
    }
}

/// `10:12h`, or `100` for the last wave, which soaks for nothing.
fn wave(text: &str) -> Result<Wave, String> {
    let (percent, soak) = text.split_once(':').unwrap_or((text, "0s"));
    let percent = percent
        .trim_end_matches('%')
        .parse()
        .map_err(|_| format!("'{percent}' is no percentage"))?;
    let soak = soak
        .parse()
        .map_err(|cause: twinroot_trust::error::BadValue| cause.to_string())?;
    Ok(Wave { percent, soak })
}

/// A version of the channel or a release id: 64 hex digits are never meant as a version.
pub(crate) fn release_id(text: &str) -> Option<Digest> {
    text.parse().ok()
}

/// The plan that `--role`, `--channel` and `--role-keys` describe for one role.
pub(crate) fn role_plan(
    prefix: &str,
    needed: u64,
    keys: u64,
    named: Option<&[String]>,
) -> RolePlan {
    match named {
        Some(names) => RolePlan {
            threshold: needed,
            keys: names.to_vec(),
        },
        None => RolePlan::numbered(prefix, needed, keys),
    }
}
