//! Log groups.

use hearth_logs::Group;
use serde::Deserialize;
use serde_json::{Value, json};

use super::names::{bad_token, group_name, limit, missing};
use super::{Outcome, Request, refused};

/// Groups in one answer (CloudWatch Logs model).
const MAX_GROUPS: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupRequest {
    log_group_name: Option<String>,
    retention_in_days: Option<u32>,
}

pub(super) fn create(request: &Request) -> Outcome {
    let input: GroupRequest = request.read()?;
    let name = group_name(input.log_group_name, None)?;
    request
        .store
        .create_group(&request.owner, &name, request.now_ms)
        .map_err(refused)?;
    Ok(json!({}))
}

pub(super) fn delete(request: &Request) -> Outcome {
    let input: GroupRequest = request.read()?;
    let name = group_name(input.log_group_name, None)?;
    request
        .store
        .delete_group(&request.owner, &name)
        .map_err(refused)?;
    Ok(json!({}))
}

pub(super) fn put_retention(request: &Request) -> Outcome {
    let input: GroupRequest = request.read()?;
    let days = input
        .retention_in_days
        .ok_or_else(|| missing("retentionInDays"))?;
    let name = group_name(input.log_group_name, None)?;
    request
        .store
        .set_retention(&request.owner, &name, Some(days))
        .map_err(refused)?;
    Ok(json!({}))
}

pub(super) fn delete_retention(request: &Request) -> Outcome {
    let input: GroupRequest = request.read()?;
    let name = group_name(input.log_group_name, None)?;
    request
        .store
        .set_retention(&request.owner, &name, None)
        .map_err(refused)?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeRequest {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    limit: Option<i64>,
    next_token: Option<String>,
}

pub(super) fn describe(request: &Request) -> Outcome {
    let input: DescribeRequest = request.read()?;
    let limit = limit(input.limit, MAX_GROUPS)?;
    let after = match input.next_token.as_deref() {
        None => None,
        // The token is the last name seen: it tells its owner nothing new.
        Some(token) => Some(base64_decode(token).ok_or_else(bad_token)?),
    };
    let prefix = input.log_group_name_prefix.unwrap_or_default();
    let part = input.log_group_name_pattern.unwrap_or_default();
    let found = request
        .store
        .groups(&request.owner, &prefix, &part, after.as_deref(), limit + 1)
        .map_err(refused)?;
    let shown = found.get(..limit).unwrap_or(&found);
    let mut answer = json!({
        "logGroups": shown.iter().map(|group| group_json(request, group)).collect::<Vec<_>>(),
    });
    if let Some(last) = shown.last().filter(|_| found.len() > limit) {
        let token = base64_simd::URL_SAFE_NO_PAD.encode_to_string(last.name.as_bytes());
        answer["nextToken"] = json!(token);
    }
    Ok(answer)
}

fn base64_decode(token: &str) -> Option<String> {
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).ok()?;
    String::from_utf8(bytes).ok()
}

fn group_json(request: &Request, group: &Group) -> Value {
    let owner = &request.owner;
    let arn = format!(
        "arn:aws:logs:{}:{}:log-group:{}",
        owner.region, owner.account, group.name
    );
    let mut members = json!({
        "arn": format!("{arn}:*"),
        "creationTime": group.created_ms,
        "logGroupArn": arn,
        "logGroupClass": "STANDARD",
        "logGroupName": group.name,
        "metricFilterCount": 0,
        "storedBytes": group.stored_bytes,
    });
    if let Some(days) = group.retention_days {
        members["retentionInDays"] = json!(days);
    }
    members
}
