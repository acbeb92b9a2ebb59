//! Policies of roles: inline ones by name, managed ones by ARN.

use hearth_control::account::RolePolicy;

use super::documents::{self, MAX_POLICY_CHARS, OF_AWS, policy_arn, policy_chars, policy_name};
use super::refusal::refused;
use super::{Request, role_name};
use crate::fault::Fault;
use crate::model::iam::{
    AttachRolePolicyInput, AttachedPolicy, DeleteRolePolicyInput, DetachRolePolicyInput,
    GetRolePolicyInput, GetRolePolicyOutput, ListAttachedRolePoliciesInput,
    ListAttachedRolePoliciesOutput, ListRolePoliciesInput, ListRolePoliciesOutput,
    PutRolePolicyInput,
};
use crate::uri::encode;

pub(super) async fn put(request: &Request<'_>, input: PutRolePolicyInput) -> Result<(), Fault> {
    let role = role_name(&input.role_name)?;
    let policy = RolePolicy {
        name: policy_name(&input.policy_name)?.to_string(),
        document: documents::inline(input.policy_document)?,
    };
    let known = request.control.role_policies(request.account, &role);
    let known = known.await.map_err(refused)?;
    let others = known.iter().filter(|known| known.name != policy.name);
    let sizes = others
        .chain([&policy])
        .map(|policy| policy_chars(&policy.document));
    if sizes.sum::<usize>() > MAX_POLICY_CHARS {
        return Err(documents::inline_too_large(role.as_str()));
    }
    let put = request
        .control
        .put_role_policy(request.account, &role, policy);
    put.await.map_err(refused)
}

pub(super) async fn get(
    request: &Request<'_>,
    input: GetRolePolicyInput,
) -> Result<GetRolePolicyOutput, Fault> {
    let role = role_name(&input.role_name)?;
    policy_name(&input.policy_name)?;
    let found = request
        .control
        .role_policy(request.account, &role, &input.policy_name);
    let policy = found.await.map_err(refused)?;
    Ok(GetRolePolicyOutput {
        role_name: role.to_string(),
        policy_name: policy.name,
        policy_document: encode(&policy.document),
    })
}

pub(super) async fn list(
    request: &Request<'_>,
    input: ListRolePoliciesInput,
) -> Result<ListRolePoliciesOutput, Fault> {
    let role = role_name(&input.role_name)?;
    let found = request.control.role_policies(request.account, &role);
    let policies = found.await.map_err(refused)?;
    Ok(ListRolePoliciesOutput {
        policy_names: policies.into_iter().map(|policy| policy.name).collect(),
        is_truncated: Some(false),
    })
}

pub(super) async fn delete(
    request: &Request<'_>,
    input: DeleteRolePolicyInput,
) -> Result<(), Fault> {
    let role = role_name(&input.role_name)?;
    policy_name(&input.policy_name)?;
    let deleted = request
        .control
        .delete_role_policy(request.account, &role, &input.policy_name);
    deleted.await.map_err(refused)
}

pub(super) async fn attach(
    request: &Request<'_>,
    input: AttachRolePolicyInput,
) -> Result<(), Fault> {
    let role = role_name(&input.role_name)?;
    check_arn(&input.policy_arn)?;
    let attached = request
        .control
        .attach_role_policy(request.account, &role, &input.policy_arn);
    attached.await.map_err(refused)
}

pub(super) async fn list_attached(
    request: &Request<'_>,
    input: ListAttachedRolePoliciesInput,
) -> Result<ListAttachedRolePoliciesOutput, Fault> {
    let role = role_name(&input.role_name)?;
    let found = request
        .control
        .attached_role_policies(request.account, &role);
    let mut arns = found.await.map_err(refused)?;
    if let Some(prefix) = &input.path_prefix {
        arns.retain(|arn| path_of(arn).starts_with(prefix));
    }
    let answer = |arn: String| AttachedPolicy {
        policy_name: arn.rsplit('/').next().map(str::to_owned),
        policy_arn: Some(arn),
    };
    Ok(ListAttachedRolePoliciesOutput {
        attached_policies: Some(arns.into_iter().map(answer).collect()),
        is_truncated: Some(false),
    })
}

pub(super) async fn detach(
    request: &Request<'_>,
    input: DetachRolePolicyInput,
) -> Result<(), Fault> {
    let role = role_name(&input.role_name)?;
    let detached = request
        .control
        .detach_role_policy(request.account, &role, &input.policy_arn);
    let detached = detached.await;
    if detached.is_err() {
        // Earlier releases attached ARNs of other forms, which can be detached.
        check_arn(&input.policy_arn)?;
    }
    detached.map_err(refused)
}

fn check_arn(arn: &str) -> Result<(), Fault> {
    let is_of_aws = arn.starts_with(OF_AWS) && arn.bytes().all(|byte| byte.is_ascii_graphic());
    if is_of_aws {
        return Ok(());
    }
    policy_arn(arn).map(|_| ())
}

/// The path of a managed policy, whoever's it is.
fn path_of(arn: &str) -> &str {
    let path = arn.split_once(":policy").map_or("", |(_, path)| path);
    path.rfind('/').map_or("", |end| &path[..=end])
}
