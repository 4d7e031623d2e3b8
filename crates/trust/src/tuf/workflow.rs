//! The client workflow as a conversation: it says what to load, fetch, keep or forget, and is
//! told what came of it. Whoever drives it owns disk, network and clock.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::conversation::{Action, Anchor, Answer, Outcome, Refreshed, What};
use super::role::{Document, Root, Targets, TopLevel, quoted_role};
use super::search::{Edge, Search};
use super::trusted::envelope;
use super::verify::Verified;
use super::{Expiry, Freshness, Limits, Trusted, TufError, check_target_name};
use crate::keys::KeyPolicy;

const ROOT_FILE: &str = "root.json";
const TIMESTAMP_FILE: &str = "timestamp.json";
const SNAPSHOT_FILE: &str = "snapshot.json";

/// One transaction against one repository.
#[derive(Debug, Clone)]
pub struct Workflow {
    trusted: Trusted,
    expiry: Expiry,
    keeps_history: bool,
    /// The bytes of the root that is trusted, and of `root.json` as it was found.
    root: Vec<u8>,
    found_root: Vec<u8>,
    roots_followed: u32,
    walk_cut: bool,
    queue: VecDeque<Action>,
    step: Step,
    goal: Goal,
}

#[derive(Debug, Clone)]
enum Step {
    StoredRoot,
    HistoryRoot,
    FetchRoot,
    LocalTimestamp,
    LocalSnapshot,
    FetchTimestamp,
    FetchSnapshot,
    LocalTargets(Edge),
    FetchTargets(Edge),
    Done(Outcome),
    Failed(TufError),
}

#[derive(Debug, Clone)]
enum Goal {
    Refresh,
    Find(Search),
    Trust,
}

impl Workflow {
    /// Begins a refresh. `expiry` holds the start time of the transaction (section 5.1).
    ///
    /// # Errors
    /// If the anchor is no root; nothing can be trusted then.
    pub fn start(
        anchor: Anchor,
        expiry: Expiry,
        policy: KeyPolicy,
        limits: Limits,
    ) -> Result<Self, TufError> {
        let (root, found_root, keeps_history) = match anchor {
            Anchor::Stored(bytes) => (bytes.clone(), bytes, false),
            Anchor::Image(bytes) => (bytes, Vec::new(), true),
        };
        Ok(Self {
            trusted: Trusted::from_root(&root, policy, limits)?,
            expiry,
            keeps_history,
            root,
            found_root,
            roots_followed: 0,
            walk_cut: false,
            queue: VecDeque::new(),
            step: if keeps_history {
                Step::StoredRoot
            } else {
                Step::FetchRoot
            },
            goal: Goal::Refresh,
        })
    }

    /// What is trusted so far.
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// What to do next. After `Persist` and `Forget` call this again; after `Load` and `Fetch`
    /// give the [`Workflow::answer`] first; `Done` is given until a new goal is set.
    ///
    /// # Errors
    /// The transaction has failed; what was persisted stays and is good.
    pub fn next_action(&mut self) -> Result<Action, TufError> {
        if let Some(action) = self.queue.pop_front() {
            return Ok(action);
        }
        Ok(match &self.step {
            Step::StoredRoot => load(ROOT_FILE),
            Step::HistoryRoot => load(&history_file(self.next_root())),
            Step::FetchRoot => Action::Fetch {
                path: format!("{}.root.json", self.next_root()),
                max_length: self.trusted.limits().root,
                what: What::NextRoot,
            },
            Step::LocalTimestamp => load(TIMESTAMP_FILE),
            Step::LocalSnapshot => load(SNAPSHOT_FILE),
            Step::FetchTimestamp => Action::Fetch {
                path: TIMESTAMP_FILE.into(),
                max_length: self.trusted.limits().timestamp,
                what: What::Timestamp,
            },
            Step::FetchSnapshot => {
                let (path, max_length) = self.trusted.snapshot_source()?;
                Action::Fetch {
                    path,
                    max_length,
                    what: What::Snapshot,
                }
            }
            Step::LocalTargets(edge) => load(&role_file(&edge.role)),
            Step::FetchTargets(edge) => {
                let (path, max_length) = self.trusted.targets_source(&edge.role)?;
                Action::Fetch {
                    path,
                    max_length,
                    what: What::Targets,
                }
            }
            Step::Done(outcome) => Action::Done(outcome.clone()),
            Step::Failed(error) => return Err(error.clone()),
        })
    }

