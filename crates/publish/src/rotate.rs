//! Replacing a key: a new root version, or new delegations, as drafts.

use crate::documents::RoleKeys;
use crate::error::{Error, Result};
use crate::init::TOP_LEVEL;
use crate::keys::PublicKey;
use crate::layout::{ROLLOUT_ROLE, channel_role};
use crate::repository::Repository;
use crate::signing::Requirement;
use twinroot_trust::time::UnixTime;

impl Repository {
    /// Replaces the key `old` of a role by `new`; gives back the roles that now have drafts.
    ///
    /// A key of a top-level role makes a new root, which the old and the new root keys must sign;
    /// for `targets` its own file is drafted again too. A key of a channel or of the rollout role
    /// changes `targets`; the role's own file is drafted again where its signatures no longer
    /// reach the threshold without the old key.
    ///
    /// # Errors
    /// [`Error::Argument`] when the role does not have the old key or has the new one already;
    /// [`Error::KeyKindRefused`].
    pub fn rotate_key(
        &mut self,
        role: &str,
        old: &str,
        new: (&str, &PublicKey),
        now: UnixTime,
    ) -> Result<Vec<String>> {
        let role = self.full_role_name(role)?;
        let old_id = self.key_id(old)?;
        self.remember_key(new.0, new.1)?;
        let swap = |keys: &mut RoleKeys| swap(keys, &role, (old, &old_id), (new.0, &new.1.id()));
        if TOP_LEVEL.contains(&role.as_str()) {
            self.edit_root(now, |root| {
                let keys = root
                    .roles
                    .get_mut(&role)
                    .ok_or_else(|| Error::damaged("root", format!("it has no role '{role}'")))?;
                swap(keys)?;
                root.keys.insert(new.1.id(), new.1.clone());
                root.drop_unused_keys();
                Ok(())
            })?;
            let mut drafts = vec!["root".to_owned()];
            if role == "targets" {
                self.edit_targets("targets", now, |_| Ok(()))?;
                drafts.push(role);
            }
            return Ok(drafts);
        }
        self.edit_targets("targets", now, |targets| {
            let delegations = targets
                .delegations
                .as_mut()
                .ok_or_else(|| Error::damaged("targets", "it delegates nothing"))?;
            let delegation = delegations.roles.iter_mut().find(|one| one.name == role);
            swap(
                &mut delegation
                    .ok_or_else(|| Error::argument("role", format!("'{role}' is not delegated")))?
                    .keys,
            )?;
            delegations.keys.insert(new.1.id(), new.1.clone());
            delegations.drop_unused_keys();
            Ok(())
        })?;
        let mut drafts = vec!["targets".to_owned()];
        if self.needs_new_signatures(&role)? {
            self.edit_targets(&role, now, |_| Ok(()))?;
            drafts.push(role);
        }
        Ok(drafts)
    }

    /// Whether a published delegated role would fall below its threshold under the coming keys.
    fn needs_new_signatures(&self, role: &str) -> Result<bool> {
        let delegations = self.coming_delegations()?;
        let Some(delegation) = delegations.role(role) else {
            return Ok(false);
        };
        let requirement = Requirement {
            by: "targets",
            keys: delegation.keys.clone(),
            public: delegations.keys.clone(),
        };
        let published = self.published.targets.get(role);
        Ok(published.is_none_or(|role| !requirement.is_met(&role.envelope)))
    }

    /// Accepts `stable` for `channel-stable`.
    fn full_role_name(&self, role: &str) -> Result<String> {
        let known = |name: &str| name == ROLLOUT_ROLE || TOP_LEVEL.contains(&name);
        if known(role) || role.starts_with("channel-") {
            return Ok(role.to_owned());
        }
        match self.channels()?.iter().any(|channel| channel == role) {
            true => Ok(channel_role(role)),
            false => Err(Error::argument(
                "role",
                format!(
                    "'{role}' is none of root, targets, snapshot, timestamp, rollout or a channel"
                ),
            )),
        }
    }

    fn key_id(&self, name: &str) -> Result<String> {
        let by_name = self
            .key_names()
            .find(|(_, known)| *known == name)
            .map(|(id, _)| id.to_owned());
        by_name.ok_or_else(|| Error::KeyMissing {
            name: name.into(),
            dir: self.layout.public_keys(),
        })
    }
}

fn swap(keys: &mut RoleKeys, role: &str, old: (&str, &str), new: (&str, &str)) -> Result<()> {
    if keys.key_ids.iter().any(|id| id == new.1) {
        return Err(Error::argument(
            format!("key {}", new.0),
            format!("role {role} has it already"),
        ));
    }
    match keys.key_ids.iter_mut().find(|id| *id == old.1) {
        Some(id) => {
            new.1.clone_into(id);
            keys.key_ids.sort_unstable();
            Ok(())
        }
        None => Err(Error::argument(
            format!("key {}", old.0),
            format!("role {role} does not have it"),
        )),
    }
}
