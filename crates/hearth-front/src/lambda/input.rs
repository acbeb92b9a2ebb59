//! Gathers the input of an operation from path, query and body into one object.

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::model::{Input, Member, OperationModel, Place, Shape};
use crate::uri::query_pairs;

/// Deepest nesting of a body: the inputs of the model have at most five levels.
const MAX_DEPTH: usize = 16;

/// The input, by member names. Members that the model does not have are dropped, as on AWS.
pub(super) fn gather(
    operation: &OperationModel,
    labels: &[(&'static str, String)],
    query: Option<&str>,
    body: &[u8],
) -> Result<Input, Fault> {
    let mut body = parse_body(body)?;
    let mut input = Input::new();
    for member in operation.input {
        let value = match member.place {
            Place::Body => body.remove(member.name),
            Place::Path => labels
                .iter()
                .find(|(label, _)| *label == member.name)
                .map(|(_, value)| label_value(member, value))
                .transpose()?,
            Place::Query => query_value(member, query.unwrap_or_default())?,
        };
        if let Some(value) = value {
            input.insert(member.name.to_owned(), value);
        }
    }
    Ok(input)
}

/// A label. Numbers of versions are labels, too.
fn label_value(member: &Member, value: &str) -> Result<Value, Fault> {
    match member.shape {
        Shape::Integer(_) => {
            let number = value.parse::<i64>().map(Value::from);
            number.map_err(|_| Fault::unparseable())
        }
        _ => Ok(Value::from(value)),
    }
}

fn parse_body(body: &[u8]) -> Result<Input, Fault> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) if depth_of(&members) <= MAX_DEPTH => Ok(members),
        _ => Err(Fault::unparseable()),
    }
}

fn depth_of(members: &Input) -> usize {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    1 + members.values().map(depth).max().unwrap_or(0)
}

fn query_value(member: &Member, query: &str) -> Result<Option<Value>, Fault> {
    // A value with an unescaped `=` was not encoded. AWS cannot parse it (facts section 1).
    let raw = |pair: &&str| {
        pair.split_once('=')
            .is_some_and(|(name, _)| name == member.wire)
    };
    if query
        .split('&')
        .filter(raw)
        .any(|pair| pair.matches('=').count() > 1)
    {
        return Err(Fault::unparseable());
    }
    let mut values = query_pairs(query)
        .filter(|(name, _)| name == member.wire)
        .map(|(_, value)| value);
    match member.shape {
        Shape::List(_) => {
            let values: Vec<_> = values.map(Value::from).collect();
            Ok((!values.is_empty()).then_some(Value::Array(values)))
        }
        Shape::Integer(_) => values
            .next()
            .map(|value| {
                value
                    .parse::<i64>()
                    .map(Value::from)
                    .map_err(|_| Fault::unparseable())
            })
            .transpose(),
        // Only `true` and `false` are booleans; the check of the model refuses a text.
        Shape::Boolean => Ok(values.next().map(|value| match value.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => Value::from(other),
        })),
        _ => Ok(values.next().map(Value::from)),
    }
}
