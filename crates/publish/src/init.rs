//! A new repository: its roles, their keys and thresholds, as drafts that await signatures.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use twinroot_trust::name::Name;
use twinroot_trust::time::UnixTime;

use crate::documents::{Delegation, Delegations, Envelope, RoleKeys, Root, Targets};
use crate::error::{Error, Result};
use crate::files::{self, Files};
use crate::keys::{KeyDirectory, PublicKey};
use crate::layout::{Layout, ROLLOUT_ROLE, channel_role};
use crate::repository::Repository;
use crate::settings::Settings;

/// The top-level roles, in the order of the TUF specification.
pub const TOP_LEVEL: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// Who signs one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePlan {
    /// Distinct keys that must sign.
    pub threshold: u64,
    /// Names of the keys.
    pub keys: Vec<String>,
}

/// What a new repository is to be.
#[derive(Debug, Clone)]
pub struct InitPlan {
    /// Product, architecture, periods and key policy.
    pub settings: Settings,
    /// Plans of `root`, `targets`, `snapshot`, `timestamp` and `rollout`.
    pub roles: BTreeMap<String, RolePlan>,
    /// Plans of the channels, in the order in which they are delegated.
    pub channels: Vec<(Name, RolePlan)>,
}

impl RolePlan {
    /// `NAME-1` … `NAME-n`, of which `threshold` must sign.
    pub fn numbered(name: &str, threshold: u64, keys: u64) -> Self {
        Self {
            threshold,
            keys: (1..=keys).map(|at| format!("{name}-{at}")).collect(),
        }
    }
}

impl InitPlan {
    /// A plan with the default roles and no channels: root and targets 2 of 3, since whoever
    /// signs `targets` can replace the keys of every channel; one key each for the roles that
    /// servers sign; rollout 1 of 1, so that one person can stop a rollout.
    pub fn new(settings: Settings) -> Self {
        let plan = |name: &str, threshold, keys| {
            (name.to_owned(), RolePlan::numbered(name, threshold, keys))
        };
        let roles = [
            plan("root", 2, 3),
            plan("targets", 2, 3),
            plan("snapshot", 1, 1),
            plan("timestamp", 1, 1),
            plan(ROLLOUT_ROLE, 1, 1),
        ];
        Self {
            settings,
            roles: roles.into(),
            channels: Vec::new(),
        }
    }

