//! The canonical text of an input. Two requests with the same client token are the same if their canonical texts are.

use std::collections::BTreeMap;

use hearth_control::request::{ClientToken, RequestDigest, RequestToken};
use serde_json::Value;

use crate::model::Input;

/// The members that hold a client token, in the spellings of the two families.
const TOKENS: [&str; 2] = ["clientToken", "ClientToken"];

/// Whether an input has a client token.
pub(crate) fn has_token(input: &Input) -> bool {
    TOKENS.iter().any(|name| input.contains_key(*name))
}

/// The digest of an input.
pub(crate) fn digest(input: &Input) -> RequestDigest {
    RequestDigest::of(&canonical(input))
}

/// The client token of an input, if it has one.
pub(crate) fn request_token(token: Option<String>, digest: RequestDigest) -> Option<RequestToken> {
    token.map(|token| RequestToken {
        token: ClientToken(token),
        digest,
    })
}

/// JSON with sorted keys, without white space, without the client token, and without null members, which count as
/// absent. Lists keep their order.
fn canonical(input: &Input) -> String {
    let mut text = String::new();
    let members = input.iter();
    write_members(
        &mut text,
        members.filter(|(name, _)| !TOKENS.contains(&name.as_str())),
    );
    text
}

fn write_members<'a>(text: &mut String, members: impl Iterator<Item = (&'a String, &'a Value)>) {
    let sorted: BTreeMap<_, _> = members.filter(|(_, value)| !value.is_null()).collect();
    text.push('{');
    for (place, (name, value)) in sorted.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        write(text, value);
    }
    text.push('}');
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(members) => write_members(text, members.iter()),
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write(text, item);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: &str) -> String {
        canonical(&serde_json::from_str(input).unwrap())
    }

    /// The text is a promise: digests of it are compared for a day, also after an update of Hearth.
    #[test]
    fn equal_requests_have_one_text() {
        let golden = r#"{"a":{"x":[2,1],"y":"\"t\""},"b":true}"#;
        assert_eq!(
            text(
                r#"{ "b": true, "clientToken": "1", "a": {"y": "\"\u0074\"", "x": [2, 1]}, "c": null }"#
            ),
            golden
        );
        assert_eq!(
            text(&golden.replace(",\"b\"", ",\"ClientToken\":\"2\",\"b\"")),
            golden
        );
    }

    #[test]
    fn other_requests_have_other_texts() {
        let texts = [
            r#"{}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[[1],2]}"#,
            r#"{"a":{"clientToken":"1"}}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"b":"1,\"c\":2"}}"#,
            r#"{"a":{"b":"1","c":2}}"#,
        ];
        let mut made: Vec<_> = texts.iter().map(|input| text(input)).collect();
        made.sort();
        made.dedup();
        assert_eq!(made.len(), texts.len());
    }
}
