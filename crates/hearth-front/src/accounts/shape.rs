//! Accounts and keys as answers show them.

use hearth_control::account::{AccessKey, Account, KeyStatus};
use serde_json::{Value, json};

use crate::model::values::EpochSeconds;

pub(super) fn account(account: &Account, name: Option<&str>) -> Value {
    json!({
        "accountId": account.id.to_string(),
        "name": name,
        "createdAt": EpochSeconds::from(account.created_at),
    })
}

/// A key without its secret.
pub(super) fn access_key(key: &AccessKey) -> Value {
    json!({
        "accessKeyId": key.id.to_string(),
        "accountId": key.account.to_string(),
        "createdAt": EpochSeconds::from(key.created_at),
        "status": status(key.status),
    })
}

/// The status in the words of IAM.
const fn status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "Active",
        KeyStatus::Disabled => "Inactive",
    }
}
