//! Who signed a request: an account with one of its access keys, or a session with a role: that of a microVM with its
//! execution role, or one that `AssumeRole` began.
//!
//! ```text
//! AKIA...           the key store             the account: everything of its own
//! ASIA... + token   sessions.rs, derived      the execution role of a living microVM: what its policies allow
//!                   assumed.rs, derived       a role of the account, for a time: what its policies allow
//! ```
//!
//! All kinds are looked up in one place, [`Identities::find`], which S3 and all other services use.

mod assumed;
mod build_role;
mod managed;
mod role;
mod sessions;
mod trust;

use std::sync::Arc;

use hearth_control::account::SecretKey;
use hearth_control::arn::Scope;
use hearth_control::id::{AccountId, MicrovmId};
use hearth_control::{Control, microvm::Microvm};
use jiff::Timestamp;

use crate::keys::Keys;
use crate::policy::Facts;
use crate::sigv4::SignatureError;

use assumed::AssumedSession;
pub(crate) use assumed::{AssumeError, AssumeRole, assume_for_function, assume_role};
pub(crate) use build_role::{BuildRoleError, check_function_role, may_build_role_read};
pub(crate) use role::{Denied, RoleArn, RoleError, RoleSession};
pub(crate) use sessions::LaunchedMicrovm;
use sessions::Session;
pub use sessions::SessionKey;

/// Looks up access keys of both kinds.
#[derive(Clone)]
pub(crate) struct Identities {
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) sessions: SessionKey,
    pub(crate) control: Control,
}

/// The owner of an access key, and the secret that verifies its signatures.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) secret: SecretKey,
    pub(crate) account: AccountId,
    pub(crate) principal: Principal,
}

/// Who a request is made as.
#[derive(Clone, Debug)]
pub(crate) enum Principal {
    /// The account itself.
    Account,
    /// A session with a role, as long as it lasts.
    Role(Arc<RoleSession>),
}

/// The verified caller of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The account, and the region that the request was signed for.
    pub(crate) scope: Scope,
    pub(crate) principal: Principal,
}

impl Identities {
    /// Returns the owner of an access key.
    ///
    /// # Errors
    ///
    /// [`SignatureError::UnknownKey`] or [`SignatureError::ExpiredToken`].
    pub(crate) async fn find(
        &self,
        access_key: &str,
        session_token: Option<&str>,
    ) -> Result<Signer, SignatureError> {
        if let Some(token) = session_token {
            return self.of_role(access_key, token).await;
        }
        let key = self.keys.find(access_key).await;
        let key = key.ok_or(SignatureError::UnknownKey)?;
        Ok(Signer {
            access_key: access_key.to_owned(),
            secret: key.secret,
            account: key.account,
            principal: Principal::Account,
        })
    }

    /// The secret of a role's access key, whether or not the key was ever issued.
    pub(crate) fn secret_of_role(&self, access_key: &str) -> Option<SecretKey> {
        access_key
            .starts_with(sessions::KEY_PREFIX)
            .then(|| self.sessions.secret(access_key))
    }

    async fn of_role(&self, access_key: &str, token: &str) -> Result<Signer, SignatureError> {
        let session = match self.sessions.open(token, access_key) {
            Some(session) => self.of_microvm(&session).await?,
            None => {
                let session = AssumedSession::open(&self.sessions, token, access_key);
                let session = session.ok_or(SignatureError::UnknownKey)?;
                self.of_assumed(session).await?
            }
        };
        Ok(Signer {
            access_key: access_key.to_owned(),
            secret: self.sessions.secret(access_key),
            account: session.account(),
            principal: Principal::Role(Arc::new(session)),
        })
    }

    async fn of_microvm(&self, session: &Session) -> Result<RoleSession, SignatureError> {
        let microvm = self.living(session.microvm);
        let microvm = microvm.ok_or(SignatureError::ExpiredToken)?;
        if session.period.end(&LaunchedMicrovm::from(&microvm)) <= Timestamp::now() {
            return Err(SignatureError::ExpiredToken);
        }
        let role = RoleSession::of_microvm(&self.control, &microvm).await;
        role.map_err(|_| SignatureError::UnknownKey)
    }

    async fn of_assumed(&self, session: AssumedSession) -> Result<RoleSession, SignatureError> {
        let is_over = match session.microvm() {
            Some(Ok(microvm)) => self.living(microvm).is_none(),
            Some(Err(_)) => true,
            None => false,
        };
        if is_over || session.has_expired(Timestamp::now()) {
            return Err(SignatureError::ExpiredToken);
        }
        let role = session.resume(&self.control).await;
        role.map_err(|_| SignatureError::UnknownKey)
    }

    /// The microVM of a session. `None` if it is ending or has ended.
    fn living(&self, microvm: MicrovmId) -> Option<Microvm> {
        let microvm = self.control.watch_microvm(microvm)?;
        let microvm = microvm.borrow().clone();
        (!microvm.life.phase.is_ending()).then_some(microvm)
    }
}

impl Principal {
    /// Whether the caller may perform `action` on `resource`. An account may do everything with its own resources,
    /// and can name no others.
    pub(crate) fn may(
        &self,
        action: &str,
        resources: &[String],
        facts: &Facts,
    ) -> Result<(), Denied> {
        match self {
            Self::Account => Ok(()),
            Self::Role(session) => session.may(action, resources, facts),
        }
    }
}

impl Caller {
    /// The ARN of the caller. Keys of an account belong to its root user.
    pub(crate) fn arn(&self) -> String {
        match &self.principal {
            Principal::Account => format!("arn:aws:iam::{}:root", self.scope.account),
            Principal::Role(session) => session.arn(),
        }
    }

    /// The user id as STS answers it.
    pub(crate) fn user_id(&self) -> String {
        match &self.principal {
            Principal::Account => self.scope.account.to_string(),
            Principal::Role(session) => session.user_id(),
        }
    }
}
