//! Managed policies of the account, with their versions.

use hearth_control::account;
use hearth_control::managed_policy::{
    CreatePolicy, FoundPolicy, ManagedPolicy, PolicyArn, PolicyFilter, PolicyRefusal,
    PolicyVersion as Version,
};
use hearth_control::page::Page;
use hearth_control::{ControlError, Refusal};

use super::documents::{self, policy_arn, policy_name};
use super::refusal::{refused, version_not_found};
use super::{Request, page, tags};
use crate::fault::Fault;
use crate::model::iam::{
    CreatePolicyInput, CreatePolicyOutput, CreatePolicyVersionInput, CreatePolicyVersionOutput,
    DeletePolicyInput, DeletePolicyVersionInput, EntityType, GetPolicyInput, GetPolicyOutput,
    GetPolicyVersionInput, GetPolicyVersionOutput, ListEntitiesForPolicyInput,
    ListEntitiesForPolicyOutput, ListPoliciesInput, ListPoliciesOutput, ListPolicyVersionsInput,
    ListPolicyVersionsOutput, Policy, PolicyRole, PolicyScopeType, PolicyVersion,
    SetDefaultPolicyVersionInput,
};
use crate::uri::encode;

pub(super) async fn create(
    request: &Request<'_>,
    input: CreatePolicyInput,
) -> Result<CreatePolicyOutput, Fault> {
    let arn = PolicyArn {
        account: request.account,
        path: documents::path(input.path)?,
        name: policy_name(&input.policy_name)?,
    };
    let create = CreatePolicy {
        arn,
        description: input.description.filter(|text| !text.is_empty()),
        document: documents::managed(input.policy_document)?,
        tags: tags::of_policy(input.tags.unwrap_or_default())?,
    };
    let policy = request.control.create_policy(create).await;
    let policy = policy.map_err(refused)?;
    Ok(CreatePolicyOutput {
        policy: Some(Policy {
            tags: tags::answer_some(&policy.tags),
            ..summary(&policy, 0)
        }),
    })
}

pub(super) async fn get(
    request: &Request<'_>,
    input: GetPolicyInput,
) -> Result<GetPolicyOutput, Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let found = request.control.policy(request.account, &arn).await;
    let FoundPolicy {
        policy,
        attachments,
    } = found.map_err(refused)?;
    Ok(GetPolicyOutput {
        policy: Some(Policy {
            tags: Some(tags::answer(&policy.tags)),
            description: policy.description.clone(),
            ..summary(&policy, attachments)
        }),
    })
}

pub(super) async fn list(
    request: &Request<'_>,
    input: ListPoliciesInput,
) -> Result<ListPoliciesOutput, Fault> {
    let filter = PolicyFilter {
        path_prefix: input.path_prefix.unwrap_or_default(),
        only_attached: input.only_attached.unwrap_or(false),
    };
    let page = page(input.marker.as_deref(), input.max_items)?;
    let found = if matches!(input.scope, Some(PolicyScopeType::Aws)) {
        // Policies of AWS can be attached, and are not listed.
        Page {
            items: Vec::new(),
            next: None,
        }
    } else {
        let found = request.control.policies(request.account, &filter, page);
        found.await.map_err(refused)?
    };
    let items = found.items.iter();
    let policies = items.map(|found| summary(&found.policy, found.attachments));
    Ok(ListPoliciesOutput {
        policies: Some(policies.collect()),
        is_truncated: Some(found.next.is_some()),
        marker: found.next.map(|cursor| cursor.to_string()),
    })
}

pub(super) async fn delete(request: &Request<'_>, input: DeletePolicyInput) -> Result<(), Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let deleted = request.control.delete_policy(request.account, &arn).await;
    deleted.map_err(refused)
}

pub(super) async fn create_version(
    request: &Request<'_>,
    input: CreatePolicyVersionInput,
) -> Result<CreatePolicyVersionOutput, Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let document = documents::managed(input.policy_document)?;
    let in_force = input.set_as_default.unwrap_or(false);
    let created = request
        .control
        .create_policy_version(request.account, &arn, document, in_force);
    let version = created.await.map_err(refused)?;
    let default_version = if in_force { version.number } else { 0 };
    Ok(CreatePolicyVersionOutput {
        policy_version: Some(answer_version(&version, default_version)),
    })
}

