//! Names of log groups, page sizes, and page tokens.

use super::invalid;
use crate::fault::Fault;

/// Longest name of a group (CloudWatch Logs model).
const MAX_NAME_CHARS: usize = 512;

/// The name of a group, given as such, or in an ARN where an operation takes an identifier.
///
/// The model has checked a name. A name in an ARN is checked here.
pub(super) fn group_name(
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, Fault> {
    let (member, name) = match (name, identifier) {
        (Some(name), _) => ("logGroupName", name),
        (None, Some(identifier)) => match identifier.split_once(":log-group:") {
            Some((_, name)) => ("logGroupIdentifier", name.to_owned()),
            None => ("logGroupIdentifier", identifier),
        },
        (None, None) => {
            return Err(violation(
                "Value null at 'logGroupName'",
                "Member must not be null",
            ));
        }
    };
    check(member, name)
}

fn check(member: &str, name: String) -> Result<String, Fault> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-/.#".contains(c);
    let rule = if name.is_empty() {
        "Member must have length greater than or equal to 1".to_owned()
    } else if name.chars().count() > MAX_NAME_CHARS {
        format!("Member must have length less than or equal to {MAX_NAME_CHARS}")
    } else if !name.chars().all(is_allowed) {
        r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+".to_owned()
    } else {
        return Ok(name);
    };
    let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
    Err(violation(&format!("Value '{shown}' at '{member}'"), &rule))
}

fn violation(what: &str, rule: &str) -> Fault {
    invalid(format!(
        "1 validation error detected: {what} failed to satisfy constraint: {rule}"
    ))
}

/// The page size, `max` if the request sets none. The model has checked that it is between one and `max`.
pub(super) fn limit(asked: Option<i64>, max: usize) -> usize {
    let asked = asked.and_then(|asked| usize::try_from(asked).ok());
    asked.unwrap_or(max).clamp(1, max)
}

pub(super) fn bad_token() -> Fault {
    invalid("The specified nextToken is invalid.")
}

/// Converts a size or count of the store to the model's signed number.
pub(super) fn number<T: TryInto<i64>>(value: T) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
