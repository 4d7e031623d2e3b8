//! Trust as a value: bytes are applied to it, and it grows or refuses.
//!
//! The paragraphs above the checks say what TUF specification 1.0.34 asks for at that step, in
//! our words.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::files::DocumentRef;
use super::role::{Document, quoted_role};
use super::role::{Header, RoleKeys, Root, Snapshot, Targets, Timestamp, TopLevel};
use super::verify::{Envelope, Verified, verify};
use super::{Limits, TufError};
use crate::keys::KeyPolicy;
use crate::time::UnixTime;

/// Whether documents are asked for their expiry, and at which time. It is fixed once for a whole
/// transaction (section 5.1), so that a slow source cannot make time pass in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// A document whose `expires` is not after this time is refused.
    Judged(UnixTime),
    /// Signatures, versions and digests are checked, expiry is not: for a release that was
    /// staged while its metadata was fresh. Never for fetching.
    NotJudged,
}

/// What applying a timestamp did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is newer and trusted now.
    Updated,
    /// It has the version that is trusted already; the trusted one stays.
    Unchanged,
}

/// A version that rose by more than any repository does in a day: reported, not refused, since
/// refusing would end updates where recovery by key rotation still works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct VersionJump {
    pub role: String,
    pub from: u64,
    pub to: u64,
}

/// What is trusted at present.
#[derive(Debug, Clone)]
pub struct Trusted {
    policy: KeyPolicy,
    limits: Limits,
    root: Verified<Root>,
    /// Set when the walk over root versions has ended.
    expiry: Option<Expiry>,
    timestamp: Option<Verified<Timestamp>>,
    /// The snapshot and its bytes, which a later timestamp may pin again.
    snapshot: Option<(Verified<Snapshot>, Vec<u8>)>,
    /// Keyed by (delegator, role), so that a role that is trusted through one delegator is never
    /// taken for trusted through another.
    targets: BTreeMap<(String, String), Verified<Targets>>,
    jumps: Vec<VersionJump>,
}

impl Trusted {
    /// Starts from the root that is trusted because of where it comes from (section 5.2). It must
    /// be signed by its own threshold: a damaged anchor is no anchor.
    ///
    /// # Errors
    /// If the anchor is malformed or not signed by itself. Its expiry is not judged here.
    pub fn from_root(bytes: &[u8], policy: KeyPolicy, limits: Limits) -> Result<Self, TufError> {
        let envelope = envelope("root", bytes, limits.root)?;
        let claimed = Root::read("root", envelope.signed(), policy, &limits)?;
        let keys = claimed.keys(TopLevel::Root);
        let root = verify("root", &envelope, &[keys], policy, &limits)?;
        let (timestamp, snapshot, targets) = (None, None, BTreeMap::new());
        Ok(Self {
            policy,
            limits,
            root,
            expiry: None,
            timestamp,
            snapshot,
            targets,
            jumps: Vec::new(),
        })
    }

    /// Follows the root chain by one step (sections 5.3.4 and 5.3.5). True if a key of the
    /// timestamp or snapshot role has been taken away by it.
    ///
    /// # Errors
    /// Unless a threshold of the present root's keys and a threshold of the new root's own keys
    /// have signed, and the version is exactly one higher.
    pub fn update_root(&mut self, bytes: &[u8]) -> Result<bool, TufError> {
        if self.expiry.is_some() {
            return Err(TufError::OutOfOrder {
                role: "root".into(),
                before: "the next transaction",
            });
        }
        let envelope = envelope("root", bytes, self.limits.root)?;
        let present = self.root.keys(TopLevel::Root);
        let claimed: Verified<Root> =
            verify("root", &envelope, &[present], self.policy, &self.limits)?;
        let own = claimed.keys(TopLevel::Root);
        let new: Verified<Root> = verify(
            "root",
            &envelope,
            &[present, own],
            self.policy,
            &self.limits,
        )?;
        let (expected, offered) = (
            self.root.header.version.saturating_add(1),
            new.header.version,
        );
        if offered != expected {
            return Err(TufError::RootVersionSkipped { expected, offered });
        }
        // Section 5.3.11: where timestamp or snapshot keys were rotated, the stored timestamp and
        // snapshot go, since whoever held the old keys may have set versions out of reach
        // (fast-forward attack). Adding a key takes nothing away from anybody and keeps them.
        let rotated = self.rotates_online_keys(&new);
        if rotated {
            (self.timestamp, self.snapshot) = (None, None);
        }
        self.root = new;
        Ok(rotated)
    }

