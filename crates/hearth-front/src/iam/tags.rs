//! Tags of roles and of managed policies. Keys of a role's tags are one whatever their case, as on AWS.

use std::collections::HashSet;

use hearth_control::image::Tags;

use super::documents::policy_arn;
use super::refusal::{invalid_input, refused};
use super::{Request, role_name};
use crate::fault::Fault;
use crate::model::iam::{
    ListPolicyTagsInput, ListPolicyTagsOutput, ListRoleTagsInput, ListRoleTagsOutput, Tag,
    TagPolicyInput, TagRoleInput, UntagPolicyInput, UntagRoleInput,
};

/// The tags that a request gives to a role.
pub(super) fn of_role(tags: Vec<Tag>) -> Result<Tags, Fault> {
    let mut keys = HashSet::new();
    if !tags.iter().all(|tag| keys.insert(tag.key.to_lowercase())) {
        return Err(invalid_input(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ));
    }
    given(tags)
}

/// The tags that a request gives to a managed policy.
pub(super) fn of_policy(tags: Vec<Tag>) -> Result<Tags, Fault> {
    given(tags)
}

fn given(tags: Vec<Tag>) -> Result<Tags, Fault> {
    let count = tags.len();
    let tags: Tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    if tags.len() < count {
        return Err(invalid_input("Duplicate tag keys found."));
    }
    let mut keys = tags.keys();
    if keys.any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid_input(
            "Tag keys that begin with aws: are reserved for system use.",
        ));
    }
    Ok(tags)
}

pub(super) fn answer(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(tag).collect()
}

/// The tags as an answer has them that leaves out none.
pub(super) fn answer_some(tags: &Tags) -> Option<Vec<Tag>> {
    (!tags.is_empty()).then(|| answer(tags))
}

pub(super) async fn tag_role(request: &Request<'_>, input: TagRoleInput) -> Result<(), Fault> {
    let (role, tags) = (role_name(&input.role_name)?, of_role(input.tags)?);
    let tagged = request.control.tag_role(request.account, &role, tags);
    tagged.await.map_err(refused)
}

pub(super) async fn untag_role(request: &Request<'_>, input: UntagRoleInput) -> Result<(), Fault> {
    let role = role_name(&input.role_name)?;
    let untagged = request
        .control
        .untag_role(request.account, &role, &input.tag_keys);
    untagged.await.map_err(refused)
}

pub(super) async fn list_role_tags(
    request: &Request<'_>,
    input: ListRoleTagsInput,
) -> Result<ListRoleTagsOutput, Fault> {
    let name = role_name(&input.role_name)?;
    let role = request.control.role(request.account, &name).await;
    Ok(ListRoleTagsOutput {
        tags: answer(&role.map_err(refused)?.tags),
        is_truncated: Some(false),
    })
}

pub(super) async fn tag_policy(request: &Request<'_>, input: TagPolicyInput) -> Result<(), Fault> {
    let (arn, tags) = (policy_arn(&input.policy_arn)?, of_policy(input.tags)?);
    let tagged = request.control.tag_policy(request.account, &arn, tags);
    tagged.await.map_err(refused)
}

pub(super) async fn untag_policy(
    request: &Request<'_>,
    input: UntagPolicyInput,
) -> Result<(), Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let untagged = request
        .control
        .untag_policy(request.account, &arn, &input.tag_keys);
    untagged.await.map_err(refused)
}

pub(super) async fn list_policy_tags(
    request: &Request<'_>,
    input: ListPolicyTagsInput,
) -> Result<ListPolicyTagsOutput, Fault> {
    let arn = policy_arn(&input.policy_arn)?;
    let found = request.control.policy(request.account, &arn).await;
    Ok(ListPolicyTagsOutput {
        tags: answer(&found.map_err(refused)?.policy.tags),
        is_truncated: Some(false),
    })
}
