//! Changes as statements.
//!
//! The match over [`Change`] names every variant, so that the compiler tells of one that nobody implements.
//! A change of a record that must exist fails when it found none: a batch whose change had no effect is not
//! answered as committed.

use rusqlite::{Connection, Params};

use crate::store::{Change, Result, StoreError};

mod accounts;
mod connectors;
mod images;
mod journal;
mod microvms;

/// Makes one change.
pub(super) fn apply(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::UseToken(key, token_use) => journal::use_token(db, key, token_use),
        Change::ForgetTokens(before) => journal::forget_tokens(db, *before),

        Change::PutImage(image) => images::put(db, image),
        Change::RemoveImage(arn) => images::remove(db, change, arn),
        Change::PutVersion(version) => images::put_version(db, version),
        Change::RemoveVersion(arn, number) => images::remove_version(db, change, arn, *number),
        Change::PutBuild(build) => images::put_build(db, build),

        Change::AddMicrovm(microvm) => microvms::add(db, microvm),
        Change::MoveMicrovm {
            id,
            from_generation,
            life,
            terminated_at,
        } => microvms::move_on(db, *id, *from_generation, life, *terminated_at),
        Change::SetActivity(id, activity) => microvms::set_activity(db, change, *id, *activity),
        Change::RemoveMicrovm(id) => microvms::remove(db, *id),

        Change::PutTags(resource, tags) => journal::put_tags(db, resource, tags),
        Change::RemoveTags(resource, keys) => journal::remove_tags(db, resource, keys),

        Change::PutConnector(connector) => connectors::put(db, connector),
        Change::PutConnectorVersion(version) => connectors::put_version(db, version),
        Change::RemoveConnectorVersion(id, number) => {
            connectors::remove_version(db, change, *id, *number)
        }
        Change::RemoveConnector(connector) => connectors::remove(db, change, connector),

        Change::AddAccount(account) => accounts::add(db, account),
        Change::AddAccessKey(key) => accounts::add_key(db, key),
        Change::SetAccessKey(id, status) => accounts::set_key(db, change, id, *status),
        Change::RemoveAccessKey(id) => accounts::remove_key(db, change, id),
        Change::PutRole(role) => accounts::put_role(db, role),
        Change::RemoveRole(account, name) => accounts::remove_role(db, change, *account, name),
        Change::PutRolePolicy(account, role, policy) => {
            accounts::put_policy(db, *account, role, policy)
        }
        Change::RemoveRolePolicy(account, role, name) => {
            accounts::remove_policy(db, change, *account, role, name)
        }
        Change::AttachRolePolicy(account, role, arn) => accounts::attach(db, *account, role, arn),
        Change::DetachRolePolicy(account, role, arn) => {
            accounts::detach(db, change, *account, role, arn)
        }

        Change::Intend(intent) => journal::intend(db, intent),
        Change::Conclude(subject, outcome, at) => journal::conclude(db, subject, outcome, *at),
        Change::ForgetIntents(before) => journal::forget_intents(db, *before),
    }
}

/// Runs a statement and says how many rows it changed.
fn run(db: &Connection, statement: &str, arguments: impl Params) -> Result<usize> {
    Ok(db.prepare_cached(statement)?.execute(arguments)?)
}

/// Runs the statement of a change that must find its record.
fn hit(db: &Connection, change: &Change, statement: &str, arguments: impl Params) -> Result<()> {
    match run(db, statement, arguments)? {
        0 => Err(StoreError::NothingToChange(format!("{change:?}"))),
        _ => Ok(()),
    }
}

/// Removes a resource that must exist, and what hangs on its name.
fn remove_resource(db: &Connection, change: &Change, statement: &str, name: &str) -> Result<()> {
    forget_name(db, name)?;
    hit(db, change, statement, [name])
}

/// Removes what hangs on the name of a resource. A client token whose resource is gone must go too, or a
/// repeated create would answer with something that no longer exists.
fn forget_name(db: &Connection, name: &str) -> Result<()> {
    run(db, "DELETE FROM tag WHERE resource = ?", [name])?;
    run(db, "DELETE FROM client_token WHERE resource = ?", [name])?;
    Ok(())
}

#[cfg(test)]
mod tests;
