//! The driver: takes events, asks `core` what follows, has the effects carried out in order. After a
//! failed effect the rest of its step is not carried out: what would come next was decided for a
//! world in which it had worked.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use twinroot_core::clock::TrustedNow;
use twinroot_core::facts::Facts;
use twinroot_core::health::{Check, CheckState, Journal, Judge};
use twinroot_core::records::{RecordChange, Records};
use twinroot_core::update::{self, Event, Note, Phase, Saved, SavedRelease, State, Transition};
use twinroot_ports::{Code, Failure, Outcome, Ports};
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;
use twinroot_trust::tuf::Trusted;

use crate::history;
use crate::observe;
use crate::observer::{Counters, Observer, Totals};
use crate::options::Options;
use crate::perform::signed::{self, Bundle};
use crate::perform::{self, Failed};
use crate::recorder::Recorder;

/// Pause between two rounds of health checks on trial. Short beside any probation, long beside what
/// a round costs.
const ROUND: Duration = Duration::from_millis(500);

/// One machine's update loop.
pub struct Agent<'a> {
    pub(crate) ports: Ports<'a>,
    pub(crate) options: Options,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) state: State,
    pub(crate) records: Records,
    pub(crate) counters: Counters,
    pub(crate) judge: Option<Judge>,
    /// What each health check said last.
    pub(crate) health: Journal,
    /// The checks that were looked at last.
    pub(crate) checks: Vec<Check>,
    /// Who asked for what is being done, where somebody did.
    pub(crate) by: Option<String>,
    /// When the daemon checks next; nothing where no daemon plans it.
    pub(crate) next_check: Option<UnixTime>,
    facts: Facts,
    recorder: Recorder,
    bundles: BTreeMap<Digest, Bundle>,
    rebooting: bool,
}

impl std::fmt::Debug for Agent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("phase", &self.state.phase.name())
            .finish_non_exhaustive()
    }
}

impl<'a> Agent<'a> {
    /// Observes the machine, reads what was written down, and carries out what follows from both.
    ///
    /// # Errors
    /// Where the machine cannot be observed or the records not be read at all.
    pub fn open(ports: Ports<'a>, options: Options, observer: &'a dyn Observer) -> Outcome<Self> {
        let (mut agent, transition) = Self::load(ports, options, observer)?;
        agent.run(transition)?;
        Ok(agent)
    }

    /// The same without carrying anything out: for looking on.
    ///
    /// # Errors
    /// As [`Agent::open`].
    pub fn look(ports: Ports<'a>, options: Options, observer: &'a dyn Observer) -> Outcome<Self> {
        Ok(Self::load(ports, options, observer)?.0)
    }

    fn load(
        ports: Ports<'a>,
        options: Options,
        observer: &'a dyn Observer,
    ) -> Outcome<(Self, Transition)> {
        let facts = observe::facts(&ports)?;
        let (recorder, records, saved) = Recorder::load(ports.store)?;
        if recorder.damaged() {
            return Err(Failure::new(
                Code::StateDamaged,
                "the records (floor and deny list)",
                "both copies are there and neither can be read",
            )
            .with_remedy("restore them from a backup; the floor must not be forgotten"));
        }
        let now = ports.clock.now();
        let transition = update::recover(saved.as_ref(), &records, &facts, now, &options.policy);
        let agent = Self {
            ports,
            options,
            observer,
            state: transition.next.clone(),
            records,
            counters: Counters::default(),
            judge: None,
            health: Journal::default(),
            checks: Vec::new(),
            by: None,
            next_check: None,
            facts,
            recorder,
            bundles: BTreeMap::new(),
            rebooting: false,
        };
        Ok((agent, transition))
    }

    /// Takes an event and everything that follows from it without waiting. The answer is what was
    /// refused or failed last, if anything.
    ///
    /// # Errors
    /// Where the machine cannot be observed any more.
    pub fn handle(&mut self, event: Event) -> Outcome<Option<Failure>> {
        let transition = self.decide(event)?;
        self.run(transition)
    }

    /// Goes on until nothing moves by itself: looks at health again and again while a release is on
    /// trial. `wait` waits for the time it is given and answers whether to go on.
    ///
    /// # Errors
    /// As [`Agent::handle`].
    pub fn settle(&mut self, wait: &mut dyn FnMut(Duration) -> bool) -> Outcome<Option<Failure>> {
        let mut refused = None;
        while !self.rebooting && !self.state.phase.is_at_rest() {
            if !wait(ROUND) {
                break;
            }
            refused = self.handle(Event::Tick)?.or(refused);
        }
        Ok(refused)
    }

    fn decide(&mut self, event: Event) -> Outcome<Transition> {
        self.facts = observe::facts(&self.ports)?;
        let now = self.ports.clock.now();
        let policy = &self.options.policy;
        let next = update::step(&self.state, &self.records, &self.facts, event, now, policy);
        // The rules of DESIGN section 5, checked at every step of every test; a release build does
        // not pay for them.
        debug_assert_eq!(
            update::invariants::broken(&self.state, &next, &self.facts, &self.records),
            Vec::<String>::new(),
        );
        Ok(next)
    }

