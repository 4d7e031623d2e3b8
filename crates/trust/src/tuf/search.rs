//! The search for a target through delegations: which role is asked next.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::TufError;
use super::files::TargetInfo;
use super::role::{Targets, TopLevel};
use super::verify::Verified;

/// A targets role and who delegates to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) role: String,
    pub(super) delegator: String,
}

impl Edge {
    /// Root's delegation to the top-level targets role.
    pub(super) fn top_level() -> Self {
        let (role, delegator) = (TopLevel::Targets.as_str(), TopLevel::Root.as_str());
        Self {
            role: role.into(),
            delegator: delegator.into(),
        }
    }
}

/// A pre-order search for one target (section 5.6.7).
#[derive(Debug, Clone)]
pub(super) struct Search {
    target: String,
    /// What is still to be visited; the last is next.
    stack: Vec<Edge>,
    visited: BTreeSet<String>,
}

impl Search {
    pub(super) fn new(target: &str) -> Self {
        let stack = alloc::vec![Edge::top_level()];
        Self {
            target: target.into(),
            stack,
            visited: BTreeSet::new(),
        }
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The next role that was not visited (5.6.7.1: each is visited once, so cycles end), or
    /// nothing where the search is over.
    pub(super) fn next_role(&mut self, limit: u32) -> Result<Option<Edge>, TufError> {
        while let Some(edge) = self.stack.pop() {
            if !self.visited.insert(edge.role.clone()) {
                continue;
            }
            // The top-level role is not a delegation and is not counted.
            if self.visited.len() > limit as usize + 1 {
                return Err(TufError::TooManyDelegations {
                    target: self.target.clone(),
                    limit,
                });
            }
            return Ok(Some(edge));
        }
        Ok(None)
    }

    /// Asks a role for the target; if it does not list it, the roles that it delegates this
    /// target to come next, in their order and before all that waited already.
    pub(super) fn ask(
        &mut self,
        role: &str,
        document: &Verified<Targets>,
    ) -> Option<Verified<TargetInfo>> {
        if document.targets.contains_key(&self.target) {
            return Some(document.derive(|document| document.targets[&self.target].clone()));
        }
        let mut children = Vec::new();
        for delegation in &document.delegations.roles {
            if !delegation.scope.covers(&self.target) {
                continue;
            }
            children.push(Edge {
                role: delegation.name.clone(),
                delegator: role.into(),
            });
            // 5.6.7.2: after a terminating delegation nothing else is asked, neither its later
            // siblings nor what waited from before.
            if delegation.terminating {
                self.stack.clear();
                break;
            }
        }
        children.reverse();
        self.stack.extend(children);
        None
    }
}
