//! Laying files over each other, and remembering which value came from where.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use toml::{Table, Value};

use super::fragment::Fragment;
use super::settings::Settings;
use super::{Layer, Source, line_of};
use crate::error::{Code, Failure};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The path of the file that set it last.
    File(String),
}

/// Dotted key to origin, for every key that some file sets.
pub type Origins = BTreeMap<String, Origin>;

/// Tables that decide what the node is and whom it trusts. They may change only with the image,
/// which is signed; a file that can be written on the node must not widen them (DESIGN, section 14:
/// trust anchor).
const IMAGE_ONLY: [&str; 2] = ["identity", "trust"];

/// Reads all files, in any order, into settings and the origin of each value.
///
/// # Errors
/// `config-syntax`, `config-unknown-key` or `config-value` with file and line; `config-image-only`
/// for a key that only the image may set; `config-missing` for what nobody set.
pub fn read(sources: &[Source]) -> Result<(Settings, Origins), Failure> {
    let mut merged = Table::new();
    let mut origins = Origins::new();
    for source in in_order(sources)? {
        // Only to refuse what is wrong, with its line; the values are taken from the table.
        let fragment: Fragment =
            toml::from_str(&source.text).map_err(|error| refused(source, &error))?;
        let table = Table::try_from(&fragment).map_err(|error| {
            Failure::new(Code::Internal, source.path.clone(), error.to_string())
        })?;
        check_layer(source, &table)?;
        for (name, value) in table {
            overlay(&mut merged, &mut origins, source, &name, value);
        }
    }
    let fragment: Fragment = merged.try_into().map_err(|error: toml::de::Error| {
        Failure::new(
            Code::Internal,
            "the merged configuration",
            error.message().to_string(),
        )
    })?;
    let settings = Settings::from_fragment(fragment, &origins)?;
    for key in settings.keys() {
        origins.entry(key).or_insert(Origin::Default);
    }
    Ok((settings, origins))
}

/// Files that count, weakest first: without those that a later layer replaces by name. A file of
/// the image that says what only the image may say cannot be replaced.
fn in_order(sources: &[Source]) -> Result<Vec<&Source>, Failure> {
    let replaced_by = |source: &Source| {
        let later = |other: &&Source| other.layer > source.layer && name(other) == name(source);
        sources.iter().find(later)
    };
    let mut kept = Vec::new();
    for source in sources {
        match replaced_by(source) {
            None => kept.push(source),
            Some(by) => {
                let table = source.text.parse::<Table>().unwrap_or_default();
                check_layer(by, &table)?;
            }
        }
    }
    kept.sort_by_key(|source| (source.layer, name(source)));
    Ok(kept)
}

fn name(source: &Source) -> &str {
    source.path.rsplit('/').next().unwrap_or(&source.path)
}

fn check_layer(source: &Source, table: &Table) -> Result<(), Failure> {
    let forbidden = IMAGE_ONLY.iter().find(|key| table.contains_key(**key));
    match forbidden {
        Some(key) if source.layer != Layer::Image => Err(Failure::new(
            Code::ConfigImageOnly,
            source.path.clone(),
            format!("the table {key} may stand only in the image"),
        )),
        _ => Ok(()),
    }
}

/// Lays one top-level table over what is there; its keys are replaced one by one, lists as a whole.
fn overlay(merged: &mut Table, origins: &mut Origins, source: &Source, name: &str, value: Value) {
    let Value::Table(keys) = value else { return };
    let slot = merged
        .entry(name.to_string())
        .or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(present) = slot else { return };
    for (key, value) in keys {
        origins.insert(format!("{name}.{key}"), Origin::File(source.path.clone()));
        present.insert(key, value);
    }
}

fn refused(source: &Source, error: &toml::de::Error) -> Failure {
    let message = error.message();
    // toml tells these apart in words only; a wrong guess costs a less fitting code, no more.
    let code = if message.starts_with("unknown field") {
        Code::ConfigUnknownKey
    } else if source.text.parse::<Table>().is_err() {
        Code::ConfigSyntax
    } else {
        Code::ConfigValue
    };
    let subject = format!("{}:{}", source.path, line_of(&source.text, error.span()));
    Failure::new(
        code,
        subject,
        message.lines().collect::<Vec<_>>().join("; "),
    )
}
