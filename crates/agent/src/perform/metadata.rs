//! Refreshes signed metadata and lists the channel's releases: drives the pure workflow of `trust`
//! over the fetch and store ports. The store holds exactly the bytes that were received.

use twinroot_core::clock::TrustedNow;
use twinroot_core::facts::Facts;
use twinroot_core::rollout::{self, Subject};
use twinroot_core::update::{Candidate, Checked, Listed};
use twinroot_ports::{Code, Failure, Outcome, Ports};
use twinroot_trust::policy::RolloutPolicy;
use twinroot_trust::release::{self, Release};
use twinroot_trust::time::UnixTime;
use twinroot_trust::tuf::{
    Action, Anchor, Answer, Expiry, Outcome as Flowed, TufError, Verified, Workflow, prove_target,
};
use twinroot_trust::version::Version;

use super::signed::Bundle;
use crate::agent::Agent;

/// Folder of the trust metadata in the store.
const FOLDER: &str = "trust";

/// The rollout policy that was fetched last, beside the metadata.
const ROLLOUT: &str = "rollout.toml";

/// Manifests read in one check, newest first. A node that is further behind passes barriers one at
/// a time and looks again after each.
const MANIFESTS: usize = 16;

/// Answers that may fail to verify before the search ends: a bad mirror costs one, and nobody
/// configures more than a handful.
pub(super) const DISTRUSTED: u32 = 4;

/// Refreshes and lists.
pub(super) fn refresh(agent: &mut Agent<'_>, facts: &Facts) -> Outcome<Checked> {
    let now = trusted_now(agent, facts)?;
    let ports = agent.ports;
    let options = &agent.options;
    let mut flow = Workflow::start(
        Anchor::Image(options.anchor.clone()),
        Expiry::Judged(now),
        options.key_policy,
        options.limits,
    )
    .map_err(|e| refused("the image's trust anchor", &e))?;
    drive(ports, &mut flow)?;
    let role = release::channel_role(&options.policy.identity.channel);
    trust_role(ports, &mut flow, &role)?;
    let policy = rollout_policy(agent, &mut flow)?;
    let (listed, unreadable) = manifests(agent, facts, &flow, policy.as_ref(), now)?;
    adopt_running(agent, facts, &listed)?;
    // The newest release was made before now, and it is signed: evidence of the time. The system
    // clock alone proves nothing, so it can only lower it.
    let released = listed.iter().map(|l| l.candidate.manifest().released).max();
    let evidence = released.unwrap_or(facts.system().built).min(now);
    Ok(Checked {
        listed,
        unreadable,
        evidence,
    })
}

/// A machine is installed without the signed bytes of its first release. The first look finds them,
/// so that `verify` can prove that slot too, and a repair can write it again.
fn adopt_running(agent: &mut Agent<'_>, facts: &Facts, listed: &[Listed]) -> Outcome<()> {
    let root = facts.system().root_hash;
    if agent.records.known_by_root(&root).is_some() {
        return Ok(());
    }
    let running = listed.iter().find(|l| l.candidate.root_hash() == root);
    match running {
        Some(running) => agent.adopt(&running.candidate.saved()),
        None => Ok(()),
    }
}

/// The time to judge expiry by. A clock that cannot be right installs nothing.
fn trusted_now(agent: &Agent<'_>, facts: &Facts) -> Outcome<UnixTime> {
    let wall = agent.ports.clock.now().wall;
    let decided = TrustedNow::decide(wall, facts.system().built, agent.records.trusted_time);
    if decided.may_install() {
        return Ok(decided.now);
    }
    Err(Failure::new(
        Code::ClockUntrusted,
        format!("the system clock ({wall})"),
        format!("it cannot be right: it is judged by {}", decided.now),
    ))
}

