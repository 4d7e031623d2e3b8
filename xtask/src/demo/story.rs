//! The story that the demonstration tells.

use std::time::Instant;

use anyhow::{Result, bail};

use super::hands::Hands;
use crate::run;

/// Tells it from the first key to the last refusal.
pub(super) fn tell(hands: &mut Hands) -> Result<()> {
    let start = Instant::now();
    publisher(hands)?;
    first_release(hands)?;
    good_update(hands)?;
    bad_update(hands)?;
    damaged_payload(hands)?;
    damaged_metadata(hands)?;
    hands.chapter("What was shown");
    println!("{}", hands.table());
    println!("all of it in {}", run::seconds(start.elapsed()));
    Ok(())
}

fn publisher(hands: &mut Hands) -> Result<()> {
    hands.chapter("A publisher makes keys and a repository; the channel needs two of three people");
    hands.publish_new()?;
    hands.publish(&["sign", "all"])?;
    hands.publish(&["release"])
}

fn first_release(hands: &mut Hands) -> Result<()> {
    hands.chapter("Release 1.0 is published, and a machine is made with it");
    hands.build("1.0", 1)?;
    hands.release("1.0")?;
    hands.serve()?;
    hands.machine("1.0")?;
    hands.boot(None)?;
    hands.say("the first start is a trial like any other: health decides");
    hands.node(&["agent", "--once"])?;
    hands.expect_running("1.0")?;
    hands
        .shown("1.0 installed, started, found healthy", "committed")
        .map(drop)
}

fn good_update(hands: &mut Hands) -> Result<()> {
    hands.chapter("Release 1.1: half of its blocks are in 1.0 already");
    hands.build("1.1", 2)?;
    hands.release("1.1")?;
    hands.node(&["check"])?;
    hands.node(&["plan"])?;
    hands.shown("1.1 checked and planned", "nothing written")?;
    hands.node(&["apply"])?;
    let sent = hands.shown("1.1 staged, proven, activated", "restart asked for")?;
    hands.say(&format!(
        "the server has sent {} bytes of payload",
        sent.payload
    ));
    hands.boot(None)?;
    hands.node(&["agent", "--once"])?;
    hands.expect_running("1.1")?;
    hands.node(&["status"])?;
    let fallback = hands.status()?["fallback"].clone();
    if fallback != "proven" {
        bail!("the fallback is {fallback}, and 1.0 should be proven");
    }
    hands
        .shown("1.1 on trial, found healthy", "committed")
        .map(drop)
}

fn bad_update(hands: &mut Hands) -> Result<()> {
    hands.chapter("Release 1.2 starts, but its workload does not: the machine goes back by itself");
    hands.build("1.2", 3)?;
    hands.release("1.2")?;
    hands.node(&["apply"])?;
    hands.shown("1.2 staged, proven, activated", "restart asked for")?;
    hands.boot(Some("health"))?;
    hands.node(&["agent", "--once"])?;
    hands.boot(None)?;
    hands.node(&["agent", "--once"])?;
    hands.expect_running("1.1")?;
    hands.shown("1.2 on trial, found unhealthy", "rolled back, denied")?;
    hands.say("it is remembered, and not taken again");
    hands.refused(&["apply"], "release-denied")?;
    hands.node(&["why"])?;
    hands
        .shown("1.2 asked for again", "refused: release-denied")
        .map(drop)
}

fn damaged_payload(hands: &mut Hands) -> Result<()> {
    hands.chapter("Release 1.3 is fine, but somebody changes its payload on the web server");
    hands.build("1.3", 4)?;
    let before = hands.payloads()?;
    hands.release("1.3")?;
    let damage = hands.damage_payload(&before)?;
    hands.refused(&["apply"], PAYLOAD_REFUSAL)?;
    hands.expect_running("1.1")?;
    damage.undo()?;
    hands.shown(
        "1.3 with one bit of its payload turned over",
        &format!("refused: {PAYLOAD_REFUSAL}"),
    )?;
    Ok(())
}

/// A coded segment that does not have its signed digest is not decoded.
const PAYLOAD_REFUSAL: &str = "payload-segment-digest";

fn damaged_metadata(hands: &mut Hands) -> Result<()> {
    hands.chapter("Then somebody changes the signed metadata");
    let damage = hands.damage_timestamp()?;
    hands.refused(&["check"], METADATA_REFUSAL)?;
    damage.undo()?;
    hands.shown(
        "timestamp with a later expiry date",
        &format!("refused: {METADATA_REFUSAL}"),
    )?;
    hands.say("with everything put right, 1.3 is taken");
    hands.node(&["apply"])?;
    hands.boot(None)?;
    hands.node(&["agent", "--once"])?;
    hands.expect_running("1.3")?;
    hands.node(&["verify"])?;
    hands
        .shown("1.3 as it was signed", "committed; both slots proven")
        .map(drop)
}

/// The signature no longer covers the bytes.
const METADATA_REFUSAL: &str = "threshold-not-met";
