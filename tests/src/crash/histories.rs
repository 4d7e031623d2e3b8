//! The histories of the crash matrix.

use std::collections::BTreeMap;
use std::sync::Arc;

use twinroot_core::bootfmt::loader::Quirk;
use twinroot_core::update::{Command, Goal};
use twinroot_publish::fake::Release;
use twinroot_sim::matrix::{Driver, History, NextGood, Step, drive};
use twinroot_sim::provision::{First, Sizes, install};
use twinroot_sim::source::SourceFault;
use twinroot_sim::watch::Violation;
use twinroot_sim::world::{Behaviour, Image, Machine, World};
use twinroot_trust::time::UnixTime;

use super::releases::{self, Line, tree_of};

/// Tries of the first entry and of every trial.
const TRIES: u32 = 3;

/// A whole update without being asked again.
fn update() -> Step {
    Step::Run(Some(Command::Update {
        goal: Goal::Reboot,
        version: None,
        force: false,
    }))
}

fn rollback() -> Step {
    let reason = "asked for by a test".to_owned();
    Step::Run(Some(Command::Rollback {
        reason,
        reboot: true,
    }))
}

/// The publisher's next act becomes visible.
fn publish(line: &Line, stage: &'static str) -> Step {
    let repository = line.stage(stage);
    Step::Change(
        stage,
        Arc::new(move |m: &mut Machine| m.source.show(repository.clone())),
    )
}

/// A release changes its ways.
fn behave(release: &Release, behaviour: Behaviour) -> Step {
    let root = release.root_hash;
    let act = move |m: &mut Machine| {
        if let Some(image) = Arc::make_mut(&mut m.images).get_mut(&root) {
            image.behaviour = behaviour;
        }
    };
    Step::Change("a release changes its ways", Arc::new(act))
}

