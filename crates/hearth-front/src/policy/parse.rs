//! Parsing that all parts of a policy document share.

use serde_json::Value;

/// Why a text is not a policy document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ParseError(pub(super) &'static str);

impl ParseError {
    /// The text is not JSON.
    pub(crate) const NO_JSON: Self = Self("a policy is a JSON object");
    /// A trust policy names resources.
    pub(crate) const RESOURCE_IN_TRUST: Self = Self("Has prohibited field Resource");
}

/// A text, or a list of texts.
pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}
