//! The rows. Codes are an interface: a code is never renamed, never removed and never re-used for
//! something else; what may change is its sentence.

use super::{Category, Retry};

/// Makes the enum and its exhaustive look-ups from one list, so that no row can be half there.
macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, $category:ident, $retry:ident, $remedy:literal; )*) => {
        /// A stable, kebab-case name for one way to fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $( $(#[$doc])* $name, )* }

        impl Code {
            /// Every code, in table order.
            pub const ALL: &'static [Code] = &[ $( Code::$name, )* ];

            /// The stable name, as it stands on the wire, in logs and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Code::$name => $text, )* }
            }

            /// Who can do something about it.
            #[must_use]
            pub const fn category(self) -> Category {
                match self { $( Code::$name => Category::$category, )* }
            }

            /// Whether and when to try again.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $( Code::$name => Retry::$retry, )* }
            }

            /// What a person can do, where the place that failed knows nothing better.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $( Code::$name => $remedy, )* }
            }
        }
    };
}

codes! {
    // ---- input: the request itself
    /// A command, request or argument that makes no sense.
    BadRequest = "bad-request", Input, Never, "correct the request";
    /// A release id or version that no verified metadata knows.
    UnknownRelease = "unknown-release", Input, NextCheck, "run `twinroot check` and choose a release it lists";
    /// The request does not fit the phase the update is in.
    NotNow = "not-now", Input, Never, "look at `twinroot status` and wait for the phase to end, or cancel it";
    /// Activate or reboot was asked for and nothing is staged.
    NothingStaged = "nothing-staged", Input, Never, "stage a release first";
    /// A rollback was asked for and there is no older slot that may run.
    NoFallback = "no-fallback", Input, Operator, "apply a good release, which becomes the other slot";
    /// A remote or requested name that would leave its directory, or is no name at all.
    NameRefused = "name-refused", Input, Never, "use a plain name without directories";
    /// An offline bundle that lacks a part that its own metadata names.
    BundleIncomplete = "bundle-incomplete", Input, Operator, "make the bundle again";

    // ---- input: what the node's policy refuses
    /// The release is on the node's deny list.
    ReleaseDenied = "release-denied", Input, Never, "wait for a newer release, or `twinroot undeny` it after finding out why it failed";
    /// The release lies below the floor.
    BelowFloor = "below-floor", Input, Never, "choose a release at or above the floor";
    /// The release may be reached only through an earlier one.
    BarrierRequired = "barrier-required", Input, NextCheck, "install the barrier release first";
    /// The machine lacks something that the release requires.
    RequirementMissing = "requirement-missing", Input, Never, "use hardware that meets the requirement or stay on an older release";
    /// The release has been withdrawn by the publisher.
    ReleaseWithdrawn = "release-withdrawn", Input, NextCheck, "wait for the publisher's next release";
    /// The release is older than the one that runs, and no rollback was asked for.
    NotNewer = "not-newer", Input, NextCheck, "nothing to do; to go back use `twinroot rollback`";

    // ---- configuration
    /// A configuration file that cannot be read.
    ConfigUnreadable = "config-unreadable", Configuration, Operator, "make the file readable for the agent or remove it";
    /// A configuration file that is no TOML.
    ConfigSyntax = "config-syntax", Configuration, Operator, "correct the line named";
    /// A key that no configuration has.
    ConfigUnknownKey = "config-unknown-key", Configuration, Operator, "remove the key or correct its spelling";
    /// A value of the wrong type or out of its bounds.
    ConfigValue = "config-value", Configuration, Operator, "correct the value";
    /// A setting that must be there and is not.
    ConfigMissing = "config-missing", Configuration, Operator, "set it in a file below /etc/twinroot/config.d";
    /// A setting that only the image may carry stands in a file that can be changed on the node.
    ConfigImageOnly = "config-image-only", Configuration, Operator, "remove the key; it can change only with a new image";
    /// A health check whose definition is wrong.
    HealthCheckInvalid = "health-check-invalid", Configuration, Operator, "correct the check's definition";
    /// The trust anchor of the image is missing or unusable.
    AnchorMissing = "anchor-missing", Configuration, Operator, "use an image that carries its trust anchor";

    // ---- environment
    /// Another process holds twinroot's lock.
    LockHeld = "lock-held", Environment, Backoff, "wait until the holder ends, or stop it";
    /// The process lacks a permission.
    NotPermitted = "not-permitted", Environment, Operator, "run it with the permissions of the agent";
    /// A tool, device or kernel feature that must be there and is not.
    ToolMissing = "tool-missing", Environment, Operator, "provide what is named";
    /// A tool of the build side that ran and failed.
    ToolFailed = "tool-failed", Environment, Operator, "look at what it said; run it by hand with the same arguments";
    /// A record with no readable copy.
    StateDamaged = "state-damaged", Environment, Operator, "nothing to do for the update itself, it recovers from the disk; find out what damaged the record";
    /// The state partition could not be mounted; the host runs with an empty one in memory.
    StateLost = "state-lost", Environment, Operator, "mend its file system (`e2fsck /dev/mapper/twinroot-state`) or install the host again, then restart; until then nothing is staged";
    /// A record that cannot be read or written.
    StateUnwritable = "state-unwritable", Environment, Backoff, "make the state directory writable and free some space";
    /// A record written by a version too new for this one.
    StateTooNew = "state-too-new", Environment, Operator, "boot the newer release that wrote it";
    /// The clock is wrong, and what is to be done needs a right one.
    ClockUntrusted = "clock-untrusted", Environment, Backoff, "set the clock or let it synchronise";
    /// A directory of the machine is not what it should be.
    MachineInvalid = "machine-invalid", Environment, Operator, "point to a machine made by `machine new`, or make a new one";
    /// A file of the node that cannot be read or written.
    FileIo = "file-io", Environment, Backoff, "look at the file and the disk below it";

    // ---- trust: signatures and roles
    /// Too few distinct keys have signed.
    ThresholdNotMet = "threshold-not-met", Trust, NextCheck, "tell the publisher; a signature is missing or a key is not the role's";
    /// A signed document that is no strict JSON, or not the shape of its role.
    MetadataMalformed = "malformed-metadata", Trust, NextCheck, "tell the publisher or use another mirror";
    /// A role that has expired: a freeze, or a publisher who forgot.
    MetadataExpired = "metadata-expired", Trust, NextCheck, "the publisher must sign again; check this node's clock too";
    /// A role with a version below one that was already trusted.
    Rollback = "metadata-rollback", Trust, NextCheck, "use another mirror; this one serves old metadata";
    /// Snapshot metadata that no longer lists a role that it listed before.
    RoleDropped = "role-dropped", Trust, NextCheck, "use another mirror; tell the publisher if all drop it";
    /// A role that snapshot metadata does not list.
    RoleNotListed = "role-not-listed", Trust, NextCheck, "the publisher must sign a snapshot that lists the role";
    /// A key whose identifier is not the digest of the key.
    KeyIdMismatch = "keyid-mismatch", Trust, NextCheck, "the publisher must list the key under its own identifier";
    /// Signed metadata that names no digest that is known here.
    NoUsableDigest = "no-usable-digest", Trust, NextCheck, "the publisher must sign SHA-256 digests";
    /// More delegations than are followed.
    TooManyDelegations = "too-many-delegations", Trust, NextCheck, "the publisher must delegate less deeply";
    /// A role that nothing trusted delegates to.
    NotDelegated = "not-delegated", Trust, NextCheck, "the publisher must delegate to the role";
    /// Metadata offered before the role that it depends on.
    MetadataOutOfOrder = "metadata-out-of-order", Internal, Operator, "report it with the command that was run";
    /// Metadata that the repository must have and does not serve.
    MetadataUnavailable = "metadata-unavailable", Network, Backoff, "use another mirror, or wait until this one has finished copying";
    /// A target whose name would leave its directory.
    UnsafeTargetName = "unsafe-target-name", Trust, Never, "the publisher must use plain names";
    /// A digest, version, name or time whose text breaks its rule.
    MalformedValue = "malformed-value", Input, Never, "correct the value";
    /// Metadata that does not belong together.
    MixAndMatch = "mix-and-match", Trust, NextCheck, "use another mirror, or wait until this one has finished copying";
    /// A root version that is not exactly the next.
    RootVersionSkipped = "root-version-skipped", Trust, NextCheck, "the repository must serve every root version";
    /// One key under two identifiers.
    DuplicateKey = "duplicate-key", Trust, NextCheck, "the publisher must list each key once";
    /// A release that another channel lists.
    ReleaseNotInChannel = "release-not-in-channel", Trust, NextCheck, "the publisher must release through this node's channel";
    /// A target that trusted metadata does not list.
    TargetNotFound = "target-not-found", Trust, NextCheck, "wait for the publisher to release it, or correct the name";
    /// Bytes that do not have the digest that was signed.
    DigestMismatch = "wrong-digest", Trust, NextCheck, "use another mirror; if all fail, tell the publisher";
    /// Bytes of another length than was signed.
    LengthMismatch = "wrong-length", Trust, NextCheck, "use another mirror; if all fail, tell the publisher";
    /// Saved signed bytes that no longer verify.
    StoredMetadataInvalid = "stored-metadata-invalid", Trust, NextCheck, "nothing to do; they are fetched again";

    // ---- trust: manifests and policies
    /// A manifest for another product, variant, architecture or channel.
    WrongSoftware = "wrong-software", Trust, Never, "correct the node's product, architecture or channel, or tell the publisher";
    /// A manifest or policy that breaks its own rules.
    ManifestInvalid = "malformed-manifest", Trust, Never, "tell the publisher";
    /// A manifest with parts that this version does not know.
    ClientTooOld = "client-too-old", Trust, NextCheck, "install the barrier release that is named first";
    /// A rollout policy that breaks its own rules.
    RolloutMalformed = "malformed-rollout", Trust, NextCheck, "the publisher must sign a correct rollout policy";
    /// A rollout policy that is compared with the manifest of another release.
    RolloutOfOtherRelease = "rollout-of-other-release", Trust, NextCheck, "tell the publisher; policy and release do not belong together";
    /// A rollout policy that starts before what the channel's threshold allowed.
    RolloutHastened = "rollout-hastened", Trust, NextCheck, "the rollout policy may only delay, pause or withdraw; tell the publisher";
    /// Two releases of a channel whose versions are equal.
    AmbiguousVersion = "ambiguous-version", Trust, NextCheck, "the publisher must withdraw one of the two";
    /// A rollout policy that goes beyond what the channel's threshold allowed.
    RolloutTooWide = "rollout-widened", Trust, NextCheck, "the rollout policy may only delay, pause or withdraw; tell the publisher";
    /// A slot or an image whose root hash is not the signed one.
    RootHashMismatch = "root-hash-mismatch", Trust, NextCheck, "stage it again; if it fails again, tell the publisher";
    /// The UKI does not carry the root hash of its release.
    UkiRootHashMismatch = "uki-root-hash-mismatch", Trust, Never, "tell the publisher; image and UKI are of different builds";

    // ---- payloads
    /// A file that does not begin as a payload does.
    PayloadNotAPayload = "payload-not-a-payload", Trust, Never, "tell the publisher";
    /// A payload of a format newer than this program.
    PayloadFormatUnknown = "payload-format-unknown", Trust, NextCheck, "install the barrier release first";
    /// An index that contradicts itself.
    PayloadIndexInvalid = "payload-index-invalid", Trust, Never, "tell the publisher";
    /// An index that is not the signed one.
    PayloadIndexDigest = "payload-index-digest", Trust, Backoff, "use another mirror; if all fail, tell the publisher";
    /// An index of another image.
    PayloadIndexForAnotherImage = "payload-index-for-another-image", Trust, Never, "tell the publisher";
    /// A count or size beyond what is accepted.
    PayloadTooLarge = "payload-too-large", Trust, Never, "tell the publisher";
    /// A segment coded in a way that this program does not know.
    PayloadCodingUnknown = "payload-coding-unknown", Trust, NextCheck, "install the barrier release first";
    /// Coded bytes that are not the signed ones.
    PayloadSegmentDigest = "payload-segment-digest", Trust, Backoff, "use another mirror; if all fail, tell the publisher";
    /// Coded bytes that do not decode.
    PayloadSegmentInvalid = "payload-segment-invalid", Trust, Never, "tell the publisher";
    /// A patch gives something else than its index names: its base is not what it should be.
    PayloadSegmentOutput = "payload-segment-output", Disk, NextCheck, "nothing to do; that part is fetched from the full payload";
    /// A written image without the signed root hash.
    PayloadRootHash = "payload-root-hash", Trust, NextCheck, "stage it again; if it fails again, look at the disk and tell the publisher";
    /// A slot that does not claim the release it should hold.
    PayloadNotClaimed = "payload-not-claimed", Disk, NextCheck, "stage the release again";
    /// A hash tree that reads back otherwise than it was written.
    PayloadTreeWrong = "payload-tree-wrong", Disk, Backoff, "look at the kernel's log; the disk may be failing";
    /// A read or write below a payload failed.
    PayloadDisk = "payload-disk", Disk, Backoff, "look at the kernel's log; the disk may be failing";
    /// Coded bytes could not be fetched.
    PayloadFetch = "payload-fetch", Network, Backoff, "nothing to do; it goes on where it stopped";
    /// A read or write past the end of what is there.
    PayloadPastEnd = "payload-past-end", Disk, Operator, "the slot or file is smaller than the image; look at it";
    /// Applying was called off.
    PayloadCancelled = "payload-cancelled", Input, NextCheck, "nothing to do; what was written is used again";
    /// An image whose size no slot image has.
    PayloadImageSize = "payload-image-size", Input, Never, "give an image of whole 4096-byte blocks";
    /// A salt longer than a verity superblock holds.
    PayloadSaltTooLong = "payload-salt-too-long", Input, Never, "use a salt of at most 256 bytes";
    /// A history file that cannot be used.
    PayloadHistoryInvalid = "payload-history-invalid", Input, Operator, "restore the history file, or begin a new one";
    /// Parameters that no payload can be made with.
    PayloadParameters = "payload-parameters", Input, Never, "correct the parameters";
    /// The compressor failed.
    PayloadCompressor = "payload-compressor", Internal, Operator, "report it with the image's size";

    // ---- network
    /// No connection, or no name.
    Unreachable = "unreachable", Network, Backoff, "look at the network, the proxy and the URL";
    /// The TLS handshake failed.
    TlsFailed = "tls-failed", Network, Backoff, "look at the server's certificate and this node's clock";
    /// A status that is no success.
    HttpStatus = "http-status", Network, Backoff, "look at the repository's web server";
    /// The file is not on the server.
    NotOnServer = "not-on-server", Network, Backoff, "the publisher or mirror must upload it";
    /// The answer came slower than the minimum throughput.
    TooSlow = "too-slow", Network, Backoff, "use another mirror, or lower the minimum throughput";
    /// No answer at all in time.
    TimedOut = "timed-out", Network, Backoff, "look at the network; use another mirror";
    /// More bytes than may come.
    EndlessData = "endless-data", Network, NextCheck, "use another mirror; this one sends more than was signed";
    /// Fewer bytes than must come.
    Truncated = "truncated", Network, Backoff, "nothing to do; it is fetched again";
    /// A range answer that is not the range asked for.
    WrongRange = "wrong-range", Network, Backoff, "use a server or proxy that keeps to HTTP ranges";
    /// A redirect to another scheme, or too many of them.
    RedirectRefused = "redirect-refused", Network, Operator, "correct the repository's URL or its web server";
    /// A URL that cannot be used.
    UrlInvalid = "url-invalid", Network, Operator, "correct the URL";

    // ---- disk
    /// The slot is smaller than the image.
    SlotTooSmall = "slot-too-small", Disk, Never, "install anew with larger slots, or publish a smaller image";
    /// The slot to be written is the booted one.
    SlotIsBooted = "slot-is-booted", Disk, Operator, "the partition table is not what twinroot expects; look at it";
    /// The slot to be written is mounted or held by another.
    SlotInUse = "slot-in-use", Disk, Operator, "unmount it or stop its user";
    /// A partition of the layout is not on the disk.
    SlotMissing = "slot-missing", Disk, Operator, "correct the layout in the configuration or install anew";
    /// Two partitions claim to be the same.
    SlotAmbiguous = "slot-ambiguous", Disk, Operator, "give each partition a name and UUID of its own";
    /// A partition table that cannot be read or contradicts itself.
    TableInvalid = "table-invalid", Disk, Operator, "repair the partition table";
    /// The partitions that are wanted do not fit on the disk.
    TableDoesNotFit = "table-does-not-fit", Disk, Operator, "use a larger disk or smaller slots";
    /// No space left.
    DiskFull = "disk-full", Disk, Operator, "free some space";
    /// The device or file system is read-only.
    DiskReadOnly = "disk-read-only", Disk, Operator, "find out why it is read-only; a failing disk often turns so";
    /// A read or write failed.
    DiskIo = "disk-io", Disk, Backoff, "look at the kernel's log; the disk may be failing";
    /// A flush failed; what was written before it is not to be trusted.
    FlushFailed = "flush-failed", Disk, Backoff, "look at the kernel's log; the disk may be failing";
    /// What was read back is not what was written.
    ReadBackMismatch = "read-back-mismatch", Disk, Backoff, "look at disk and memory; the write is repeated";
    /// The base of a delta or of reuse is not what it was.
    BaseGone = "base-gone", Disk, NextCheck, "nothing to do; the full payload is fetched instead";

    // ---- boot
    /// No EFI system partition, or none that can be used.
    EspMissing = "esp-missing", Boot, Operator, "mount the EFI system partition the machine was booted from";
    /// The EFI system partition is read-only.
    EspReadOnly = "esp-read-only", Boot, Operator, "repair its file system and mount it writable";
    /// The EFI system partition has too little space.
    EspFull = "esp-full", Boot, Operator, "remove what does not belong there";
    /// A boot entry whose file name does not keep the rules.
    EntryNameInvalid = "entry-name-invalid", Boot, Operator, "rename or remove the file";
    /// A boot entry that must be there and is not.
    EntryMissing = "entry-missing", Boot, Operator, "apply the release again";
    /// Two boot entry files that claim to be the same entry.
    EntryAmbiguous = "entry-ambiguous", Boot, Operator, "remove the copy that does not belong there";
    /// A UKI that is no PE file or lacks what every UKI has.
    UkiInvalid = "uki-invalid", Boot, Never, "tell the publisher";
    /// Secure Boot is on and the boot image carries no signature: firmware would refuse it.
    UkiUnsigned = "uki-unsigned", Boot, Never, "tell the publisher; boot images for hosts with Secure Boot must be signed";
    /// Secure Boot is on and no key of the firmware has signed the boot image.
    UkiSignerUnknown = "uki-signer-unknown", Boot, Never, "enrol the publisher's certificate in the firmware, or tell the publisher";
    /// A UKI without, or with more than one, root hash.
    UkiRootHashMissing = "uki-root-hash-missing", Boot, Never, "tell the publisher; the command line must carry exactly one root hash";
    /// The bootloader cannot do what was asked.
    LoaderUnsupported = "loader-unsupported", Boot, Operator, "use a bootloader that twinroot drives";
    /// The bootloader did not count a try.
    LoaderNotCounting = "loader-not-counting", Boot, Operator, "update the bootloader; trials are booted one-shot until then";
    /// A boot variable cannot be read or written.
    BootVariable = "boot-variable", Boot, Backoff, "look at the firmware's variable store";
    /// Not known which slot is booted.
    BootedSlotUnknown = "booted-slot-unknown", Boot, Operator, "boot through twinroot's boot entry";
    /// The booted system is not the one that its records name.
    BootedMismatch = "booted-mismatch", Boot, Operator, "nothing to do; the booted system outranks the record";
    /// The attempt record on the ESP is damaged.
    AttemptRecordDamaged = "attempt-record-damaged", Boot, Backoff, "nothing to do; it is written anew";
    /// Kernel, slot and boot entry contradict each other.
    BootFactsContradict = "boot-facts-contradict", Boot, Operator, "write nothing to this machine's disk before `twinroot verify` is compared with it";
    /// The machine could not be restarted.
    RebootFailed = "reboot-failed", Boot, Backoff, "restart it by hand";

    // ---- health
    /// A required health check failed.
    HealthFailed = "health-failed", Health, Never, "look at the check and at the service it watches";
    /// No verdict by the deadline.
    HealthNoVerdict = "health-no-verdict", Health, Never, "look at why the check never answered";
    /// The release on trial was not good: it did not come up, or was not healthy.
    TrialFailed = "trial-failed", Health, Never, "look at the check that failed, or at the console of the failed starts";
    /// The trial's deadline passed before health was proven.
    TrialDeadline = "trial-deadline", Health, Never, "look at the checks that gave no verdict";
    /// Unhealthy before any update.
    UnhealthyBeforeUpdate = "unhealthy-before-update", Health, Backoff, "repair the workload first; it is not the update's fault";
    /// Both slots are unhealthy.
    BothSlotsUnhealthy = "both-slots-unhealthy", Health, Operator, "the cause is outside the image; look at data, network and hardware";

    // ---- the publisher's side (`twinroot-publish`)
    /// A repository is there already.
    RepositoryExists = "repository-exists", Input, Never, "choose another directory";
    /// No repository in the directory given.
    RepositoryMissing = "repository-missing", Input, Never, "give the directory that `init` made";
    /// A file given to the publisher is not what it must be.
    InputFileInvalid = "input-file-invalid", Input, Never, "give the file that the image build made";
    /// A key of that name is there already.
    KeyExists = "key-exists", Input, Never, "choose another name; a key is never overwritten";
    /// A key that is needed is not at hand.
    KeyMissing = "key-missing", Input, Operator, "give the directory that holds the key (--keys), or have its holder sign";
    /// A key file that cannot be read or decrypted.
    KeyUnreadable = "key-unreadable", Input, Operator, "give the right passphrase (--passphrase-file) and a PKCS#8 PEM file";
    /// A kind of key that the repository's key policy does not allow.
    KeyKindRefused = "key-kind-refused", Configuration, Operator, "use an ed25519 key, or allow P-256 in publish.toml and in the key policy of the image";
    /// An external signer that failed.
    SignerFailed = "signer-failed", Environment, Operator, "run the signer command by hand and look at what it says";
    /// A signature by a key that the role does not have.
    SignatureUseless = "signature-useless", Input, Never, "sign with a key of the role; `twinroot-publish status` names them";
    /// No draft of that role.
    DraftMissing = "draft-missing", Input, Never, "look at `twinroot-publish status` for the drafts there are";
    /// More signatures wanted than there are keys.
    ThresholdUnmeetable = "threshold-unmeetable", Input, Never, "lower the threshold or add keys";
    /// A channel that the repository does not have.
    ChannelUnknown = "channel-unknown", Input, Never, "choose one of the repository's channels";
    /// A version that was released before.
    ReleaseExists = "release-exists", Input, Never, "choose a higher version";
    /// A root hash that an earlier release has.
    RootHashUsed = "root-hash-used", Input, Never, "build an image with a content of its own; a denied root hash must never come back under a new version";
    /// A verity salt other than the product's.
    SaltChanged = "salt-changed", Input, Never, "build the tree with the product's salt; equal blocks must have equal hashes";
    /// Published or drafted files that cannot be read back.
    RepositoryDamaged = "repository-damaged", Environment, Operator, "restore the file from a backup or a mirror, then run `twinroot-publish check`";
    /// New metadata that a node would refuse.
    WouldBeRefused = "would-be-refused", Trust, Operator, "nothing was published; correct what is named and release again";
    /// `check` found problems.
    CheckFailed = "check-failed", Environment, Operator, "repair what the list names";

    // ---- internal
    /// Something that cannot be.
    Internal = "internal", Internal, Operator, "report it with the output of `twinroot status --json`";
    /// The same step has failed too often.
    TooManyAttempts = "too-many-attempts", Internal, Operator, "look at the failures before; then `twinroot check`";
    /// A code of a newer version.
    Unrecognised = "unrecognised", Internal, Operator, "read the record with the version that wrote it";
}
