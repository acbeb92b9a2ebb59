//! Accounts, their access keys and their stored IAM roles.

use std::fmt;
use std::str::FromStr;

use crate::id::{AccessKeyId, AccountId, RoleName};
use crate::image::Tags;
use crate::time::Timestamp;

/// An account: the owner of resources, access keys, roles and quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The account number.
    pub id: AccountId,
    /// When the account was created.
    pub created_at: Timestamp,
}

/// The name of an account, for people. The characters and length are those of AWS Organizations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// Longest name, in characters.
    pub const MAX_CHARACTERS: usize = 50;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that no account can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to {} printable ASCII characters",
    AccountName::MAX_CHARACTERS
)]
pub struct AccountNameError;

impl FromStr for AccountName {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let is_fit = is_printable && (1..=Self::MAX_CHARACTERS).contains(&text.len());
        match is_fit {
            true => Ok(Self(text.to_owned())),
            false => Err(AccountNameError),
        }
    }
}

/// The input for a new account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateAccount {
    /// The account number. A random one that is free if it is not given.
    pub id: Option<AccountId>,
    /// The name.
    pub name: Option<AccountName>,
}

impl From<AccountId> for CreateAccount {
    fn from(id: AccountId) -> Self {
        Self {
            id: Some(id),
            name: None,
        }
    }
}

/// The secret half of an access key. `Debug` hides it, there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    /// Wraps a secret.
    #[must_use]
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Returns the secret itself, to check signatures and for the one answer that shows the secret to its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// Whether requests signed with an access key are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// Requests are accepted.
    Active,
    /// Requests are refused. The key can be activated again.
    Disabled,
}

/// An access key of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The access key id: the public half.
    pub id: AccessKeyId,
    /// The secret access key: the secret half.
    pub secret: SecretKey,
    /// The account that the key belongs to.
    pub account: AccountId,
    /// Whether requests signed with the key are accepted.
    pub status: KeyStatus,
    /// When the key was created.
    pub created_at: Timestamp,
}

/// An IAM role with its documents as the caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The account that the role belongs to. Roles have no region.
    pub account: AccountId,
    /// The name of the role.
    pub name: RoleName,
    /// The path of the role, `/` by default.
    pub path: String,
    /// The unique id of the role, `AROA...`: a role that is deleted and created again has another one.
    pub role_id: String,
    /// The description, free text.
    pub description: Option<String>,
    /// The trust policy: who may assume the role, a policy document in JSON.
    pub trust_policy: String,
    /// Longest session of the role, in seconds.
    pub max_session_s: u32,
    /// The tags. No two keys differ by case alone.
    pub tags: Tags,
    /// When the role was created.
    pub created_at: Timestamp,
}

/// The input of `CreateRole`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRole {
    /// The name of the role.
    pub name: RoleName,
    /// The path of the role.
    pub path: String,
    /// The description, free text.
    pub description: Option<String>,
    /// The trust policy: who may assume the role, a policy document in JSON.
    pub trust_policy: String,
    /// Longest session of the role, in seconds.
    pub max_session_s: u32,
    /// The tags.
    pub tags: Tags,
}

/// An inline policy of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePolicy {
    /// The name of the policy: 1-128 characters of the same alphabet as role names.
    pub name: String,
    /// The policy document in JSON.
    pub document: String,
}
