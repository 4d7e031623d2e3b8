//! The command line, as people type it. Help texts live here and nowhere else; man pages and
//! completions are made from them.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use twinroot_trust::version::Version;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "twinroot",
    version,
    about = "Updates this host: one signed release at a time, and back by itself where it is not good",
    long_about = "Updates an immutable container host between two slots. A release is taken only \
with valid signatures, is written to the slot that does not run, read back and proven, started on \
trial, and kept only if the host is healthy; else the host returns to the slot it came from and \
remembers the release as bad.\n\n\
`twinroot status` says what is, `twinroot why` why nothing happens, `twinroot apply` updates now.",
    after_help = EXIT_CODES,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Exit codes, as `core` gives them to the categories of failures.
const EXIT_CODES: &str = "Exit codes:
  0  done           4  environment    7  disk       10  internal error
  2  request        5  trust          8  boot
  3  configuration  6  network        9  health
`twinroot repo` uses 0 and 1 only; `twinroot verify` ends with 5 where a slot is not what was signed.";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Answer in JSON, on standard output; errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Act on the machine in files in DIR instead of this host
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) machine: Option<PathBuf>,
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but answers and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say what runs, what the other slot holds, and where an update stands
    #[command(after_help = "Examples:\n  twinroot status\n  twinroot status --json | jq .fallback")]
    Status,
    /// Look for a release, without taking it
    #[command(
        long_about = "Refreshes signed metadata and says which release this host would take now, \
or which is held back and why. Nothing is downloaded but metadata.",
        after_help = "Examples:\n  twinroot check\n  twinroot check --json | jq .available.version"
    )]
    Check,
    /// Say everything an update would do, before a byte moves
    #[command(
        long_about = "Looks for a release like `check`, then reads the payload's index and both \
slots: bytes to fetch, to reuse and to write, room in slot and ESP, the floor afterwards, every \
step in order, and what stands in the way. Nothing is written to a slot.",
        after_help = "Examples:\n  twinroot plan\n  twinroot plan --version 2026.11.2 --json"
    )]
    Plan(Choice),
    /// Write a release to the other slot and prove it
    #[command(after_help = "Examples:\n  twinroot stage\n  twinroot stage --version 2026.11.2")]
    Stage(Choice),
    /// Make the bootloader try the staged release at the next start
    #[command(after_help = "Examples:\n  twinroot stage && twinroot activate")]
    Activate,
    /// Restart into the activated release, or into the slot a rollback chose
    #[command(
        long_about = "Looks at the repository once more, asks the gates, and restarts. A release \
that was withdrawn meanwhile is dropped instead.",
        after_help = "Examples:\n  twinroot activate && twinroot reboot"
    )]
    Reboot,
    /// Update now: check, stage, activate and restart
    #[command(
        long_about = "Takes the newest acceptable release, or the version named, the whole way: \
check, stage, activate, restart. After the restart the host judges the release by its health checks \
and keeps it or goes back.",
        after_help = "Examples:\n  twinroot apply\n  twinroot apply --no-reboot\n  twinroot apply --version 2026.11.2 --force"
    )]
    Apply(Apply),
    /// Return to the other slot and stay there
    #[command(
        long_about = "Remembers the running release as bad, makes the other slot the default and \
restarts. The release that is left is not taken again until `twinroot undeny`.",
        after_help = "Examples:\n  twinroot rollback --reason 'pods lose their network'\n  twinroot rollback --no-reboot"
    )]
    Rollback(Rollback),
    /// Write a good release over a slot that went bad
    #[command(
        long_about = "Writes the release that was in the other slot again, or the running one \
where that is not known or denied, from its signed description. Only what is wrong is fetched.",
        after_help = "Examples:\n  twinroot verify || twinroot repair"
    )]
    Repair,
    /// Remember a release as bad
    #[command(
        after_help = "Examples:\n  twinroot deny 2026.11.2 --reason 'breaks the storage driver'"
    )]
    Deny(Deny),
    /// Forget that a release was bad
    #[command(after_help = "Examples:\n  twinroot undeny 2026.11.2")]
    Undeny {
        /// Version, root hash or digest of the boot image
        #[arg(value_name = "RELEASE")]
        release: String,
    },
    /// Stay at a version, or lift that
    #[command(
        after_help = "Examples:\n  twinroot pin               # stay at what runs\n  twinroot pin 2026.11.2\n  twinroot pin --clear"
    )]
    Pin(Pin),
    /// Do nothing by itself until `resume`
    #[command(
        after_help = "Examples:\n  twinroot pause\n  twinroot apply   # a person's request still counts"
    )]
    Pause,
    /// Do not restart for a while; everything before the restart goes on
    #[command(
        after_help = "Examples:\n  twinroot hold --for 2h --reason 'a demo'\n  twinroot hold --clear"
    )]
    Hold(Hold),
    /// End a pause
    #[command(after_help = "Examples:\n  twinroot resume")]
    Resume,
    /// Say what was done, oldest first
    #[command(
        after_help = "Examples:\n  twinroot history\n  twinroot history --export > history.jsonl"
    )]
    History {
        /// One JSON document a line, as it is stored
        #[arg(long)]
        export: bool,
    },
    /// Say why nothing happens, and what a person can do
    #[command(after_help = "Examples:\n  twinroot why")]
    Why,
    /// Say what the health checks of the running agent found
    #[command(
        long_about = "Prints the results of the last round of checks, as the running agent has them. \
With --wait it answers once this boot is judged: a release on trial was committed, or the host goes back. \
Ends with exit code 9 where the host is not healthy or goes back.",
        after_help = "Examples:\n  twinroot health\n  twinroot health --wait && echo good"
    )]
    Health {
        /// Answer once this boot is judged
        #[arg(long)]
        wait: bool,
    },
    /// Write one archive for whoever helps, without secrets
    #[command(
        long_about = "Collects status, reasons, history, configuration, records and the agent's figures in \
one tar archive that only its owner may read. Tokens, keys and the node's rollout seed are taken out, and \
what looks like a secret in messages of others.",
        after_help = "Examples:\n  twinroot diagnose\n  twinroot diagnose --out report.tar && tar -tf report.tar"
    )]
    Diagnose {
        /// The archive; it must not exist yet
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Prove both slots against the signed releases
    #[command(
        long_about = "Checks signatures again from the image's trust anchor, hashes the data of \
each slot past the cache, compares every block of its hash tree, and reads the boot image's digest \
and root hash. Ends with exit code 5 where a slot is not what was signed.",
        after_help = "Examples:\n  twinroot verify\n  twinroot verify --json | jq .all-good\n  twinroot verify --drift   # what this host has changed in /etc"
    )]
    Verify {
        /// List what this host has changed in `/etc` instead
        #[arg(long)]
        drift: bool,
    },
    /// Note on the ESP that this start has come as far as its units (`twinroot-userspace.service` does)
    #[command(hide = true)]
    MarkUserspace,
    /// A TUF client for any repository
    #[command(subcommand)]
    Repo(Repo),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Run the loop in the foreground
    #[command(
        long_about = "Finishes what is under way, then looks for releases at the configured \
interval and takes them as far as the strategy says, until it is told to stop (SIGTERM).",
        after_help = "Examples:\n  twinroot agent\n  twinroot agent --once   # one round: finish, judge, look, act"
    )]
    Agent {
        /// One round, then end
        #[arg(long)]
        once: bool,
    },
    /// Write the manual pages to a directory
    #[command(after_help = "Examples:\n  twinroot man /usr/share/man/man1")]
    Man {
        /// Where to
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the completions of a shell
    #[command(
        after_help = "Examples:\n  twinroot completions bash > /etc/bash_completion.d/twinroot"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Which release.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// This version, not the newest acceptable one
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<Version>,
    /// Take it although it is denied here, or not offered to this host yet; recorded. Never against
    /// signatures, a withdrawal or the floor
    #[arg(long)]
    pub(crate) force: bool,
}

