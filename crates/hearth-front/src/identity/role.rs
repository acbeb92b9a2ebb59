//! Roles of an account with their policies, and sessions with them. Policies are read anew for every request, so a
//! change holds from the next request on.

use std::fmt;
use std::str::FromStr;

use hearth_control::Control;
use hearth_control::account::Role;
use hearth_control::id::{AccountId, MicrovmId, RoleName};
use hearth_control::microvm::Microvm;

use super::managed;
use super::trust::trusts_service;
use crate::policy::{Decision, Document, DocumentKind, Facts, Question, decide};

/// A session with a role, as which requests are made.
#[derive(Debug)]
pub(crate) struct RoleSession {
    role: RoleArn,
    /// The unique id of the role, `AROA...`.
    role_id: String,
    /// The name of the session: that of its microVM, or one that the caller of `AssumeRole` chose.
    name: String,
    /// The microVM that the session ends with.
    pub(super) microvm: Option<MicrovmId>,
    policies: Vec<Document>,
    /// The session policy, which limits what the policies allow.
    limit: Option<Document>,
}

/// A denial by a policy, in the words of AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denied(String);

/// Why there is no session with a role.
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
    name: RoleName,
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

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            account,
            path,
            name,
        } = self;
        write!(f, "arn:aws:iam::{account}:role{path}{name}")
    }
}

/// A role that the service may assume now.
pub(super) struct Assumable {
    /// The unique id, `AROA...`.
    pub(super) id: String,
    pub(super) policies: Vec<Document>,
}

impl RoleArn {
    /// Returns the stored role.
    ///
    /// # Errors
    ///
    /// [`RoleError::Absent`] or [`RoleError::Unavailable`].
    pub(super) async fn find(&self, control: &Control) -> Result<Role, RoleError> {
        let found = control.role(self.account, &self.name).await;
        let found = found.map_err(unavailable)?;
        if found.path != self.path {
            return Err(RoleError::Absent);
        }
        Ok(found)
    }

