//! Policy documents, names, ARNs and paths, as IAM judges them before it uses them.

use hearth_control::id::PolicyName;
use hearth_control::managed_policy::PolicyArn;

use super::refusal::{beyond, limit, policy_not_found, validation};
use crate::fault::Fault;
use crate::policy::{Document, DocumentKind, ParseError};

/// Longest trust policy, and the most that all inline policies of a role may have together (the quota of IAM). All of
/// them are evaluated for every request of a role.
pub(super) const MAX_POLICY_CHARS: usize = 10_240;

/// Longest document of a managed policy (the quota of IAM). With ten attached ones, a role has 61,440 characters more.
const MAX_MANAGED_CHARS: usize = 6144;

/// The size of a policy as IAM counts it: without white space.
pub(super) fn policy_chars(document: &str) -> usize {
    let counted = document.chars().filter(|char| !char.is_whitespace());
    counted.count()
}

/// The document of a trust policy.
pub(super) fn trust(document: String) -> Result<String, Fault> {
    if policy_chars(&document) > MAX_POLICY_CHARS {
        return Err(beyond("ACLSizePerRole", MAX_POLICY_CHARS));
    }
    parsed(document, DocumentKind::Trust)
}

/// The document of an inline policy. Its size counts together with the others of its role.
pub(super) fn inline(document: String) -> Result<String, Fault> {
    parsed(document, DocumentKind::Identity)
}

/// The document of a managed policy.
pub(super) fn managed(document: String) -> Result<String, Fault> {
    if policy_chars(&document) > MAX_MANAGED_CHARS {
        return Err(beyond("PolicySize", MAX_MANAGED_CHARS));
    }
    parsed(document, DocumentKind::Identity)
}

/// The refusal of inline policies that are too large together.
pub(super) fn inline_too_large(role: &str) -> Fault {
    limit(format!(
        "Maximum policy size of {MAX_POLICY_CHARS} bytes exceeded for role {role}"
    ))
}

/// A document that can be parsed. It is evaluated when it is used.
fn parsed(document: String, kind: DocumentKind) -> Result<String, Fault> {
    let Err(error) = Document::parse(&document, kind) else {
        return Ok(document);
    };
    // The first two were recorded from AWS, which says no more of other documents than "Syntax errors in policy".
    let text = match error {
        ParseError::NO_JSON if kind == DocumentKind::Trust => {
            "This policy contains invalid Json".to_owned()
        }
        ParseError::RESOURCE_IN_TRUST => error.to_string(),
        error => format!("Syntax errors in policy: {error}."),
    };
    Err(Fault::new(400, "MalformedPolicyDocument", text))
}

/// Checks a path. The model checks its length.
pub(super) fn path(path: Option<String>) -> Result<String, Fault> {
    let path = path.unwrap_or_else(|| "/".to_owned());
    let is_path = path.starts_with('/')
        && path.ends_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path {
        Ok(path)
    } else {
        Err(validation(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
             characters and/or / characters.",
        ))
    }
}

/// The name of a policy, inline or managed.
pub(super) fn policy_name(name: &str) -> Result<PolicyName, Fault> {
    name.parse().map_err(|_| {
        validation(
            "The specified value for policyName is invalid. It must contain only alphanumeric characters and/or the \
             following: +=,.@_-",
        )
    })
}

/// The beginning of the ARNs of AWS's own managed policies.
pub(super) const OF_AWS: &str = "arn:aws:iam::aws:policy/";

/// The ARN of a managed policy of an account. Those of AWS can be attached, and nothing else.
pub(super) fn policy_arn(text: &str) -> Result<PolicyArn, Fault> {
    text.parse().map_err(|_| {
        if text.starts_with(OF_AWS) {
            policy_not_found(text)
        } else {
            invalid_arn(text)
        }
    })
}

pub(super) fn invalid_arn(text: &str) -> Fault {
    validation(&format!("ARN {text} is not valid."))
}
