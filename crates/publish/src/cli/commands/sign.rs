//! `sign` and `draft`: signatures here and on other machines.

use std::path::Path;

use serde_json::json;
use twinroot_publish::documents::Envelope;
use twinroot_publish::error::{Error, Result};
use twinroot_publish::files::{self, Disk};
use twinroot_publish::keys::{CommandSigner, KeyDirectory, Passphrase, Signer};
use twinroot_publish::repository::Repository;
use twinroot_publish::signing;

use crate::cli::Context;
use crate::cli::args::{DraftCommand, SignArgs};
use crate::cli::output::Output;

pub(in crate::cli) fn sign(context: &Context, args: &SignArgs) -> Result<Output> {
    if let Some(file) = &args.file {
        return sign_file(context, args, file);
    }
    let repository = context.repository()?;
    let wanted = args.draft.as_deref().unwrap_or("all");
    let roles = match wanted {
        "all" => repository.drafts()?,
        role => vec![role.to_owned()],
    };
    let signers = signers(context, args)?;
    let mut signed: Vec<(String, String)> = Vec::new();
    for role in &roles {
        let names = match signers.is_empty() {
            true => sign_with_ring(context, &repository, role)?,
            false => sign_with(&repository, role, &signers, wanted == "all")?,
        };
        signed.extend(names.into_iter().map(|name| (role.clone(), name)));
    }
    if signed.is_empty() {
        let signer = signers
            .first()
            .map_or_else(|| "no key at hand".into(), |signer| signer.describe());
        return Err(Error::SignatureUseless {
            draft: wanted.into(),
            signer,
        });
    }
    let mut words = String::new();
    for (role, key) in &signed {
        repository.note("sign", &format!("{role} by {key}"), None, context.now())?;
        words += &format!("{role}: signed by {key}\n");
    }
    for role in &roles {
        let state = repository.draft_status(role)?;
        words += &format!(
            "{role}: {}\n",
            if state.complete {
                "complete"
            } else {
                "more signatures needed"
            }
        );
    }
    Ok(Output::new(words, &json!({ "signed": signed })))
}

/// The signers that the command line names; none means whatever keys are at hand.
fn signers(context: &Context, args: &SignArgs) -> Result<Vec<Box<dyn Signer>>> {
    if !args.signer_command.is_empty() {
        return Ok(vec![Box::new(CommandSigner::new(
            args.signer_command.clone(),
        )?)]);
    }
    args.key.iter().map(|key| open_key(context, key)).collect()
}

/// A path to a key file, or a name in the key directory.
fn open_key(context: &Context, key: &str) -> Result<Box<dyn Signer>> {
    let path = Path::new(key);
    if path.is_file() {
        let passphrase = context
            .common
            .passphrase_file
            .clone()
            .map_or(Passphrase::None, Passphrase::File);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let directory = KeyDirectory::new(path.parent().unwrap_or(Path::new(".")), passphrase);
        return Ok(Box::new(directory.signer_from_file(&name, path)?));
    }
    match context.ring()?.signer(key)? {
        Some(signer) => Ok(signer),
        None => Err(Error::KeyMissing {
            name: key.into(),
            dir: context.ring()?.place(),
        }),
    }
}

/// With `all`, a key that a draft does not want is passed over; for one draft it is a mistake.
fn sign_with(
    repository: &Repository,
    role: &str,
    signers: &[Box<dyn Signer>],
    lenient: bool,
) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for signer in signers {
        match repository.sign_draft(role, &**signer) {
            Ok(name) => names.push(name),
            Err(Error::SignatureUseless { .. }) if lenient => {}
            Err(other) => return Err(other),
        }
    }
    Ok(names)
}

fn sign_with_ring(context: &Context, repository: &Repository, role: &str) -> Result<Vec<String>> {
    let ring = context.ring()?;
    let mut signed = Vec::new();
    for name in repository.missing_signers(role)? {
        if let Some(signer) = ring.signer(&name)? {
            signed.push(repository.sign_draft(role, &*signer)?);
        }
    }
    Ok(signed)
}

