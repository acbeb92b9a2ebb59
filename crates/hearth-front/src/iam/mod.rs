//! IAM: roles and their policies. What they say holds for execution roles ([`crate::identity`]).
//!
//! Each action is a function from its
//! parameters to a result, in [`roles`] and [`policies`].

mod policies;
mod roles;

use hearth_control::id::{AccountId, RoleName};
use hearth_control::{Control, ControlError, Refusal};

use crate::fault::Fault;
use crate::front::Call;
use crate::policy::{Document, Kind};
use crate::wire::query::{self, Parameters};
use crate::wire::xml::Xml;
use crate::wire::{Label, Reply};

pub(crate) const NAMESPACE: &str = " xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"";

/// The IAM service.
pub(crate) struct Iam {
    pub(crate) control: Control,
}

/// One request of an account.
struct Request<'a> {
    control: &'a Control,
    account: AccountId,
    parameters: Parameters,
}

/// What an action answers: the name it is answered under and what its result contains.
type Outcome = Result<(&'static str, Xml), Fault>;

impl Iam {
    pub(crate) async fn answer(&self, call: &Call) -> Reply {
        let form = std::str::from_utf8(&call.body).ok();
        let Some(parameters) = form.and_then(Parameters::parse) else {
            let fault = Fault::new(400, "MalformedQueryString", "The request cannot be read.");
            return query::fault(NAMESPACE, &call.request_id, &fault);
        };
        let account = call.caller.scope.account;
        let request = Request {
            control: &self.control,
            account,
            parameters,
        };
        match request.perform().await {
            Ok((action, result)) => {
                let mut reply = query::result(action, NAMESPACE, &call.request_id, |xml| {
                    xml.append(&result)
                });
                Label::of(&mut reply).operation = Some(action);
                reply
            }
            Err(fault) => query::fault(NAMESPACE, &call.request_id, &fault),
        }
    }
}

impl Request<'_> {
    async fn perform(&self) -> Outcome {
        match self.parameters.get("Action").unwrap_or_default() {
            "CreateRole" => self.create_role().await,
            "GetRole" => self.get_role().await,
            "ListRoles" => self.list_roles().await,
            "DeleteRole" => self.delete_role().await,
            "UpdateAssumeRolePolicy" => self.update_assume_role_policy().await,
            "PutRolePolicy" => self.put_role_policy().await,
            "GetRolePolicy" => self.get_role_policy().await,
            "ListRolePolicies" => self.list_role_policies().await,
            "DeleteRolePolicy" => self.delete_role_policy().await,
            "AttachRolePolicy" => self.attach_role_policy().await,
            "ListAttachedRolePolicies" => self.list_attached_role_policies().await,
            "DetachRolePolicy" => self.detach_role_policy().await,
            _ => Err(query::unknown_action(&self.parameters)),
        }
    }

    fn required(&self, name: &str) -> Result<&str, Fault> {
        self.parameters
            .get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| {
                validation(&format!(
                    "1 validation error detected: Value null at '{}' failed to satisfy constraint: \
                 Member must not be null",
                    lower_first(name)
                ))
            })
    }

    fn role_name(&self) -> Result<RoleName, Fault> {
        self.required("RoleName")?.parse().map_err(|_| {
            validation(
                "The specified value for roleName is invalid. It must contain only alphanumeric \
                 characters and/or the following: +=,.@_-",
            )
        })
    }

    /// A policy document of bounded size that can be read. What it says is decided when it is asked.
    fn document(&self, name: &str, kind: Kind) -> Result<String, Fault> {
        /// Longest role policy that IAM takes, all of a role together.
        const MAX_CHARS: usize = 10_240;
        let document = self.required(name)?;
        let refused = |text: String| Err(Fault::new(400, "MalformedPolicyDocument", text));
        if document.chars().count() > MAX_CHARS {
            return refused(format!("This policy is longer than {MAX_CHARS} characters"));
        }
        match Document::parse(document, kind) {
            Ok(_) => Ok(document.to_owned()),
            Err(error) => refused(format!("This policy cannot be read: {error}")),
        }
    }
}

fn validation(message: &str) -> Fault {
    Fault::new(400, "ValidationError", message)
}

fn lower_first(name: &str) -> String {
    let (first, rest) = name.split_at(name.len().min(1));
    first.to_ascii_lowercase() + rest
}

/// Refusals of the domain as IAM words them.
fn refused(error: ControlError) -> Fault {
    let ControlError::Refused(refusal) = error else {
        return Fault {
            code: "ServiceFailure",
            ..Fault::internal(&error)
        };
    };
    match refusal {
        Refusal::RoleNotFound(name) => no_such_entity(&format!("role with name {name}")),
        Refusal::RolePolicyNotFound(_, policy) => {
            no_such_entity(&format!("role policy with name {policy}"))
        }
        Refusal::RoleExists(name) => Fault::new(
            409,
            "EntityAlreadyExists",
            format!("Role with name {name} already exists."),
        ),
        Refusal::RoleNotEmpty(_) => Fault::new(
            409,
            "DeleteConflict",
            "Cannot delete entity, must remove all policies first.",
        ),
        Refusal::RoleQuota { max } => {
            Fault::new(409, "LimitExceeded", format!("Cannot exceed quota: {max}"))
        }
        Refusal::BadCursor => validation("Invalid Marker"),
        other => Fault::internal(&format!("a refusal of another family: {other:?}")),
    }
}

fn no_such_entity(what: &str) -> Fault {
    Fault::new(404, "NoSuchEntity", format!("The {what} cannot be found."))
}
