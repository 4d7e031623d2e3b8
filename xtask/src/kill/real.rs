//! Kills on the way from one real release to the next, by delta or by reuse.
//!
//! Promise: what `twinroot plan` says beforehand is what comes, within 2 %; however often it is killed, the
//! machine ends in the new release with the root hash that its publisher computed; a kill costs at most
//! what was in flight.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Args, Random, SEGMENT, WORKERS, killed};
use crate::bench::images::Images;
use crate::bench::node::Node;
use crate::bench::publisher::{Publisher, Release, Server};
use crate::bench::reference::size_of;
use crate::programs::{Profile, Programs};
use crate::run;

/// How far what comes may be from what `plan` said: in hundredths, of what it said.
const PLAN_PERCENT: u64 = 2;
/// The most that an index of these images has, in bytes: six for each of 100,000 blocks, and records.
const INDEX: u64 = 1 << 20;
/// Kills of one update at the most, so that one machine does not take them all.
const KILLS_EACH: u32 = 10;

/// How a node gets the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// By a delta against the release that runs.
    Delta,
    /// Without any delta.
    Reuse,
}

/// Publishes both, and updates machines until there were enough kills.
pub fn run(args: &Args, way: Way, images: &Path, folder: &Path) -> Result<()> {
    let programs = Programs::get(args.programs.as_deref(), Profile::Release)?;
    let images = Images::old_and_new(images)?;
    let publisher = Publisher::new(&programs, folder)?;
    let deltas = match way {
        Way::Delta => "1",
        Way::Reuse => "0",
    };
    // Level 3: sizes do not matter here, and nobody waits for the better ones.
    let publish = |version: &str, image: &Path, deltas: &str| -> Result<Release> {
        let words = ["--delta-from", deltas];
        Ok(publisher.publish_with(version, image, 3, &words)?.0)
    };
    let old = publish("1.0", &images.0, "0")?;
    let new = publish("1.1", &images.1, deltas)?;
    let server = publisher.serve()?;
    let mut test = Test {
        programs,
        publisher,
        server,
        old,
        new,
        random: Random(args.seed),
    };
    let (whole, in_peace) = test.peace(folder)?;
    let (mut kills, mut updates, mut sent) = (0, 0, 0);
    while kills < args.kills {
        let most = (args.kills - kills).min(KILLS_EACH);
        let (these, bytes) = test
            .update(folder, whole, most)
            .with_context(|| format!("after {kills} kills, seed {}", args.seed))?;
        kills += these;
        updates += 1;
        sent += bytes;
    }
    println!(
        "{kills} kills in {updates} updates by {way:?}: each ended in the new release with root hash {}; \
         {in_peace} bytes came in peace, {} on average with kills",
        test.new.root_hash,
        sent / updates.max(1)
    );
    Ok(())
}

struct Test {
    programs: Programs,
    publisher: Publisher,
    server: Server,
    old: Release,
    new: Release,
    random: Random,
}

impl Test {
    fn machine(&mut self, folder: &Path) -> Result<Node> {
        let machine = folder.join("machine");
        if machine.exists() {
            std::fs::remove_dir_all(&machine).context("cannot remove a machine")?;
        }
        Node::install(
            &self.programs,
            &machine,
            &self.publisher,
            &self.old,
            &self.server,
        )
    }

    /// One update that nobody kills: how long it takes, and what comes, which `plan` must have said.
    fn peace(&mut self, folder: &Path) -> Result<(Duration, u64)> {
        let node = self.machine(folder)?;
        node.check()?;
        let planned = node.planned()?;
        self.server.sent()?;
        let usage = node.apply()?;
        let sent = self.server.sent()?.payload;
        ensure!(
            planned.abs_diff(sent) * 100 <= planned * PLAN_PERCENT,
            "`plan` said {planned} bytes, {sent} came"
        );
        println!(
            "`plan` said {planned} bytes, {sent} came, in {}",
            run::seconds(usage.wall)
        );
        self.finish(&node)?;
        Ok((usage.wall, sent))
    }

    /// One update with kills: how many there were, and what came.
    fn update(&mut self, folder: &Path, whole: Duration, most: u32) -> Result<(u32, u64)> {
        let node = self.machine(folder)?;
        node.check()?;
        let planned = node.planned()?;
        self.server.sent()?;
        let mut kills = 0;
        loop {
            let moment = (kills < most).then(|| self.random.moment(whole));
            if !killed(&node, moment)? {
                break;
            }
            kills += 1;
        }
        let sent = self.server.sent()?.payload;
        // Each start fetches the index again (it is held in memory only), and each kill may cost what was
        // in flight: a segment for each worker, and the boot file.
        let each = WORKERS * SEGMENT + size_of(&self.new.uki)? + INDEX;
        let bound = planned + planned * PLAN_PERCENT / 100 + u64::from(kills) * each;
        ensure!(
            sent <= bound,
            "{kills} kills: {sent} bytes came, at most {bound} are right"
        );
        self.finish(&node)?;
        Ok((kills, sent))
    }

    /// Restarts into the release, and has both slots proven.
    fn finish(&self, node: &Node) -> Result<()> {
        node.boot_into(&self.new.version)?;
        node.settle()?;
        let (version, idle) = node.running()?;
        ensure!(
            idle && version == self.new.version,
            "{version} runs, idle: {idle}; expected {}",
            self.new.version
        );
        // Fails where a slot does not have the root hash of a signed release.
        run::capture(&mut node.command(&["verify"])).map(drop)
    }
}