    /// Every key name in the plan, without repetition.
    pub fn key_names(&self) -> Vec<&str> {
        let plans = self
            .roles
            .values()
            .chain(self.channels.iter().map(|(_, plan)| plan));
        let mut names: Vec<&str> = plans
            .flat_map(|plan| plan.keys.iter().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Makes the directory and drafts the first version of every role. Only public keys are read.
///
/// # Errors
/// [`Error::RepositoryExists`], [`Error::KeyMissing`], [`Error::ThresholdUnmeetable`],
/// [`Error::KeyKindRefused`], [`Error::Io`].
pub fn init(
    dir: &Path,
    plan: &InitPlan,
    keys: &KeyDirectory,
    files: Arc<dyn Files>,
    now: UnixTime,
) -> Result<Repository> {
    let layout = Layout::new(dir);
    if layout.settings().exists() {
        return Err(Error::RepositoryExists(dir.to_owned()));
    }
    if plan.channels.is_empty() {
        return Err(Error::argument(
            "channels",
            "a repository needs at least one; give --channel NAME:MofN",
        ));
    }
    let public = public_keys(plan, keys)?;
    let role_keys = |name: &str, plan: &RolePlan| role_keys(name, plan, &public);
    for path in [
        layout.metadata(),
        layout.payloads(),
        layout.drafts(),
        layout.public_keys(),
        layout.releases(),
    ] {
        files::create_dirs(&*files, &path)?;
    }
    // Settings last: they are what makes the directory a repository, so an interrupted `init`
    // can simply be run again.
    let drafts = first_drafts(plan, &public, &role_keys, now)?;
    for (role, envelope) in &drafts {
        files::write_durably(&*files, &layout.draft(role), &envelope.to_bytes())?;
    }
    for (name, key) in &public {
        if matches!(key, PublicKey::P256(_)) && !plan.settings.allow_p256 {
            return Err(Error::KeyKindRefused { name: name.clone() });
        }
        let path = layout.public_keys().join(format!("{name}.pub"));
        files::write_durably(&*files, &path, key.to_pem().as_bytes())?;
    }
    plan.settings.save(&layout, &*files)?;
    Repository::open_with(dir, files)
}

type NamedKeys = BTreeMap<String, PublicKey>;

fn public_keys(plan: &InitPlan, keys: &KeyDirectory) -> Result<NamedKeys> {
    plan.key_names()
        .into_iter()
        .map(|name| Ok((name.to_owned(), keys.public(name)?)))
        .collect()
}

fn role_keys(role: &str, plan: &RolePlan, public: &NamedKeys) -> Result<RoleKeys> {
    let mut key_ids: Vec<String> = plan
        .keys
        .iter()
        .filter_map(|name| public.get(name))
        .map(PublicKey::id)
        .collect();
    key_ids.sort_unstable();
    // The same key under two names must not count as two.
    key_ids.dedup();
    if plan.threshold == 0 || plan.threshold > key_ids.len() as u64 {
        return Err(Error::ThresholdUnmeetable {
            role: role.into(),
            threshold: plan.threshold,
            keys: key_ids.len(),
        });
    }
    Ok(RoleKeys {
        key_ids,
        threshold: plan.threshold,
    })
}

type MakeRoleKeys<'a> = &'a dyn Fn(&str, &RolePlan) -> Result<RoleKeys>;

fn first_drafts(
    plan: &InitPlan,
    public: &NamedKeys,
    role_keys: MakeRoleKeys<'_>,
    now: UnixTime,
) -> Result<Vec<(String, Envelope)>> {
    let expiry = &plan.settings.expiry;
    let by_id: BTreeMap<String, PublicKey> =
        public.values().map(|key| (key.id(), key.clone())).collect();
    let of = |role: &str| {
        plan.roles
            .get(role)
            .ok_or_else(|| Error::argument(role, "the plan has no such role"))
    };

    let mut roles = BTreeMap::new();
    for role in TOP_LEVEL {
        roles.insert(role.to_owned(), role_keys(role, of(role)?)?);
    }
    let mut root = Root {
        version: 1,
        expires: now.plus(expiry.root),
        keys: by_id.clone(),
        roles,
    };
    root.drop_unused_keys();

    let mut delegated = Vec::new();
    for (channel, plan) in &plan.channels {
        let name = channel_role(channel.as_str());
        let keys = role_keys(&name, plan)?;
        delegated.push(Delegation {
            name,
            keys,
            paths: vec![format!("channels/{channel}/*/*/*/manifest.toml")],
        });
    }
    let keys = role_keys(ROLLOUT_ROLE, of(ROLLOUT_ROLE)?)?;
    delegated.push(Delegation {
        name: ROLLOUT_ROLE.into(),
        keys,
        paths: vec!["rollout/*/*/*.toml".into()],
    });
    let mut delegations = Delegations {
        keys: by_id,
        roles: delegated,
    };
    delegations.drop_unused_keys();

    let targets = |role: &str, delegations| Targets {
        version: 1,
        expires: now.plus(expiry.of(role)),
        targets: BTreeMap::new(),
        delegations,
    };
    let mut drafts = vec![("root".to_owned(), Envelope::new(&root))];
    for delegation in &delegations.roles {
        drafts.push((
            delegation.name.clone(),
            Envelope::new(&targets(&delegation.name, None)),
        ));
    }
    drafts.push((
        "targets".to_owned(),
        Envelope::new(&targets("targets", Some(delegations))),
    ));
    Ok(drafts)
}