    /// Returns what the policies of the role say: inline ones, those of the account that are attached in the version in
    /// force, and those of AWS that are known.
    ///
    /// # Errors
    ///
    /// [`RoleError::NotAssumable`] if one is not understood: it may deny anything.
    pub(super) async fn policies(&self, control: &Control) -> Result<Vec<Document>, RoleError> {
        let inline = control.role_policies(self.account, &self.name).await;
        let inline = inline.map_err(unavailable)?;
        let attached = control.attached_documents(self.account, &self.name).await;
        let attached = attached.map_err(unavailable)?;
        let of_aws = control.attached_role_policies(self.account, &self.name);
        let of_aws = of_aws.await.map_err(unavailable)?;
        let texts = inline.iter().map(|policy| &policy.document);
        let parsed = texts
            .chain(&attached)
            .map(|text| Document::parse(text, DocumentKind::Identity));
        let parsed: Result<Vec<_>, _> = parsed.collect();
        let mut policies = parsed.map_err(|_| RoleError::NotAssumable)?;
        policies.extend(of_aws.iter().filter_map(|arn| managed::document(arn)));
        Ok(policies)
    }

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
        let found = self.find(control).await?;
        if !trusts_service(&found.trust_policy, self.account, image) {
            return Err(RoleError::NotAssumable);
        }
        Ok(Assumable {
            id: found.role_id,
            policies: self.policies(control).await?,
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

impl RoleSession {
    /// The session of a microVM with its execution role, if the microVM may have it now.
    pub(crate) async fn of_microvm(
        control: &Control,
        microvm: &Microvm,
    ) -> Result<Self, RoleError> {
        let arn = microvm.terms.execution_role_arn.as_deref();
        let role: RoleArn = arn.ok_or(RoleError::None)?.parse()?;
        if role.account != microvm.scope.account {
            return Err(RoleError::NotAssumable);
        }
        let image = microvm.image.to_string();
        let Assumable { id, policies } = role.assume(control, &image).await?;
        Ok(Self {
            role,
            role_id: id,
            name: microvm.id.to_string(),
            microvm: Some(microvm.id),
            policies,
            limit: None,
        })
    }

    /// A session that `AssumeRole` began. It outlives changes of the trust policy, and ends with the role.
    pub(super) async fn resume(
        control: &Control,
        role: RoleArn,
        role_id: String,
        name: String,
        microvm: Option<MicrovmId>,
        limit: Option<Document>,
    ) -> Result<Self, RoleError> {
        if role.find(control).await?.role_id != role_id {
            return Err(RoleError::Absent);
        }
        let policies = role.policies(control).await?;
        Ok(Self {
            role,
            role_id,
            name,
            microvm,
            policies,
            limit,
        })
    }

    pub(super) fn account(&self) -> AccountId {
        self.role.account
    }

    pub(super) fn role_arn(&self) -> String {
        self.role.to_string()
    }

    /// The ARN of the session.
    pub(crate) fn arn(&self) -> String {
        self.role.session_arn(&self.name)
    }

    /// The user id as STS answers it.
    pub(crate) fn user_id(&self) -> String {
        format!("{}:{}", self.role_id, self.name)
    }

    /// Evaluates the policies of the role and of the session.
    pub(super) fn may(
        &self,
        action: &str,
        resources: &[String],
        facts: &Facts,
    ) -> Result<(), Denied> {
        ask(&self.policies, &self.arn(), action, resources, facts)?;
        self.is_within_limit(action, resources, facts)
    }

    /// Evaluates the policies where the trust policy of another role has granted the action already: they need not allow
    /// it, and may deny it.
    pub(super) fn may_if_granted(
        &self,
        action: &str,
        resources: &[String],
        facts: &Facts,
    ) -> Result<(), Denied> {
        let question = question(action, resources, facts);
        if decide(&self.policies, &question) == Decision::DeniedExplicitly {
            return self.may(action, resources, facts);
        }
        self.is_within_limit(action, resources, facts)
    }

    fn is_within_limit(
        &self,
        action: &str,
        resources: &[String],
        facts: &Facts,
    ) -> Result<(), Denied> {
        let Some(limit) = &self.limit else {
            return Ok(());
        };
        let decision = decide([limit], &question(action, resources, facts));
        let reason = match decision {
            Decision::Allowed => return Ok(()),
            Decision::DeniedExplicitly => "with an explicit deny in a session policy".to_owned(),
            Decision::NotAllowed => format!("because no session policy allows the {action} action"),
        };
        Err(denied(&self.arn(), action, resources, &reason))
    }
}

/// Evaluates the policies of a role.
pub(super) fn ask(
    policies: &[Document],
    session_arn: &str,
    action: &str,
    resources: &[String],
    facts: &Facts,
) -> Result<(), Denied> {
    let reason = match decide(policies, &question(action, resources, facts)) {
        Decision::Allowed => return Ok(()),
        Decision::DeniedExplicitly => {
            "with an explicit deny in an identity-based policy".to_owned()
        }
        Decision::NotAllowed => {
            format!("because no identity-based policy allows the {action} action")
        }
    };
    Err(denied(session_arn, action, resources, &reason))
}

fn question<'a>(action: &'a str, resources: &'a [String], facts: &'a Facts) -> Question<'a> {
    Question {
        principals: &[],
        action,
        resources,
        facts,
    }
}

fn denied(session_arn: &str, action: &str, resources: &[String], reason: &str) -> Denied {
    let resource = resources.first().map_or("*", String::as_str);
    Denied(format!(
        "User: {session_arn} is not authorized to perform: {action} on resource: {resource} {reason}"
    ))
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
        for (text, path) in [
            ("arn:aws:iam::000000000001:role/app", "/"),
            ("arn:aws:iam::000000000001:role/a/b/app", "/a/b/"),
        ] {
            assert_eq!(name(text), parsed(path, "app"));
            let again = text.parse::<RoleArn>().map(|role| role.to_string());
            assert_eq!(again.as_deref(), Ok(text));
        }
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

    /// What both allow is allowed, and each may deny.
    #[test]
    fn a_session_policy_limits() {
        let document = |effect: &str, action: &str| {
            let text = format!(
                r#"{{"Statement": {{"Effect": "{effect}", "Action": "{action}", "Resource": "*"}}}}"#
            );
            Document::parse(&text, DocumentKind::Identity).unwrap()
        };
        let session = |policies: Vec<Document>, limit: Option<Document>| RoleSession {
            role: "arn:aws:iam::000000000001:role/app".parse().unwrap(),
            role_id: "AROA".to_owned(),
            name: "s".to_owned(),
            microvm: None,
            policies,
            limit,
        };
        let (facts, object) = (Facts::new(), ["arn:aws:s3:::b/k".to_owned()]);
        let may = |session: &RoleSession, action: &str| {
            let denied = session.may(action, &object, &facts).err();
            denied.map_or_else(String::new, |denied| denied.to_string())
        };
        let limited = session(
            vec![document("Allow", "s3:*")],
            Some(document("Allow", "*:Get*")),
        );
        assert_eq!(may(&limited, "s3:GetObject"), "");
        assert!(
            may(&limited, "s3:PutObject")
                .ends_with("because no session policy allows the s3:PutObject action")
        );
        assert!(may(&limited, "logs:GetLogEvents").contains("no identity-based policy"));
        let denying = session(vec![document("Allow", "*")], Some(document("Deny", "*")));
        assert!(
            may(&denying, "s3:GetObject").ends_with("with an explicit deny in a session policy")
        );

        let granted = |session: &RoleSession| {
            session
                .may_if_granted("sts:AssumeRole", &object, &facts)
                .is_ok()
        };
        assert!(granted(&session(Vec::new(), None)));
        assert!(!granted(&session(vec![document("Deny", "*")], None)));
        assert!(!granted(&session(
            Vec::new(),
            Some(document("Allow", "s3:*"))
        )));
    }
}