    /// Takes what came of the last `Load` or `Fetch`.
    ///
    /// # Errors
    /// The bytes are refused, or a file that must exist is missing. Nothing has changed then:
    /// [`Workflow::next_action`] gives the same fetch again, so that another mirror can be asked.
    pub fn answer(&mut self, answer: Answer<'_>) -> Result<(), TufError> {
        match self.step.clone() {
            Step::StoredRoot => self.stored_root(answer),
            Step::HistoryRoot => self.history_root(answer),
            Step::FetchRoot => self.fetched_root(answer)?,
            Step::LocalTimestamp => {
                // A stored file that is unreadable or not signed any more is as good as absent.
                if let Answer::Bytes(bytes) = answer {
                    _ = self.trusted.load_timestamp(bytes);
                }
                self.step = Step::LocalSnapshot;
            }
            Step::LocalSnapshot => {
                if let Answer::Bytes(bytes) = answer {
                    _ = self.trusted.load_snapshot(bytes);
                }
                self.step = Step::FetchTimestamp;
            }
            Step::FetchTimestamp => self.fetched_timestamp(answer)?,
            Step::FetchSnapshot => {
                let bytes = required(answer, SNAPSHOT_FILE)?;
                self.trusted.update_snapshot(bytes)?;
                self.persist(SNAPSHOT_FILE.into(), bytes);
                self.want(Edge::top_level());
            }
            Step::LocalTargets(edge) => self.local_targets(edge, answer),
            Step::FetchTargets(Edge { role, delegator }) => {
                let file = role_file(&role);
                let bytes = required(answer, &file)?;
                self.trusted.update_targets(&role, &delegator, bytes)?;
                self.persist(file, bytes);
                self.obtained(&Edge { role, delegator });
            }
            Step::Done(_) | Step::Failed(_) => {}
        }
        Ok(())
    }

    /// Sets the goal of finding a target. Roles are loaded and fetched only as the search needs
    /// them.
    ///
    /// # Errors
    /// If the refresh has not succeeded before, or the name could leave a directory.
    pub fn find(&mut self, target: &str) -> Result<(), TufError> {
        check_target_name(target)?;
        self.must_be_refreshed(target)?;
        self.goal = Goal::Find(Search::new(target));
        self.advance_search();
        Ok(())
    }

    /// Sets the goal of trusting a role that the top-level targets role delegates to.
    ///
    /// # Errors
    /// If the refresh has not succeeded before, or targets does not delegate to that role.
    pub fn trust_role(&mut self, role: &str) -> Result<(), TufError> {
        let targets = self.must_be_refreshed(role)?;
        if targets.delegations.get(role).is_none() {
            let delegator = TopLevel::Targets.as_str().into();
            return Err(TufError::NotDelegated {
                role: role.into(),
                delegator,
            });
        }
        self.goal = Goal::Trust;
        self.want(Edge {
            role: role.into(),
            delegator: TopLevel::Targets.as_str().into(),
        });
        Ok(())
    }

    fn must_be_refreshed(&self, role: &str) -> Result<&Verified<Targets>, TufError> {
        let targets = self
            .trusted
            .targets(TopLevel::Targets.as_str(), TopLevel::Root.as_str());
        targets.ok_or_else(|| TufError::OutOfOrder {
            role: role.into(),
            before: "targets",
        })
    }

    fn next_root(&self) -> u64 {
        self.trusted.root().header.version.saturating_add(1)
    }

    fn persist(&mut self, file: String, bytes: &[u8]) {
        self.queue.push_back(Action::Persist {
            file,
            bytes: bytes.to_vec(),
        });
    }

    fn forget_online_roles(&mut self) {
        for file in [TIMESTAMP_FILE, SNAPSHOT_FILE] {
            self.queue.push_back(Action::Forget { file: file.into() });
        }
    }

    /// The stored root counts for nothing beside the image's, except as a hint: where the image
    /// brings a newer root with other online keys, what the old keys signed goes.
    fn stored_root(&mut self, answer: Answer<'_>) {
        self.step = Step::HistoryRoot;
        let Answer::Bytes(bytes) = answer else { return };
        self.found_root = bytes.to_vec();
        let limits = *self.trusted.limits();
        let anchor = self.trusted.root();
        let stored = envelope("root", bytes, limits.root).and_then(|envelope| {
            Root::read("root", envelope.signed(), KeyPolicy::foreign(), &limits)
        });
        let Ok(stored) = stored else { return };
        let lost = |role| stored.keys(role).lost_a_key(anchor.keys(role));
        let rotated = lost(TopLevel::Timestamp) || lost(TopLevel::Snapshot);
        if stored.header.version < anchor.header.version && rotated {
            self.forget_online_roles();
        }
    }

    /// Walks through kept roots; the first that is missing or bad hands over to the network.
    fn history_root(&mut self, answer: Answer<'_>) {
        match answer {
            Answer::Bytes(bytes) if self.trusted.update_root(bytes).is_ok() => {
                self.root = bytes.to_vec();
            }
            Answer::Bytes(_) | Answer::Missing => self.step = Step::FetchRoot,
        }
    }

