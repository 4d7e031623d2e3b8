//! What must hold of every transition, whatever happened. Checked after every step by the property
//! tests and by the simulator; the simulator checks the machine itself besides.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Transition;
use super::effect::{Effect, EffectKind};
use super::state::{Phase, State};
use crate::facts::Facts;
use crate::records::{RecordChange, Records};

/// Every rule that the transition breaks, in words; empty where it breaks none.
#[must_use]
pub fn broken(before: &State, t: &Transition, facts: &Facts, records: &Records) -> Vec<String> {
    let mut broken = Vec::new();
    one_change_behind_a_persist(&t.effects, &mut broken);
    for effect in &t.effects {
        spares_the_booted_slot(effect, facts, &mut broken);
        bless_needs_health(effect, t, &mut broken);
        nothing_denied_or_old_is_armed(effect, t, facts, records, &mut broken);
        floor_rises(effect, records, &mut broken);
    }
    if !matches!(before.phase, Phase::Trial { .. }) && t.next.healthy && !before.healthy {
        let idle = matches!(before.phase, Phase::Idle { .. });
        if !idle {
            broken.push("health was believed without a verdict".into());
        }
    }
    broken
}

fn one_change_behind_a_persist(effects: &[Effect], broken: &mut Vec<String>) {
    let kinds: Vec<EffectKind> = effects.iter().map(Effect::kind).collect();
    let changes = kinds.iter().filter(|k| k.changes_the_machine()).count();
    if changes > 1 {
        broken.push(format!(
            "{changes} changes of the machine in one transition"
        ));
    }
    let first = kinds.iter().position(|k| k.changes_the_machine());
    let persist = kinds.iter().position(|k| *k == EffectKind::Persist);
    if let Some(first) = first
        && persist.is_none_or(|p| p > first)
    {
        broken.push(format!("{:?} without a persist before it", kinds[first]));
    }
}

fn spares_the_booted_slot(effect: &Effect, facts: &Facts, broken: &mut Vec<String>) {
    let booted = facts.booted().name();
    let good = facts
        .booted_entry()
        .filter(|e| e.is_blessed())
        .map(|e| e.stem.as_str());
    match effect {
        Effect::Write { slot, .. } | Effect::Prove { slot, .. } if slot.name() == booted => {
            broken.push(format!("slot {booted} runs and would be written"));
        }
        Effect::Write { .. } if good.is_none() => {
            broken.push("the other slot would be written while no blessed one runs".into());
        }
        Effect::Disarm(stems) if stems.iter().any(|s| Some(s.as_str()) == good) => {
            broken.push("the known-good entry would be removed".into());
        }
        Effect::Retire(stem) if Some(stem.as_str()) == good => {
            broken.push("the known-good entry would be removed".into());
        }
        _ => {}
    }
}

fn bless_needs_health(effect: &Effect, t: &Transition, broken: &mut Vec<String>) {
    if matches!(effect, Effect::Bless(_)) && !t.next.healthy {
        broken.push("blessed without health in this boot".into());
    }
}

fn nothing_denied_or_old_is_armed(
    effect: &Effect,
    t: &Transition,
    facts: &Facts,
    records: &Records,
    broken: &mut Vec<String>,
) {
    let Effect::Arm { proven, .. } = effect else {
        return;
    };
    let release = proven.candidate().saved();
    // A denial with an end may have ended: those without one never do.
    let lasting = |d: &&crate::records::Denial| d.concerns(&release) && d.until.is_none();
    if records.denied.iter().any(|d| lasting(&d)) && !t.next.wish.force {
        broken.push(format!("{} is denied and would be armed", release.version));
    }
    let floor = records.floor(facts.system().stamped_floor.as_ref());
    if floor.is_some_and(|floor| release.version < *floor) {
        broken.push(format!(
            "{} is below the floor and would be armed",
            release.version
        ));
    }
}

fn floor_rises(effect: &Effect, records: &Records, broken: &mut Vec<String>) {
    if let Effect::SaveRecords(change @ RecordChange::RaiseFloor(_)) = effect
        && records.clone().with(change).floor < records.floor
    {
        broken.push("the floor would fall".into());
    }
}