pub(super) async fn get_version(
    request: &Request<'_>,
    input: GetPolicyVersionInput,
) -> Result<GetPolicyVersionOutput, Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let number = version_number(&input.policy_arn, &input.version_id)?;
    let (default_version, versions) = versions(request, &arn)
        .await
        .map_err(|error| of_version(error, number))?;
    let mut versions = versions.iter();
    let version = versions.find(|version| version.number == number);
    let version = version.ok_or_else(|| version_not_found(&input.policy_arn, &input.version_id))?;
    Ok(GetPolicyVersionOutput {
        policy_version: Some(PolicyVersion {
            document: Some(encode(&version.document)),
            ..answer_version(version, default_version)
        }),
    })
}

pub(super) async fn list_versions(
    request: &Request<'_>,
    input: ListPolicyVersionsInput,
) -> Result<ListPolicyVersionsOutput, Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let (default_version, versions) = versions(request, &arn).await.map_err(refused)?;
    let versions = versions.iter();
    let versions = versions.map(|version| answer_version(version, default_version));
    Ok(ListPolicyVersionsOutput {
        versions: Some(versions.collect()),
        is_truncated: Some(false),
    })
}

pub(super) async fn set_default_version(
    request: &Request<'_>,
    input: SetDefaultPolicyVersionInput,
) -> Result<(), Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let number = version_number(&input.policy_arn, &input.version_id)?;
    let set = request
        .control
        .set_default_policy_version(request.account, &arn, number);
    set.await.map_err(|error| of_version(error, number))
}

pub(super) async fn delete_version(
    request: &Request<'_>,
    input: DeletePolicyVersionInput,
) -> Result<(), Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let number = version_number(&input.policy_arn, &input.version_id)?;
    let deleted = request
        .control
        .delete_policy_version(request.account, &arn, number);
    deleted.await.map_err(|error| of_version(error, number))
}

pub(super) async fn list_entities(
    request: &Request<'_>,
    input: ListEntitiesForPolicyInput,
) -> Result<ListEntitiesForPolicyOutput, Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let path = input.path_prefix.unwrap_or_default();
    let page = page(input.marker.as_deref(), input.max_items)?;
    let found = request
        .control
        .policy_roles(request.account, &arn, &path, page);
    let mut found = found.await.map_err(refused)?;
    if !matches!(input.entity_filter, None | Some(EntityType::Role)) {
        found = Page {
            items: Vec::new(),
            next: None,
        };
    }
    let answer = |role: account::Role| PolicyRole {
        role_name: Some(role.name.to_string()),
        role_id: Some(role.role_id),
    };
    Ok(ListEntitiesForPolicyOutput {
        policy_groups: Some(Vec::new()),
        policy_users: Some(Vec::new()),
        policy_roles: Some(found.items.into_iter().map(answer).collect()),
        is_truncated: Some(found.next.is_some()),
        marker: found.next.map(|cursor| cursor.to_string()),
    })
}

/// The versions of a policy, and the number of the one in force.
async fn versions(
    request: &Request<'_>,
    arn: &PolicyArn,
) -> Result<(u32, Vec<Version>), ControlError> {
    let found = request.control.policy(request.account, arn).await?;
    let versions = request.control.policy_versions(request.account, arn);
    Ok((found.policy.default_version, versions.await?))
}

/// The number of a version. The model checks its form, which has suffixes that no version here has.
fn version_number(arn: &str, version: &str) -> Result<u32, Fault> {
    let number = version
        .strip_prefix('v')
        .and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| version_not_found(arn, version))
}

/// A refusal of an operation on one version. To AWS a version of no policy is no version.
fn of_version(error: ControlError, number: u32) -> Fault {
    match error {
        ControlError::Refused(Refusal::ManagedPolicy {
            arn,
            why: PolicyRefusal::NotFound,
        }) => version_not_found(&arn, &format!("v{number}")),
        error => refused(error),
    }
}

/// A policy as lists show it.
fn summary(policy: &ManagedPolicy, attachments: u32) -> Policy {
    Policy {
        policy_name: Some(policy.arn.name.to_string()),
        policy_id: Some(policy.policy_id.clone()),
        arn: Some(policy.arn.to_string()),
        path: Some(policy.arn.path.clone()),
        default_version_id: Some(format!("v{}", policy.default_version)),
        attachment_count: Some(attachments.into()),
        permissions_boundary_usage_count: Some(0),
        is_attachable: Some(true),
        description: None,
        create_date: Some(policy.created_at.into()),
        update_date: Some(policy.updated_at.into()),
        tags: None,
    }
}

/// A version as lists show it.
fn answer_version(version: &Version, default_version: u32) -> PolicyVersion {
    PolicyVersion {
        document: None,
        version_id: Some(format!("v{}", version.number)),
        is_default_version: Some(version.number == default_version),
        create_date: Some(version.created_at.into()),
    }
}
