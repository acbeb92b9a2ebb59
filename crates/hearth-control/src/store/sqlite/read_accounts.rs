//! Queries on accounts, access keys, roles and client tokens.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::read_images::{find, list};
use super::rows::RowReader;
use crate::account::{AccessKey, Account, Role, RolePolicy, SecretKey};
use crate::id::{AccessKeyId, AccountId, RoleName};
use crate::image::Tags;
use crate::store::form::Stored as _;
use crate::store::text::{ACCOUNT_RESOURCE, NAME_TAG, scope_text};
use crate::store::{Result, TokenKey, TokenUse};

fn access_key_of(row: &Row<'_>) -> Result<AccessKey> {
    let columns = RowReader::of(row, "access key");
    Ok(AccessKey {
        id: columns.parsed("id")?,
        secret: SecretKey::new(columns.plain("secret")?),
        account: columns.parsed("account")?,
        status: columns.word("status")?,
        created_at: columns.time("created")?,
    })
}

pub(super) fn role_of(row: &Row<'_>) -> Result<Role> {
    let columns = RowReader::of(row, "role");
    Ok(Role {
        account: columns.parsed("account")?,
        name: columns.parsed("name")?,
        path: columns.plain("path")?,
        role_id: columns.plain("role_id")?,
        description: columns.plain("description")?,
        trust_policy: columns.plain("trust")?,
        max_session_s: columns.plain("max_session_s")?,
        tags: Tags::from_text(&columns.plain::<String>("tags")?)?,
        created_at: columns.time("created")?,
    })
}

pub(super) fn accounts(db: &Connection) -> Result<Vec<Account>> {
    list(db, "SELECT * FROM account ORDER BY id", [], |row| {
        let columns = RowReader::of(row, "account");
        Ok(Account {
            id: columns.parsed("id")?,
            created_at: columns.time("created")?,
        })
    })
}

pub(super) fn names(db: &Connection) -> Result<BTreeMap<AccountId, String>> {
    let query = "SELECT account.id, tag.value FROM account JOIN tag ON tag.resource = ? || account.id AND tag.key = ?";
    let named = |row: &Row<'_>| {
        let columns = RowReader::of(row, "account name");
        Ok((columns.parsed("id")?, columns.plain("value")?))
    };
    let names = list(db, query, [ACCOUNT_RESOURCE, NAME_TAG], named)?;
    Ok(names.into_iter().collect())
}

pub(super) fn access_key(db: &Connection, id: &AccessKeyId) -> Result<Option<AccessKey>> {
    find(
        db,
        "SELECT * FROM access_key WHERE id = ?",
        [id.as_str()],
        access_key_of,
    )
}

pub(super) fn access_keys(db: &Connection, account: AccountId) -> Result<Vec<AccessKey>> {
    let query = "SELECT * FROM access_key WHERE account = ? ORDER BY id";
    list(db, query, [account.to_string()], access_key_of)
}

pub(super) fn role(db: &Connection, account: AccountId, name: &RoleName) -> Result<Option<Role>> {
    let query = "SELECT * FROM role WHERE account = ? AND name = ?";
    find(
        db,
        query,
        params![account.to_string(), name.as_str()],
        role_of,
    )
}

pub(super) fn roles(
    db: &Connection,
    account: AccountId,
    path_prefix: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Role>> {
    let query = "SELECT * FROM role WHERE account = ? AND name > ? AND instr(path, ?) = 1 \
                 ORDER BY name LIMIT ?";
    list(
        db,
        query,
        params![account.to_string(), after, path_prefix, limit],
        role_of,
    )
}

pub(super) fn role_policies(
    db: &Connection,
    account: AccountId,
    name: &RoleName,
) -> Result<Vec<RolePolicy>> {
    let query =
        "SELECT name, document FROM role_policy WHERE account = ? AND role = ? ORDER BY name";
    list(
        db,
        query,
        params![account.to_string(), name.as_str()],
        |row| {
            Ok(RolePolicy {
                name: row.get("name")?,
                document: row.get("document")?,
            })
        },
    )
}

pub(super) fn role_attachments(
    db: &Connection,
    account: AccountId,
    name: &RoleName,
) -> Result<Vec<String>> {
    let query =
        "SELECT policy_arn FROM role_attachment WHERE account = ? AND role = ? ORDER BY policy_arn";
    list(
        db,
        query,
        params![account.to_string(), name.as_str()],
        |row| Ok(row.get(0)?),
    )
}

pub(super) fn token(db: &Connection, key: &TokenKey) -> Result<Option<TokenUse>> {
    let query = "SELECT * FROM client_token WHERE scope = ? AND operation = ? AND token = ?";
    find(
        db,
        query,
        params![scope_text(&key.scope), key.operation, key.token.0],
        |row| {
            let columns = RowReader::of(row, "client token");
            Ok(TokenUse {
                digest: columns.plain("digest")?,
                resource: columns.plain("resource")?,
                at: columns.time("created")?,
            })
        },
    )
}
