//! Who may assume a role: its trust policy, held against a service or against a caller of the account.

use hearth_control::id::AccountId;

use super::{Caller, Principal};
use crate::policy::{Decision, Document, DocumentKind, Facts, Question, decide};

/// The service principal that assumes roles for microVMs (facts section 12).
const SERVICE: &str = "Service:lambda.amazonaws.com";

/// The action that trust policies are about.
const ACTION: &str = "sts:AssumeRole";

/// Whether a role of the account trusts the service on behalf of an image.
pub(super) fn trusts_service(policy: &str, account: AccountId, image: &str) -> bool {
    let Ok(document) = Document::parse(policy, DocumentKind::Trust) else {
        return false;
    };
    let facts = Facts::from([
        ("aws:sourceaccount", Some(account.to_string())),
        ("aws:sourcearn", Some(image.to_owned())),
    ]);
    is_allowed(&document, &[SERVICE.to_owned()], &facts)
}

/// Whether a role of the caller's account may be assumed by the caller.
///
/// A trust policy that names the account leaves it to the policies of the account's roles to allow the action. One
/// that names the role or the session of the caller allows it by itself; the caller's policies may still deny it
/// ("Policy evaluation logic", IAM User Guide).
pub(super) fn trusts_caller(policy: &str, caller: &Caller, role: &str, request: &Facts) -> bool {
    let Ok(document) = Document::parse(policy, DocumentKind::Trust) else {
        return false;
    };
    let account = format!("arn:aws:iam::{}:root", caller.scope.account);
    let root = [format!("AWS:{account}")];
    let mut facts = request.clone();
    facts.extend([
        (
            "aws:principalaccount",
            Some(caller.scope.account.to_string()),
        ),
        // Services alone have these.
        ("aws:sourceaccount", None),
        ("aws:sourcearn", None),
    ]);
    let Principal::Role(session) = &caller.principal else {
        facts.insert("aws:principalarn", Some(account));
        return is_allowed(&document, &root, &facts);
    };
    facts.insert("aws:principalarn", Some(session.role_arn()));
    let own = [session.role_arn(), session.arn()].map(|arn| format!("AWS:{arn}"));
    if !is_allowed(&document, &[&root[..], &own].concat(), &facts) {
        return false;
    }
    let resources = [role.to_owned()];
    let may = if is_allowed(&document, &own, &facts) {
        session.may_if_granted(ACTION, &resources, &facts)
    } else {
        session.may(ACTION, &resources, &facts)
    };
    may.is_ok()
}

fn is_allowed(document: &Document, principals: &[String], facts: &Facts) -> bool {
    let question = Question {
        principals,
        action: ACTION,
        resources: &[],
        facts,
    };
    decide([document], &question) == Decision::Allowed
}
