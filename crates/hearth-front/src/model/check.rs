//! Checks a request against the tables of its model and reports every violation in the words of AWS.
//!
//! The texts were recorded from the live service: `Value '<v>' at '<path>' failed to satisfy
//! constraint: <rule>`, all of one request joined with `; ` behind their number. Constraints on
//! the members of plain lists and maps are reported at the list or map, with the rules in brackets.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{DoubleRange, Input, List, Map, Member, Shape, Structure, Text, display};

/// Most violations in one message: a hostile request with thousands of bad members must not cause an answer many
/// times its own size.
const MAX_VIOLATIONS: usize = 100;

/// Why a request does not reach its operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// A member has a JSON type that the model does not have there. AWS answers without a text.
    Type,
    /// A union has a member of the wrong type, or not exactly one member: `Expected null`.
    Union,
    /// Violated constraints, as one message of AWS.
    Constraints(String),
}

/// Checks `input` against `members`.
///
/// # Errors
///
/// [`Mismatch`], in words for the client.
pub(crate) fn check(members: &'static [Member], input: &Input) -> Result<(), Mismatch> {
    let mut walk = Walk {
        violations: Vec::new(),
    };
    walk.members("", members, input)?;
    let violations = walk.violations;
    if violations.is_empty() {
        return Ok(());
    }
    let noun = if violations.len() == 1 {
        "error"
    } else {
        "errors"
    };
    Err(Mismatch::Constraints(format!(
        "{} validation {noun} detected: {}",
        violations.len(),
        violations.join("; ")
    )))
}

struct Walk {
    violations: Vec<String>,
}

impl Walk {
    fn members(
        &mut self,
        parent: &str,
        members: &'static [Member],
        input: &Input,
    ) -> Result<(), Mismatch> {
        for member in members {
            let path = join(parent, &lower_first(member.name));
            match input.get(member.name).unwrap_or(&Value::Null) {
                Value::Null if member.required => {
                    self.report(&path, " null", "Member must not be null");
                }
                Value::Null => {}
                value => self.value(&path, member.shape, value)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, path: &str, shape: &'static Shape, value: &Value) -> Result<(), Mismatch> {
        match (shape, value) {
            (Shape::List(list), Value::Array(items)) => self.list(path, shape, list, items, value),
            (Shape::Map(map), Value::Object(entries)) => self.map(path, shape, map, entries, value),
            (Shape::Structure(structure), Value::Object(members)) => {
                self.members(path, structure.members, members)
            }
            (Shape::Union(structure), Value::Object(members)) => {
                self.union(path, structure, members)
            }
            _ => {
                for rule in scalar_rules(shape, value)? {
                    self.report(path, &display::quoted(shape, value), &rule);
                }
                Ok(())
            }
        }
    }

    fn union(
        &mut self,
        path: &str,
        structure: &'static Structure,
        input: &Input,
    ) -> Result<(), Mismatch> {
        let known = |name: &str| structure.members.iter().any(|member| member.name == name);
        let mut present = input.iter().filter(|(_, value)| !value.is_null());
        let only_one = present.next().is_some_and(|(name, _)| known(name));
        if !only_one || present.next().is_some() {
            return Err(Mismatch::Union);
        }
        self.members(path, structure.members, input)
            .map_err(|mismatch| match mismatch {
                Mismatch::Type => Mismatch::Union,
                other => other,
            })
    }

    fn list(
        &mut self,
        path: &str,
        shape: &Shape,
        list: &'static List,
        items: &[Value],
        value: &Value,
    ) -> Result<(), Mismatch> {
        for rule in length_rules(items.len(), list.min, list.max) {
            self.report(path, &display::quoted(shape, value), &rule);
        }
        let mut item_rules = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if is_scalar(list.item) {
                add_missing(&mut item_rules, scalar_rules(list.item, item)?);
            } else {
                self.value(&format!("{path}.{}.member", index + 1), list.item, item)?;
            }
        }
        if !item_rules.is_empty() {
            let rule = format!(
                "Member must satisfy constraint: [{}]",
                item_rules.join(", ")
            );
            self.report(path, &display::quoted(shape, value), &rule);
        }
        Ok(())
    }

    fn map(
        &mut self,
        path: &str,
        shape: &Shape,
        map: &'static Map,
        entries: &Input,
        value: &Value,
    ) -> Result<(), Mismatch> {
        for rule in length_rules(entries.len(), map.min, map.max) {
            self.report(path, &display::quoted(shape, value), &rule);
        }
        let (mut key_rules, mut value_rules) = (Vec::new(), Vec::new());
        for (key, entry) in entries {
            add_missing(
                &mut key_rules,
                scalar_rules(map.key, &Value::String(key.clone()))?,
            );
            add_missing(&mut value_rules, scalar_rules(map.value, entry)?);
        }
        for (noun, rules) in [("Map keys", key_rules), ("Map value", value_rules)] {
            if !rules.is_empty() {
                let rule = format!("{noun} must satisfy constraint: [{}]", rules.join(", "));
                self.report(path, &display::quoted(shape, value), &rule);
            }
        }
        Ok(())
    }

    fn report(&mut self, path: &str, quoted: &str, rule: &str) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(format!(
                "Value{quoted} at '{path}' failed to satisfy constraint: {rule}"
            ));
        }
    }
}

fn is_scalar(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Text(_) | Shape::Integer(_) | Shape::Double(_) | Shape::Boolean | Shape::Blob
    )
}

