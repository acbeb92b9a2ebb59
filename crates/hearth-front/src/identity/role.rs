//! An execution role with its policies. They are read anew for every request, so a change holds from the next request
//! on.

use std::str::FromStr;

use hearth_control::Control;
use hearth_control::id::{AccountId, MicrovmId};
use hearth_control::microvm::Microvm;

use super::managed;
use crate::policy::{Decision, Document, DocumentKind, Facts, Question, decide};

/// The service principal that assumes roles for microVMs (facts section 12).
const SERVICE: &str = "lambda.amazonaws.com";

/// The role of a microVM.
#[derive(Debug)]
pub(crate) struct ExecutionRole {
    name: RoleArn,
    /// The unique id, `AROA...`.
    pub(crate) id: String,
    pub(crate) microvm: MicrovmId,
    pub(crate) policies: Vec<Document>,
}

/// Why a microVM has no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleError {
    /// The microVM was launched without a role.
    None,
    /// The role does not exist.
    Absent,
    /// The role does not trust the service, or has a policy that is not understood.
    NotAssumable,
    /// The store failed.
    Unavailable,
}

/// The parts of a role's ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleArn {
    pub(crate) account: AccountId,
    path: String,
    name: hearth_control::id::RoleName,
}

impl FromStr for RoleArn {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let malformed = || RoleError::NotAssumable;
        let rest = text.strip_prefix("arn:aws:iam::").ok_or_else(malformed)?;
        let (account, rest) = rest.split_once(":role").ok_or_else(malformed)?;
        let (path, name) = rest.rsplit_once('/').ok_or_else(malformed)?;
        Ok(Self {
            account: account.parse().map_err(|_| malformed())?,
            path: format!("{path}/"),
            name: name.parse().map_err(|_| malformed())?,
        })
    }
}

/// A role that the service may assume now.
pub(super) struct Assumable {
    /// The unique id, `AROA...`.
    pub(super) id: String,
    pub(super) policies: Vec<Document>,
}

impl RoleArn {
    /// Returns the role of this name, if it trusts the service on behalf of this image.
    ///
    /// # Errors
    ///
    /// [`RoleError::Absent`] if the role does not exist. [`RoleError::NotAssumable`] if it does not trust the
    /// service, or has a policy that is not understood.
    pub(super) async fn assume(
        &self,
        control: &Control,
        image: &str,
    ) -> Result<Assumable, RoleError> {
        let found = control.role(self.account, &self.name).await;
        let found = found.map_err(unavailable)?;
        if found.path != self.path {
            return Err(RoleError::Absent);
        }
        if !trusts(&found.trust_policy, self.account, image) {
            return Err(RoleError::NotAssumable);
        }
        let inline = control.role_policies(self.account, &self.name).await;
        let attached = control
            .attached_role_policies(self.account, &self.name)
            .await;
        let mut policies = Vec::new();
        for policy in inline.map_err(unavailable)? {
            // A policy that is not understood may deny anything.
            let parsed = Document::parse(&policy.document, DocumentKind::Identity);
            policies.push(parsed.map_err(|_| RoleError::NotAssumable)?);
        }
        let attached = attached.map_err(unavailable)?;
        policies.extend(attached.iter().filter_map(|arn| managed::document(arn)));
        Ok(Assumable {
            id: found.role_id,
            policies,
        })
    }

    /// The ARN of a session of this role.
    pub(super) fn session_arn(&self, session: &str) -> String {
        format!(
            "arn:aws:sts::{}:assumed-role/{}/{session}",
            self.account, self.name
        )
    }
}

impl ExecutionRole {
    /// The role of a microVM, if the microVM may have it now.
    pub(crate) async fn of(control: &Control, microvm: &Microvm) -> Result<Self, RoleError> {
        let arn = microvm.terms.execution_role_arn.as_deref();
        let name: RoleArn = arn.ok_or(RoleError::None)?.parse()?;
        if name.account != microvm.scope.account {
            return Err(RoleError::NotAssumable);
        }
        let image = microvm.image.to_string();
        let Assumable { id, policies } = name.assume(control, &image).await?;
        Ok(Self {
            name,
            id,
            microvm: microvm.id,
            policies,
        })
    }

    /// The ARN of the microVM's session with the role.
    pub(crate) fn session_arn(&self) -> String {
        self.name.session_arn(&self.microvm.to_string())
    }
}

fn unavailable(error: hearth_control::ControlError) -> RoleError {
    match error {
        hearth_control::ControlError::Refused(_) => RoleError::Absent,
        error => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a role cannot be read"
            );
            RoleError::Unavailable
        }
    }
}

fn trusts(policy: &str, account: AccountId, image: &str) -> bool {
    let Ok(document) = Document::parse(policy, DocumentKind::Trust) else {
        return false;
    };
    let facts = Facts::from([
        ("aws:sourceaccount", Some(account.to_string())),
        ("aws:sourcearn", Some(image.to_owned())),
    ]);
    let question = Question {
        service: Some(SERVICE),
        action: "sts:AssumeRole",
        resources: &[],
        facts: &facts,
    };
    decide([&document], &question) == Decision::Allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_roles() {
        let name = |text: &str| {
            text.parse::<RoleArn>()
                .map(|name| (name.path, name.name.to_string()))
        };
        let parsed = |path: &str, name: &str| Ok((path.to_owned(), name.to_owned()));
        assert_eq!(
            name("arn:aws:iam::000000000001:role/app"),
            parsed("/", "app")
        );
        assert_eq!(
            name("arn:aws:iam::000000000001:role/a/b/app"),
            parsed("/a/b/", "app")
        );
        for text in [
            "",
            "app",
            "arn:aws:iam::1:role/app",
            "arn:aws:iam::000000000001:roleapp",
            "arn:aws:iam::000000000001:role/",
        ] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
