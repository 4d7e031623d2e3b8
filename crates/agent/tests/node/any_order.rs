//! Whatever happens in whatever order, no step breaks an invariant (DESIGN section 5): events that
//! make no sense included, on every kind of machine state.

use std::sync::OnceLock;

use crate::common::Node;
use proptest::prelude::*;
use twinroot_agent::{Agent, Quiet};
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::{
    BootTime, Counting, EntryObserved, Facts, LoaderObserved, Now, Observed, SlotObserved, Tries,
};
use twinroot_core::records::{Denial, DeniedBy, Records};
use twinroot_core::rollout::Offer;
use twinroot_core::slot::SlotName;
use twinroot_core::update::{
    Candidate, Checked, Command, EffectKind, Event, Goal, HealthPurpose, HealthVerdict, Listed,
    Phase, Policy, Saved, SavedPhase, SavedRelease, State, invariants, recover, step,
};
use twinroot_sim::world::Behaviour;
use twinroot_trust::digest::Digest;

/// A verified release and the machine it was offered to, made once: signing costs more than a
/// thousand steps.
pub(crate) struct Stage {
    pub(crate) candidate: Candidate,
    pub(crate) observed: Observed,
    pub(crate) policy: Policy,
    state: State,
    pub(crate) now: Now,
}

pub(crate) fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let mut node = Node::new();
        node.run(None);
        node.publish("1.1", 3, Behaviour::Good);
        let ports = node.world.ports();
        let mut agent = Agent::open(ports, node.options(), &Quiet).unwrap();
        let look = Command::Update {
            goal: Goal::Check,
            version: None,
            force: false,
        };
        assert_eq!(agent.handle(Event::Command(look)).unwrap(), None);
        let Phase::Available { candidate, .. } = &agent.state().phase else {
            panic!("{:?}", agent.state().phase);
        };
        let slots = SlotName::BOTH.map(|name| agent.facts().slot(name).clone());
        Stage {
            candidate: candidate.clone(),
            observed: Observed {
                system: agent.facts().system().clone(),
                slots,
                loader: agent.facts().loader().clone(),
            },
            policy: node.options().policy,
            state: agent.state().clone(),
            now: ports.clock.now(),
        }
    })
}

/// What a machine may look like, in a few numbers.
#[derive(Debug, Clone)]
struct Look {
    booted_tries: Option<u32>,
    other: u8,
    other_tries: Option<u32>,
    pinned: u8,
    counting: u8,
    abandoned: bool,
    denied: bool,
    floor: bool,
}

fn look() -> impl Strategy<Value = Look> {
    let tries = || prop_oneof![Just(None), (0..3_u32).prop_map(Some)];
    (
        tries(),
        0..3_u8,
        tries(),
        0..3_u8,
        0..3_u8,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(booted_tries, other, other_tries, pinned, counting, abandoned, denied, floor)| Look {
                booted_tries,
                other,
                other_tries,
                pinned,
                counting,
                abandoned,
                denied,
                floor,
            },
        )
}

fn counter(left: Option<u32>) -> Option<Tries> {
    left.map(|left| Tries {
        left,
        done: 3 - left,
    })
}

impl Look {
    fn facts(&self) -> Facts {
        let stage = stage();
        let mut o = stage.observed.clone();
        let release = stage.candidate.saved();
        let good = o.loader.entries[0].clone();
        let booted = EntryObserved {
            tries: counter(self.booted_tries),
            ..good
        };
        let root = match self.other {
            0 => None,
            1 => Some(release.root_hash),
            _ => Some(Digest::of(b"an older release")),
        };
        let other = root.map(|root| EntryObserved {
            stem: format!("twinroot_other_{}", &root.to_string()[..8]),
            root_hash: root,
            uki: if self.other == 1 {
                release.uki
            } else {
                Digest::of(b"its uki")
            },
            version: if self.other == 1 {
                release.version.clone()
            } else {
                "0.9".parse().unwrap()
            },
            tries: counter(self.other_tries),
        });
        let name = o.system.slot.other();
        o.slots[name.index()] = SlotObserved {
            claimed_root: root,
            ..o.slots[name.index()].clone()
        };
        o.loader = LoaderObserved {
            pinned: match self.pinned {
                0 => None,
                1 => Some(booted.stem.clone()),
                _ => other.as_ref().map(|e| e.stem.clone()),
            },
            booted: Some(booted.stem.clone()),
            counting: [Counting::Proven, Counting::Unproven, Counting::Broken]
                [usize::from(self.counting)],
            abandoned: root.filter(|_| self.abandoned),
            entries: std::iter::once(booted).chain(other).collect(),
            ..o.loader
        };
        Facts::establish(o).unwrap()
    }

