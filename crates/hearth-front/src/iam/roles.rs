//! Roles.

use hearth_control::account;

use super::refusal::refused;
use super::{Request, documents, page, role_name, tags};
use crate::fault::Fault;
use crate::model::iam::{
    CreateRoleInput, CreateRoleOutput, DeleteRoleInput, GetRoleInput, GetRoleOutput,
    ListInstanceProfilesForRoleInput, ListInstanceProfilesForRoleOutput, ListRolesInput,
    ListRolesOutput, Role, UpdateAssumeRolePolicyInput, UpdateRoleDescriptionInput,
    UpdateRoleDescriptionOutput, UpdateRoleInput, UpdateRoleOutput,
};
use crate::uri::encode;

/// The longest session of a role that sets none, in seconds.
const USUAL_SESSION_S: u32 = 3600;

pub(super) async fn create(
    request: &Request<'_>,
    input: CreateRoleInput,
) -> Result<CreateRoleOutput, Fault> {
    let create = account::CreateRole {
        name: role_name(&input.role_name)?,
        path: documents::path(input.path)?,
        description: some_text(input.description),
        trust_policy: documents::trust(input.assume_role_policy_document)?,
        max_session_s: input.max_session_duration.unwrap_or(USUAL_SESSION_S),
        tags: tags::of_role(input.tags.unwrap_or_default())?,
    };
    let made = request.control.create_role(request.account, create).await;
    let role = made.map_err(refused)?;
    // As on AWS: `GetRole` alone tells all.
    let role = Role {
        description: None,
        max_session_duration: None,
        tags: tags::answer_some(&role.tags),
        ..answer(&role)
    };
    Ok(CreateRoleOutput { role })
}

pub(super) async fn get(
    request: &Request<'_>,
    input: GetRoleInput,
) -> Result<GetRoleOutput, Fault> {
    let name = role_name(&input.role_name)?;
    let found = request.control.role(request.account, &name).await;
    let role = found.map_err(refused)?;
    let role = Role {
        tags: tags::answer_some(&role.tags),
        ..answer(&role)
    };
    Ok(GetRoleOutput { role })
}

pub(super) async fn list(
    request: &Request<'_>,
    input: ListRolesInput,
) -> Result<ListRolesOutput, Fault> {
    let path = input.path_prefix.unwrap_or_default();
    let page = page(input.marker.as_deref(), input.max_items)?;
    let found = request.control.roles(request.account, &path, page).await;
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
    let policy = documents::trust(input.policy_document)?;
    let set = request
        .control
        .set_role_trust(request.account, &name, policy);
    set.await.map_err(refused)
}

/// What is not given stays as it is.
pub(super) async fn update(
    request: &Request<'_>,
    input: UpdateRoleInput,
) -> Result<UpdateRoleOutput, Fault> {
    let (control, account) = (request.control, request.account);
    let name = role_name(&input.role_name)?;
    control.role(account, &name).await.map_err(refused)?;
    if let Some(description) = input.description {
        let description = some_text(Some(description));
        let set = control.set_role_description(account, &name, description);
        set.await.map_err(refused)?;
    }
    if let Some(max_session_s) = input.max_session_duration {
        let set = control.set_role_session(account, &name, max_session_s);
        set.await.map_err(refused)?;
    }
    Ok(UpdateRoleOutput {})
}

pub(super) async fn update_description(
    request: &Request<'_>,
    input: UpdateRoleDescriptionInput,
) -> Result<UpdateRoleDescriptionOutput, Fault> {
    let name = role_name(&input.role_name)?;
    let description = some_text(Some(input.description));
    let set = request
        .control
        .set_role_description(request.account, &name, description);
    let role = set.await.map_err(refused)?;
    Ok(UpdateRoleDescriptionOutput {
        role: Some(Role {
            max_session_duration: None,
            ..answer(&role)
        }),
    })
}

/// There are no instance profiles. Whoever deletes a role asks for them first.
pub(super) async fn instance_profiles(
    request: &Request<'_>,
    input: ListInstanceProfilesForRoleInput,
) -> Result<ListInstanceProfilesForRoleOutput, Fault> {
    let name = role_name(&input.role_name)?;
    let found = request.control.role(request.account, &name).await;
    found.map_err(refused)?;
    Ok(ListInstanceProfilesForRoleOutput {
        instance_profiles: Vec::new(),
        is_truncated: Some(false),
    })
}

/// A text that is given. Clients take a description away with an empty one.
fn some_text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A role as lists show it.
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
        tags: None,
    }
}
