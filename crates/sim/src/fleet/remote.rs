//! Nodes on trial whose remote checks are lost for a while, though they themselves are well.
//!
//! Every node goes through what decides on a real one: `recover` finds the trial, `health::Journal` says
//! which checks are due, `health::Judge` adds their results up, and `update::step` makes of the verdict
//! what becomes of the release, the new system's own look at the repository included. Made up here are
//! time, what a check would see, and the answers to effects.

use twinroot_core::config::{self, Health, Layer, Settings, Source};
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::{
    BootTime, Counting, EntryObserved, Facts, LoaderIdentity, LoaderObserved, Now, Observed,
    SlotObserved, SystemObserved, Tries,
};
use twinroot_core::health::{
    Author, Check, CheckResult, Journal, Judge, Outcome as Ended, read_checks,
};
use twinroot_core::records::Records;
use twinroot_core::schedule::Schedule;
use twinroot_core::slot::SlotName;
use twinroot_core::update::{
    Checked, Effect, EffectKind, Event, Goal, HealthPurpose, PhaseName, Policy, recover, step,
};
use twinroot_trust::digest::Digest;
use twinroot_trust::release::Identity;
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use super::{Random, node};

/// Pause between two rounds of a trial in seconds: the shortest period of the checks below.
const ROUND: u64 = 10;
/// Seconds between the checks before the activation and the start of the new system.
const RESTART: u64 = 60;
/// By when, in seconds since boot, the slowest node's workload is up: what takes much longer cannot hold
/// its probation by the deadline, remote checks or not.
const SLOWEST: u64 = 540;
/// Seconds in which a check that came up has passed its times in a row.
const IN_A_ROW: u64 = 60;

/// What a node asks: two checks of this machine and two of what lies beyond it.
const CHECKS: &str = r#"
[[check]]
name = "healthy"
kind = "unit"
unit = "twinroot-healthy.target"

[[check]]
name = "kubelet"
kind = "kubelet"

[[check]]
name = "api"
kind = "tcp"
address = "api.example:6443"
scope = "remote"

[[check]]
name = "registry"
kind = "http"
url = "https://registry.example/v2/"
scope = "remote"
period = "30s"
"#;

/// A loss of everything remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Seconds that it lasts.
    pub seconds: u64,
    /// The checks are declared as remote. Where they are not, their loss is this machine's.
    pub declared: bool,
}

/// How a lost endpoint shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Nobody answers.
    Silent,
    /// Something answers, and wrongly (a load balancer without servers behind it).
    Wrong,
    /// Now this, now that.
    Both,
}

/// What became of the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trials {
    /// Their release was blessed.
    pub blessed: u64,
    /// They went back, or were about to.
    pub rolled_back: u64,
    /// Neither, behind the last line of a trial.
    pub undecided: u64,
    /// Of those blessed: how many were so only after the endpoints had come back or were given up.
    pub delayed: u64,
    /// Seconds from the start to the last verdict.
    pub longest: u64,
}

/// Puts `nodes` on trial, each with a loss that begins at some moment between its whole length before the
/// start and the end of the probation.
///
/// # Panics
/// Where the shipped defaults are no configuration.
#[must_use]
pub fn trials(fleet: u64, nodes: u64, loss: Loss) -> Trials {
    let settings = shipped();
    let health = settings.health;
    let mut checks = read_checks(Author::Publisher, "fleet", CHECKS).expect("they are checks");
    let beyond: Vec<String> = (checks.iter().filter(|check| check.remote))
        .map(|check| check.name.clone())
        .collect();
    for check in &mut checks {
        check.remote &= loss.declared;
    }
    let world = World {
        facts: on_trial(),
        policy: policy(&settings),
        health,
        checks,
        beyond,
    };
    let mut trials = Trials::default();
    for number in 0..nodes {
        let (mut random, _) = node(fleet, number);
        let fate = Fate::draw(&mut random, &world.health, loss);
        trials.count(&world, &fate);
    }
    trials
}

/// The same for every node.
struct World {
    facts: Facts,
    policy: Policy,
    health: Health,
    checks: Vec<Check>,
    /// Names of the checks that look beyond the machine, whatever they are declared as.
    beyond: Vec<String>,
}

/// What one node meets, in seconds since its start.
struct Fate {
    workload_up: u64,
    lost_from: i64,
    lost_until: i64,
    shown: Shown,
}

