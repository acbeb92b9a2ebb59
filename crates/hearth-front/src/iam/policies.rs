//! Policies of roles: inline ones by name, managed ones by ARN.

use hearth_control::account::RolePolicy;

use super::{MAX_POLICY_CHARS, Request, document, policy_chars, refused, role_name, validation};
use crate::fault::Fault;
use crate::model::iam::{
    AttachRolePolicyInput, AttachedPolicy, DeleteRolePolicyInput, DetachRolePolicyInput,
    GetRolePolicyInput, GetRolePolicyOutput, ListAttachedRolePoliciesInput,
    ListAttachedRolePoliciesOutput, ListRolePoliciesInput, ListRolePoliciesOutput,
    PutRolePolicyInput,
};
use crate::policy::DocumentKind;
use crate::uri::encode;

pub(super) async fn put(request: &Request<'_>, input: PutRolePolicyInput) -> Result<(), Fault> {
    let role = role_name(&input.role_name)?;
    check_name(&input.policy_name)?;
    let policy = RolePolicy {
        name: input.policy_name,
        document: document(input.policy_document, DocumentKind::Identity)?,
    };
    let _turn = request.puts.lock().await;
    let known = request.control.role_policies(request.account, &role);
    let known = known.await.map_err(refused)?;
    let others = known.iter().filter(|known| known.name != policy.name);
    let sizes = others
        .chain([&policy])
        .map(|policy| policy_chars(&policy.document));
    if sizes.sum::<usize>() > MAX_POLICY_CHARS {
        let message =
            format!("Maximum policy size of {MAX_POLICY_CHARS} bytes exceeded for role {role}");
        return Err(Fault::new(409, "LimitExceeded", message));
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
    check_name(&input.policy_name)?;
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
    check_name(&input.policy_name)?;
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
    let arns = found.await.map_err(refused)?;
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
    check_arn(&input.policy_arn)?;
    let detached = request
        .control
        .detach_role_policy(request.account, &role, &input.policy_arn);
    detached.await.map_err(refused)
}

/// Checks the characters of a name. The model checks its length.
fn check_name(name: &str) -> Result<(), Fault> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if name.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(validation("The specified value for policyName is invalid."))
    }
}

fn check_arn(arn: &str) -> Result<(), Fault> {
    if arn.starts_with("arn:aws") && arn.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        let message = format!("ARN {arn} is not valid.");
        Err(Fault::new(400, "InvalidInput", message))
    }
}
