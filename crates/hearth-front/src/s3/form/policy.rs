//! The policy of a form: what its signer lets be uploaded, and until when.

use std::ops::RangeInclusive;

use base64_simd::STANDARD as BASE64;
use jiff::Timestamp;
use s3s::{S3Error, S3Result, s3_error};
use serde_json::Value;

use super::fields::Fields;

/// Conditions of a policy: one for each field, and some more.
const MAX_CONDITIONS: usize = 200;

/// Fields that no condition need name: what is verified itself, and what only bounds the file further.
const FREE: &[&str] = &[
    "awsaccesskeyid",
    "signature",
    "policy",
    "x-amz-signature",
    "content-md5",
];

/// What the names of further such fields begin with.
const FREE_BEGINS: &[&str] = &["x-ignore-", "x-amz-checksum-"];

/// A policy.
#[derive(Debug)]
pub(super) struct Policy {
    expires: Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// A field, by its name in lower case, has this value.
    Is(String, String),
    /// It begins so.
    Begins(String, String),
    /// The file has so many bytes.
    Size(RangeInclusive<u64>),
}

fn invalid(text: &str) -> S3Error {
    s3_error!(InvalidPolicyDocument, "Invalid Policy: {text}")
}

fn unmet(text: &str) -> S3Error {
    s3_error!(AccessDenied, "Invalid according to Policy: {text}")
}

impl Policy {
    /// Reads a policy: JSON in base64.
    pub(super) fn parse(document: &str) -> S3Result<Self> {
        let bytes = BASE64.decode_to_vec(document);
        let bytes = bytes.map_err(|_| invalid("it is not base64."))?;
        let policy: Value = serde_json::from_slice(&bytes).map_err(|_| invalid("Invalid JSON."))?;
        let expires = policy.get("expiration").and_then(Value::as_str);
        let expires = expires.ok_or_else(|| invalid("Policy missing expiration."))?;
        let expires = parse_time(expires).ok_or_else(|| {
            invalid("Invalid 'expiration' value: it has to be a time such as 2026-01-01T00:00:00Z.")
        })?;
        let conditions = policy.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or_else(|| invalid("Policy missing conditions."))?;
        if conditions.len() > MAX_CONDITIONS {
            return Err(invalid("it has too many conditions."));
        }
        let mut read = Vec::new();
        for condition in conditions {
            match condition {
                Value::Object(pairs) if !pairs.is_empty() => {
                    for (name, value) in pairs {
                        let value = value.as_str();
                        let value = value.ok_or_else(|| invalid("Invalid Simple-Condition."))?;
                        read.push(Condition::Is(name.to_ascii_lowercase(), value.to_owned()));
                    }
                }
                Value::Array(parts) => read.push(operation(parts)?),
                _ => return Err(invalid("Invalid Simple-Condition.")),
            }
        }
        Ok(Self {
            expires,
            conditions: read,
        })
    }

    /// The least and the most bytes of the file, if the policy says so.
    pub(super) fn sizes(&self) -> Option<RangeInclusive<u64>> {
        self.conditions
            .iter()
            .find_map(|condition| match condition {
                Condition::Size(sizes) => Some(sizes.clone()),
                _ => None,
            })
    }

    /// Holds the fields against the conditions, and each of them against there being one.
    pub(super) fn check(&self, bucket: &str, fields: &Fields, now: Timestamp) -> S3Result<()> {
        if now > self.expires {
            return Err(unmet("Policy expired."));
        }
        let value = |name: &str| match name {
            "bucket" => Some(bucket),
            name => fields.get(name),
        };
        for condition in &self.conditions {
            let (name, holds, text) = match condition {
                Condition::Is(name, wanted) => {
                    let holds = value(name) == Some(wanted);
                    (name, holds, format!("[\"eq\", \"${name}\", \"{wanted}\"]"))
                }
                Condition::Begins(name, begin) => {
                    let holds = value(name).is_some_and(|value| begins(name, value, begin));
                    let text = format!("[\"starts-with\", \"${name}\", \"{begin}\"]");
                    (name, holds, text)
                }
                Condition::Size(_) => continue,
            };
            // A field that may be empty need not be there.
            let may_be_absent =
                matches!(condition, Condition::Begins(_, begin) if begin.is_empty());
            let is_absent = may_be_absent && value(name).is_none();
            if !(holds || is_absent) {
                return Err(unmet(&format!("Policy Condition failed: {text}")));
            }
        }
        match fields.iter().find(|(name, _)| !self.lets(name)) {
            Some((name, _)) => Err(unmet(&format!("Extra input fields: {name}"))),
            None => Ok(()),
        }
    }
}

impl Policy {
    /// Whether a form may have a field: one of a condition, or one that needs none.
    pub(super) fn lets(&self, field: &str) -> bool {
        let is_free =
            FREE.contains(&field) || FREE_BEGINS.iter().any(|begin| field.starts_with(begin));
        is_free
            || self.conditions.iter().any(|condition| match condition {
                Condition::Is(name, _) | Condition::Begins(name, _) => name == field,
                Condition::Size(_) => false,
            })
    }
}