fn add_missing(rules: &mut Vec<String>, more: Vec<String>) {
    for rule in more {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
}

/// The rules that a value without members violates.
fn scalar_rules(shape: &Shape, value: &Value) -> Result<Vec<String>, Mismatch> {
    match (shape, value) {
        (Shape::Text(constraints), Value::String(text)) => Ok(text_rules(constraints, text)),
        (Shape::Integer(range), Value::Number(number)) => {
            let number = number.as_i64().ok_or(Mismatch::Type)?;
            Ok(bound_rules(
                "Member must have value",
                number,
                range.min,
                range.max,
            ))
        }
        (Shape::Double(range), Value::Number(number)) => {
            let number = number.as_f64().ok_or(Mismatch::Type)?;
            Ok(double_rules(number, range))
        }
        (Shape::Boolean, Value::Bool(_)) => Ok(Vec::new()),
        (Shape::Blob, Value::String(text)) => match base64_simd::STANDARD.check(text.as_bytes()) {
            Ok(()) => Ok(Vec::new()),
            Err(_) => Err(Mismatch::Type),
        },
        _ => Err(Mismatch::Type),
    }
}

/// Doubles have a digit behind the point in messages, as Java writes them.
fn double_rules(number: f64, range: &DoubleRange) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(max) = range.max.filter(|max| number > *max) {
        rules.push(format!(
            "Member must have value less than or equal to {max:?}"
        ));
    }
    if let Some(min) = range.min.filter(|min| number < *min) {
        rules.push(format!(
            "Member must have value greater than or equal to {min:?}"
        ));
    }
    rules
}

fn text_rules(constraints: &Text, text: &str) -> Vec<String> {
    let mut rules = length_rules(text.chars().count(), constraints.min, constraints.max);
    if let Some(pattern) = constraints
        .pattern
        .filter(|pattern| !matches(pattern, text))
    {
        rules.push(format!(
            "Member must satisfy regular expression pattern: {pattern}"
        ));
    }
    if !constraints.values.is_empty() && !constraints.values.contains(&text) {
        let values = constraints.values.join(", ");
        rules.push(format!("Member must satisfy enum value set: [{values}]"));
    }
    rules
}

fn length_rules(length: usize, min: Option<usize>, max: Option<usize>) -> Vec<String> {
    let signed = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    bound_rules(
        "Member must have length",
        signed(length),
        min.map(signed),
        max.map(signed),
    )
}

fn bound_rules(subject: &str, number: i64, min: Option<i64>, max: Option<i64>) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(max) = max.filter(|&max| number > max) {
        rules.push(format!("{subject} less than or equal to {max}"));
    }
    if let Some(min) = min.filter(|&min| number < min) {
        rules.push(format!("{subject} greater than or equal to {min}"));
    }
    rules
}

/// Messages write member names with a small first letter, even where the model does not.
fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_ascii_lowercase().to_string() + chars.as_str()
    })
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// Whether the whole of `text` matches. A pattern that does not compile matches nothing; a unit test compiles all of
/// them.
fn matches(pattern: &str, text: &str) -> bool {
    PATTERNS
        .get(pattern)
        .is_some_and(|regex| regex.is_match(text))
}

static PATTERNS: LazyLock<HashMap<&'static str, Regex>> = LazyLock::new(|| {
    let mut patterns = HashMap::new();
    for member in super::operations().flat_map(|operation| operation.input) {
        compile(member.shape, &mut patterns);
    }
    patterns
});

fn compile(shape: &Shape, patterns: &mut HashMap<&'static str, Regex>) {
    match shape {
        Shape::Text(Text {
            pattern: Some(pattern),
            ..
        }) => {
            // Java's \d and \w are ASCII.
            let ascii = without_looking_around(pattern)
                .replace(r"\d", "[0-9]")
                .replace(r"\w", "[0-9A-Za-z_]");
            let whole = format!(r"\A(?:{ascii})\z");
            if let Ok(regex) = Regex::new(&whole) {
                patterns.insert(pattern, regex);
            }
        }
        Shape::List(list) => compile(list.item, patterns),
        Shape::Map(map) => {
            compile(map.key, patterns);
            compile(map.value, patterns);
        }
        Shape::Structure(structure) | Shape::Union(structure) => {
            structure
                .members
                .iter()
                .for_each(|member| compile(member.shape, patterns));
        }
        _ => {}
    }
}

/// Parts of patterns that look around, which Rust's expressions cannot, and what says the same without.
const LOOKING_AROUND: &[(&str, &str)] = &[
    // Not only digits.
    (
        "(?!^[0-9]+$)([a-zA-Z0-9-_]+)",
        "[a-zA-Z0-9-_]*[a-zA-Z-_][a-zA-Z0-9-_]*",
    ),
    (
        r"(?!\d+$)[0-9a-zA-Z-_]+",
        "[0-9a-zA-Z-_]*[a-zA-Z-_][0-9a-zA-Z-_]*",
    ),
    // No point at the end.
    (
        r"[0-9A-Za-z\.\-_]*(?<!\.)",
        r"([0-9A-Za-z\.\-_]*[0-9A-Za-z\-_])?",
    ),
];

fn without_looking_around(pattern: &str) -> String {
    let mut plain = pattern.to_owned();
    for (looking, without) in LOOKING_AROUND {
        plain = plain.replace(looking, without);
    }
    plain
}

#[cfg(test)]
pub(super) fn is_compiled(pattern: &str) -> bool {
    PATTERNS.contains_key(pattern)
}