    /// Carries out a transition and all that follow from it.
    fn run(&mut self, first: Transition) -> Outcome<Option<Failure>> {
        let mut refused = None;
        let mut events = VecDeque::new();
        self.carry_out(first, &mut events, &mut refused);
        while let Some(event) = events.pop_front() {
            if self.rebooting && !matches!(event, Event::Done(_)) {
                break;
            }
            let transition = self.decide(event)?;
            self.carry_out(transition, &mut events, &mut refused);
        }
        Ok(refused)
    }

    fn carry_out(
        &mut self,
        transition: Transition,
        events: &mut VecDeque<Event>,
        refused: &mut Option<Failure>,
    ) {
        let Transition {
            next,
            effects,
            refused: refusal,
        } = transition;
        self.state = next;
        if refusal.is_some() {
            *refused = refusal;
        }
        self.observer.phase(&self.state.phase);
        let facts = self.facts.clone();
        for effect in effects {
            let kind = effect.kind();
            match perform::perform(self, effect, &facts) {
                Ok(event) => events.extend(event),
                Err(Failed { failure, progress }) => {
                    *refused = Some(failure.clone());
                    events.push_back(Event::Failed {
                        effect: kind,
                        failure,
                        progress,
                    });
                    return;
                }
            }
        }
    }

    /// Where the update stands.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Floor, deny list and the rest.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// What was observed last.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The machine.
    #[must_use]
    pub const fn ports(&self) -> Ports<'a> {
        self.ports
    }

    /// What it was opened with.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Whether a restart was asked for: nothing more is to be done in this boot.
    #[must_use]
    pub const fn rebooting(&self) -> bool {
        self.rebooting
    }

    /// Bytes of all staging so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// What each health check said last.
    #[must_use]
    pub fn health(&self) -> Vec<CheckState> {
        self.health.states(&self.checks)
    }

    /// Whether everything required on this machine held when it was looked at last.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health.holds(&self.checks)
    }

    /// Shortest period of the checks that were looked at last, in milliseconds.
    pub(crate) fn shortest_period(&self) -> Option<u64> {
        let periods = self.checks.iter().map(|c| c.period.0.saturating_mul(1000));
        periods.min()
    }

    pub(crate) fn save_state(&mut self, saved: &Saved) -> Outcome<()> {
        self.recorder.save_state(self.ports.store, saved)
    }

    pub(crate) fn change_records(&mut self, change: &RecordChange) -> Outcome<()> {
        self.records = self
            .recorder
            .change(self.ports.store, &self.records, change)?;
        Ok(())
    }

    /// Trusted time rises on evidence only (DESIGN section 6, 'Clock').
    pub(crate) fn trust_time(&mut self, evidence: UnixTime) -> Outcome<()> {
        let raised = TrustedNow::raised(self.records.trusted_time, evidence);
        self.change_records(&RecordChange::TrustTime(raised))
    }

    pub(crate) fn remember_bundle(&mut self, id: Digest, bundle: Bundle) {
        self.bundles.insert(id, bundle);
    }

    /// Before a state that names a release is written down, the bytes that prove it are.
    pub(crate) fn keep_signed_bytes(&self) -> Outcome<()> {
        let under_way = update::recover::under_way(&self.state.phase);
        match under_way.and_then(|release| self.bundles.get(&release.id).map(|b| (release.id, b))) {
            Some((id, bundle)) => signed::keep(self.ports, &id, bundle),
            None => Ok(()),
        }
    }

    /// Remembers a release that runs already, with the bytes that prove it: these first.
    pub(crate) fn adopt(&mut self, release: &SavedRelease) -> Outcome<()> {
        if let Some(bundle) = self.bundles.get(&release.id) {
            signed::keep(self.ports, &release.id, bundle)?;
            self.change_records(&RecordChange::Know(release.clone()))?;
        }
        Ok(())
    }

    /// A line of history for a request that is being carried out.
    pub(crate) fn note_request(&self, words: &str) -> Outcome<()> {
        let note = Note {
            what: "asked",
            release: None,
            detail: words.to_owned(),
        };
        self.observer.note(&note);
        history::append(self, &note, &self.facts)
    }

    pub(crate) fn reboot(&mut self, reason: &str) -> Outcome<()> {
        self.ports.power.reboot(reason)?;
        self.rebooting = true;
        Ok(())
    }

    /// Version of the image's trust anchor.
    pub(crate) fn anchor_version(&self) -> Outcome<u64> {
        let options = &self.options;
        Trusted::from_root(&options.anchor, options.key_policy, options.limits)
            .map(|trusted| trusted.root().header.version)
            .map_err(|e| Failure::from_code(e.code(), "the image's trust anchor", e.to_string()))
    }

    /// Whether the phase is one in which a slot runs on probation.
    #[must_use]
    pub const fn on_trial(&self) -> bool {
        matches!(
            self.state.phase,
            Phase::Trial { .. } | Phase::Blessing { .. }
        )
    }
}