    pub(super) fn rotates_online_keys(&self, newer: &Root) -> bool {
        let lost = |role| self.root.keys(role).lost_a_key(newer.keys(role));
        lost(TopLevel::Timestamp) || lost(TopLevel::Snapshot)
    }

    /// Ends the walk over root versions and fixes the time of this transaction (section 5.3.10:
    /// only the last root must not be expired).
    ///
    /// # Errors
    /// [`TufError::Expired`] for the root.
    pub fn finish_roots(&mut self, expiry: Expiry) -> Result<(), TufError> {
        check_expiry("root", &self.root.header, expiry)?;
        self.expiry = Some(expiry);
        Ok(())
    }

    /// Takes a stored timestamp as what newer ones are compared with. Its expiry is not judged:
    /// an expired version is still a version that must not be fallen below.
    ///
    /// # Errors
    /// If it is not signed by the present root's timestamp keys; the caller then has none.
    pub fn load_timestamp(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        self.expiry_for("timestamp")?;
        self.timestamp = Some(self.read_timestamp(bytes)?);
        Ok(())
    }

    /// Applies a timestamp (section 5.4).
    ///
    /// # Errors
    /// Threshold not met, rollback of the timestamp or of the snapshot it pins, expired. Refused
    /// timestamps leave nothing behind, so the next good one is compared with the last good one.
    pub fn update_timestamp(&mut self, bytes: &[u8]) -> Result<Freshness, TufError> {
        let expiry = self.expiry_for("timestamp")?;
        // 5.4.2: signed by a threshold of the keys that the trusted root names.
        let new = self.read_timestamp(bytes)?;
        let pinned = new.snapshot.version;
        if let Some(old) = &self.timestamp {
            // 5.4.3.1: the version must not fall; an equal one means that nothing is new.
            no_rollback("timestamp", old.header.version, new.header.version)?;
            if old.header.version == new.header.version {
                check_expiry("timestamp", &old.header, expiry)?;
                return Ok(Freshness::Unchanged);
            }
            // 5.4.3.2: nor may the version of the pinned snapshot.
            no_rollback("snapshot", old.snapshot.version, pinned)?;
        }
        // The same against a stored snapshot, which may have outlived its timestamp.
        if let Some((snapshot, _)) = &self.snapshot {
            no_rollback("snapshot", snapshot.header.version, pinned)?;
        }
        // 5.4.4: not expired.
        check_expiry("timestamp", &new.header, expiry)?;
        if let Some(old) = &self.timestamp {
            let (from, to) = (old.header.version, new.header.version);
            self.jumps.extend(self.jump("timestamp", from, to));
        }
        self.timestamp = Some(new);
        Ok(Freshness::Updated)
    }

    fn read_timestamp(&self, bytes: &[u8]) -> Result<Verified<Timestamp>, TufError> {
        let envelope = envelope("timestamp", bytes, self.limits.timestamp)?;
        let keys = self.root.keys(TopLevel::Timestamp);
        verify("timestamp", &envelope, &[keys], self.policy, &self.limits)
    }

    /// Takes a stored snapshot as what newer ones are compared with. Neither its expiry nor what
    /// the timestamp pins is judged here; [`Trusted::snapshot_is_current`] does.
    ///
    /// # Errors
    /// If it is not signed by the present root's snapshot keys; the caller then has none.
    pub fn load_snapshot(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        self.expiry_for("snapshot")?;
        self.snapshot = Some((self.read_snapshot(bytes)?, bytes.to_vec()));
        Ok(())
    }

    /// Whether the snapshot held is the one that the timestamp pins, and not expired.
    pub fn snapshot_is_current(&self) -> bool {
        let (Some(timestamp), Some((snapshot, bytes))) = (&self.timestamp, &self.snapshot) else {
            return false;
        };
        let pinned = &timestamp.snapshot;
        let fresh = |expiry| check_expiry("snapshot", &snapshot.header, expiry).is_ok();
        snapshot.header.version == pinned.version
            && pinned.check("snapshot.json", bytes).is_ok()
            && self.expiry.is_some_and(fresh)
    }