    /// Section 5.3: one version after the other until there is none, or the bound is reached.
    fn fetched_root(&mut self, answer: Answer<'_>) -> Result<(), TufError> {
        let Answer::Bytes(bytes) = answer else {
            self.end_root_walk();
            return Ok(());
        };
        // 5.3.11 before 5.3.8: the stored timestamp and snapshot go first, so that a loss of
        // power between the two cannot leave fast-forwarded versions beside the root that was
        // made to be rid of them.
        if self.trusted.update_root(bytes)? {
            self.forget_online_roles();
        }
        self.root = bytes.to_vec();
        if self.keeps_history {
            let version = self.trusted.root().header.version;
            self.persist(history_file(version), bytes);
        } else {
            self.persist(ROOT_FILE.into(), bytes);
        }
        self.roots_followed += 1;
        if self.roots_followed >= self.trusted.limits().root_rotations {
            self.walk_cut = true;
            self.end_root_walk();
        }
        Ok(())
    }

    fn end_root_walk(&mut self) {
        // Beside an image's root, `root.json` only shows auditors what is trusted: it follows the
        // end of the walk, whatever a lost run or a newer image left there.
        if self.keeps_history && self.found_root != self.root {
            self.queue.push_back(Action::Persist {
                file: ROOT_FILE.into(),
                bytes: self.root.clone(),
            });
        }
        self.step = match self.trusted.finish_roots(self.expiry) {
            Ok(()) => Step::LocalTimestamp,
            Err(error) => Step::Failed(error),
        };
    }

    fn fetched_timestamp(&mut self, answer: Answer<'_>) -> Result<(), TufError> {
        let bytes = required(answer, TIMESTAMP_FILE)?;
        if self.trusted.update_timestamp(bytes)? == Freshness::Updated {
            self.persist(TIMESTAMP_FILE.into(), bytes);
        }
        if self.trusted.snapshot_is_current() {
            self.want(Edge::top_level());
        } else {
            self.step = Step::FetchSnapshot;
        }
        Ok(())
    }

    /// A stored role that passes every check is not fetched again.
    fn local_targets(&mut self, edge: Edge, answer: Answer<'_>) {
        let good = match answer {
            Answer::Bytes(bytes) => self
                .trusted
                .update_targets(&edge.role, &edge.delegator, bytes)
                .is_ok(),
            Answer::Missing => false,
        };
        if good {
            self.obtained(&edge);
        } else {
            self.step = Step::FetchTargets(edge);
        }
    }

    /// Makes a targets role trusted, unless it is.
    fn want(&mut self, edge: Edge) {
        if self.trusted.targets(&edge.role, &edge.delegator).is_some() {
            self.obtained(&edge);
        } else {
            self.step = Step::LocalTargets(edge);
        }
    }

    /// A targets role is trusted; goes on with the goal.
    fn obtained(&mut self, edge: &Edge) {
        match &self.goal {
            Goal::Refresh => self.step = Step::Done(Outcome::Refreshed(self.refreshed())),
            Goal::Trust => {
                self.step = Step::Done(Outcome::Trusts {
                    role: edge.role.clone(),
                })
            }
            Goal::Find(_) => self.visit(edge),
        }
    }

    /// Asks a role for the target and, unless it lists it, goes on to the next.
    fn visit(&mut self, edge: &Edge) {
        let Goal::Find(search) = &mut self.goal else {
            return;
        };
        let Some(document) = self.trusted.targets(&edge.role, &edge.delegator) else {
            return;
        };
        match search.ask(&edge.role, document) {
            Some(found) => self.step = Step::Done(Outcome::Found(found)),
            None => self.advance_search(),
        }
    }

    fn advance_search(&mut self) {
        let limit = self.trusted.limits().delegation_visits;
        let Goal::Find(search) = &mut self.goal else {
            return;
        };
        match search.next_role(limit) {
            Ok(Some(edge)) => self.want(edge),
            Ok(None) => {
                self.step = Step::Done(Outcome::NotFound {
                    target: search.target().into(),
                });
            }
            Err(error) => self.step = Step::Failed(error),
        }
    }

    fn refreshed(&self) -> Refreshed {
        let trusted = &self.trusted;
        let root = &trusted.root().header;
        let held = "a refresh is reported only after all four roles are trusted";
        let timestamp = &trusted.timestamp().expect(held).header;
        let snapshot = &trusted.snapshot().expect(held).header;
        let targets = &trusted
            .targets_of(TopLevel::Targets.as_str())
            .expect(held)
            .header;
        let all = [root, timestamp, snapshot, targets];
        let expires = all.iter().map(|header| header.expires).min();
        Refreshed {
            root: root.version,
            timestamp: timestamp.version,
            snapshot: snapshot.version,
            targets: targets.version,
            expires: expires.unwrap_or_default(),
            roots_followed: self.roots_followed,
            walk_cut: self.walk_cut,
            jumps: trusted.jumps().to_vec(),
        }
    }
}

fn load(file: &str) -> Action {
    Action::Load { file: file.into() }
}

fn history_file(version: u64) -> String {
    format!("root_history/{version}.root.json")
}

fn role_file(role: &str) -> String {
    format!("{}.json", quoted_role(role))
}

fn required<'a>(answer: Answer<'a>, file: &str) -> Result<&'a [u8], TufError> {
    match answer {
        Answer::Bytes(bytes) => Ok(bytes),
        Answer::Missing => Err(TufError::Unavailable { file: file.into() }),
    }
}
