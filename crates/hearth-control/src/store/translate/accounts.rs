//! Changes of accounts, access keys and roles.

use crate::account::{AccessKey, Account, AccountName, KeyStatus, Role, RolePolicy};
use crate::id::{AccessKeyId, AccountId, RoleName};
use crate::store::Result;
use crate::store::form::Stored as _;
use crate::store::primitive::{IfNone, Rows, Write};
use crate::store::text::{NAME_TAG, Word as _, account_resource};

pub(super) fn add(account: &Account) -> Write {
    Write::Insert {
        table: "account",
        columns: vec![
            ("id", account.id.to_string().into()),
            ("created", account.created_at.unix_ms().into()),
        ],
    }
}

/// The name of an account is its tag `Name`.
pub(super) fn name(id: AccountId, name: &AccountName) -> Write {
    Write::Put {
        table: "tag",
        key: &["resource", "key"],
        columns: vec![
            ("resource", account_resource(id).into()),
            ("key", NAME_TAG.into()),
            ("value", name.as_str().into()),
        ],
        updated: &["value"],
    }
}

pub(super) fn add_key(key: &AccessKey) -> Write {
    Write::Insert {
        table: "access_key",
        columns: vec![
            ("id", key.id.as_str().into()),
            ("secret", key.secret.reveal().into()),
            ("account", key.account.to_string().into()),
            ("status", key.status.word().into()),
            ("created", key.created_at.unix_ms().into()),
        ],
    }
}

pub(super) fn set_key(id: &AccessKeyId, status: KeyStatus) -> Write {
    Write::Update {
        rows: Rows::of("access_key").is("id", id.as_str()),
        columns: vec![("status", status.word().into())],
        if_none: IfNone::Fails,
    }
}

pub(super) fn remove_key(id: &AccessKeyId) -> Write {
    Write::remove(Rows::of("access_key").is("id", id.as_str()))
}

pub(super) fn put_role(role: &Role) -> Result<Write> {
    Ok(Write::Put {
        table: "role",
        key: &["account", "name"],
        columns: vec![
            ("account", role.account.to_string().into()),
            ("name", role.name.as_str().into()),
            ("path", role.path.as_str().into()),
            ("role_id", role.role_id.as_str().into()),
            ("description", role.description.as_deref().into()),
            ("trust", role.trust_policy.as_str().into()),
            ("max_session_s", role.max_session_s.into()),
            ("created", role.created_at.unix_ms().into()),
            ("tags", role.tags.to_text()?.into()),
        ],
        updated: &["trust", "description", "max_session_s", "tags"],
    })
}

pub(super) fn remove_role(account: AccountId, name: &RoleName) -> Write {
    Write::remove(
        Rows::of("role")
            .is("account", account.to_string())
            .is("name", name.as_str()),
    )
}

pub(super) fn put_policy(account: AccountId, role: &RoleName, policy: &RolePolicy) -> Write {
    Write::Put {
        table: "role_policy",
        key: &["account", "role", "name"],
        columns: vec![
            ("account", account.to_string().into()),
            ("role", role.as_str().into()),
            ("name", policy.name.as_str().into()),
            ("document", policy.document.as_str().into()),
        ],
        updated: &["document"],
    }
}

pub(super) fn remove_policy(account: AccountId, role: &RoleName, name: &str) -> Write {
    Write::remove(of_role("role_policy", account, role).is("name", name))
}

/// Attaches a policy. A policy that is attached already stays attached: AWS answers with success.
pub(super) fn attach(account: AccountId, role: &RoleName, policy_arn: &str) -> Write {
    Write::Put {
        table: "role_attachment",
        key: &["account", "role", "policy_arn"],
        columns: vec![
            ("account", account.to_string().into()),
            ("role", role.as_str().into()),
            ("policy_arn", policy_arn.into()),
        ],
        updated: &[],
    }
}

pub(super) fn detach(account: AccountId, role: &RoleName, policy_arn: &str) -> Write {
    Write::remove(of_role("role_attachment", account, role).is("policy_arn", policy_arn))
}

fn of_role(table: &'static str, account: AccountId, role: &RoleName) -> Rows {
    Rows::of(table)
        .is("account", account.to_string())
        .is("role", role.as_str())
}
