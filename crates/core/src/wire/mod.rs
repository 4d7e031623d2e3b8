//! What programs read: the JSON of the command line with `--json`, and of the local API.
//!
//! These types are a promise to scripts and dashboards, so they stand apart from the state machine's
//! own: they change by adding only, each answer says its schema, and readers skip what they do not
//! know. The agent fills them; nothing here decides.

mod api;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;

use crate::error::Failure;
use crate::facts::Tries;
use crate::health::{CheckResult, CheckState};
use crate::records::Left;
use crate::slot::SlotName;
use crate::why::WaitReason;

pub use api::{ActBody, Action, Event, HistoryLine};

/// Schema number `N` of an answer: written as the number, and only that number is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schema<const N: u32>;

impl<const N: u32> Serialize for Schema<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(N)
    }
}

impl<'de, const N: u32> Deserialize<'de> for Schema<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            found if found == N => Ok(Schema),
            found => Err(serde::de::Error::custom(format_args!(
                "schema {found} is not known here, only {N} is; use a newer program"
            ))),
        }
    }
}

#[cfg(feature = "schema")]
impl<const N: u32> schemars::JsonSchema for Schema<N> {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        alloc::format!("Schema{N}").into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": N })
    }
}

/// Declares an answer: a struct with a schema number and kebab-case keys.
macro_rules! answer {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "kebab-case")]
        pub struct $name {
            /// Schema of this answer.
            pub schema: Schema<1>,
            $($(#[$field_doc])* pub $field: $kind,)*
        }
    };
}

answer! {
    /// `twinroot status`: what is, in one look.
    Status {
        /// Phase of the update, kebab-case (`idle`, `staging`, `trial`, …).
        phase: String,
        /// The same in one sentence.
        sentence: String,
        /// What the node is and follows.
        node: Node,
        /// The slot that runs.
        booted: SlotStatus,
        /// The other one.
        other: SlotStatus,
        /// Whether the other slot would carry the node.
        fallback: FallbackStatus,
        /// The release that an update under way is about.
        target: Option<ReleaseRef>,
        /// How far a transfer has come.
        progress: Option<Progress>,
        /// Lowest version that may run.
        floor: Option<String>,
        /// The version that the node is pinned to.
        pinned: Option<String>,
        /// Updates are paused on this node.
        paused: bool,
        /// Denied releases.
        denied: Vec<Denied>,
        /// Why nothing happens; empty while something does.
        waits_for: Vec<Reason>,
        /// What failed last, if it was not followed by a success.
        last_failure: Option<Failure>,
        /// When metadata was last seen to be fresh.
        verified_fresh: Option<UnixTime>,
        /// Things that a person should know and that stop nothing.
        warnings: Vec<String>,
        /// The bootloader, where it says who it is.
        loader: Option<LoaderStatus>,
    }
}

answer! {
    /// `twinroot plan`: what would happen, before a byte moves.
    Plan {
        /// The release that would be installed; nothing if none would.
        release: Option<ReleaseRef>,
        /// What the slot would be written by: `delta`, `reuse` or `full`.
        payload: Option<String>,
        /// Bytes that would be fetched, index and manifest included.
        fetch: u64,
        /// Bytes that the booted slot or an earlier try already has.
        reuse: u64,
        /// Bytes that would be written to the slot.
        write: u64,
        /// Range requests.
        requests: u64,
        /// The slot that would be written.
        slot: Option<SlotName>,
        /// Room: what is needed and what is there.
        space: Vec<Space>,
        /// The floor after commit.
        floor_after: Option<String>,
        /// What would have to be installed first.
        barrier: Option<String>,
        /// Steps, in order, in words.
        steps: Vec<String>,
        /// What stands in the way.
        blocked_by: Vec<Reason>,
        /// Where the bytes come from, piece by piece.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bytes: Vec<PlannedBytes>,
        /// Free bytes of the ESP before and after.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        esp: Option<EspRoom>,
        /// When the node would restart, in one sentence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart: Option<String>,
        /// What changes in the contents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contents: Option<ContentsChange>,
    }
}

answer! {
    /// `twinroot why`: why nothing happens.
    Why {
        /// The reasons, the one that would be met first in front.
        reasons: Vec<Reason>,
    }
}

answer! {
    /// One update in `twinroot history`.
    HistoryRecord {
        /// Rises by one with each record.
        number: u64,
        /// When it began.
        began: UnixTime,
        /// When it ended.
        ended: Option<UnixTime>,
        /// Where from.
        from: ReleaseRef,
        /// Where to.
        to: ReleaseRef,
        /// How it ended.
        outcome: HistoryOutcome,
        /// Why, where it did not end well.
        failure: Option<Failure>,
        /// Bytes fetched.
        fetched: u64,
        /// Bytes written.
        written: u64,
        /// Who asked: `agent`, or a person as the control socket knows them.
        requested_by: String,
        /// The request went against the node's memory or schedule.
        forced: bool,
    }
}

