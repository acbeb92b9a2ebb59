//! Names of groups and streams, and where a list goes on.

use super::invalid;
use crate::fault::Fault;

/// Longest name of a group or a stream (CloudWatch Logs model).
const MAX_NAME_CHARS: usize = 512;

/// A group's name: given as such, or as its ARN where an operation takes an identifier.
pub(super) fn group_name(
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, Fault> {
    let name = match (name, identifier) {
        (Some(name), _) => name,
        (None, Some(identifier)) => match identifier.split_once(":log-group:") {
            Some((_, name)) => name.trim_end_matches(":*").to_owned(),
            None => identifier,
        },
        (None, None) => return Err(missing("logGroupName")),
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-/.#".contains(c);
    check("logGroupName", r"[\.\-_/#A-Za-z0-9]+", name, is_allowed)
}

pub(super) fn stream_name(name: Option<String>) -> Result<String, Fault> {
    let name = name.ok_or_else(|| missing("logStreamName"))?;
    check("logStreamName", "[^:*]*", name, |c| c != ':' && c != '*')
}

fn check(
    member: &str,
    pattern: &str,
    name: String,
    is_allowed: impl Fn(char) -> bool,
) -> Result<String, Fault> {
    let rule = if name.is_empty() {
        "Member must have length greater than or equal to 1".to_owned()
    } else if name.chars().count() > MAX_NAME_CHARS {
        format!("Member must have length less than or equal to {MAX_NAME_CHARS}")
    } else if !name.chars().all(is_allowed) {
        format!("Member must satisfy regular expression pattern: {pattern}")
    } else {
        return Ok(name);
    };
    let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
    Err(violation(&format!("Value '{shown}' at '{member}'"), &rule))
}

pub(super) fn missing(member: &str) -> Fault {
    violation(
        &format!("Value null at '{member}'"),
        "Member must not be null",
    )
}

fn violation(what: &str, rule: &str) -> Fault {
    invalid(format!(
        "1 validation error detected: {what} failed to satisfy constraint: {rule}"
    ))
}

/// A page size between one and `max`, `max` without one.
pub(super) fn limit(asked: Option<i64>, max: usize) -> Result<usize, Fault> {
    let Some(asked) = asked else { return Ok(max) };
    usize::try_from(asked)
        .ok()
        .filter(|limit| (1..=max).contains(limit))
        .ok_or_else(|| {
            violation(
                &format!("Value '{asked}' at 'limit'"),
                &format!("Member must have value less than or equal to {max}"),
            )
        })
}

pub(super) fn bad_token() -> Fault {
    invalid("The specified nextToken is invalid.")
}
