//! Queries on managed policies.

use rusqlite::{Connection, Row, params};

use super::read_accounts::role_of;
use super::read_images::{find, list};
use super::rows::RowReader;
use crate::account::Role;
use crate::id::{AccountId, RoleName};
use crate::image::Tags;
use crate::managed_policy::{FoundPolicy, ManagedPolicy, PolicyArn, PolicyFilter, PolicyVersion};
use crate::store::Result;
use crate::store::form::Stored as _;

/// The columns of a policy, and the number of its attachments.
const FOUND: &str = "SELECT *, (SELECT count(*) FROM role_attachment \
    WHERE role_attachment.account = policy.account AND policy_arn = arn) AS attachments FROM policy";

fn policy_of(row: &Row<'_>) -> Result<FoundPolicy> {
    let columns = RowReader::of(row, "policy");
    let policy = ManagedPolicy {
        arn: columns.parsed("arn")?,
        policy_id: columns.plain("policy_id")?,
        description: columns.plain("description")?,
        default_version: columns.plain("default_version")?,
        last_version: columns.plain("last_version")?,
        tags: Tags::from_text(&columns.plain::<String>("tags")?)?,
        created_at: columns.time("created")?,
        updated_at: columns.time("updated")?,
    };
    Ok(FoundPolicy {
        policy,
        attachments: columns.plain("attachments")?,
    })
}

pub(super) fn policy(db: &Connection, arn: &PolicyArn) -> Result<Option<FoundPolicy>> {
    let query = format!("{FOUND} WHERE arn = ?");
    find(db, &query, [arn.to_string()], policy_of)
}

pub(super) fn policies(
    db: &Connection,
    account: AccountId,
    filter: &PolicyFilter,
    after: &str,
    limit: u32,
) -> Result<Vec<FoundPolicy>> {
    let query = format!(
        "{FOUND} WHERE account = ? AND name > ? AND instr(path, ?) = 1 AND attachments >= ? \
         ORDER BY name LIMIT ?"
    );
    let (path, least) = (&filter.path_prefix, u32::from(filter.only_attached));
    let values = params![account.to_string(), after, path, least, limit];
    list(db, &query, values, policy_of)
}

pub(super) fn versions(db: &Connection, arn: &PolicyArn) -> Result<Vec<PolicyVersion>> {
    let query = "SELECT * FROM policy_version WHERE policy = ? ORDER BY number DESC";
    list(db, query, [arn.to_string()], |row| {
        let columns = RowReader::of(row, "policy version");
        Ok(PolicyVersion {
            number: columns.plain("number")?,
            document: columns.plain("document")?,
            created_at: columns.time("created")?,
        })
    })
}

pub(super) fn roles(
    db: &Connection,
    arn: &PolicyArn,
    path_prefix: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Role>> {
    let query = "SELECT role.* FROM role_attachment AS attached \
                 JOIN role ON role.account = attached.account AND role.name = attached.role \
                 WHERE attached.account = ? AND policy_arn = ? AND role.name > ? AND instr(path, ?) = 1 \
                 ORDER BY role.name LIMIT ?";
    let account = arn.account.to_string();
    let values = params![account, arn.to_string(), after, path_prefix, limit];
    list(db, query, values, role_of)
}

pub(super) fn attached_documents(
    db: &Connection,
    account: AccountId,
    role: &RoleName,
) -> Result<Vec<String>> {
    // A policy of another account cannot be attached. One of an older file could, and gives nothing.
    let query = "SELECT document FROM role_attachment AS attached \
                 JOIN policy ON arn = policy_arn AND policy.account = attached.account \
                 JOIN policy_version ON policy = arn AND number = default_version \
                 WHERE attached.account = ? AND role = ? ORDER BY policy_arn";
    let values = params![account.to_string(), role.as_str()];
    list(db, query, values, |row| Ok(row.get(0)?))
}