/// Signs an exported draft where there is no repository: says what it is, signs with the keys
/// given, leaves the judgement whether they are wanted to `draft import`.
fn sign_file(context: &Context, args: &SignArgs, file: &Path) -> Result<Output> {
    let signers = signers(context, args)?;
    let mut envelope = read_envelope(file)?;
    let mut names = Vec::new();
    for signer in &signers {
        let Some(public) = signer.public().cloned() else {
            return Err(Error::argument(
                "--signer-command",
                "an exported draft does not tell whose signature it is; use --key, or sign in the repository",
            ));
        };
        let signature = signer.sign(&envelope.message())?;
        envelope.sign(public.id(), signature);
        names.push(signer.describe());
    }
    if names.is_empty() {
        return Err(Error::argument("--key", "name the key that signs the file"));
    }
    files::write_durably(&Disk, file, &envelope.to_bytes())?;
    let words = format!(
        "{}\nsigned by {}; take it back with `draft import`",
        describe(&envelope),
        names.join(", ")
    );
    Ok(Output::new(
        words,
        &json!({ "file": file, "signers": names }),
    ))
}

pub(in crate::cli) fn draft(context: &Context, command: &DraftCommand) -> Result<Output> {
    let repository = context.repository()?;
    let existing = |role: &str| {
        repository
            .draft(role)?
            .ok_or_else(|| Error::DraftMissing(role.into()))
    };
    match command {
        DraftCommand::Show { role } => {
            let envelope = existing(role)?;
            let bytes = envelope.to_bytes();
            let text = String::from_utf8_lossy(&bytes);
            Ok(Output::new(
                format!("{}\n{text}", describe(&envelope)),
                &repository.draft_status(role)?,
            ))
        }
        DraftCommand::Export { role, file } => {
            files::write_durably(&Disk, file, &existing(role)?.to_bytes())?;
            let words = format!(
                "wrote {}; there: `twinroot-publish sign --file {} --key KEYFILE`",
                file.display(),
                file.display()
            );
            Ok(Output::new(words, &json!({ "file": file })))
        }
        DraftCommand::Import { role, file } => {
            let names = repository.import_signatures(role, &read_envelope(file)?)?;
            repository.note(
                "draft import",
                &format!("{role} by {}", names.join(", ")),
                None,
                context.now(),
            )?;
            Ok(Output::new(
                format!("{role}: signed by {}", names.join(", ")),
                &json!({ "signed": names }),
            ))
        }
        DraftCommand::Renew { role } => {
            repository.renew(role, context.now())?;
            repository.note("draft renew", role, None, context.now())?;
            let words =
                format!("{role}: drafted again with a new expiry; `sign {role}`, then `release`");
            Ok(Output::new(words, &json!({ "draft": role })))
        }
        DraftCommand::Discard { role } => {
            repository.discard_draft(role)?;
            repository.note("draft discard", role, None, context.now())?;
            Ok(Output::new(
                format!("{role}: the draft is gone"),
                &json!({ "discarded": role }),
            ))
        }
    }
}

fn read_envelope(file: &Path) -> Result<Envelope> {
    let wrong = |why| Error::InputFile {
        path: file.to_owned(),
        why,
    };
    Envelope::parse(&files::read(file)?).map_err(wrong)
}

/// What somebody is about to sign, in one line.
fn describe(envelope: &Envelope) -> String {
    let text = |name: &str| {
        let value = envelope
            .signed
            .as_object()
            .and_then(|signed| signed.get(name));
        value.map_or_else(
            || "?".into(),
            |value| match (value.as_str(), value.as_integer()) {
                (Some(text), _) => text.to_owned(),
                (None, Some(number)) => number.to_string(),
                (None, None) => "?".into(),
            },
        )
    };
    let digest = twinroot_trust::digest::Digest::of(&envelope.message());
    let signed = envelope.signatures.len();
    signing::summary(
        &text("_type"),
        &text("version"),
        &text("expires"),
        &digest,
        signed,
    )
}
