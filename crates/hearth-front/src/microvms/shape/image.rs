//! Images and managed base images.

use hearth_control::arn::ManagedImageArn;
use hearth_control::id::Region;
use hearth_control::image::{Image, ImageWithVersion, ManagedImage, ManagedVersion, TaggedImage};
use serde_json::{Map, Value, json};

use super::version::spec_members;
use super::{text, time};
use crate::aws_strings::Word;

/// `GetMicrovmImage`: the configuration is on the versions.
pub(crate) fn image(found: &TaggedImage) -> Value {
    let mut members = item_members(&found.image);
    members.insert("tags".to_owned(), json!(found.tags));
    members.insert("updatedAt".to_owned(), time(found.image.updated_at));
    Value::Object(members)
}

/// An item of `ListMicrovmImages`.
pub(crate) fn image_item(image: &Image) -> Value {
    Value::Object(item_members(image))
}

/// What creating and updating answer: the image and what its new version is made from.
pub(crate) fn image_with_version(made: &ImageWithVersion) -> Map<String, Value> {
    let mut members = item_members(&made.image);
    members.extend(spec_members(&made.version.spec));
    members.insert(
        "imageVersion".to_owned(),
        json!(made.version.number.to_string()),
    );
    members.insert("updatedAt".to_owned(), time(made.image.updated_at));
    members
}

fn item_members(image: &Image) -> Map<String, Value> {
    let members = [
        ("createdAt", time(image.created_at)),
        // In no model, but in every recorded answer.
        ("id", json!(image.id.to_string())),
        ("imageArn", json!(image.arn.to_string())),
        (
            "latestActiveImageVersion",
            json!(text(image.latest_active_version.as_ref())),
        ),
        (
            "latestFailedImageVersion",
            json!(text(image.latest_failed_version.as_ref())),
        ),
        ("name", json!(image.arn.name.as_str())),
        ("state", json!(image.state.text())),
    ];
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// An item of `ListManagedMicrovmImages`.
pub(crate) fn managed_image(region: &Region, image: &ManagedImage) -> Value {
    let arn = ManagedImageArn {
        region: region.clone(),
        name: image.name.clone(),
    };
    json!({
        "createdAt": time(image.created_at),
        "imageArn": arn.to_string(),
        "updatedAt": time(image.updated_at),
    })
}

/// An item of `ListManagedMicrovmImageVersions`; its version is a bare number.
pub(crate) fn managed_version(arn: &ManagedImageArn, version: &ManagedVersion) -> Value {
    json!({
        "createdAt": time(version.created_at),
        "imageArn": arn.to_string(),
        "imageVersion": version.number.to_string(),
        "status": version.status.text(),
        "supportedCpuConfigurations": [{"architecture": "X86_64"}],
        "updatedAt": time(version.updated_at),
    })
}
