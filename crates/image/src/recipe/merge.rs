//! One variant: the common part with what the variant adds.

use std::collections::BTreeMap;

use twinroot_core::error::{Code, Failure};

use super::model::{Part, Size};
use super::{Budget, Recipe, Sizes};
use crate::Outcome;

/// What is built.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name; the image that ships has none.
    pub name: Option<String>,
    /// Everything it has.
    pub part: Part,
}

impl Recipe {
    /// The variant `name`, or what ships.
    ///
    /// # Errors
    /// `bad-request` for a variant that the recipe does not have.
    pub fn choose(&self, name: Option<&str>) -> Outcome<Variant> {
        let Some(name) = name else {
            return Ok(Variant {
                name: None,
                part: self.common.clone(),
            });
        };
        let added = self.variant.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.variant.keys().map(String::as_str).collect();
            let cause = format!(
                "the recipe has no such variant; it has {}",
                known.join(", ")
            );
            Failure::new(Code::BadRequest, format!("variant {name}"), cause)
        })?;
        Ok(Variant {
            name: Some(name.to_owned()),
            part: merged(&self.common, added),
        })
    }
}

fn merged(common: &Part, added: &Part) -> Part {
    let list = |a: &[String], b: &[String]| without(a, b);
    let mut part = common.clone();
    part.not_for_release |= added.not_for_release;
    part.packages = list(&common.packages, &added.packages);
    part.boot.cmdline = list(&common.boot.cmdline, &added.boot.cmdline);
    part.boot.modules = list(&common.boot.modules, &added.boot.modules);
    part.modules.keep = list(&common.modules.keep, &added.modules.keep);
    part.prune.packages = list(&common.prune.packages, &added.prune.packages);
    part.prune.paths = list(&common.prune.paths, &added.prune.paths);
    part.units.enable = list(&common.units.enable, &added.units.enable);
    part.units.mask = list(&common.units.mask, &added.units.mask);
    part.setuid = list(&common.setuid, &added.setuid);
    part.overlay
        .retain(|overlay| !added.without_overlays.contains(&overlay.name));
    part.overlay.extend(added.overlay.iter().cloned());
    part.deviation.extend(added.deviation.iter().cloned());
    extend(&mut part.ids.users, &added.ids.users);
    extend(&mut part.ids.groups, &added.ids.groups);
    extend(&mut part.programs, &added.programs);
    extend(&mut part.optional_programs, &added.optional_programs);
    extend(&mut part.copy, &added.copy);
    part.sizes = Sizes {
        esp: added.sizes.esp.or(common.sizes.esp),
        slot: added.sizes.slot.or(common.sizes.slot),
        state: added.sizes.state.or(common.sizes.state),
    };
    part.budget = Budget {
        root: added.budget.root.or(common.budget.root),
        uki: added.budget.uki.or(common.budget.uki),
        initramfs: added.budget.initramfs.or(common.budget.initramfs),
        modules: added.budget.modules.or(common.budget.modules),
    };
    part
}

/// The common list with what is added; `-name` takes an entry of the common list out.
fn without(common: &[String], added: &[String]) -> Vec<String> {
    let dropped = |entry: &&String| {
        !added
            .iter()
            .any(|word| word.strip_prefix('-') == Some(entry))
    };
    let kept = common.iter().filter(dropped);
    let new = added
        .iter()
        .filter(|word| !word.starts_with('-') && !common.contains(word));
    kept.chain(new).cloned().collect()
}

fn extend<V: Clone>(map: &mut BTreeMap<String, V>, added: &BTreeMap<String, V>) {
    map.extend(
        added
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
}

impl Sizes {
    /// The size of a partition, which some part must give.
    ///
    /// # Errors
    /// `config-missing`.
    pub fn needed(value: Option<Size>, key: &str) -> Outcome<u64> {
        value.map(|Size(bytes)| bytes).ok_or_else(|| {
            Failure::new(
                Code::ConfigMissing,
                format!("sizes.{key}"),
                "the recipe does not say it",
            )
        })
    }
}
