//! Scenario 10: what the TPM measured is what was predicted when the image was built.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let built = lab.build(&Wanted::test("1.0"))?;
    let text = std::fs::read_to_string(built.folder.join("image.json"))?;
    let described: Value = serde_json::from_str(&text)?;
    let predicted = described["pcr11"]
        .as_object()
        .context("the image's description predicts no PCR 11")?;
    let mut node = Node::first_start_on(lab, &built, |spec| spec.tpm = true)?;
    let found = node.sh("cat /sys/class/tpm/tpm0/pcr-sha256/11")?;
    let found = found.trim().to_lowercase();
    let found = found.as_str();
    let phase = predicted
        .iter()
        .find(|(_, value)| {
            value
                .as_str()
                .is_some_and(|value| value.to_lowercase() == found)
        })
        .map(|(phase, _)| phase.clone());
    ensure!(
        phase.is_some(),
        "PCR 11 is {found}, and none of the predicted values: {predicted:?}"
    );
    lab.figure(format!(
        "PCR 11 is what was predicted for the phase '{}': {found}",
        phase.unwrap_or_default()
    ));
    let history = node.json(&["history"])?;
    let kept = history["lines"].as_array().into_iter().flatten();
    let committed: Vec<&Value> = kept.filter(|line| line["what"] == "committed").collect();
    ensure!(
        committed.len() == 1 && committed[0]["pcr11"] == *found,
        "the history does not say that 1.0 was committed with PCR 11 {found}: {history}"
    );
    node.passed();
    Ok(())
}
