//! Sessions that `AssumeRole` begins, derived and not stored: the session token says all about its session,
//! authenticated by a MAC, and the keys follow from it. So they outlive a restart of the service, and nothing is kept
//! of sessions that nobody uses.
//!
//! ```text
//! AssumedSession --JSON--> content --MAC--> session token
//!                             |-----MAC--> access key --MAC--> secret
//! ```
//!
//! Every request looks up the role and its policies. A session that began inside a microVM also ends with it, as the
//! keys of its execution role do.

use std::time::Duration;

use hearth_control::Control;
use hearth_control::account::SecretKey;
use hearth_control::id::{AccountId, MicrovmId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::role::{RoleArn, RoleError, RoleSession};
use super::sessions::SessionKey;
use super::trust::trusts_caller;
use super::{Caller, Principal};
use crate::policy::{Document, DocumentKind, Facts};

/// Purposes of MACs ([`super::sessions`]).
const TOKEN: &[u8] = b"assumed role token";
const ACCESS_KEY: &[u8] = b"assumed role access key";

/// The longest session that a session may begin: an hour, as on AWS.
const MAX_CHAINED_S: u32 = 3600;

/// The length of a session that asks for none.
const USUAL_S: u32 = 3600;

/// A session as its token says it. A member that is added needs a default: tokens live for up to twelve hours.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AssumedSession {
    role: String,
    role_id: String,
    name: String,
    /// Seconds since 1970.
    until_s: i64,
    microvm: Option<String>,
    /// The session policy.
    policy: Option<String>,
}

/// What `AssumeRole` is asked for. Its members have been checked one by one.
pub(crate) struct AssumeRole {
    pub(crate) role: RoleArn,
    pub(crate) session: String,
    pub(crate) policy: Option<String>,
    pub(crate) duration_s: Option<u32>,
    pub(crate) external_id: Option<String>,
}

/// The keys of a session, and what it is called.
pub(crate) struct Assumed {
    pub(crate) access_key: String,
    pub(crate) secret: SecretKey,
    pub(crate) session_token: String,
    pub(crate) expires_at: hearth_control::time::Timestamp,
    pub(crate) arn: String,
    pub(crate) user_id: String,
}

/// Why a role is not assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssumeError {
    /// The role does not exist, does not trust the caller, or the caller's policies do not allow it. Nobody is told which.
    Denied,
    /// A policy of the role is not understood, so its sessions would be refused.
    NotUnderstood,
    /// The session would be longer than the role allows.
    TooLong,
    /// The session would be longer than a session may begin one.
    TooLongInChain,
    /// The store failed.
    Unavailable,
}

/// Begins a session with a role.
///
/// # Errors
///
/// [`AssumeError`].
pub(crate) async fn assume_role(
    control: &Control,
    key: &SessionKey,
    caller: &Caller,
    asked: AssumeRole,
) -> Result<Assumed, AssumeError> {
    if asked.role.account != caller.scope.account {
        return Err(AssumeError::Denied);
    }
    let arn = asked.role.to_string();
    let found = asked.role.find(control).await.map_err(failed)?;
    let facts = Facts::from([
        ("sts:externalid", asked.external_id),
        ("sts:rolesessionname", Some(asked.session.clone())),
    ]);
    if !trusts_caller(&found.trust_policy, caller, &arn, &facts) {
        return Err(AssumeError::Denied);
    }
    asked.role.policies(control).await.map_err(failed)?;
    let duration_s = asked.duration_s.unwrap_or(USUAL_S);
    let chained = match &caller.principal {
        Principal::Account => None,
        Principal::Role(session) => Some(session),
    };
    if chained.is_some() && duration_s > MAX_CHAINED_S {
        return Err(AssumeError::TooLongInChain);
    }
    if duration_s > found.max_session_s {
        return Err(AssumeError::TooLong);
    }
    let microvm = chained.and_then(|session| session.microvm);
    let session = AssumedSession {
        role: arn,
        role_id: found.role_id,
        until_s: Timestamp::now().as_second() + i64::from(duration_s),
        microvm: microvm.map(|id| id.to_string()),
        policy: asked.policy,
        name: asked.session,
    };
    session
        .issue(key, &asked.role)
        .ok_or(AssumeError::Unavailable)
}