/// Runs the workflow until it is done, answering each of its questions. Whatever was accepted before
/// a refusal stays stored: roles persist one by one.
fn drive(ports: Ports<'_>, flow: &mut Workflow) -> Outcome<Flowed> {
    let mut distrusted = 0;
    loop {
        match flow
            .next_action()
            .map_err(|e| refused("the repository", &e))?
        {
            Action::Load { file } => {
                let bytes = ports.store.read(&stored(&file))?;
                let answer = bytes.as_deref().map_or(Answer::Missing, Answer::Bytes);
                flow.answer(answer)
                    .map_err(|e| refused(&format!("stored {file}"), &e))?;
            }
            Action::Fetch {
                path, max_length, ..
            } => {
                let bytes = ports.fetch.metadata(&path, max_length)?;
                let answer = bytes.as_deref().map_or(Answer::Missing, Answer::Bytes);
                if let Err(error) = flow.answer(answer) {
                    // Nothing has changed, so the same file can be asked of the next mirror.
                    distrusted += 1;
                    if distrusted > DISTRUSTED || !ports.fetch.distrust() {
                        return Err(refused(&path, &error));
                    }
                }
            }
            Action::Persist { file, bytes } => ports.store.write(&stored(&file), &bytes)?,
            Action::Forget { file } => ports.store.remove(&stored(&file))?,
            Action::Done(outcome) => return Ok(outcome),
        }
    }
}

fn stored(file: &str) -> String {
    format!("{FOLDER}/{file}")
}

fn refused(subject: &str, error: &TufError) -> Failure {
    Failure::from_code(error.code(), subject, error.to_string())
}

fn trust_role(ports: Ports<'_>, flow: &mut Workflow, role: &str) -> Outcome<()> {
    flow.trust_role(role).map_err(|e| refused(role, &e))?;
    drive(ports, flow).map(|_| ())
}

/// The channel's signed rollout, where the repository has one. A repository that delegates the role
/// but does not serve it is refused: a missing policy must not look like permission.
fn rollout_policy(
    agent: &Agent<'_>,
    flow: &mut Workflow,
) -> Outcome<Option<Verified<RolloutPolicy>>> {
    match trust_role(agent.ports, flow, release::ROLLOUT_ROLE) {
        Ok(()) => {}
        Err(failure) if failure.code == Code::NotDelegated => return Ok(None),
        Err(failure) => return Err(failure),
    }
    let identity = &agent.options.policy.identity;
    let found = release::rollout_target(flow.trusted(), identity)
        .map_err(|e| Failure::from_code(e.code(), release::ROLLOUT_ROLE, e.to_string()))?;
    let Some(target) = found else {
        return Ok(None);
    };
    let path = target.published_path(flow.trusted().root().consistent_snapshot);
    // It changes once in a while and is looked at every hour: what was fetched last is as good, where it
    // is what is signed now.
    let store = agent.ports.store;
    let kept = store.read(&stored(ROLLOUT))?;
    let proven = match kept.and_then(|bytes| prove_target(&target, bytes).ok()) {
        Some(proven) => proven,
        None => {
            let bytes = whole_target(agent.ports, &path, target.length)?;
            let proven = prove_target(&target, bytes.clone()).map_err(|e| refused(&path, &e))?;
            store.write(&stored(ROLLOUT), &bytes)?;
            proven
        }
    };
    let policy = RolloutPolicy::read(&proven)
        .map_err(|e| Failure::from_code(e.code(), path.clone(), e.to_string()))?;
    Ok(Some(policy))
}

fn whole_target(ports: Ports<'_>, path: &str, length: u64) -> Outcome<Vec<u8>> {
    ports.fetch.target(path, length)?.ok_or_else(|| {
        Failure::new(
            Code::TargetNotFound,
            path,
            "it is listed, but the repository lacks it",
        )
    })
}

type Unreadable = Vec<(String, Failure)>;

/// Reads the manifests that can matter, newest first, and asks the rollout about each.
fn manifests(
    agent: &mut Agent<'_>,
    facts: &Facts,
    flow: &Workflow,
    policy: Option<&Verified<RolloutPolicy>>,
    now: UnixTime,
) -> Outcome<(Vec<Listed>, Unreadable)> {
    let identity = agent.options.policy.identity.clone();
    let all = release::channel_releases(flow.trusted(), &identity)
        .map_err(|e| Failure::from_code(e.code(), identity.channel.as_str(), e.to_string()))?;
    let consistent = flow.trusted().root().consistent_snapshot;
    let mut listed = Vec::new();
    let mut unreadable = Vec::new();
    let wanted = all
        .iter()
        .rev()
        .filter(|l| matters(agent, facts, &l.path.version));
    for entry in wanted.take(MANIFESTS).collect::<Vec<_>>() {
        let path = entry.manifest.published_path(consistent);
        let bytes = whole_target(agent.ports, &path, entry.manifest.length)?;
        match Release::admit(entry, bytes.clone(), &identity) {
            Ok(release) => {
                let bundle = bundle(agent, &release, bytes)?;
                agent.remember_bundle(release.id, bundle);
                match offer(agent, &release, policy, now) {
                    Ok(offer) => listed.push(Listed {
                        candidate: Candidate::new(release),
                        offer,
                    }),
                    Err(failure) => unreadable.push((entry.path.version.to_string(), failure)),
                }
            }
            Err(error) => {
                let failure = Failure::from_code(error.code(), path, error.to_string());
                unreadable.push((entry.path.version.to_string(), failure));
            }
        }
    }
    Ok((listed, unreadable))
}

