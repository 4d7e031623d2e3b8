//! `key new`, `key list`, `key rotate`.

use serde_json::{Value, json};
use twinroot_publish::error::{Error, Result};
use twinroot_publish::keys::{KeyDirectory, KeyKind};

use crate::cli::Context;
use crate::cli::args::{KeyCommand, KeyType};
use crate::cli::output::Output;

pub(in crate::cli) fn key(context: &Context, command: &KeyCommand) -> Result<Output> {
    let keys = context
        .keys()
        .ok_or_else(|| Error::argument("--keys", "give the key directory"))?;
    match command {
        KeyCommand::New {
            name,
            kind,
            no_passphrase,
        } => {
            if context.common.passphrase_file.is_none() && !no_passphrase {
                return Err(Error::argument(
                    "key new",
                    "give --passphrase-file, or say --no-passphrase",
                ));
            }
            let kind = match kind {
                KeyType::Ed25519 => KeyKind::Ed25519,
                KeyType::P256 => KeyKind::P256,
            };
            let public = keys.create(name, kind)?;
            let words = format!("made {name} ({}), id {}", kind.as_str(), public.id());
            Ok(Output::new(
                words,
                &json!({ "name": name, "type": kind.as_str(), "id": public.id() }),
            ))
        }
        KeyCommand::List => list(&keys),
        KeyCommand::Rotate { role, old, new } => rotate(context, &keys, role, old, new),
    }
}

fn list(keys: &KeyDirectory) -> Result<Output> {
    let mut words = String::new();
    let mut rows: Vec<Value> = Vec::new();
    for name in keys.names()? {
        let public = keys.public(&name)?;
        let secret = if keys.has_secret(&name) {
            "secret and public"
        } else {
            "public only"
        };
        words += &format!(
            "{name:<20} {:<8} {secret:<18} {}\n",
            public.kind().as_str(),
            public.id()
        );
        rows.push(json!({ "name": name, "type": public.kind().as_str(), "id": public.id(), "secret": keys.has_secret(&name) }));
    }
    if rows.is_empty() {
        words = format!("no keys in {}", keys.path().display());
    }
    Ok(Output::new(words, &rows))
}

fn rotate(
    context: &Context,
    keys: &KeyDirectory,
    role: &str,
    old: &str,
    new: &str,
) -> Result<Output> {
    let mut repository = context.repository()?;
    let public = keys.public(new)?;
    let drafts = repository.rotate_key(role, old, (new, &public), context.now())?;
    repository.note(
        "key rotate",
        &format!("{role}: {old} -> {new}"),
        None,
        context.now(),
    )?;
    let words = format!(
        "drafted {}: sign them (`status` lists by whom), then `release`",
        drafts.join(", ")
    );
    Ok(Output::new(words, &json!({ "drafts": drafts })))
}
