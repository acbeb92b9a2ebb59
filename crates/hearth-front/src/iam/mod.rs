//! IAM: roles and their policies, and managed policies. They take effect for sessions with roles
//! ([`crate::identity`]).
//!
//! Each action is a function from its input to its output, in [`roles`], [`policies`] (those of roles),
//! [`managed_policies`] and [`tags`].

mod account_locks;
mod documents;
mod managed_policies;
mod policies;
mod refusal;
mod roles;
mod tags;

use hearth_control::Control;
use hearth_control::id::{AccountId, RoleName};
use hearth_control::page::{Cursor, PageRequest};

use crate::call::Call;
use crate::fault::Fault;
use crate::model::iam::{Iam as Actions, *};
use crate::wire::query::{self, Parameters};
use crate::wire::xml::Xml;
use crate::wire::{Label, Reply};
pub(crate) use account_locks::AccountLocks;
use refusal::validation;

pub(crate) const NAMESPACE: &str = " xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"";

/// Parameters that would change what is evaluated or listed, and are not supported.
const NOT_SUPPORTED: &[&str] = &["PermissionsBoundary", "PolicyUsageFilter"];

/// Items in one answer if the request sets no limit.
const PAGE_LIMIT: u32 = 100;

/// The IAM service.
pub(crate) struct Iam {
    pub(crate) control: Control,
    /// Roles and policies are read, checked and written: one change of an account at a time.
    pub(crate) locks: AccountLocks,
}

/// One request of an account.
struct Request<'a> {
    control: &'a Control,
    locks: &'a AccountLocks,
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
            locks: &self.locks,
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
        parameters.refuse(NOT_SUPPORTED)?;
        let model = operation.model();
        let input = parameters.checked_input(model.input)?;
        let is_read = ["Get", "List"]
            .iter()
            .any(|verb| model.name.starts_with(verb));
        let _lock = if is_read {
            None
        } else {
            Some(self.locks.lock(self.account).await)
        };
        operation.perform(self, input).await
    }
}

impl Actions for Request<'_> {
    async fn attach_role_policy(&self, input: AttachRolePolicyInput) -> Result<(), Fault> {
        policies::attach(self, input).await
    }

    async fn create_policy(&self, input: CreatePolicyInput) -> Result<CreatePolicyOutput, Fault> {
        managed_policies::create(self, input).await
    }

    async fn create_policy_version(
        &self,
        input: CreatePolicyVersionInput,
    ) -> Result<CreatePolicyVersionOutput, Fault> {
        managed_policies::create_version(self, input).await
    }

    async fn create_role(&self, input: CreateRoleInput) -> Result<CreateRoleOutput, Fault> {
        roles::create(self, input).await
    }

    async fn delete_policy(&self, input: DeletePolicyInput) -> Result<(), Fault> {
        managed_policies::delete(self, input).await
    }

    async fn delete_policy_version(&self, input: DeletePolicyVersionInput) -> Result<(), Fault> {
        managed_policies::delete_version(self, input).await
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

    async fn get_policy(&self, input: GetPolicyInput) -> Result<GetPolicyOutput, Fault> {
        managed_policies::get(self, input).await
    }

    async fn get_policy_version(
        &self,
        input: GetPolicyVersionInput,
    ) -> Result<GetPolicyVersionOutput, Fault> {
        managed_policies::get_version(self, input).await
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

    async fn list_entities_for_policy(
        &self,
        input: ListEntitiesForPolicyInput,
    ) -> Result<ListEntitiesForPolicyOutput, Fault> {
        managed_policies::list_entities(self, input).await
    }

    async fn list_instance_profiles_for_role(
        &self,
        input: ListInstanceProfilesForRoleInput,
    ) -> Result<ListInstanceProfilesForRoleOutput, Fault> {
        roles::instance_profiles(self, input).await
    }

    async fn list_policies(&self, input: ListPoliciesInput) -> Result<ListPoliciesOutput, Fault> {
        managed_policies::list(self, input).await
    }

    async fn list_policy_tags(
        &self,
        input: ListPolicyTagsInput,
    ) -> Result<ListPolicyTagsOutput, Fault> {
        tags::list_policy_tags(self, input).await
    }

    async fn list_policy_versions(
        &self,
        input: ListPolicyVersionsInput,
    ) -> Result<ListPolicyVersionsOutput, Fault> {
        managed_policies::list_versions(self, input).await
    }

    async fn list_role_policies(
        &self,
        input: ListRolePoliciesInput,
    ) -> Result<ListRolePoliciesOutput, Fault> {
        policies::list(self, input).await
    }

    async fn list_role_tags(&self, input: ListRoleTagsInput) -> Result<ListRoleTagsOutput, Fault> {
        tags::list_role_tags(self, input).await
    }

    async fn list_roles(&self, input: ListRolesInput) -> Result<ListRolesOutput, Fault> {
        roles::list(self, input).await
    }

    async fn put_role_policy(&self, input: PutRolePolicyInput) -> Result<(), Fault> {
        policies::put(self, input).await
    }

    async fn set_default_policy_version(
        &self,
        input: SetDefaultPolicyVersionInput,
    ) -> Result<(), Fault> {
        managed_policies::set_default_version(self, input).await
    }

    async fn tag_policy(&self, input: TagPolicyInput) -> Result<(), Fault> {
        tags::tag_policy(self, input).await
    }

    async fn tag_role(&self, input: TagRoleInput) -> Result<(), Fault> {
        tags::tag_role(self, input).await
    }

    async fn untag_policy(&self, input: UntagPolicyInput) -> Result<(), Fault> {
        tags::untag_policy(self, input).await
    }

    async fn untag_role(&self, input: UntagRoleInput) -> Result<(), Fault> {
        tags::untag_role(self, input).await
    }

    async fn update_assume_role_policy(
        &self,
        input: UpdateAssumeRolePolicyInput,
    ) -> Result<(), Fault> {
        roles::set_trust(self, input).await
    }

    async fn update_role(&self, input: UpdateRoleInput) -> Result<UpdateRoleOutput, Fault> {
        roles::update(self, input).await
    }

    async fn update_role_description(
        &self,
        input: UpdateRoleDescriptionInput,
    ) -> Result<UpdateRoleDescriptionOutput, Fault> {
        roles::update_description(self, input).await
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

/// The page that a request asks for.
fn page(marker: Option<&str>, max_items: Option<u32>) -> Result<PageRequest, Fault> {
    let after = marker.map(str::parse::<Cursor>).transpose();
    Ok(PageRequest {
        limit: max_items.unwrap_or(PAGE_LIMIT),
        after: after.map_err(|_| validation("Invalid Marker"))?,
    })
}
