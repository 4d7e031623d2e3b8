//! From TOML to [`Manifest`], every value bounded.
//!
//! Rule for growth: a key marked optional (`x-…`) is skipped; any other unknown key, word or
//! artefact kind is refused as `client-too-old`, naming the barrier release that helps. A delta
//! in an unknown format is skipped whole, since the full payload still serves.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::model::*;
use super::{ManifestError, Version};
use crate::digest::Digest;
use crate::fields::{FieldError, Fields};
use crate::hex;
use crate::policy::Schedule;

/// Most bytes of a manifest: some 60 KiB hold 64 deltas and 500 components.
pub const MAX_BYTES: usize = 256 * 1024;

/// The segment format that this client decodes (`payload`, format 1).
pub const KNOWN_PAYLOAD_FORMAT: u32 = 1;

const SCHEMA: u64 = 1;
/// 64 GiB: an order of magnitude above the largest immutable host images, and all sums of such
/// sizes stay far below 2^63.
const MAX_IMAGE: u64 = 64 << 30;
/// 512 MiB: an ESP of 1 GiB must hold two UKIs.
const MAX_UKI: u64 = 512 << 20;
/// A payload may exceed its image by index and framing only; twice is generous.
const MAX_PAYLOAD: u64 = 2 * MAX_IMAGE;
/// 64 MiB of index serves the largest image at 1 MiB segments and 1 KiB an entry.
const MAX_INDEX: u64 = 64 << 20;
const MAX_SBOM: u64 = 256 << 20;
const BLOCK: u64 = 4096;
/// dm-verity's own limit on the salt.
const MAX_SALT: usize = 256;
const MAX_DELTAS: usize = 64;
const MAX_COMPONENTS: usize = 512;
const MAX_STATE_FORMATS: u64 = u32::MAX as u64;

pub(super) fn manifest(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    if bytes.len() > MAX_BYTES {
        return Err(ManifestError::EndlessData { size: bytes.len() });
    }
    let barrier = barrier(Fields::document(bytes)?);
    match document(Fields::document(bytes)?) {
        Err(FieldError::Unknown { place }) => Err(ManifestError::ClientTooOld {
            unknown: place,
            barrier,
        }),
        other => Ok(other?),
    }
}

/// The release to install first, read as leniently as possible: it serves the message that the
/// strict reader gives when the rest is from the future.
fn barrier(mut fields: Fields) -> Option<Version> {
    fields.table("requires").ok()?.parsed("from").ok()
}

fn document(mut fields: Fields) -> Result<Manifest, FieldError> {
    if fields.number("schema", 0..=u64::MAX)? != SCHEMA {
        return Err(FieldError::Unknown {
            place: "schema (only 1 is known)".into(),
        });
    }
    let revokes_below = match fields.optional("revokes", Fields::table)? {
        Some(mut revokes) => {
            let below = revokes.parsed("below")?;
            revokes.finish()?;
            Some(below)
        }
        None => None,
    };
    let manifest = Manifest {
        product: fields.parsed("product")?,
        variant: fields.optional("variant", Fields::parsed)?,
        architecture: fields.parsed("architecture")?,
        version: fields.parsed("version")?,
        released: fields.time("released")?,
        supported_until: fields.optional("supported-until", Fields::day)?,
        summary: fields.text("summary", 1000)?,
        severity: word(&mut fields, "severity", &Severity::ALL, Severity::as_str)?,
        requires: fields.optional("requires", requires)?.unwrap_or_default(),
        revokes_below,
        artefacts: artefacts(&mut fields)?,
        probation: fields.optional("health", probation)?,
        rollout_limit: rollout_limit(&mut fields)?,
        state: fields.optional("state", state)?.unwrap_or_default(),
        contents: fields.optional("contents", contents)?.unwrap_or_default(),
    };
    fields.finish()?;
    agree(&manifest)?;
    Ok(manifest)
}

/// What must hold between values.
fn agree(manifest: &Manifest) -> Result<(), FieldError> {
    let contradiction = |place: &str, rule| {
        Err(FieldError::Contradiction {
            place: place.into(),
            rule,
        })
    };
    if manifest
        .requires
        .from
        .as_ref()
        .is_some_and(|from| *from >= manifest.version)
    {
        return contradiction(
            "requires.from",
            "a release cannot require itself or a later one",
        );
    }
    if manifest
        .revokes_below
        .as_ref()
        .is_some_and(|below| *below > manifest.version)
    {
        return contradiction("revokes.below", "a release cannot revoke itself");
    }
    Ok(())
}

/// A word out of a fixed set; another word comes from a newer publisher.
fn word<T: Copy>(
    fields: &mut Fields,
    key: &str,
    known: &[T],
    as_str: impl Fn(T) -> &'static str,
) -> Result<T, FieldError> {
    let text = fields.text(key, 64)?;
    let found = known.iter().find(|word| as_str(**word) == text);
    found.copied().ok_or_else(|| FieldError::Unknown {
        place: format!("{} = {text:?}", fields.place_of(key)),
    })
}