impl Fate {
    fn draw(random: &mut Random, health: &Health, loss: Loss) -> Self {
        let workload_up = 5 + random.draw() % (SLOWEST - 5);
        let end = workload_up + IN_A_ROW + health.probation.0;
        let begin = random.draw() % (loss.seconds + end);
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let lost_from = signed(begin) - signed(loss.seconds);
        Self {
            workload_up,
            lost_from,
            lost_until: lost_from + signed(loss.seconds),
            shown: match random.draw() % 3 {
                0 => Shown::Silent,
                1 => Shown::Wrong,
                _ => Shown::Both,
            },
        }
    }

    fn is_lost(&self, second: i64) -> bool {
        (self.lost_from..self.lost_until).contains(&second)
    }

    fn result(&self, world: &World, check: &Check, second: u64) -> CheckResult {
        let at = i64::try_from(second).unwrap_or(i64::MAX);
        let outcome = match world.beyond.contains(&check.name) {
            false if second < self.workload_up => Ended::Failed,
            true if self.is_lost(at) => match self.shown {
                Shown::Silent => Ended::Unreachable,
                Shown::Wrong => Ended::Failed,
                Shown::Both if (second / ROUND).is_multiple_of(2) => Ended::Failed,
                Shown::Both => Ended::Unreachable,
            },
            true | false => Ended::Passed,
        };
        CheckResult {
            check: check.name.clone(),
            outcome,
            detail: String::new(),
        }
    }
}

impl Trials {
    fn count(&mut self, world: &World, fate: &Fate) {
        let (ended, at) = walk(world, fate);
        self.longest = self.longest.max(at);
        match ended {
            PhaseName::Trial => self.undecided += 1,
            PhaseName::Blessing => {
                let unhindered = fate.workload_up + IN_A_ROW + world.health.probation.0;
                self.blessed += 1;
                self.delayed += u64::from(at > unhindered + IN_A_ROW);
            }
            _ => self.rolled_back += 1,
        }
    }
}

/// One node from its start to what becomes of the release: the phase that follows the trial, and when.
fn walk(world: &World, fate: &Fate) -> (PhaseName, u64) {
    let records = Records::default();
    let begin = recover(None, &records, &world.facts, now(0), &world.policy);
    let mut state = begin.next;
    let restart = i64::try_from(RESTART).unwrap_or(i64::MAX);
    if fate.is_lost(-restart) {
        // As the checks before the activation would have found and noted it.
        state.ill_before.clone_from(&world.beyond);
    }
    let mut journal = Journal::default();
    let mut judge = Judge::new(&world.checks, &state.ill_before, world.health.rules());
    let end = world.health.last().0 + ROUND;
    let mut second = 0;
    while second <= end {
        second += ROUND;
        let mut event = Some(Event::Tick);
        while let Some(happened) = event.take() {
            let at = now(second);
            let next = step(&state, &records, &world.facts, happened, at, &world.policy);
            state = next.next;
            if state.phase.name() != PhaseName::Trial {
                return (state.phase.name(), second);
            }
            for effect in &next.effects {
                event = match effect {
                    Effect::RunHealth { .. } => {
                        let due = journal.due(&world.checks, at.boot);
                        let results: Vec<CheckResult> = (due.iter())
                            .map(|check| fate.result(world, check, second))
                            .collect();
                        journal.take(&results, at);
                        judge.observe(&results, at.boot);
                        let verdict = judge.verdict(at.boot).into();
                        Some(Event::Health(HealthPurpose::Trial, verdict))
                    }
                    Effect::Refresh => Some(look(fate, second)),
                    _ => event,
                };
            }
        }
    }
    (state.phase.name(), second)
}

/// The repository lies beyond the machine too.
fn look(fate: &Fate, second: u64) -> Event {
    let at = i64::try_from(second).unwrap_or(i64::MAX);
    match fate.is_lost(at) {
        true => Event::Failed {
            effect: EffectKind::Refresh,
            failure: Failure::new(Code::Unreachable, "the repository", "nobody answers"),
            progress: 0,
        },
        false => Event::Checked(Checked {
            listed: Vec::new(),
            unreadable: Vec::new(),
            evidence: now(second).wall,
        }),
    }
}

