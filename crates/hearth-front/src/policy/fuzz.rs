//! The body of the fuzz target `policy_documents`.

use super::{Decision, Document, DocumentKind, Facts, Question, decide};

const EVERYTHING_DENIED: &str =
    r#"{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}"#;

/// Parses two policies, with a zero byte between them, and evaluates them for an object. Their order must not matter,
/// no policy allows nothing, and a denial of everything wins.
pub fn documents(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // Parsing a trust policy may not panic either.
    let _ = Document::parse(text, DocumentKind::Trust);
    let documents: Vec<_> = text
        .split('\0')
        .filter_map(|text| Document::parse(text, DocumentKind::Identity).ok())
        .collect();
    let facts = Facts::from([("s3:prefix", Some("a/b".to_owned()))]);
    let resources = ["arn:aws:s3:::bucket/a/b".to_owned()];
    let question = Question {
        principals: &[],
        action: "s3:GetObject",
        resources: &resources,
        facts: &facts,
    };
    let said = decide(&documents, &question);
    assert_eq!(said, decide(documents.iter().rev(), &question), "any order");
    if !text.contains("Allow") && !text.contains('\\') {
        assert_ne!(said, Decision::Allowed, "nothing is allowed by nothing");
    }
    let denial = Document::parse(EVERYTHING_DENIED, DocumentKind::Identity);
    let denied = decide(documents.iter().chain(denial.as_ref().ok()), &question);
    assert_eq!(denied, Decision::DeniedExplicitly, "a denial wins");
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_policy_documents() {
        let words: &[&[u8]] = &[
            b"\"Effect\": \"Deny\"",
            b"\"Effect\": \"Allow\"",
            b"\"NotAction\": \"*\"",
            b"\"NotResource\": []",
            b"\"*\"",
            b"***?*",
            b"${aws:username}",
            b"\"Condition\": {\"StringNotLike\": {\"s3:prefix\": [\"a*\"]}}",
            b"[",
            b"\0",
        ];
        hearth_corpus::run("policy_documents", words, super::documents);
    }
}
