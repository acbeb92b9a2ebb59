//! Who signs a request: an account by one of its keys, or an execution role by the keys that its microVM was given.
//!
//! ```text
//! AKIA...           the key store             the account: everything of its own
//! ASIA... + token   sessions.rs, derived      a role of a living microVM: what its policies allow
//! ```
//!
//! Both are asked for in one place, [`Identities::find`], which S3 and everything else go through.

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
pub(crate) use role::{Role, RoleError, RoleName};
pub(crate) use sessions::Life;
use sessions::Session;
pub use sessions::SessionKey;

/// Where keys are looked up.
#[derive(Clone)]
pub(crate) struct Identities {
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) sessions: SessionKey,
    pub(crate) control: Control,
}

/// Whose key it is, and the secret that its signatures are verified with.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) secret: SecretKey,
    pub(crate) account: AccountId,
    pub(crate) principal: Principal,
}

/// On whose behalf a request is made.
#[derive(Clone, Debug)]
pub(crate) enum Principal {
    /// The account itself.
    Account,
    /// A role, for as long as its microVM lives.
    Role(Arc<Role>),
}

/// The verified origin of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The account, and the region that the request was signed for.
    pub(crate) scope: Scope,
    pub(crate) principal: Principal,
}

/// What a policy did not allow, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denied(String);

impl Identities {
    /// The owner of a key.
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

    /// The secret that belongs to a role's key, should it ever be handed out.
    pub(crate) fn secret_of_role(&self, access_key: &str) -> Option<SecretKey> {
        access_key
            .starts_with(sessions::KEY_PREFIX)
            .then(|| self.sessions.secret(access_key))
    }

    async fn of_role(&self, access_key: &str, token: &str) -> Result<Signer, SignatureError> {
        let session = self.sessions.open(token, access_key);
        let session = session.ok_or(SignatureError::UnknownKey)?;
        let microvm = self.living(&session).ok_or(SignatureError::ExpiredToken)?;
        if session.period.end(&Life::from(&microvm)) <= Timestamp::now() {
            return Err(SignatureError::ExpiredToken);
        }
        let role = Role::of(&self.control, &microvm).await;
        let role = role.map_err(|_| SignatureError::UnknownKey)?;
        Ok(Signer {
            access_key: access_key.to_owned(),
            secret: self.sessions.secret(access_key),
            account: microvm.scope.account,
            principal: Principal::Role(Arc::new(role)),
        })
    }

    /// The microVM of a session, unless it ends or has ended.
    fn living(&self, session: &Session) -> Option<Microvm> {
        let microvm = self.control.watch_microvm(session.microvm)?;
        let microvm = microvm.borrow().clone();
        (!microvm.life.phase.is_ending()).then_some(microvm)
    }
}

impl Principal {
    /// Whether it may do this to that. An account may do everything to what is its own, and nothing else can be named.
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

/// Whether these policies, which are those of this session, allow it.
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
    /// How AWS names the caller: keys belong to the account's root.
    pub(crate) fn arn(&self) -> String {
        match &self.principal {
            Principal::Account => format!("arn:aws:iam::{}:root", self.scope.account),
            Principal::Role(role) => role.session_arn(),
        }
    }

    /// What STS calls the user id.
    pub(crate) fn user_id(&self) -> String {
        match &self.principal {
            Principal::Account => self.scope.account.to_string(),
            Principal::Role(role) => format!("{}:{}", role.id, role.microvm),
        }
    }
}