fn now(second: u64) -> Now {
    Now {
        wall: UnixTime(1_700_000_000 + i64::try_from(second).unwrap_or(i64::MAX)),
        boot: BootTime(second * 1000),
    }
}

/// The settings as shipped.
fn shipped() -> Settings {
    let text = "[identity]\nproduct = \"container-host\"\narchitecture = \"x86-64\"\n\
                [repository]\nmetadata-url = \"https://updates.example/metadata/\"\n\
                targets-url = \"https://updates.example/targets/\"\n\
                [update]\nchannel = \"stable\"\n";
    let source = Source {
        layer: Layer::Image,
        path: String::from("fleet.toml"),
        text: String::from(text),
    };
    let (settings, _) = config::read(&[source]).expect("defaults and what has none");
    settings
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        identity: Identity {
            product: settings.identity.product.clone(),
            variant: settings.identity.variant.clone(),
            architecture: settings.identity.architecture.clone(),
            channel: settings.update.channel.clone(),
        },
        goal: Goal::Reboot,
        tries: 3,
        max_attempts: 3,
        trial_deadline: settings.health.last().0 * 1000,
        metadata_max_age: u64::MAX,
        schedule: Schedule::always(),
    }
}

/// A node that has just started 2.0 in slot B for the first time, and comes from 1.0 in slot A.
fn on_trial() -> Facts {
    let version = |text: &str| text.parse::<Version>().expect("it is a version");
    let (old, new) = (Digest::of(b"1.0"), Digest::of(b"2.0"));
    let entry = |stem: &str, root: Digest, version: Version, tries| EntryObserved {
        stem: String::from(stem),
        root_hash: root,
        uki: Digest::of(stem.as_bytes()),
        version,
        tries,
    };
    let slot = |root| SlotObserved {
        data_size: 1 << 30,
        tree_size: 1 << 24,
        claimed_root: Some(root),
    };
    let first = Tries { left: 2, done: 1 };
    let observed = Observed {
        system: SystemObserved {
            boot_id: String::from("00000000-0000-4000-8000-000000000001"),
            root_hash: new,
            slot: SlotName::B,
            product: String::from("container-host"),
            variant: String::new(),
            architecture: String::from("x86-64"),
            version: version("2.0"),
            built: UnixTime(0),
            stamped_floor: None,
            cpu: String::from("x86-64-v3"),
            firmware: String::from("uefi"),
        },
        slots: [slot(old), slot(new)],
        loader: LoaderObserved {
            entries: vec![
                entry("old", old, version("1.0"), None),
                entry("new", new, version("2.0"), Some(first)),
            ],
            booted: Some(String::from("new")),
            pinned: None,
            one_shot: None,
            counting: Counting::Proven,
            tries_granted: 3,
            free: 1 << 28,
            starts_without_health: 0,
            abandoned: None,
            identity: LoaderIdentity::default(),
            remains: Vec::new(),
            unclean: false,
        },
    };
    Facts::establish(observed).expect("both slots claim what is said of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn lost_for(seconds: u64, declared: bool) -> Trials {
        trials(5, 150, Loss { seconds, declared })
    }

    #[test]
    fn an_hour_without_anything_remote_rolls_no_healthy_node_back() {
        let trials = lost_for(HOUR, true);
        assert_eq!((trials.rolled_back, trials.undecided), (0, 0), "{trials:?}");
        assert_eq!(trials.blessed, 150);
        // The hour was felt: else nothing was shown.
        assert!(trials.delayed > 75, "{trials:?}");
    }

    #[test]
    fn the_same_loss_in_checks_that_are_called_local_rolls_nodes_back() {
        let trials = lost_for(HOUR, false);
        assert!(trials.rolled_back > 10, "{trials:?}");
    }

    #[test]
    fn without_any_loss_every_node_is_blessed_in_its_time() {
        let trials = lost_for(0, true);
        assert_eq!((trials.blessed, trials.delayed), (150, 0), "{trials:?}");
        assert!(trials.longest <= SLOWEST + IN_A_ROW + 300, "{trials:?}");
    }

    #[test]
    fn what_answers_wrongly_for_much_longer_than_the_extension_is_held_against_the_release() {
        let trials = lost_for(3 * HOUR, true);
        assert!(trials.rolled_back > 0, "{trials:?}");
        assert!(trials.blessed > trials.rolled_back, "{trials:?}");
    }
}
