//! Operations on log groups.

use hearth_logs::{Group, LogError};

use super::names::{bad_token, limit, number};
use super::{Request, refused};
use crate::fault::Fault;
use crate::model::logs::{
    CreateLogGroupInput, DeleteLogGroupInput, DeleteRetentionPolicyInput, DescribeLogGroupsInput,
    DescribeLogGroupsOutput, LogGroup, LogGroupClass, PutRetentionPolicyInput,
};

/// Groups in one answer (CloudWatch Logs model).
const MAX_GROUPS: usize = 50;

pub(super) fn create(request: &Request, input: &CreateLogGroupInput) -> Result<(), Fault> {
    request
        .store
        .create_group(&request.owner, &input.log_group_name, request.now_ms)
        .map_err(refused)
}

pub(super) fn delete(request: &Request, input: &DeleteLogGroupInput) -> Result<(), Fault> {
    request
        .store
        .delete_group(&request.owner, &input.log_group_name)
        .map_err(refused)
}

pub(super) fn put_retention(
    request: &Request,
    input: &PutRetentionPolicyInput,
) -> Result<(), Fault> {
    let days = u32::try_from(input.retention_in_days);
    let days = days.map_err(|_| refused(LogError::BadRetention))?;
    request
        .store
        .set_retention(&request.owner, &input.log_group_name, Some(days))
        .map_err(refused)
}

pub(super) fn delete_retention(
    request: &Request,
    input: &DeleteRetentionPolicyInput,
) -> Result<(), Fault> {
    request
        .store
        .set_retention(&request.owner, &input.log_group_name, None)
        .map_err(refused)
}

pub(super) fn describe(
    request: &Request,
    input: DescribeLogGroupsInput,
) -> Result<DescribeLogGroupsOutput, Fault> {
    let limit = limit(input.limit, MAX_GROUPS);
    let after = match input.next_token.as_deref() {
        None => None,
        // The token is the last name of the page: nothing that its owner may not know.
        Some(token) => Some(base64_decode(token).ok_or_else(bad_token)?),
    };
    let prefix = input.log_group_name_prefix.unwrap_or_default();
    let part = input.log_group_name_pattern.unwrap_or_default();
    let found = request
        .store
        .groups(&request.owner, &prefix, &part, after.as_deref(), limit + 1)
        .map_err(refused)?;
    let shown = found.get(..limit).unwrap_or(&found);
    let last = shown.last().filter(|_| found.len() > limit);
    Ok(DescribeLogGroupsOutput {
        log_groups: Some(shown.iter().map(|group| answer(request, group)).collect()),
        next_token: last
            .map(|last| base64_simd::URL_SAFE_NO_PAD.encode_to_string(last.name.as_bytes())),
    })
}

fn base64_decode(token: &str) -> Option<String> {
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).ok()?;
    String::from_utf8(bytes).ok()
}

fn answer(request: &Request, group: &Group) -> LogGroup {
    let owner = &request.owner;
    let arn = format!(
        "arn:aws:logs:{}:{}:log-group:{}",
        owner.region, owner.account, group.name
    );
    LogGroup {
        arn: Some(format!("{arn}:*")),
        creation_time: Some(group.created_ms),
        log_group_arn: Some(arn),
        log_group_class: Some(LogGroupClass::Standard),
        log_group_name: Some(group.name.clone()),
        metric_filter_count: Some(0),
        retention_in_days: group.retention_days.map(Into::into),
        stored_bytes: Some(number(group.stored_bytes)),
    }
}