/// Newer than what runs, asked for by name, under way, or running and not known yet.
fn matters(agent: &Agent<'_>, facts: &Facts, version: &Version) -> bool {
    let under_way = twinroot_core::update::recover::under_way(&agent.state.phase);
    let system = facts.system();
    let unknown = agent.records.known_by_root(&system.root_hash).is_none();
    // On trial the manifest of what runs shows that this system can read one.
    *version > system.version
        || ((unknown || agent.on_trial()) && *version == system.version)
        || agent.state.wish.version.as_ref() == Some(version)
        || under_way.is_some_and(|release| release.version == *version)
}

/// What the rollout says; a policy that goes beyond the manifest's limit is refused.
fn offer(
    agent: &Agent<'_>,
    release: &Verified<Release>,
    policy: Option<&Verified<RolloutPolicy>>,
    now: UnixTime,
) -> Outcome<rollout::Offer> {
    let version = &release.manifest.version;
    let offers_it = |p: &&Verified<RolloutPolicy>| {
        p.offer
            .as_ref()
            .is_some_and(|offer| offer.version == *version)
    };
    if let Some(policy) = policy.filter(offers_it) {
        let subject = format!("rollout policy for {}", release.manifest.version);
        policy
            .check_within(&release.manifest)
            .map_err(|e| Failure::from_code(e.code(), subject, e.to_string()))?;
    }
    let subject = Subject {
        version: &release.manifest.version,
        manifest: &release.id,
        limit: &release.manifest.rollout_limit,
    };
    Ok(rollout::judge(
        policy.map(|p| &**p),
        &subject,
        &agent.options.seed,
        now,
    ))
}

/// The documents that prove this release, as they lie in the store now.
fn bundle(agent: &Agent<'_>, release: &Release, manifest: Vec<u8>) -> Outcome<Bundle> {
    let store = agent.ports.store;
    let text = |bytes: Vec<u8>, name: &str| {
        String::from_utf8(bytes)
            .map_err(|_| Failure::new(Code::Internal, name, "signed documents are text"))
    };
    let read = |file: &str| {
        let name = stored(file);
        let bytes = store.read(&name)?;
        text(
            bytes.ok_or_else(|| Failure::new(Code::StateDamaged, &name, "is gone"))?,
            &name,
        )
    };
    let channel = release::channel_role(&agent.options.policy.identity.channel);
    Ok(Bundle {
        roots: roots(agent)?,
        timestamp: read("timestamp.json")?,
        snapshot: read("snapshot.json")?,
        targets: read("targets.json")?,
        channel: read(&format!(
            "{}.json",
            twinroot_trust::tuf::quoted_role(&channel)
        ))?,
        version: release.manifest.version.clone(),
        manifest: text(manifest, "manifest")?,
    })
}

/// Root versions after the anchor, in order of their numbers.
fn roots(agent: &Agent<'_>) -> Outcome<Vec<String>> {
    let store = agent.ports.store;
    let folder = stored("root_history");
    let mut numbered: Vec<(u64, String)> = Vec::new();
    for name in store.list(&folder)? {
        let file = name.rsplit('/').next().unwrap_or(&name);
        let number = file.strip_suffix(".root.json").and_then(|n| n.parse().ok());
        let bytes = store.read(&format!("{folder}/{file}"))?.unwrap_or_default();
        if let (Some(number), Ok(text)) = (number, String::from_utf8(bytes)) {
            numbered.push((number, text));
        }
    }
    numbered.sort_unstable();
    let anchor = agent.anchor_version()?;
    Ok(numbered
        .into_iter()
        .filter(|(n, _)| *n > anchor)
        .map(|(_, text)| text)
        .collect())
}
