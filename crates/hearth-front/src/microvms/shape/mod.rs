//! Answers of `lambda-microvms`, built from records of the control plane.

mod image;
mod microvm;
mod version;

use hearth_control::arn::ConnectorRef;

pub(super) use image::{created, image, image_item, managed_image, managed_version, updated};
pub(crate) use microvm::microvm;
pub(super) use microvm::microvm_item;
pub(super) use version::{build, build_item, chipset, version};

fn arns(connectors: &[ConnectorRef]) -> Vec<String> {
    connectors.iter().map(ToString::to_string).collect()
}

fn text<T: ToString>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}
