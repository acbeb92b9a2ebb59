//! Answers of `lambda-microvms`: every member of the model is present, absent ones as null.

mod image;
mod microvm;
mod version;

use hearth_control::arn::ConnectorRef;
use hearth_control::time::Timestamp;
use serde_json::Value;

use crate::wire::json::epoch_seconds;

pub(super) use image::{image, image_item, image_with_version, managed_image, managed_version};
pub(crate) use microvm::microvm;
pub(super) use microvm::microvm_item;
pub(super) use version::{build, build_item, chipset, version};

/// A page of a list.
pub(super) fn page(items: Vec<Value>, next_token: Value) -> Value {
    let members = [("items", Value::Array(items)), ("nextToken", next_token)];
    Value::Object(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect(),
    )
}

fn time(time: Timestamp) -> Value {
    epoch_seconds(time.unix_ms())
}

fn arns(connectors: &[ConnectorRef]) -> Vec<String> {
    connectors.iter().map(ToString::to_string).collect()
}

fn text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}
