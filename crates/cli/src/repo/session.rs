//! One transaction with a repository: answers each question of the workflow.

use serde::Serialize;
use twinroot_core::error::{Code, Failure};
use twinroot_host::clock::SystemClock;
use twinroot_host::fetch::Source;
use twinroot_ports::{Clock, Outcome};
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::tuf::{
    Action, Anchor, Answer, Expiry, Limits, Outcome as Flowed, TargetInfo, TufError, Verified,
    Workflow,
};

use super::files::Files;

/// What a refresh ended with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Refreshed {
    schema: u32,
    pub(super) root: u64,
    pub(super) timestamp: u64,
    pub(super) snapshot: u64,
    pub(super) targets: u64,
    pub(super) expires: String,
}

/// A refresh and the searches after it, all judged by the time at which it began.
#[derive(Debug)]
pub(super) struct Session<'a> {
    files: &'a Files,
    source: &'a Source,
    flow: Workflow,
}

impl<'a> Session<'a> {
    /// Starts from the stored anchor. Ed25519 and P-256 keys count: a foreign repository has no key
    /// policy of ours.
    pub(super) fn start(files: &'a Files, source: &'a Source, anchor: Vec<u8>) -> Outcome<Self> {
        let now = SystemClock.now().wall;
        let flow = Workflow::start(
            Anchor::Stored(anchor),
            Expiry::Judged(now),
            KeyPolicy::foreign(),
            Limits::foreign(),
        )
        .map_err(|e| refused("root.json", &e))?;
        Ok(Self {
            files,
            source,
            flow,
        })
    }

    /// Brings the top-level roles up to date.
    pub(super) fn refresh(&mut self) -> Outcome<Refreshed> {
        match self.drive()? {
            Flowed::Refreshed(r) => Ok(Refreshed {
                schema: 1,
                root: r.root,
                timestamp: r.timestamp,
                snapshot: r.snapshot,
                targets: r.targets,
                expires: r.expires.to_string(),
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Looks a target up through the delegations.
    pub(super) fn find(&mut self, name: &str) -> Outcome<Verified<TargetInfo>> {
        self.flow.find(name).map_err(|e| refused(name, &e))?;
        match self.drive()? {
            Flowed::Found(target) => Ok(target),
            Flowed::NotFound { target } => Err(Failure::new(
                Code::TargetNotFound,
                target,
                "no role that may list it does",
            )),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether file names carry versions and digests.
    pub(super) fn consistent(&self) -> bool {
        self.flow.trusted().root().consistent_snapshot
    }

    fn drive(&mut self) -> Outcome<Flowed> {
        loop {
            match self
                .flow
                .next_action()
                .map_err(|e| refused("the repository", &e))?
            {
                Action::Load { file } => {
                    let bytes = self.files.read(&file)?;
                    let answer = bytes.as_deref().map_or(Answer::Missing, Answer::Bytes);
                    self.flow.answer(answer).map_err(|e| refused(&file, &e))?;
                }
                Action::Fetch {
                    path, max_length, ..
                } => {
                    let bytes = self.source.port().metadata(&path, max_length)?;
                    let answer = bytes.as_deref().map_or(Answer::Missing, Answer::Bytes);
                    self.flow.answer(answer).map_err(|e| refused(&path, &e))?;
                }
                Action::Persist { file, bytes } => self.files.write(&file, &bytes)?,
                Action::Forget { file } => self.files.remove(&file)?,
                Action::Done(outcome) => return Ok(outcome),
            }
        }
    }
}

fn refused(subject: &str, error: &TufError) -> Failure {
    Failure::from_code(error.code(), subject, error.to_string())
}

fn unexpected(outcome: &Flowed) -> Failure {
    let cause = format!("the workflow ended with {outcome:?}");
    Failure::new(Code::Internal, "the repository", cause)
}
