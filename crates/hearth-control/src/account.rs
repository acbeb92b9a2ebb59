//! Accounts, their access keys and their stored IAM roles.

use std::fmt;

use crate::id::{AccessKeyId, AccountId, RoleName};
use crate::time::Timestamp;

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// When it was made.
    pub created_at: Timestamp,
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

    /// The secret itself: for signatures, and for the one answer that shows it to its owner.
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

/// Whether signatures of a key are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// They are.
    Active,
    /// They are not; the key can be activated again.
    Disabled,
}

/// An access key of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The public half.
    pub id: AccessKeyId,
    /// The secret half.
    pub secret: SecretKey,
    /// Whose it is.
    pub account: AccountId,
    /// Whether it is accepted.
    pub status: KeyStatus,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An IAM role with its documents as the caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Whose it is. Roles have no region.
    pub account: AccountId,
    /// Its name.
    pub name: RoleName,
    /// Its path, `/` by default.
    pub path: String,
    /// Its stable id, `AROA...`.
    pub role_id: String,
    /// Free text.
    pub description: Option<String>,
    /// Who may take it: a policy document in JSON.
    pub trust_policy: String,
    /// Longest session, in seconds.
    pub max_session_s: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What `CreateRole` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRole {
    /// Its name.
    pub name: RoleName,
    /// Its path.
    pub path: String,
    /// Free text.
    pub description: Option<String>,
    /// Who may take it.
    pub trust_policy: String,
    /// Longest session, in seconds.
    pub max_session_s: u32,
}

/// A policy that stands on a role itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePolicy {
    /// Its name: 1-128 of the same alphabet as role names.
    pub name: String,
    /// The document in JSON.
    pub document: String,
}