/// Everything that histories are made of.
#[derive(Debug)]
pub struct Book {
    plain: Line,
    withdrawn: Line,
    rotated: Line,
    by_delta: Line,
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl Book {
    /// Makes keys, releases and repositories.
    #[must_use]
    pub fn new() -> Self {
        Self {
            plain: releases::plain(),
            withdrawn: releases::withdrawn(),
            rotated: releases::rotated(),
            by_delta: releases::by_delta(),
        }
    }

    /// The trust anchor that all images carry.
    #[must_use]
    pub fn anchor(&self) -> &[u8] {
        &self.plain.anchor
    }

    /// Where the repository keeps a release's boot image, below the targets URL.
    #[must_use]
    pub fn uki_path(&self, version: &str) -> String {
        let release = self.plain.release(version);
        let digest = twinroot_trust::digest::Digest::of(&release.uki).to_string();
        let files = &self.plain.stage(version).targets;
        files
            .keys()
            .find(|path| path.contains(&digest))
            .cloned()
            .unwrap_or(digest)
    }

    /// One byte on the way that is not what was signed.
    #[must_use]
    pub fn flipped_byte(&self) -> SourceFault {
        SourceFault::Flipped(1500)
    }

    /// All histories, named as they are printed.
    ///
    /// # Errors
    /// A rule that is broken on the way to the beginning of a history, without any cut.
    pub fn all(&self, driver: &dyn Driver) -> Result<Vec<History>, Violation> {
        let installed = self.lived(&self.plain, &[], driver)?;
        let updated = self.lived(
            &self.plain,
            &[publish(&self.plain, "1.1"), update()],
            driver,
        )?;
        let rolled_back = continued(&updated, &[rollback()], driver)?;
        let mut all = vec![
            self.history(
                "install",
                self.new_machine(&self.plain),
                vec![Step::Run(None)],
                "1.0",
            ),
            self.history("update", installed.clone(), self.update_to("1.1"), "1.1"),
        ];
        all.extend(self.failed_trials(&installed));
        all.push(self.history("manual rollback", updated.clone(), vec![rollback()], "1.0"));
        // The pin is gone with the power, and the loader takes the newest again.
        let mut forgetful = updated.clone();
        forgetful.variables.forgetful = true;
        let name = "manual rollback, firmware forgets";
        all.push(self.history(name, forgetful, vec![rollback()], "1.0"));
        all.push(self.withdrawal(driver)?);
        all.push(self.rotation(driver)?);
        all.push(self.patched(driver)?);
        let again = self.update_to("1.2");
        all.push(self.history("update after manual rollback", rolled_back, again, "1.2"));
        all.extend(self.gone_bad(&updated, driver)?);
        all.extend(self.loaders(driver)?);
        Ok(all)
    }

    fn update_to(&self, version: &'static str) -> Vec<Step> {
        vec![publish(&self.plain, version), update()]
    }

    /// A release that does not hold: in each of the ways in which a release can fail.
    fn failed_trials(&self, installed: &Machine) -> Vec<History> {
        let ways = [
            ("failed trial: unhealthy", Behaviour::Unhealthy),
            ("failed trial: never holds", Behaviour::Flaky),
            ("failed trial: panics", Behaviour::Panics),
            ("failed trial: hangs", Behaviour::Hangs),
        ];
        let one = |(name, way)| {
            let mut steps = vec![behave(self.plain.release("1.1"), way)];
            steps.extend(self.update_to("1.1"));
            // The next day the same release is still there: it is not installed again.
            steps.extend([Step::PowerCycle, Step::Run(None)]);
            self.history(name, installed.clone(), steps, "1.0")
        };
        ways.into_iter().map(one).collect()
    }

    /// The same under a loader that moves no counters: trials are booted one-shot.
    fn loaders(&self, driver: &dyn Driver) -> Result<Vec<History>, Violation> {
        let mut machine = self.new_machine(&self.plain);
        machine.quirks = vec![Quirk::NoCounting];
        let start = continued(&machine, &[Step::Run(None)], driver)?;
        let mut failing = vec![behave(self.plain.release("1.1"), Behaviour::Panics)];
        failing.extend(self.update_to("1.1"));
        let good = self.update_to("1.1");
        let panics = self.history(
            "panics, loader does not count",
            start.clone(),
            failing,
            "1.0",
        );
        Ok(vec![
            self.history("update, loader does not count", start, good, "1.1"),
            History {
                starts: STARTS_ONE_SHOT,
                ..panics
            },
        ])
    }

    /// The repository withdraws the release while the slot is being written.
    fn withdrawal(&self, driver: &dyn Driver) -> Result<History, Violation> {
        let line = &self.withdrawn;
        let start = self.lived(line, &[], driver)?;
        let (now, later) = (line.stage("1.1"), line.stage("withdrawn"));
        let act = move |m: &mut Machine| {
            m.source.show(now.clone());
            // A check takes some ten files; what comes after them are payloads.
            m.source.show_after(FILES_OF_A_CHECK, later.clone());
        };
        let steps = vec![
            Step::Change("1.1, withdrawn during staging", Arc::new(act)),
            update(),
        ];
        Ok(self.history_on(line, "withdrawal during staging", start, steps, "1.0"))
    }

    /// Root, timestamp and snapshot keys are new.
    fn rotation(&self, driver: &dyn Driver) -> Result<History, Violation> {
        let line = &self.rotated;
        let start = self.lived(line, &[], driver)?;
        let steps = vec![publish(line, "1.1"), update()];
        Ok(self.history_on(line, "key rotation", start, steps, "1.1"))
    }

    /// The slot and the boot image are written by deltas from what runs.
    fn patched(&self, driver: &dyn Driver) -> Result<History, Violation> {
        let line = &self.by_delta;
        let start = self.lived(line, &[], driver)?;
        let steps = vec![publish(line, "1.1"), update()];
        Ok(self.history_on(line, "update by delta", start, steps, "1.1"))
    }

    /// Weeks later the committed slot rots, or its release panics; the other slot is reached, and
    /// the bad one is written again.
    fn gone_bad(&self, updated: &Machine, driver: &dyn Driver) -> Result<Vec<History>, Violation> {
        let rots = Step::Change(
            "the slot rots",
            Arc::new(|m: &mut Machine| {
                m.wall = UnixTime(m.wall.0 + LATER);
                m.slots[1].data.rot(9000, 1);
            }),
        );
        let panics = behave(self.plain.release("1.1"), Behaviour::Panics);
        let bad = vec![Step::PowerCycle, rots.clone(), Step::Run(None)];
        let worse = vec![Step::PowerCycle, panics, Step::Run(None)];
        let left = continued(updated, &[Step::PowerCycle, rots], driver)?;
        let repair = vec![Step::Run(Some(Command::Repair))];
        Ok(vec![
            self.history("committed slot rots", updated.clone(), bad, "1.1"),
            self.history("committed release goes bad", updated.clone(), worse, "1.0"),
            self.history("repair of the other slot", left, repair, "1.1"),
        ])
    }

    fn history(&self, name: &'static str, start: Machine, steps: Vec<Step>, end: &str) -> History {
        self.history_on(&self.plain, name, start, steps, end)
    }

    fn history_on(
        &self,
        line: &Line,
        name: &'static str,
        start: Machine,
        steps: Vec<Step>,
        end: &str,
    ) -> History {
        let next = NextGood {
            repository: line.stage("9.0"),
            root: line.release("9.0").root_hash,
        };
        History {
            name,
            start,
            steps,
            end: line.release(end).root_hash,
            next,
            starts: STARTS,
        }
    }

    /// A machine that has lived through installation and these steps.
    fn lived(
        &self,
        line: &Line,
        steps: &[Step],
        driver: &dyn Driver,
    ) -> Result<Machine, Violation> {
        let installed = continued(&self.new_machine(line), &[Step::Run(None)], driver)?;
        continued(&installed, steps, driver)
    }

    /// A machine as it leaves the installer.
    fn new_machine(&self, line: &Line) -> Machine {
        let release = line.release("1.0");
        let tree = tree_of(release);
        let first = First {
            version: &release.version,
            data: &release.image,
            tree: &tree,
            uki: &release.uki,
            tries: TRIES,
        };
        let sizes = Sizes {
            data: release.image.len() as u64,
            tree: 2 * 4096,
            ..Sizes::default()
        };
        install(sizes, &first, images(line), line.stage("1.0"), line.now)
    }
}

/// Before, into the trial, and back.
const STARTS: u32 = 3;
/// Under a loader that does not count, the node arms each try itself and returns after each.
const STARTS_ONE_SHOT: u32 = STARTS - 1 + TRIES;

/// Seconds until a committed slot goes bad. Not weeks: a repository that nobody signs again expires
/// after one, and then nothing is installed, which is another story.
const LATER: i64 = 3 * 86_400;

/// Files that a check fetches at the most before the first payload: roots, timestamp, snapshot,
/// targets, channel, rollout, manifests.
const FILES_OF_A_CHECK: u64 = 9;

fn images(line: &Line) -> BTreeMap<twinroot_trust::digest::Digest, Image> {
    let image = |release: &Release| Image {
        version: release.version.clone(),
        uki: twinroot_trust::digest::Digest::of(&release.uki),
        behaviour: Behaviour::Good,
        stamped_floor: None,
        built: UnixTime(line.now.0 - 86_400),
    };
    line.releases
        .values()
        .map(|release| (release.root_hash, image(release)))
        .collect()
}

/// Lives on through these steps without any cut.
fn continued(machine: &Machine, steps: &[Step], driver: &dyn Driver) -> Result<Machine, Violation> {
    let world = World::new(machine.clone());
    for step in steps {
        match step {
            Step::Run(request) => drive(&world, driver, request.as_ref())?,
            other => world.outside(|m| other.change(m)),
        }
    }
    Ok(world.snapshot())
}
