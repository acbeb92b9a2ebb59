//! Who signed a request: an account with one of its access keys, or an execution role with the temporary keys of its
//! microVM.
//!
//! ```text
//! AKIA...           the key store             the account: everything of its own
//! ASIA... + token   sessions.rs, derived      a role of a living microVM: what its policies allow
//! ```
//!
//! Both kinds are looked up in one place, [`Identities::find`], which S3 and all other services use.

mod build_role;
mod managed;
mod role;
mod sessions;

use std::sync::Arc;

use hearth_control::account::SecretKey;
use hearth_control::arn::Scope;
use hearth_control::id::AccountId;
use hearth_control::{Control, microvm::Microvm};
use jiff::Timestamp;

use crate::keys::Keys;
use crate::policy::{Decision, Document, Facts, Question, decide};
use crate::sigv4::SignatureError;

pub(crate) use build_role::{BuildRoleError, may_build_role_read};
pub(crate) use role::{ExecutionRole, RoleArn, RoleError};
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
    /// A role, as long as its microVM lives.
    Role(Arc<ExecutionRole>),
}

/// The verified caller of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The account, and the region that the request was signed for.
    pub(crate) scope: Scope,
    pub(crate) principal: Principal,
}

/// A denial by a policy, in the words of AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denied(String);

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
        let session = self.sessions.open(token, access_key);
        let session = session.ok_or(SignatureError::UnknownKey)?;
        let microvm = self.living(&session).ok_or(SignatureError::ExpiredToken)?;
        if session.period.end(&LaunchedMicrovm::from(&microvm)) <= Timestamp::now() {
            return Err(SignatureError::ExpiredToken);
        }
        let role = ExecutionRole::of(&self.control, &microvm).await;
        let role = role.map_err(|_| SignatureError::UnknownKey)?;
        Ok(Signer {
            access_key: access_key.to_owned(),
            secret: self.sessions.secret(access_key),
            account: microvm.scope.account,
            principal: Principal::Role(Arc::new(role)),
        })
    }

    /// The microVM of a session. `None` if it is ending or has ended.
    fn living(&self, session: &Session) -> Option<Microvm> {
        let microvm = self.control.watch_microvm(session.microvm)?;
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
        let Self::Role(role) = self else {
            return Ok(());
        };
        ask(
            &role.policies,
            &role.session_arn(),
            action,
            resources,
            facts,
        )
    }
}

/// Evaluates the policies of a session.
fn ask(
    policies: &[Document],
    session_arn: &str,
    action: &str,
    resources: &[String],
    facts: &Facts,
) -> Result<(), Denied> {
    let question = Question {
        service: None,
        action,
        resources,
        facts,
    };
    let reason = match decide(policies, &question) {
        Decision::Allowed => return Ok(()),
        Decision::DeniedExplicitly => {
            "with an explicit deny in an identity-based policy".to_owned()
        }
        Decision::NotAllowed => {
            format!("because no identity-based policy allows the {action} action")
        }
    };
    let resource = resources.first().map_or("*", String::as_str);
    Err(Denied(format!(
        "User: {session_arn} is not authorized to perform: {action} on resource: {resource} {reason}"
    )))
}

impl Caller {
    /// The ARN of the caller. Keys of an account belong to its root user.
    pub(crate) fn arn(&self) -> String {
        match &self.principal {
            Principal::Account => format!("arn:aws:iam::{}:root", self.scope.account),
            Principal::Role(role) => role.session_arn(),
        }
    }

    /// The user id as STS answers it.
    pub(crate) fn user_id(&self) -> String {
        match &self.principal {
            Principal::Account => self.scope.account.to_string(),
            Principal::Role(role) => format!("{}:{}", role.id, role.microvm),
        }
    }
}
