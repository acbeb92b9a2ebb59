//! IAM: roles and their policies. They take effect for execution roles ([`crate::identity`]).
//!
//! Each action is a function from its input to its output, in [`roles`] and [`policies`].

mod policies;
mod roles;

use hearth_control::id::{AccountId, RoleName};
use hearth_control::{Control, ControlError, Refusal};

use tokio::sync::Mutex;

use crate::call::Call;
use crate::fault::Fault;
use crate::model::iam::{Iam as Actions, *};
use crate::policy::{Document, DocumentKind};
use crate::wire::query::{self, Parameters};
use crate::wire::xml::Xml;
use crate::wire::{Label, Reply};

pub(crate) const NAMESPACE: &str = " xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"";

/// The IAM service.
pub(crate) struct Iam {
    pub(crate) control: Control,
    /// Serializes writes of policies: the total size of a role's policies is checked before each.
    pub(crate) puts: Mutex<()>,
}

/// One request of an account.
struct Request<'a> {
    control: &'a Control,
    puts: &'a Mutex<()>,
    account: AccountId,
}

impl Iam {
    pub(crate) async fn answer(&self, call: &Call) -> Reply {
        let form = std::str::from_utf8(&call.body).ok();
        let Some(parameters) = form.and_then(Parameters::parse) else {
            let fault = Fault::new(400, "MalformedQueryString", "The request cannot be read.");
            return query::fault(NAMESPACE, &call.request_id, &fault);
        };
        let action = parameters.get("Action").unwrap_or_default();
        let mut operations = Operation::ALL.iter().copied();
        let Some(operation) = operations.find(|operation| operation.model().name == action) else {
            let fault = query::unknown_action(&parameters);
            return query::fault(NAMESPACE, &call.request_id, &fault);
        };
        let request = Request {
            control: &self.control,
            puts: &self.puts,
            account: call.caller.scope.account,
        };
        match request.perform(operation, &parameters).await {
            Ok(result) => {
                let action = operation.model().name;
                let mut reply = query::result(action, NAMESPACE, &call.request_id, &result);
                Label::of(&mut reply).operation = Some(action);
                reply
            }
            Err(fault) => query::fault(NAMESPACE, &call.request_id, &fault),
        }
    }
}

impl Request<'_> {
    async fn perform(&self, operation: Operation, parameters: &Parameters) -> Result<Xml, Fault> {
        let input = parameters.checked_input(operation.model().input)?;
        operation.perform(self, input).await
    }
}

impl Actions for Request<'_> {
    async fn attach_role_policy(&self, input: AttachRolePolicyInput) -> Result<(), Fault> {
        policies::attach(self, input).await
    }

    async fn create_role(&self, input: CreateRoleInput) -> Result<CreateRoleOutput, Fault> {
        roles::create(self, input).await
    }

    async fn delete_role(&self, input: DeleteRoleInput) -> Result<(), Fault> {
        roles::delete(self, input).await
    }

    async fn delete_role_policy(&self, input: DeleteRolePolicyInput) -> Result<(), Fault> {
        policies::delete(self, input).await
    }

    async fn detach_role_policy(&self, input: DetachRolePolicyInput) -> Result<(), Fault> {
        policies::detach(self, input).await
    }

    async fn get_role(&self, input: GetRoleInput) -> Result<GetRoleOutput, Fault> {
        roles::get(self, input).await
    }

    async fn get_role_policy(
        &self,
        input: GetRolePolicyInput,
    ) -> Result<GetRolePolicyOutput, Fault> {
        policies::get(self, input).await
    }

    async fn list_attached_role_policies(
        &self,
        input: ListAttachedRolePoliciesInput,
    ) -> Result<ListAttachedRolePoliciesOutput, Fault> {
        policies::list_attached(self, input).await
    }

    async fn list_role_policies(
        &self,
        input: ListRolePoliciesInput,
    ) -> Result<ListRolePoliciesOutput, Fault> {
        policies::list(self, input).await
    }

    async fn list_roles(&self, input: ListRolesInput) -> Result<ListRolesOutput, Fault> {
        roles::list(self, input).await
    }

    async fn put_role_policy(&self, input: PutRolePolicyInput) -> Result<(), Fault> {
        policies::put(self, input).await
    }

    async fn update_assume_role_policy(
        &self,
        input: UpdateAssumeRolePolicyInput,
    ) -> Result<(), Fault> {
        roles::set_trust(self, input).await
    }
}

fn role_name(text: &str) -> Result<RoleName, Fault> {
    text.parse().map_err(|_| {
        validation(
            "The specified value for roleName is invalid. It must contain only alphanumeric \
             characters and/or the following: +=,.@_-",
        )
    })
}

/// Longest trust policy, and the most that all inline policies of a role may have together (the quota of IAM). All of
/// them are evaluated for every request of a role.
const MAX_POLICY_CHARS: usize = 10_240;

/// The size of a policy as IAM counts it: without white space.
fn policy_chars(document: &str) -> usize {
    let counted = document.chars().filter(|char| !char.is_whitespace());
    counted.count()
}

/// A policy document of bounded size that can be parsed. It is evaluated when it is used.
fn document(document: String, kind: DocumentKind) -> Result<String, Fault> {
    let refused = |text: String| Err(Fault::new(400, "MalformedPolicyDocument", text));
    if kind == DocumentKind::Trust && policy_chars(&document) > MAX_POLICY_CHARS {
        return refused(format!(
            "This policy is longer than {MAX_POLICY_CHARS} characters"
        ));
    }
    match Document::parse(&document, kind) {
        Ok(_) => Ok(document),
        Err(error) => refused(format!("This policy cannot be read: {error}")),
    }
}

fn validation(message: &str) -> Fault {
    Fault::new(400, "ValidationError", message)
}

/// Refusals of the domain in the words of IAM.
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
