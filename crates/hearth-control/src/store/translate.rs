//! Translation of guards and changes to primitives that any backend can execute.
//!
//! The matches over [`Guard`] and [`Change`] name every variant, so the compiler reports one that is not translated.

use super::primitive::{Expect, Rows, Write};
use super::{Change, Guard, Result, StoreError};

mod accounts;
mod connectors;
mod guards;
mod images;
mod journal;
mod microvms;
mod policies;

impl Guard {
    /// The expectations of all guards.
    pub(super) fn expects(&self) -> Vec<Expect> {
        guards::expects(self)
    }
}

impl Change {
    /// The writes of all changes, in order.
    pub(super) fn writes(&self) -> Result<Vec<Write>> {
        let one = |write| Ok(vec![write]);
        match self {
            Self::UseToken(key, token_use) => one(journal::use_token(key, token_use)),
            Self::ForgetTokens(before) => one(journal::forget_tokens(*before)),

            Self::PutImage(image) => one(images::put(image)),
            Self::RemoveImage(arn) => Ok(images::remove(arn)),
            Self::PutVersion(version) => one(images::put_version(version)?),
            Self::RemoveVersion(arn, number) => Ok(images::remove_version(arn, *number)),
            Self::PutBuild(build) => one(images::put_build(build)),

            Self::AddMicrovm(microvm) => one(microvms::add(microvm)?),
            Self::MoveMicrovm {
                id,
                from_generation,
                life,
                terminated_at,
            } => one(microvms::move_on(
                *id,
                *from_generation,
                life,
                *terminated_at,
            )),
            Self::SetActivity(id, activity) => one(microvms::set_activity(*id, *activity)),
            Self::SetTerms(id, terms) => one(microvms::set_terms(*id, terms)?),
            Self::RemoveMicrovm(id) => Ok(microvms::remove(*id)),

            Self::PutTags(resource, tags) => Ok(journal::put_tags(resource, tags)),
            Self::RemoveTags(resource, keys) => Ok(journal::remove_tags(resource, keys)),

            Self::PutConnector(connector) => one(connectors::put(connector)),
            Self::PutConnectorVersion(version) => one(connectors::put_version(version)?),
            Self::RemoveConnectorVersion(id, number) => {
                one(connectors::remove_version(*id, *number))
            }
            Self::RemoveConnector(connector) => Ok(connectors::remove(connector)),

            Self::AddAccount(account) => one(accounts::add(account)),
            Self::NameAccount(id, name) => one(accounts::name(*id, name)),
            Self::AddAccessKey(key) => one(accounts::add_key(key)),
            Self::SetAccessKey(id, status) => one(accounts::set_key(id, *status)),
            Self::RemoveAccessKey(id) => one(accounts::remove_key(id)),
            Self::PutRole(role) => one(accounts::put_role(role)?),
            Self::RemoveRole(account, name) => one(accounts::remove_role(*account, name)),
            Self::PutRolePolicy(account, role, policy) => {
                one(accounts::put_policy(*account, role, policy))
            }
            Self::RemoveRolePolicy(account, role, name) => {
                one(accounts::remove_policy(*account, role, name))
            }
            Self::AttachRolePolicy(account, role, arn) => {
                one(accounts::attach(*account, role, arn))
            }
            Self::DetachRolePolicy(account, role, arn) => {
                one(accounts::detach(*account, role, arn))
            }
            Self::PutPolicy(policy) => one(policies::put(policy)?),
            Self::RemovePolicy(arn) => Ok(policies::remove(arn)),
            Self::AddPolicyVersion(arn, version) => one(policies::add_version(arn, version)),
            Self::RemovePolicyVersion(arn, number) => one(policies::remove_version(arn, *number)),

            Self::Intend(intent) => Ok(journal::intend(intent)),
            Self::Conclude(subject, outcome, at) => one(journal::conclude(subject, outcome, *at)),
            Self::ForgetIntents(before) => one(journal::forget_intents(*before)),
        }
    }

    /// The error of a change that finds no row.
    pub(super) fn nothing_found(&self) -> StoreError {
        match self {
            Self::MoveMicrovm {
                id,
                from_generation,
                ..
            } => StoreError::MovedElsewhere {
                id: *id,
                from_generation: *from_generation,
            },
            _ => StoreError::NothingToChange(format!("{self:?}")),
        }
    }
}

/// Removes what refers to a resource by name. A client token whose resource is gone must go too. Otherwise a repeated
/// create request would be answered with a resource that no longer exists.
fn forget_name(name: &str) -> [Write; 2] {
    ["tag", "client_token"].map(|table| Write::forget(Rows::of(table).is("resource", name)))
}

#[cfg(test)]
mod tests;