    /// Applies a snapshot (section 5.5).
    ///
    /// # Errors
    /// Length or digest other than the timestamp's, threshold not met, another version than the
    /// timestamp's, a role dropped or rolled back, expired.
    pub fn update_snapshot(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        let expiry = self.expiry_for("snapshot")?;
        let Some(timestamp) = &self.timestamp else {
            return Err(TufError::OutOfOrder {
                role: "snapshot".into(),
                before: "timestamp",
            });
        };
        // 5.5.2: length and digests as the timestamp states them, before anything is parsed.
        let pinned = timestamp.snapshot.clone();
        pinned.check("snapshot.json", bytes)?;
        // 5.5.3: signed by a threshold of the keys that the trusted root names.
        let new = self.read_snapshot(bytes)?;
        // 5.5.4: the version that the timestamp pins (mix-and-match attack).
        same_version("snapshot", &pinned, &new.header)?;
        let mut jumps = Vec::new();
        if let Some((old, _)) = &self.snapshot {
            // 5.5.5: every role that was listed is still listed, and at no lower version.
            for (role, known) in &old.roles {
                let Some(offered) = new.roles.get(role) else {
                    return Err(TufError::RoleDropped { role: role.clone() });
                };
                no_rollback(role, known.version, offered.version)?;
                jumps.extend(self.jump(role, known.version, offered.version));
            }
            jumps.extend(self.jump("snapshot", old.header.version, new.header.version));
        }
        // 5.5.6: not expired.
        check_expiry("snapshot", &new.header, expiry)?;
        self.jumps.extend(jumps);
        self.snapshot = Some((new, bytes.to_vec()));
        self.targets.clear();
        Ok(())
    }

    fn read_snapshot(&self, bytes: &[u8]) -> Result<Verified<Snapshot>, TufError> {
        let envelope = envelope("snapshot", bytes, self.limits.snapshot)?;
        let keys = self.root.keys(TopLevel::Snapshot);
        verify("snapshot", &envelope, &[keys], self.policy, &self.limits)
    }

    /// Applies a targets role, top-level (`"targets"`, delegated by `"root"`) or delegated
    /// (sections 5.6.2 to 5.6.5): one function, so that no check can be forgotten for delegated
    /// ones. A stored file passes the same checks as a fetched one.
    ///
    /// # Errors
    /// Not in the snapshot, length or digest other than the snapshot's, threshold of this
    /// delegator not met, another version than the snapshot's, expired.
    pub fn update_targets(
        &mut self,
        role: &str,
        delegator: &str,
        bytes: &[u8],
    ) -> Result<(), TufError> {
        let expiry = self.expiry_for(role)?;
        // 5.6.2: length and digests as the snapshot states them, before anything is parsed.
        let pinned = self.pinned(role)?.clone();
        pinned.check(&format!("{role}.json"), bytes)?;
        // 5.6.3: signed by a threshold of the keys that this delegator names. A role reached
        // through two delegators is verified for each of them (diamond delegation).
        let envelope = envelope(role, bytes, self.limits.targets)?;
        let keys = self.delegated_keys(role, delegator)?;
        let new: Verified<Targets> = verify(role, &envelope, &[keys], self.policy, &self.limits)?;
        // 5.6.4: the version that the snapshot pins.
        same_version(role, &pinned, &new.header)?;
        // 5.6.5: not expired.
        check_expiry(role, &new.header, expiry)?;
        self.targets.insert((delegator.into(), role.into()), new);
        Ok(())
    }

    fn delegated_keys(&self, role: &str, delegator: &str) -> Result<&RoleKeys, TufError> {
        if (role, delegator) == (TopLevel::Targets.as_str(), TopLevel::Root.as_str()) {
            return Ok(self.root.keys(TopLevel::Targets));
        }
        let refused = || TufError::NotDelegated {
            role: role.into(),
            delegator: delegator.into(),
        };
        let document = self.targets_of(delegator).ok_or_else(refused)?;
        document
            .delegations
            .get(role)
            .map(|delegation| &delegation.keys)
            .ok_or_else(refused)
    }

    /// What the current snapshot pins of a targets role.
    pub(super) fn pinned(&self, role: &str) -> Result<&DocumentRef, TufError> {
        let snapshot = self
            .snapshot
            .as_ref()
            .filter(|_| self.snapshot_is_current());
        let Some((snapshot, _)) = snapshot else {
            return Err(TufError::OutOfOrder {
                role: role.into(),
                before: "snapshot",
            });
        };
        let pinned = snapshot.roles.get(role);
        pinned.ok_or_else(|| TufError::RoleNotListed { role: role.into() })
    }

