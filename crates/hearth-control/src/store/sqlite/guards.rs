//! Guards as queries.
//!
//! The match over [`Guard`] names every variant, so that the compiler tells of one that nobody implements.

use rusqlite::{Connection, Params, params};

use super::rows::scope_text;
use crate::store::{Guard, Result};

/// Whether a guard holds.
pub(super) fn holds(db: &Connection, guard: &Guard) -> Result<bool> {
    match guard {
        Guard::TokenFree(key) => absent(
            db,
            "SELECT 1 FROM client_token WHERE scope = ? AND operation = ? AND token = ?",
            params![scope_text(&key.scope), key.operation, key.token.0],
        ),
        Guard::ImageAbsent(arn) => {
            absent(db, "SELECT 1 FROM image WHERE arn = ?", [arn.to_string()])
        }
        Guard::ImagesBelow(scope, max) => below(
            db,
            "SELECT count(*) FROM image WHERE scope = ?",
            [scope_text(scope)],
            *max,
        ),
        Guard::OpenBuildsBelow(scope, max) => below(
            db,
            "SELECT count(*) FROM build WHERE scope = ? AND state IN ('PENDING', 'IN_PROGRESS')",
            [scope_text(scope)],
            *max,
        ),
        Guard::NoLivingMicrovms(arn, number) => absent(
            db,
            "SELECT 1 FROM microvm WHERE image = ?1 AND terminated IS NULL AND (?2 IS NULL OR number = ?2)",
            params![arn.to_string(), number.map(|number| number.major())],
        ),
        Guard::MicrovmLiving(id) => present(
            db,
            "SELECT 1 FROM microvm WHERE id = ? AND terminated IS NULL",
            [id.to_string()],
        ),
        Guard::Launchable(arn, number) => present(
            db,
            "SELECT 1 FROM version JOIN image ON image.arn = version.image \
             WHERE image.arn = ? AND number = ? AND version.state = 'SUCCESSFUL' AND status = 'ACTIVE' \
             AND image.state NOT IN ('DELETING', 'DELETE_FAILED')",
            params![arn.to_string(), number.major()],
        ),
        Guard::TaggedPresent(_) | Guard::TagsFit { .. } => tags(db, guard),
        Guard::ConnectorNameFree(..)
        | Guard::ConnectorsBelow(..)
        | Guard::ConnectorActive(_)
        | Guard::ConnectorUnused(_)
        | Guard::ConnectorUnchanged(..) => connectors(db, guard),
        Guard::AccountPresent(_)
        | Guard::AccountAbsent(_)
        | Guard::NoAccounts
        | Guard::AccessKeyPresent(_)
        | Guard::AccessKeysBelow(..)
        | Guard::RolePresent(..)
        | Guard::RoleAbsent(..)
        | Guard::RolesBelow(..)
        | Guard::RolePoliciesBelow(..) => accounts(db, guard),
    }
}

fn tags(db: &Connection, guard: &Guard) -> Result<bool> {
    use crate::arn::TaggedArn;
    match guard {
        Guard::TaggedPresent(TaggedArn::Image(arn)) => {
            present(db, "SELECT 1 FROM image WHERE arn = ?", [arn.to_string()])
        }
        Guard::TaggedPresent(TaggedArn::Connector(arn)) => present(
            db,
            "SELECT 1 FROM connector WHERE id = ? AND scope = ?",
            params![arn.id.to_string(), scope_text(&arn.scope)],
        ),
        Guard::TagsFit {
            resource,
            keys,
            max,
        } => {
            let keys_text = serde_json::to_string(keys).unwrap_or_default();
            let others: u32 = db.query_row(
                "SELECT count(*) FROM tag WHERE resource = ? AND key NOT IN (SELECT value FROM json_each(?))",
                params![resource.to_string(), keys_text],
                |row| row.get(0),
            )?;
            Ok(others as usize + keys.len() <= *max as usize)
        }
        _ => Ok(false),
    }
}

fn connectors(db: &Connection, guard: &Guard) -> Result<bool> {
    match guard {
        Guard::ConnectorNameFree(scope, name) => absent(
            db,
            "SELECT 1 FROM connector WHERE scope = ? AND name = ?",
            params![scope_text(scope), name.as_str()],
        ),
        Guard::ConnectorsBelow(scope, max) => below(
            db,
            "SELECT count(*) FROM connector WHERE scope = ?",
            [scope_text(scope)],
            *max,
        ),
        Guard::ConnectorActive(id) => present(
            db,
            "SELECT 1 FROM connector WHERE id = ? AND state = 'ACTIVE'",
            [id.to_string()],
        ),
        // The id is a UUID, so finding its text anywhere in the terms means that an ARN there names it.
        Guard::ConnectorUnused(id) => absent(
            db,
            "SELECT 1 FROM microvm WHERE terminated IS NULL AND instr(terms, ?1) \
             UNION ALL SELECT 1 FROM version WHERE state != 'FAILED' AND instr(spec, ?1)",
            [id.to_string()],
        ),
        Guard::ConnectorUnchanged(id, updated) => present(
            db,
            "SELECT 1 FROM connector WHERE id = ? AND updated = ?",
            params![id.to_string(), updated.unix_ms()],
        ),
        _ => Ok(false),
    }
}

fn accounts(db: &Connection, guard: &Guard) -> Result<bool> {
    match guard {
        Guard::AccountPresent(id) => {
            present(db, "SELECT 1 FROM account WHERE id = ?", [id.to_string()])
        }
        Guard::AccountAbsent(id) => {
            absent(db, "SELECT 1 FROM account WHERE id = ?", [id.to_string()])
        }
        Guard::NoAccounts => absent(db, "SELECT 1 FROM account", []),
        Guard::AccessKeyPresent(id) => {
            present(db, "SELECT 1 FROM access_key WHERE id = ?", [id.as_str()])
        }
        Guard::AccessKeysBelow(account, max) => below(
            db,
            "SELECT count(*) FROM access_key WHERE account = ?",
            [account.to_string()],
            *max,
        ),
        Guard::RolePresent(account, name) => present(
            db,
            "SELECT 1 FROM role WHERE account = ? AND name = ?",
            params![account.to_string(), name.as_str()],
        ),
        Guard::RoleAbsent(account, name) => absent(
            db,
            "SELECT 1 FROM role WHERE account = ? AND name = ?",
            params![account.to_string(), name.as_str()],
        ),
        Guard::RolesBelow(account, max) => below(
            db,
            "SELECT count(*) FROM role WHERE account = ?",
            [account.to_string()],
            *max,
        ),
        Guard::RolePoliciesBelow(account, name, max) => below(
            db,
            "SELECT (SELECT count(*) FROM role_policy WHERE account = ?1 AND role = ?2) \
             + (SELECT count(*) FROM role_attachment WHERE account = ?1 AND role = ?2)",
            params![account.to_string(), name.as_str()],
            *max,
        ),
        _ => Ok(false),
    }
}

fn present(db: &Connection, query: &str, arguments: impl Params) -> Result<bool> {
    Ok(db.prepare_cached(query)?.exists(arguments)?)
}

fn absent(db: &Connection, query: &str, arguments: impl Params) -> Result<bool> {
    present(db, query, arguments).map(|present| !present)
}

fn below(db: &Connection, query: &str, arguments: impl Params, max: u32) -> Result<bool> {
    let count: u32 = db
        .prepare_cached(query)?
        .query_row(arguments, |row| row.get(0))?;
    Ok(count < max)
}
