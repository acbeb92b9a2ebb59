//! Roles.

use hearth_control::account;
use hearth_control::page::{Cursor, PageRequest};

use super::{Request, document, refused, role_name, validation};
use crate::fault::Fault;
use crate::model::iam::{
    CreateRoleInput, CreateRoleOutput, DeleteRoleInput, GetRoleInput, GetRoleOutput,
    ListRolesInput, ListRolesOutput, Role, UpdateAssumeRolePolicyInput,
};
use crate::policy::DocumentKind;
use crate::uri::encode;

/// The longest session of a role that sets none, in seconds.
const USUAL_SESSION_S: u32 = 3600;

/// Roles in one answer if the request sets no limit.
const PAGE_LIMIT: u32 = 100;

pub(super) async fn create(
    request: &Request<'_>,
    input: CreateRoleInput,
) -> Result<CreateRoleOutput, Fault> {
    let create = account::CreateRole {
        name: role_name(&input.role_name)?,
        path: path(input.path)?,
        description: input.description,
        trust_policy: document(input.assume_role_policy_document, DocumentKind::Trust)?,
        max_session_s: input.max_session_duration.unwrap_or(USUAL_SESSION_S),
    };
    let made = request.control.create_role(request.account, create).await;
    let role = answer(&made.map_err(refused)?);
    Ok(CreateRoleOutput { role })
}

pub(super) async fn get(
    request: &Request<'_>,
    input: GetRoleInput,
) -> Result<GetRoleOutput, Fault> {
    let name = role_name(&input.role_name)?;
    let found = request.control.role(request.account, &name).await;
    let role = answer(&found.map_err(refused)?);
    Ok(GetRoleOutput { role })
}

pub(super) async fn list(
    request: &Request<'_>,
    input: ListRolesInput,
) -> Result<ListRolesOutput, Fault> {
    let after = input.marker.as_deref().map(str::parse::<Cursor>);
    let page = PageRequest {
        limit: input.max_items.unwrap_or(PAGE_LIMIT),
        after: after
            .transpose()
            .map_err(|_| validation("Invalid Marker"))?,
    };
    let found = request.control.roles(request.account, page).await;
    let found = found.map_err(refused)?;
    Ok(ListRolesOutput {
        roles: found.items.iter().map(answer).collect(),
        is_truncated: Some(found.next.is_some()),
        marker: found.next.map(|cursor| cursor.to_string()),
    })
}

pub(super) async fn delete(request: &Request<'_>, input: DeleteRoleInput) -> Result<(), Fault> {
    let name = role_name(&input.role_name)?;
    let deleted = request.control.delete_role(request.account, &name).await;
    deleted.map_err(refused)
}

pub(super) async fn set_trust(
    request: &Request<'_>,
    input: UpdateAssumeRolePolicyInput,
) -> Result<(), Fault> {
    let name = role_name(&input.role_name)?;
    let policy = document(input.policy_document, DocumentKind::Trust)?;
    let set = request
        .control
        .set_role_trust(request.account, &name, policy);
    set.await.map_err(refused)
}

/// Checks the path of a role. The model checks its length.
fn path(path: Option<String>) -> Result<String, Fault> {
    let path = path.unwrap_or_else(|| "/".to_owned());
    let is_path = path.starts_with('/')
        && path.ends_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path {
        Ok(path)
    } else {
        Err(validation("The specified path is invalid."))
    }
}

fn answer(role: &account::Role) -> Role {
    Role {
        path: role.path.clone(),
        role_name: role.name.to_string(),
        role_id: role.role_id.clone(),
        arn: format!(
            "arn:aws:iam::{}:role{}{}",
            role.account, role.path, role.name
        ),
        create_date: role.created_at.into(),
        // IAM sends documents percent-encoded.
        assume_role_policy_document: Some(encode(&role.trust_policy)),
        description: role.description.clone(),
        max_session_duration: Some(role.max_session_s),
    }
}