fn requires(fields: &mut Fields, key: &str) -> Result<Requires, FieldError> {
    let mut table = fields.table(key)?;
    let requires = Requires {
        from: table.optional("from", Fields::parsed)?,
        cpu: table.optional("cpu", Fields::parsed)?,
        firmware: table.optional("firmware", |table, key| {
            word(table, key, &Firmware::ALL, Firmware::as_str)
        })?,
    };
    table.finish()?;
    Ok(requires)
}

fn probation(fields: &mut Fields, key: &str) -> Result<crate::time::Seconds, FieldError> {
    let mut table = fields.table(key)?;
    let probation = table.parsed("probation")?;
    table.finish()?;
    Ok(probation)
}

fn rollout_limit(fields: &mut Fields) -> Result<RolloutLimit, FieldError> {
    let mut table = fields.table("rollout-limit")?;
    let limit = RolloutLimit {
        earliest: table.time("earliest")?,
        schedule: Schedule::take(&mut table)?,
    };
    table.finish()?;
    Ok(limit)
}

fn state(fields: &mut Fields, key: &str) -> Result<BTreeMap<String, StateFormat>, FieldError> {
    let mut table = fields.table(key)?;
    let mut state = BTreeMap::new();
    for component in table.keys() {
        let mut entry = table.table(&component)?;
        let writes = entry.number("writes", 0..=MAX_STATE_FORMATS)?;
        let reads = entry.numbers("reads", 64, 0..=MAX_STATE_FORMATS)?;
        entry.finish()?;
        // The bounds above are those of u32.
        let reads = reads
            .into_iter()
            .filter_map(|format| u32::try_from(format).ok())
            .collect();
        let writes = u32::try_from(writes).unwrap_or(u32::MAX);
        state.insert(component, StateFormat { writes, reads });
    }
    table.finish()?;
    Ok(state)
}

fn contents(fields: &mut Fields, key: &str) -> Result<Contents, FieldError> {
    let mut table = fields.table(key)?;
    let sbom = table.optional("sbom", |table, key| {
        let mut entry = table.table(key)?;
        let file = FileRef {
            path: path(&mut entry)?,
            size: entry.number("size", 1..=MAX_SBOM)?,
            sha256: entry.parsed("sha256")?,
        };
        entry.finish()?;
        Ok(file)
    })?;
    let mut components = BTreeMap::new();
    if let Some(mut named) = table.optional("components", Fields::table)? {
        let names = named.keys();
        if names.len() > MAX_COMPONENTS {
            let place = "number of contents.components".into();
            return Err(FieldError::OutOfBounds {
                place,
                least: 0,
                most: MAX_COMPONENTS as u64,
            });
        }
        for name in names {
            let version = named.text(&name, 200)?;
            components.insert(name, version);
        }
        named.finish()?;
    }
    table.finish()?;
    Ok(Contents { sbom, components })
}

/// A release is one system image and the one boot entry that starts it: more, or one without the
/// other, could not be installed as a whole.
fn artefacts(fields: &mut Fields) -> Result<Vec<Artefact>, FieldError> {
    let tables = fields.tables("artefact", 16)?;
    let artefacts: Vec<_> = tables.into_iter().map(artefact).collect::<Result<_, _>>()?;
    let ukis = artefacts
        .iter()
        .filter(|artefact| artefact.kind() == Kind::Uki)
        .count();
    if ukis != 1 || artefacts.len() != 2 {
        let rule = "exactly one root or usr image and exactly one uki are required";
        return Err(FieldError::Contradiction {
            place: "artefact".into(),
            rule,
        });
    }
    Ok(artefacts)
}

fn artefact(mut fields: Fields) -> Result<Artefact, FieldError> {
    let kind = word(&mut fields, "kind", &Kind::ALL, Kind::as_str)?;
    let most = if kind == Kind::Uki {
        MAX_UKI
    } else {
        MAX_IMAGE
    };
    let size = fields.number("size", 1..=most)?;
    let seal = match kind {
        Kind::Root => Seal::Root(verity(&mut fields)?),
        Kind::Usr => Seal::Usr(verity(&mut fields)?),
        Kind::Uki => Seal::Uki(fields.parsed("sha256")?),
    };
    if kind != Kind::Uki && !size.is_multiple_of(BLOCK) {
        let rule = "an image is a whole number of 4096-byte blocks";
        return Err(FieldError::Contradiction {
            place: fields.place_of("size"),
            rule,
        });
    }
    let full = payload(fields.table("full")?)?;
    let full = known_format(full, &fields.place_of("full.format"))?;
    check_plain(&full, size, &seal, &fields.place_of("full"))?;
    let deltas = match fields.optional("delta", |fields, key| fields.tables(key, MAX_DELTAS))? {
        Some(tables) => deltas(tables)?,
        None => Vec::new(),
    };
    fields.finish()?;
    Ok(Artefact {
        size,
        seal,
        full,
        deltas,
    })
}