    fn records(&self) -> Records {
        let stage = stage();
        let release = stage.candidate.saved();
        let denial = |r: &SavedRelease| Denial {
            version: r.version.clone(),
            root_hash: r.root_hash,
            uki: r.uki,
            reason: "it failed".into(),
            code: None,
            by: DeniedBy::Node,
            first_seen: stage.now.wall,
            last_seen: stage.now.wall,
            until: None,
            left: None,
        };
        Records {
            denied: self.denied.then(|| denial(&release)).into_iter().collect(),
            floor: self.floor.then(|| "1.2".parse().unwrap()),
            known: vec![release],
            ..Records::default()
        }
    }
}

fn failure() -> Failure {
    Failure::new(Code::DiskIo, "the disk", "it is broken")
}

fn kinds() -> impl Strategy<Value = EffectKind> {
    prop::sample::select(vec![
        EffectKind::Persist,
        EffectKind::SaveRecords,
        EffectKind::Refresh,
        EffectKind::Reverify,
        EffectKind::Disarm,
        EffectKind::Write,
        EffectKind::Prove,
        EffectKind::Arm,
        EffectKind::Pin,
        EffectKind::AskGate,
        EffectKind::Reboot,
        EffectKind::RunHealth,
        EffectKind::Bless,
        EffectKind::ClearAttempts,
        EffectKind::Retire,
    ])
}

fn commands() -> impl Strategy<Value = Command> {
    let goals = [Goal::Check, Goal::Stage, Goal::Activate, Goal::Reboot];
    prop_oneof![
        4 => (prop::sample::select(goals.to_vec()), any::<bool>()).prop_map(|(goal, force)| {
            Command::Update { goal, version: None, force }
        }),
        2 => any::<bool>().prop_map(|reboot| Command::Rollback { reason: "because".into(), reboot }),
        1 => Just(Command::Repair),
        1 => Just(Command::Deny { release: "1.1".into(), reason: "because".into(), until: None }),
        1 => Just(Command::Undeny { release: "1.1".into() }),
        1 => Just(Command::Pin { version: None }),
        1 => Just(Command::Pause),
        1 => Just(Command::Resume),
    ]
}

