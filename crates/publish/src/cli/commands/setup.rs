//! `init`.

use serde_json::json;
use twinroot_publish::error::{Error, Result};
use twinroot_publish::init::{self, InitPlan};
use twinroot_publish::keys::{KeyDirectory, KeyKind, Passphrase};
use twinroot_publish::settings::{Expiry, Settings};
use twinroot_trust::name::Name;

use crate::cli::Context;
use crate::cli::args::{InitArgs, role_plan};
use crate::cli::output::Output;

pub(in crate::cli) fn init(context: &Context, args: &InitArgs) -> Result<Output> {
    let plan = plan(args)?;
    let keys = context.keys().ok_or_else(|| {
        Error::argument("--keys", "give the directory that holds the public keys")
    })?;
    let made = if args.create_keys {
        create_missing(context, args, &plan, &keys)?
    } else {
        Vec::new()
    };
    let repository = init::init(&args.dir, &plan, &keys, context.files(), context.now())?;
    let drafts = repository.drafts()?;
    repository.note(
        "init",
        args.dir.to_string_lossy().as_ref(),
        None,
        context.now(),
    )?;
    let mut words = String::new();
    if !made.is_empty() {
        words += &format!("made the keys {}\n", made.join(", "));
    }
    words += &format!(
        "made {} with the channels {}\ndrafted {}; next: `sign all`, then `release`",
        args.dir.display(),
        repository.channels()?.join(", "),
        drafts.join(", "),
    );
    Ok(Output::new(
        words,
        &json!({ "repository": args.dir, "keys": made, "drafts": drafts }),
    ))
}

fn plan(args: &InitArgs) -> Result<InitPlan> {
    let mut settings = Settings::new(args.product.clone(), args.architecture.clone());
    settings.variant = args.variant.clone();
    settings.allow_p256 = args.allow_p256;
    for (role, period) in &args.expiry {
        set_period(&mut settings.expiry, role, *period)?;
    }
    let named = |role: &str| {
        args.role_keys
            .iter()
            .find(|(name, _)| name == role)
            .map(|(_, keys)| keys.as_slice())
    };
    let mut plan = InitPlan::new(settings);
    for (role, needed, keys) in &args.role {
        if plan
            .roles
            .insert(role.clone(), role_plan(role, *needed, *keys, named(role)))
            .is_none()
        {
            return Err(Error::argument(
                format!("--role {role}"),
                "it is none of root, targets, snapshot, timestamp, rollout",
            ));
        }
    }
    for (role, planned) in &mut plan.roles {
        if let Some(keys) = named(role) {
            planned.keys = keys.to_vec();
        }
    }
    for (channel, needed, keys) in &args.channel {
        let name: Name = channel
            .parse()
            .map_err(|cause| Error::argument(format!("--channel {channel}"), cause))?;
        plan.channels
            .push((name, role_plan(channel, *needed, *keys, named(channel))));
    }
    for (role, _) in &args.role_keys {
        let known = plan.roles.contains_key(role)
            || plan
                .channels
                .iter()
                .any(|(channel, _)| channel.as_str() == role);
        if !known {
            return Err(Error::argument(
                format!("--role-keys {role}"),
                "there is no such role or channel",
            ));
        }
    }
    Ok(plan)
}

fn set_period(
    expiry: &mut Expiry,
    role: &str,
    period: twinroot_trust::time::Seconds,
) -> Result<()> {
    let field = match role {
        "root" => &mut expiry.root,
        "targets" => &mut expiry.targets,
        "channels" => &mut expiry.channels,
        "rollout" => &mut expiry.rollout,
        "snapshot" => &mut expiry.snapshot,
        "timestamp" => &mut expiry.timestamp,
        other => {
            return Err(Error::argument(
                format!("--expiry {other}"),
                "there is no such role",
            ));
        }
    };
    *field = period;
    Ok(())
}

fn create_missing(
    context: &Context,
    args: &InitArgs,
    plan: &InitPlan,
    keys: &KeyDirectory,
) -> Result<Vec<String>> {
    let maker = match (&context.common.passphrase_file, args.no_passphrase) {
        (Some(path), _) => KeyDirectory::new(keys.path(), Passphrase::File(path.clone())),
        (None, true) => keys.clone(),
        (None, false) => {
            return Err(Error::argument(
                "--create-keys",
                "give --passphrase-file, or --no-passphrase for trying out",
            ));
        }
    };
    let known = keys.names()?;
    let mut made = Vec::new();
    for name in plan.key_names() {
        if !known.iter().any(|one| one == name) {
            maker.create(name, KeyKind::Ed25519)?;
            made.push(name.to_owned());
        }
    }
    Ok(made)
}