    fn expiry_for(&self, role: &str) -> Result<Expiry, TufError> {
        self.expiry.ok_or_else(|| TufError::OutOfOrder {
            role: role.into(),
            before: "root",
        })
    }

    fn jump(&self, role: &str, from: u64, to: u64) -> Option<VersionJump> {
        let far = to.saturating_sub(from) > self.limits.version_jump;
        far.then(|| VersionJump {
            role: role.into(),
            from,
            to,
        })
    }

    /// The root.
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The timestamp, once one is trusted.
    pub fn timestamp(&self) -> Option<&Verified<Timestamp>> {
        self.timestamp.as_ref()
    }

    /// The snapshot, once one is trusted.
    pub fn snapshot(&self) -> Option<&Verified<Snapshot>> {
        self.snapshot.as_ref().map(|(snapshot, _)| snapshot)
    }

    /// A targets role as this delegator trusts it.
    pub fn targets(&self, role: &str, delegator: &str) -> Option<&Verified<Targets>> {
        self.targets.get(&(delegator.to_string(), role.to_string()))
    }

    /// A targets role, whoever delegated to it; all see the same document.
    pub(super) fn targets_of(&self, role: &str) -> Option<&Verified<Targets>> {
        let found = self.targets.iter().find(|((_, held), _)| held == role);
        found.map(|(_, document)| document)
    }

    /// Version rises that look like a fast-forward attack.
    pub fn jumps(&self) -> &[VersionJump] {
        &self.jumps
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where the snapshot is published, and its most bytes.
    pub(super) fn snapshot_source(&self) -> Result<(String, u64), TufError> {
        let Some(timestamp) = &self.timestamp else {
            return Err(TufError::OutOfOrder {
                role: "snapshot".into(),
                before: "timestamp",
            });
        };
        self.source("snapshot", &timestamp.snapshot, self.limits.snapshot)
    }

    /// Where a targets role is published, and its most bytes.
    pub(super) fn targets_source(&self, role: &str) -> Result<(String, u64), TufError> {
        self.source(role, self.pinned(role)?, self.limits.targets)
    }

    /// Section 6.2: consistent repositories prefix the version. The length that is signed for is
    /// the most that will be taken, and may not exceed our own bound.
    fn source(
        &self,
        role: &str,
        pinned: &DocumentRef,
        limit: u64,
    ) -> Result<(String, u64), TufError> {
        let file = format!("{}.json", quoted_role(role));
        let size = pinned.length.unwrap_or(limit);
        if size > limit {
            return Err(TufError::EndlessData { file, size, limit });
        }
        let consistent = self.root.consistent_snapshot;
        Ok((
            if consistent {
                format!("{}.{file}", pinned.version)
            } else {
                file
            },
            size,
        ))
    }
}

/// Reads an envelope within a bound, whatever bound the transport kept.
pub(super) fn envelope(role: &str, bytes: &[u8], limit: u64) -> Result<Envelope, TufError> {
    let size = bytes.len() as u64;
    if size > limit {
        return Err(TufError::EndlessData {
            file: format!("{role}.json"),
            size,
            limit,
        });
    }
    Envelope::read(role, bytes)
}

/// A document is expired from the second on that it names.
fn check_expiry(role: &str, header: &Header, expiry: Expiry) -> Result<(), TufError> {
    match expiry {
        Expiry::Judged(now) if now >= header.expires => Err(TufError::Expired {
            role: role.into(),
            expires: header.expires,
            now,
        }),
        Expiry::Judged(_) | Expiry::NotJudged => Ok(()),
    }
}

fn no_rollback(role: &str, known: u64, offered: u64) -> Result<(), TufError> {
    if offered < known {
        return Err(TufError::Rollback {
            role: role.into(),
            known,
            offered,
        });
    }
    Ok(())
}

fn same_version(role: &str, pinned: &DocumentRef, found: &Header) -> Result<(), TufError> {
    let (pinned, offered) = (pinned.version, found.version);
    if pinned != offered {
        return Err(TufError::MixAndMatch {
            role: role.into(),
            pinned,
            offered,
        });
    }
    Ok(())
}