answer! {
    /// `twinroot history`: what was done, oldest first.
    History {
        /// The lines.
        lines: Vec<HistoryLine>,
    }
}

answer! {
    /// `twinroot verify`: slots against signed manifests.
    VerifyReport {
        /// One entry a slot that was looked at.
        slots: Vec<SlotProof>,
        /// Every slot that was looked at is what was signed.
        all_good: bool,
    }
}

answer! {
    /// `twinroot check`: what the repository has for this node.
    CheckReport {
        /// The release that would be taken now.
        available: Option<ReleaseRef>,
        /// Releases that are held back, with the reason.
        held_back: Vec<HeldBack>,
        /// When the timestamp that was seen expires.
        fresh_until: Option<UnixTime>,
        /// Things that a person should know, such as a version that jumped far ahead.
        warnings: Vec<String>,
    }
}

answer! {
    /// `twinroot config show`.
    ConfigShow {
        /// Every setting.
        settings: Vec<Setting>,
    }
}

answer! {
    /// An error, where an answer was asked for as JSON.
    ErrorAnswer {
        /// What failed.
        error: Failure,
        /// Its category.
        category: crate::error::Category,
        /// Whether and when to try again.
        retry: crate::error::Retry,
        /// Exit code of the program.
        exit_code: u8,
    }
}

impl From<Failure> for ErrorAnswer {
    fn from(error: Failure) -> Self {
        ErrorAnswer {
            schema: Schema,
            category: error.category(),
            retry: error.retry(),
            exit_code: error.exit_code(),
            error,
        }
    }
}

/// Declares a part of an answer.
macro_rules! part {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "kebab-case")]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }
    };
}

// Behind the two macros, which it uses.
mod local;
pub use local::{Change, Difference, DriftReport, LoaderStatus};