/// Options of `apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Which release.
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Activate, and leave the restart to somebody else
    #[arg(long)]
    pub(crate) no_reboot: bool,
}

/// Options of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Why; remembered with the release that is left
    #[arg(
        long,
        default_value = "asked for on the command line",
        value_name = "TEXT"
    )]
    pub(crate) reason: String,
    /// Choose the other slot, and leave the restart to somebody else
    #[arg(long)]
    pub(crate) no_reboot: bool,
}

/// Options of `deny`.
#[derive(Debug, Args)]
pub(crate) struct Deny {
    /// Version, root hash or digest of the boot image
    #[arg(value_name = "RELEASE")]
    pub(crate) release: String,
    /// For so long (12h, 30d); without it until `undeny`
    #[arg(long = "for", value_name = "SPAN")]
    pub(crate) span: Option<String>,
    /// Why
    #[arg(
        long,
        default_value = "asked for on the command line",
        value_name = "TEXT"
    )]
    pub(crate) reason: String,
}

/// Options of `pin`.
#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// The version; without it, what runs
    #[arg(value_name = "VERSION", conflicts_with = "clear")]
    pub(crate) version: Option<Version>,
    /// Lift the pin
    #[arg(long)]
    pub(crate) clear: bool,
}

/// Options of `hold`.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// For so long (30m, 2h, 1d); without it until it is lifted
    #[arg(long = "for", value_name = "SPAN", conflicts_with = "clear")]
    pub(crate) span: Option<String>,
    /// Why
    #[arg(
        long,
        default_value = "asked for on the command line",
        value_name = "TEXT"
    )]
    pub(crate) reason: String,
    /// Lift the hold
    #[arg(long)]
    pub(crate) clear: bool,
}