/// Begins a session with the execution role of a function: for its environments.
///
/// # Errors
///
/// [`AssumeError::Denied`] if the role does not exist or does not trust the service, or [`AssumeError`].
pub(crate) async fn assume_for_function(
    control: &Control,
    key: &SessionKey,
    (account, role): (AccountId, &str),
    (function_arn, name): (&str, String),
    lifetime: Duration,
) -> Result<Assumed, AssumeError> {
    let role: RoleArn = role.parse().map_err(failed)?;
    if role.account != account {
        return Err(AssumeError::Denied);
    }
    let assumable = role.assume(control, function_arn).await.map_err(failed)?;
    let lifetime_s = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let session = AssumedSession {
        role: role.to_string(),
        role_id: assumable.id,
        until_s: Timestamp::now().as_second().saturating_add(lifetime_s),
        microvm: None,
        policy: None,
        name,
    };
    session.issue(key, &role).ok_or(AssumeError::Unavailable)
}

fn failed(error: RoleError) -> AssumeError {
    match error {
        RoleError::None | RoleError::Absent => AssumeError::Denied,
        RoleError::NotAssumable => AssumeError::NotUnderstood,
        RoleError::Unavailable => AssumeError::Unavailable,
    }
}

impl AssumedSession {
    fn issue(self, key: &SessionKey, role: &RoleArn) -> Option<Assumed> {
        let content = serde_json::to_vec(&self).ok()?;
        let access_key = key.key_id(ACCESS_KEY, &content);
        Some(Assumed {
            secret: key.secret(&access_key),
            session_token: key.seal(TOKEN, &content),
            access_key,
            expires_at: hearth_control::time::Timestamp::from_unix_ms(
                self.until_s.saturating_mul(1000),
            ),
            arn: role.session_arn(&self.name),
            user_id: format!("{}:{}", self.role_id, self.name),
        })
    }

    /// The session of a token. `None` unless this installation issued the token together with the access key.
    pub(super) fn open(key: &SessionKey, token: &str, access_key: &str) -> Option<Self> {
        let content = key.unseal(TOKEN, token)?;
        let own = key.key_id(ACCESS_KEY, &content);
        if !bool::from(own.as_bytes().ct_eq(access_key.as_bytes())) {
            return None;
        }
        serde_json::from_slice(&content).ok()
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.until_s <= now.as_second()
    }

    /// The microVM that the session ends with.
    pub(super) fn microvm(&self) -> Option<Result<MicrovmId, RoleError>> {
        let microvm = self.microvm.as_deref()?;
        Some(microvm.parse().map_err(|_| RoleError::Absent))
    }

    /// The session as it is now.
    ///
    /// # Errors
    ///
    /// [`RoleError`].
    pub(super) async fn resume(self, control: &Control) -> Result<RoleSession, RoleError> {
        let microvm = self.microvm().transpose()?;
        let parse = |text: &String| Document::parse(text, DocumentKind::Identity);
        let limit = self.policy.as_ref().map(parse).transpose();
        let limit = limit.map_err(|_| RoleError::NotAssumable)?;
        let role = self.role.parse()?;
        RoleSession::resume(control, role, self.role_id, self.name, microvm, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> AssumedSession {
        AssumedSession {
            role: "arn:aws:iam::000000000001:role/app".to_owned(),
            role_id: "AROA".to_owned(),
            name: name.to_owned(),
            until_s: 1_800_000_000,
            microvm: None,
            policy: Some("{}".to_owned()),
        }
    }

    #[test]
    fn a_token_belongs_to_its_key_and_its_installation() {
        let key = SessionKey::new([1; 32]);
        let role = session("a").role.parse().unwrap();
        let issued = session("a").issue(&key, &role).unwrap();
        let other = session("b").issue(&key, &role).unwrap();
        assert_eq!(issued.access_key.len(), 20);
        assert_eq!(issued.arn, "arn:aws:sts::000000000001:assumed-role/app/a");
        assert_eq!(issued.user_id, "AROA:a");
        let opened = AssumedSession::open(&key, &issued.session_token, &issued.access_key);
        let opened = opened.unwrap();
        assert_eq!((opened.name.as_str(), opened.until_s), ("a", 1_800_000_000));
        assert_eq!(opened.policy.as_deref(), Some("{}"));
        let open = |key: &SessionKey, token: &str, access_key: &str| {
            AssumedSession::open(key, token, access_key).is_some()
        };
        assert!(!open(&key, &other.session_token, &issued.access_key));
        assert!(!open(&key, &issued.session_token, &other.access_key));
        let elsewhere = SessionKey::new([2; 32]);
        assert!(!open(&elsewhere, &issued.session_token, &issued.access_key));
        // It is no token of a microVM, nor the other way round.
        assert!(
            key.open(&issued.session_token, &issued.access_key)
                .is_none()
        );
    }

    #[test]
    fn a_session_ends_at_its_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(!session("a").has_expired(at(1_799_999_999)));
        assert!(session("a").has_expired(at(1_800_000_000)));
    }
}