/// Content types may be a list, each of which has to begin so.
fn begins(name: &str, value: &str, begin: &str) -> bool {
    if name == "content-type" {
        return value
            .split(',')
            .all(|kind| kind.trim_start().starts_with(begin));
    }
    value.starts_with(begin)
}

/// Reads a time in the one form that S3 takes (ISO 8601 in UTC, as `2026-01-01T00:00:00.000Z`).
fn parse_time(text: &str) -> Option<Timestamp> {
    let is_form = text.as_bytes().get(10) == Some(&b'T') && text.ends_with('Z');
    text.parse().ok().filter(|_| is_form)
}

fn operation(parts: &[Value]) -> S3Result<Condition> {
    let [operation, first, second] = parts else {
        return Err(invalid(
            "Invalid Condition: an operation has three members.",
        ));
    };
    let operation = operation.as_str().unwrap_or_default().to_ascii_lowercase();
    if operation == "content-length-range" {
        let bytes = |value: &Value| {
            let text = || value.as_str().and_then(|text| text.parse().ok());
            let bytes = value.as_u64().or_else(text);
            bytes.ok_or_else(|| {
                invalid("Invalid content-length-range: it has two numbers of bytes.")
            })
        };
        return Ok(Condition::Size(bytes(first)?..=bytes(second)?));
    }
    let name = first.as_str().and_then(|name| name.strip_prefix('$'));
    let (Some(name), Some(value)) = (name, second.as_str()) else {
        return Err(invalid(
            "Invalid Condition: a field is named with a $ before it.",
        ));
    };
    let (name, value) = (name.to_ascii_lowercase(), value.to_owned());
    match operation.as_str() {
        "eq" => Ok(Condition::Is(name, value)),
        "starts-with" => Ok(Condition::Begins(name, value)),
        _ => Err(invalid("Invalid Condition: unknown operation.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> S3Result<Policy> {
        Policy::parse(&BASE64.encode_to_string(text))
    }

    fn check(conditions: &str, pairs: &[(&str, &str)]) -> bool {
        let text =
            format!(r#"{{"expiration": "2026-01-02T00:00:00Z", "conditions": {conditions}}}"#);
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        policy(&text)
            .unwrap()
            .check("b", &Fields::of(pairs), now)
            .is_ok()
    }

    #[test]
    fn every_field_has_a_condition_that_holds() {
        let conditions = r#"[{"bucket": "b"}, ["starts-with", "$key", "in/"], ["EQ", "$acl", "private"], ["starts-with", "$x-amz-meta-a", ""]]"#;
        assert!(check(conditions, &[("key", "in/k"), ("acl", "private")]));
        assert!(check(
            conditions,
            &[
                ("key", "in/k"),
                ("acl", "private"),
                ("x-amz-meta-a", "1"),
                ("policy", "p"),
                ("x-ignore-b", "2")
            ]
        ));
        assert!(!check(conditions, &[("key", "out/k"), ("acl", "private")]));
        assert!(!check(
            conditions,
            &[("key", "in/k"), ("acl", "public-read")]
        ));
        assert!(!check(conditions, &[("key", "in/k")]));
        let more = [("key", "in/k"), ("acl", "private"), ("x-amz-meta-b", "1")];
        assert!(!check(conditions, &more));
        assert!(!check(r#"[{"bucket": "other"}]"#, &[]));
    }

    #[test]
    fn a_policy_has_an_end_and_conditions() {
        for bad in [
            "{}",
            "not json",
            r#"{"expiration": "2026-01-02T00:00:00Z"}"#,
            r#"{"EXPIRATION": "2026-01-02T00:00:00Z", "conditions": []}"#,
            r#"{"expiration": "tomorrow", "conditions": []}"#,
            r#"{"expiration": "2026-01-02T00:00:00Z", "conditions": [{}]}"#,
            r#"{"expiration": "2026-01-02T00:00:00Z", "conditions": [["content-length-range", -1, 5]]}"#,
            r#"{"expiration": "2026-01-02T00:00:00Z", "conditions": [["content-length-range", 5]]}"#,
            r#"{"expiration": "2026-01-02T00:00:00Z", "conditions": [["eq", "key", "k"]]}"#,
            r#"{"expiration": "2026-01-02T00:00:00Z", "conditions": [["like", "$key", "k"]]}"#,
        ] {
            assert!(policy(bad).is_err(), "{bad}");
        }
        let good = r#"{"expiration": "2026-01-02T00:00:00.000Z", "conditions": [["content-length-range", "1", 5]]}"#;
        let good = policy(good).unwrap();
        assert_eq!(good.sizes(), Some(1..=5));
        let after = "2026-01-03T00:00:00Z".parse().unwrap();
        assert!(good.check("b", &Fields::default(), after).is_err());
    }
}