/// `twinroot config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Print every setting
    #[command(after_help = "Examples:\n  twinroot config show --origin")]
    Show {
        /// Say which file set it
        #[arg(long)]
        origin: bool,
    },
}

/// `twinroot repo …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Repo {
    /// Refresh the metadata of a repository
    #[command(
        long_about = "Follows the root chain and brings timestamp, snapshot and targets up to date, \
as the TUF specification 1.0 says (section 5). DIR holds exactly the bytes that were received under \
their plain names. DIR/root.json is the trust anchor where it exists; else --root is checked and \
becomes it. Exit code 0 for full success, 1 for any refusal.",
        after_help = "Examples:\n  twinroot repo refresh --metadata-url https://example.org/metadata --store ./trust --root 1.root.json"
    )]
    Refresh(RepoSource),
    /// Refresh, then fetch and prove targets
    #[command(
        long_about = "Refreshes like `refresh`, looks each NAME up through the delegations, and \
writes its bytes below --out only when length and digests are the signed ones. A NAME with folders \
makes folders. Exit code 0 for full success, 1 for any refusal.",
        after_help = "Examples:\n  twinroot repo fetch --metadata-url https://example.org/metadata \\\n      --targets-url https://example.org/targets --store ./trust --out . app/v1.tar"
    )]
    Fetch(RepoFetch),
}

/// Where a repository is, and where its metadata is kept.
#[derive(Debug, Args)]
pub(crate) struct RepoSource {
    /// Base URL of the metadata (https, http or file)
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: String,
    /// Directory of the trusted metadata
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Root metadata to start from where DIR has none
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// Take 403 for 'there is no such file', as some object stores answer it
    #[arg(long)]
    pub(crate) forbidden_is_missing: bool,
}

/// Options of `repo fetch`.
#[derive(Debug, Args)]
pub(crate) struct RepoFetch {
    /// Metadata.
    #[command(flatten)]
    pub(crate) source: RepoSource,
    /// Base URL of the targets (https, http or file)
    #[arg(long, value_name = "URL")]
    pub(crate) targets_url: String,
    /// Directory that the targets are written below
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Names of the targets
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}
