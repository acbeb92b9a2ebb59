//! Changes of accounts, access keys and roles.

use rusqlite::{Connection, params};

use super::{hit, run};
use crate::account::{AccessKey, Account, KeyStatus, Role, RolePolicy};
use crate::id::{AccessKeyId, AccountId, RoleName};
use crate::store::text::Word as _;
use crate::store::{Change, Result};

pub(super) fn add(db: &Connection, account: &Account) -> Result<()> {
    run(
        db,
        "INSERT INTO account (id, created) VALUES (?, ?)",
        params![account.id.to_string(), account.created_at.unix_ms()],
    )?;
    Ok(())
}

pub(super) fn add_key(db: &Connection, key: &AccessKey) -> Result<()> {
    run(
        db,
        "INSERT INTO access_key (id, secret, account, status, created) VALUES (?, ?, ?, ?, ?)",
        params![
            key.id.as_str(),
            key.secret.reveal(),
            key.account.to_string(),
            key.status.word(),
            key.created_at.unix_ms(),
        ],
    )?;
    Ok(())
}

pub(super) fn set_key(
    db: &Connection,
    change: &Change,
    id: &AccessKeyId,
    status: KeyStatus,
) -> Result<()> {
    hit(
        db,
        change,
        "UPDATE access_key SET status = ? WHERE id = ?",
        params![status.word(), id.as_str()],
    )
}

pub(super) fn remove_key(db: &Connection, change: &Change, id: &AccessKeyId) -> Result<()> {
    let statement = "DELETE FROM access_key WHERE id = ?";
    hit(db, change, statement, [id.as_str()])
}

pub(super) fn put_role(db: &Connection, role: &Role) -> Result<()> {
    run(
        db,
        "INSERT INTO role (account, name, path, role_id, description, trust, max_session_s, created) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, name) DO UPDATE SET trust = excluded.trust, \
         description = excluded.description, max_session_s = excluded.max_session_s",
        params![
            role.account.to_string(),
            role.name.as_str(),
            role.path,
            role.role_id,
            role.description,
            role.trust_policy,
            role.max_session_s,
            role.created_at.unix_ms(),
        ],
    )?;
    Ok(())
}

pub(super) fn remove_role(
    db: &Connection,
    change: &Change,
    account: AccountId,
    name: &RoleName,
) -> Result<()> {
    hit(
        db,
        change,
        "DELETE FROM role WHERE account = ? AND name = ?",
        params![account.to_string(), name.as_str()],
    )
}

pub(super) fn put_policy(
    db: &Connection,
    account: AccountId,
    role: &RoleName,
    policy: &RolePolicy,
) -> Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO role_policy (account, role, name, document) VALUES (?, ?, ?, ?)",
        params![
            account.to_string(),
            role.as_str(),
            policy.name,
            policy.document
        ],
    )?;
    Ok(())
}

pub(super) fn remove_policy(
    db: &Connection,
    change: &Change,
    account: AccountId,
    role: &RoleName,
    name: &str,
) -> Result<()> {
    hit(
        db,
        change,
        "DELETE FROM role_policy WHERE account = ? AND role = ? AND name = ?",
        params![account.to_string(), role.as_str(), name],
    )
}

/// Attaches a policy. A policy that is attached already stays attached: AWS answers with success.
pub(super) fn attach(
    db: &Connection,
    account: AccountId,
    role: &RoleName,
    policy_arn: &str,
) -> Result<()> {
    run(
        db,
        "INSERT OR IGNORE INTO role_attachment (account, role, policy_arn) VALUES (?, ?, ?)",
        params![account.to_string(), role.as_str(), policy_arn],
    )?;
    Ok(())
}

pub(super) fn detach(
    db: &Connection,
    change: &Change,
    account: AccountId,
    role: &RoleName,
    policy_arn: &str,
) -> Result<()> {
    hit(
        db,
        change,
        "DELETE FROM role_attachment WHERE account = ? AND role = ? AND policy_arn = ?",
        params![account.to_string(), role.as_str(), policy_arn],
    )
}