fn verdicts() -> impl Strategy<Value = HealthVerdict> {
    prop_oneof![
        Just(HealthVerdict::Pending),
        Just(HealthVerdict::Good),
        Just(HealthVerdict::Kept {
            lost: vec!["registry".into()]
        }),
        Just(HealthVerdict::Bad {
            check: "web".into(),
            detail: "no answer".into()
        }),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let purposes = [
        HealthPurpose::Trial,
        HealthPurpose::Steady,
        HealthPurpose::Before,
    ];
    let offers = vec![
        Offer::Now,
        Offer::At(stage().now.wall),
        Offer::NotOffered,
        Offer::Paused,
        Offer::Withdrawn,
    ];
    prop_oneof![
        1 => Just(Event::CheckDue),
        2 => Just(Event::Tick),
        4 => commands().prop_map(Event::Command),
        3 => prop::option::of(prop::sample::select(offers)).prop_map(|offer| {
            let listed = offer.map(|offer| Listed { candidate: stage().candidate.clone(), offer });
            Event::Checked(Checked {
                listed: listed.into_iter().collect(),
                unreadable: Vec::new(),
                evidence: stage().now.wall,
            })
        }),
        3 => Just(Event::Reverified(stage().candidate.clone())),
        2 => (0..2_u64).prop_map(|progress| Event::Written { progress }),
        4 => any::<bool>().prop_map(|right| Event::Proven {
            computed: if right { stage().candidate.root_hash() } else { Digest::of(b"rot") },
        }),
        4 => (prop::sample::select(purposes.to_vec()), verdicts())
            .prop_map(|(purpose, verdict)| Event::Health(purpose, verdict)),
        2 => prop::option::of(Just("somebody".to_owned()))
            .prop_map(|held_by| Event::Gate { held_by }),
        9 => kinds().prop_map(Event::Done),
        2 => kinds().prop_map(|effect| Event::Failed { effect, failure: failure(), progress: 0 }),
    ]
}

fn saved() -> impl Strategy<Value = Option<Saved>> {
    let phases = |release: SavedRelease| {
        let of = |release: &SavedRelease| {
            let r = || release.clone();
            vec![
                SavedPhase::Staging { release: r() },
                SavedPhase::Staged { release: r() },
                SavedPhase::Activated { release: r() },
                SavedPhase::Rebooting { release: r() },
                SavedPhase::Trial { release: r() },
                SavedPhase::Blessing { release: r() },
                SavedPhase::Committing { release: r() },
                SavedPhase::RollingBack {
                    release: r(),
                    failure: None,
                    reason: "x".into(),
                    reboot: true,
                },
                SavedPhase::RollingBack {
                    release: r(),
                    failure: Some(failure()),
                    reason: String::new(),
                    reboot: true,
                },
                SavedPhase::Denying {
                    release: r(),
                    failure: failure(),
                },
                SavedPhase::Repairing { release: r() },
            ]
        };
        let booted = &stage().observed;
        let running = SavedRelease {
            root_hash: booted.system.root_hash,
            version: booted.system.version.clone(),
            ..release.clone()
        };
        let mut all = of(&release);
        all.extend(of(&running));
        all.push(SavedPhase::Idle);
        all.push(SavedPhase::Blocked { failure: failure() });
        all
    };
    let phases = phases(stage().candidate.saved());
    let one =
        (prop::sample::select(phases), any::<bool>(), 0..4_u32).prop_map(|(phase, same, n)| {
            let boot_id = if same {
                stage().observed.system.boot_id.clone()
            } else {
                "old".into()
            };
            Saved {
                phase,
                boot_id,
                attempted: Some(stage().candidate.id()),
                attempts: n,
                ill_before: Vec::new(),
            }
        });
    prop::option::of(one)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_an_invariant(
        saved in saved(),
        looks in prop::collection::vec(look(), 1..4),
        events in prop::collection::vec((events(), 0..700_u64), 1..40),
    ) {
        let stage = stage();
        let (facts, records) = (looks[0].facts(), looks[0].records());
        let first = recover(saved.as_ref(), &records, &facts, stage.now, &stage.policy);
        let broken = invariants::broken(&stage.state, &first, &facts, &records);
        prop_assert!(broken.is_empty(), "recovery from {saved:?}: {broken:?}");
        let mut state = first.next;
        for (at, (event, minutes)) in events.into_iter().enumerate() {
            let look = &looks[at % looks.len()];
            let (facts, records) = (look.facts(), look.records());
            let now = Now { boot: BootTime(minutes * 1000), ..stage.now };
            let told = format!("{event:?}").chars().take(120).collect::<String>();
            let before = state.phase.name();
            let t = step(&state, &records, &facts, event, now, &stage.policy);
            let broken = invariants::broken(&state, &t, &facts, &records);
            prop_assert!(broken.is_empty(), "{before:?} on {told}: {broken:?} with {look:?}");
            state = t.next;
        }
    }
}