/// Only this set of parameters is computed on the node; any other needs a newer client.
fn verity(fields: &mut Fields) -> Result<Verity, FieldError> {
    let mut table = fields.table("verity")?;
    let verity = Verity {
        root_hash: table.parsed("root-hash")?,
        salt: salt(&mut table)?,
    };
    word(&mut table, "algorithm", &["sha256"], |name| name)?;
    for key in ["data-block", "hash-block"] {
        if table.number(key, 1..=1 << 20)? != BLOCK {
            return Err(FieldError::Unknown {
                place: format!("{} other than 4096", table.place_of(key)),
            });
        }
    }
    table.finish()?;
    Ok(verity)
}

fn salt(table: &mut Fields) -> Result<Vec<u8>, FieldError> {
    let text = table.text("salt", 2 * MAX_SALT)?;
    hex::decode(&text).ok_or_else(|| FieldError::WrongKind {
        place: table.place_of("salt"),
        expected: "pairs of hex digits",
    })
}

/// What a payload table says; no coding where its format is unknown.
struct Described {
    payload: Option<Payload>,
    format: u64,
}

fn payload(mut fields: Fields) -> Result<Described, FieldError> {
    let format = fields.optional("format", |fields, key| {
        fields.number(key, 0..=u32::MAX.into())
    })?;
    let format = match format {
        Some(format) if format != u64::from(KNOWN_PAYLOAD_FORMAT) => {
            return Ok(Described {
                payload: None,
                format,
            });
        }
        known => known,
    };
    let path = path(&mut fields)?;
    let size = fields.number("size", 1..=MAX_PAYLOAD)?;
    let sha256: Digest = fields.parsed("sha256")?;
    let coding = coding(&mut fields, format.is_some(), size)?;
    fields.finish()?;
    Ok(Described {
        payload: Some(Payload {
            path,
            size,
            sha256,
            coding,
        }),
        format: format.unwrap_or(0),
    })
}

/// How the file holds its artefact; `segmented` if it states a format, which is the known one.
fn coding(fields: &mut Fields, segmented: bool, size: u64) -> Result<Coding, FieldError> {
    if segmented {
        let mut table = fields.table("index")?;
        let index = IndexRef {
            size: table.number("size", 1..=MAX_INDEX)?,
            sha256: table.parsed("sha256")?,
        };
        table.finish()?;
        if index.size > size {
            return Err(FieldError::Contradiction {
                place: fields.place_of("index.size"),
                rule: "an index cannot be larger than its payload",
            });
        }
        return Ok(Coding::Segments {
            format: KNOWN_PAYLOAD_FORMAT,
            index,
        });
    }
    if fields.has("index") {
        return Err(FieldError::Missing {
            place: fields.place_of("format"),
        });
    }
    if fields.has("compression") {
        word(fields, "compression", &["zstd"], |name| name)?;
        return Ok(Coding::Zstd);
    }
    Ok(Coding::Plain)
}

/// A full payload in an unknown format leaves nothing that this client could install.
fn known_format(described: Described, place: &str) -> Result<Payload, FieldError> {
    let format = described.format;
    described.payload.ok_or_else(|| FieldError::Unknown {
        place: format!("{place} = {format}"),
    })
}

/// A plain payload is the artefact itself, so its size and digest are named twice and must agree.
/// Images cannot be plain: only segments are proven piece by piece while they are written.
fn check_plain(full: &Payload, size: u64, seal: &Seal, place: &str) -> Result<(), FieldError> {
    let rule = match (seal, &full.coding) {
        (Seal::Root(_) | Seal::Usr(_), Coding::Plain | Coding::Zstd) => {
            "the payload of an image needs `format` and `index`"
        }
        (Seal::Uki(digest), Coding::Plain) if full.size != size || full.sha256 != *digest => {
            "a plain payload has the size and the sha256 of its artefact"
        }
        _ => return Ok(()),
    };
    Err(FieldError::Contradiction {
        place: place.into(),
        rule,
    })
}

fn deltas(tables: Vec<Fields>) -> Result<Vec<Delta>, FieldError> {
    let mut deltas: Vec<Delta> = Vec::new();
    for mut fields in tables {
        let place = fields.place_of("base");
        let base = fields.parsed("base")?;
        if let Some(payload) = payload(fields)?.payload {
            if !matches!(payload.coding, Coding::Segments { .. }) {
                return Err(FieldError::Missing {
                    place: place.replace("base", "format"),
                });
            }
            deltas.push(Delta { base, payload });
        }
    }
    Ok(deltas)
}

/// A path below the targets URL: plain segments, nothing that climbs or needs quoting.
fn path(fields: &mut Fields) -> Result<String, FieldError> {
    let path = fields.text("path", 255)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = |segment: &str| {
        !segment.is_empty() && !segment.starts_with('.') && segment.chars().all(plain)
    };
    if path.split('/').all(good) {
        return Ok(path);
    }
    let rule = "a relative path of letters, digits, '.', '_', '-' is required, no segment starting with '.'";
    Err(FieldError::Contradiction {
        place: fields.place_of("path"),
        rule,
    })
}