part! {
    /// What the node is and follows.
    Node {
        /// Product.
        product: String,
        /// Variant, where the product has them.
        variant: Option<String>,
        /// Architecture.
        architecture: String,
        /// Channel.
        channel: String,
        /// Strategy.
        strategy: String,
        /// Public key of this node's reports, in hex; nothing before its first start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    }
}

part! {
    /// A release by its names.
    ReleaseRef {
        /// Version.
        version: String,
        /// Digest of the manifest, where it is known.
        manifest: Option<Digest>,
        /// Root hash.
        root_hash: Option<Digest>,
    }
}

part! {
    /// One slot.
    SlotStatus {
        /// Which.
        slot: SlotName,
        /// What it holds; nothing where it holds no whole image.
        release: Option<ReleaseRef>,
        /// Its boot entry.
        entry: Option<String>,
        /// Tries of that entry; nothing once it is blessed.
        tries: Option<Tries>,
        /// The release is denied here.
        denied: bool,
    }
}

part! {
    /// How far a transfer has come.
    Progress {
        /// What is done now, in words.
        doing: String,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
        /// Bytes fetched so far.
        fetched: u64,
    }
}

part! {
    /// A release on the deny list.
    Denied {
        /// Which.
        release: ReleaseRef,
        /// Since when.
        since: UnixTime,
        /// Why.
        reason: String,
        /// By the agent itself, not by a person.
        automatic: bool,
        /// When it was last seen to be bad.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_seen: Option<UnixTime>,
        /// Until when, where a person said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<UnixTime>,
        /// What the trial that failed has left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<Left>,
    }
}

part! {
    /// A reason to wait, for machines and for people.
    Reason {
        /// The reason with its data.
        #[serde(flatten)]
        reason: WaitReason,
        /// In one sentence.
        sentence: String,
        /// What a person can do.
        remedy: String,
    }
}

impl From<WaitReason> for Reason {
    fn from(reason: WaitReason) -> Self {
        let (sentence, remedy) = (reason.sentence(), reason.remedy().into_owned());
        Reason {
            reason,
            sentence,
            remedy,
        }
    }
}

part! {
    /// Bytes of a plan from one place.
    PlannedBytes {
        /// What they are for: `image`, `boot image`, `index`, `manifest`.
        what: String,
        /// Where they come from: `network`, `delta`, `booted slot`, `already there`.
        from: String,
        /// How many.
        bytes: u64,
    }
}

part! {
    /// Free bytes of the ESP.
    EspRoom {
        /// Now.
        before: u64,
        /// When the new boot image lies there; what the release that is given up frees is not counted.
        after: u64,
    }
}

part! {
    /// What an update changes in the contents.
    ContentsChange {
        /// What was compared: `sbom` (two signed bills of materials) or `components` (two manifests).
        source: String,
        /// Packages that come.
        added: Vec<PackageChange>,
        /// Packages that go.
        removed: Vec<PackageChange>,
        /// Packages whose version changes.
        changed: Vec<PackageChange>,
        /// Why the bills of materials could not be compared, where they could not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    }
}

part! {
    /// One package that changes.
    PackageChange {
        /// Its name.
        name: String,
        /// Its version now, where it is there.
        before: Option<String>,
        /// Its version afterwards, where it is there.
        after: Option<String>,
    }
}

part! {
    /// Room in one place.
    Space {
        /// Where.
        place: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        available: u64,
    }
}

part! {
    /// What a slot was proven to hold.
    SlotProof {
        /// Which slot.
        slot: SlotName,
        /// The release that should be there.
        expected: Option<ReleaseRef>,
        /// Root hash computed from the slot's bytes.
        computed: Option<Digest>,
        /// They agree, and a valid signature covers the expected one.
        good: bool,
        /// What was compared, in words, or why it could not be.
        detail: String,
    }
}

part! {
    /// A release that is not taken now.
    HeldBack {
        /// Which.
        release: ReleaseRef,
        /// Why.
        reason: Reason,
    }
}

part! {
    /// One setting.
    Setting {
        /// Dotted key.
        key: String,
        /// Value, as TOML.
        value: String,
        /// The file that set it; nothing for a default.
        origin: Option<String>,
    }
}

part! {
    /// Results of the health checks at one moment.
    HealthStatus {
        /// One result a check.
        results: Vec<CheckResult>,
        /// Everything that is required of this machine holds.
        healthy: bool,
        /// The checks, with who wants each and since when it says what it says.
        #[serde(default)]
        checks: Vec<CheckState>,
    }
}

impl HealthStatus {
    /// From what each check said last.
    #[must_use]
    pub fn of(checks: Vec<CheckState>, healthy: bool) -> Self {
        let result = |state: &CheckState| CheckResult {
            check: state.check.clone(),
            outcome: state.outcome,
            detail: state.detail.clone(),
        };
        Self {
            results: checks.iter().map(result).collect(),
            healthy,
            checks,
        }
    }
}

/// Whether the other slot would carry the node if this one failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FallbackStatus {
    /// It has run and was good.
    Proven,
    /// It should boot, but that was never seen.
    Unproven,
    /// There is none.
    Absent,
}

/// How an update ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum HistoryOutcome {
    /// It is under way.
    Running,
    /// Committed.
    Committed,
    /// The trial failed and the node went back.
    RolledBack,
    /// A person went back.
    ManualRollback,
    /// It failed before the reboot.
    Failed,
    /// A newer release took its place, or it was withdrawn.
    Superseded,
    /// A slot was repaired.
    Repaired,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use alloc::vec;

    #[test]
    fn answers_say_their_schema_and_refuse_another() {
        let why = Why {
            schema: Schema,
            reasons: vec![],
        };
        let json = serde_json::to_string(&why).expect("plain data");
        assert_eq!(json, r#"{"schema":1,"reasons":[]}"#);
        assert!(serde_json::from_str::<Why>(r#"{"schema":2,"reasons":[]}"#).is_err());
    }

    #[test]
    fn readers_skip_what_a_newer_agent_adds() {
        let json = r#"{"schema":1,"reasons":[],"invented-later":true}"#;
        assert!(serde_json::from_str::<Why>(json).is_ok());
    }

    #[test]
    fn a_reason_carries_code_data_and_words_side_by_side() {
        let reason = WaitReason::BelowFloor {
            version: "1.0".into(),
            floor: "2.0".into(),
        };
        let json = serde_json::to_value(Reason::from(reason.clone())).expect("plain data");
        assert_eq!(json["code"], "below-floor");
        assert_eq!(json["floor"], "2.0");
        assert_eq!(json["sentence"], "1.0 lies below the floor 2.0");
        let back: Reason = serde_json::from_value(json).expect("it reads back");
        assert_eq!(back.reason, reason);
    }

    #[test]
    fn an_error_answers_with_the_exit_code_of_its_category() {
        let answer = ErrorAnswer::from(Failure::new(Code::EspReadOnly, "/efi", "it is read-only"));
        let json = serde_json::to_value(&answer).expect("plain data");
        assert_eq!(json["exit-code"], 8);
        assert_eq!(json["category"], "boot");
        assert_eq!(json["error"]["code"], "esp-read-only");
    }
}
