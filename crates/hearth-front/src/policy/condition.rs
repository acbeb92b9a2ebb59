//! The `Condition` of a statement, as far as it is understood: comparisons of texts with known facts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Truth;
use super::parse::{ParseError, texts};
use super::pattern::{Letters, Pattern};

/// Facts about a request, by condition key in lower case. A key with the value `None` is known to be absent. A key
/// that is not in the map is unknown.
pub(crate) type Facts = BTreeMap<&'static str, Option<String>>;

/// One key of one operator, with the values that satisfy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    operator: String,
    key: String,
    values: Vec<Wanted>,
}

/// A value of a key: as a text, and as a pattern for operators with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    text: String,
    pattern: Pattern,
}

/// Parses `{"StringEquals": {"key": "value" ["value"]}}`.
pub(super) fn parse(value: &Value) -> Result<Vec<Condition>, ParseError> {
    let malformed = ParseError("a Condition is an object of objects");
    let operators = value.as_object().ok_or(malformed)?;
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().ok_or(malformed)? {
            conditions.push(Condition {
                operator: operator.clone(),
                key: key.to_ascii_lowercase(),
                values: texts(values)
                    .ok_or(malformed)?
                    .into_iter()
                    .map(Wanted::new)
                    .collect(),
            });
        }
    }
    Ok(conditions)
}

/// Whether all conditions hold.
pub(super) fn all_hold(conditions: &[Condition], facts: &Facts) -> Truth {
    let each = conditions.iter().map(|condition| condition.holds(facts));
    each.fold(Truth::Yes, Truth::and)
}

impl Wanted {
    fn new(text: String) -> Self {
        let pattern = Pattern::new(&text, Letters::Exact);
        Self { text, pattern }
    }
}

impl Condition {
    fn holds(&self, facts: &Facts) -> Truth {
        let Some(fact) = facts.get(self.key.as_str()) else {
            return Truth::Unknown;
        };
        if self.values.iter().any(|value| value.text.contains("${")) {
            return Truth::Unknown;
        }
        let any = |holds: fn(&Wanted, &str) -> bool| match fact {
            Some(fact) => Truth::of(self.values.iter().any(|value| holds(value, fact))),
            // A key that is absent equals nothing.
            None => Truth::No,
        };
        match self.operator.as_str() {
            "StringEquals" => any(|value, fact| value.text == fact),
            "StringNotEquals" => any(|value, fact| value.text == fact).not(),
            "StringLike" | "ArnLike" | "ArnEquals" => any(like),
            "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => any(like).not(),
            _ => Truth::Unknown,
        }
    }
}

fn like(value: &Wanted, fact: &str) -> bool {
    value.pattern.matches(fact) == Truth::Yes
}
