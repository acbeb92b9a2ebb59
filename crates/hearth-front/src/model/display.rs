//! Values as AWS repeats them in validation messages: Java's `toString` of lists, maps and beans.

use serde_json::Value;

use super::Shape;

/// Longest value that a message repeats. A client that sends megabytes gets the beginning back: enough to recognise
/// its mistake.
const MAX_VALUE_CHARS: usize = 1024;

/// ` '<value>'`, ` null`, or nothing for a sensitive member. Follows the word `Value` in messages.
pub(super) fn quoted(shape: &Shape, value: &Value) -> String {
    if is_sensitive(shape) {
        return String::new();
    }
    if value.is_null() {
        return " null".to_owned();
    }
    let text = plain(shape, value);
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!(" '{}...'", &text[..end]),
        None => format!(" '{text}'"),
    }
}

fn is_sensitive(shape: &Shape) -> bool {
    match shape {
        Shape::Text(text) => text.sensitive,
        Shape::Blob => true,
        Shape::List(list) => is_sensitive(list.item),
        Shape::Map(map) => is_sensitive(map.value),
        Shape::Structure(structure) | Shape::Union(structure) => {
            let mut members = structure.members.iter();
            members.any(|member| is_sensitive(member.shape))
        }
        _ => false,
    }
}

fn plain(shape: &Shape, value: &Value) -> String {
    match (shape, value) {
        (_, Value::String(text)) => text.clone(),
        (Shape::List(list), Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| plain(list.item, item)).collect();
            format!("[{}]", items.join(", "))
        }
        (Shape::Map(map), Value::Object(entries)) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{key}={}", plain(map.value, value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        (Shape::Structure(structure) | Shape::Union(structure), Value::Object(members)) => {
            let members: Vec<_> = structure
                .members
                .iter()
                .map(|member| {
                    let value = members.get(member.name).unwrap_or(&Value::Null);
                    format!("{}={}", member.name, plain(member.shape, value))
                })
                .collect();
            format!("{}({})", structure.name, members.join(", "))
        }
        _ => value.to_string(),
    }
}
