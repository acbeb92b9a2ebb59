//! Answers about images and managed base images.

use hearth_control::arn::ManagedImageArn;
use hearth_control::id::Region;
use hearth_control::image::{
    Architecture, Image, ImageWithVersion, ManagedImage, ManagedVersion, TaggedImage, Tags,
};

use super::text;
use super::version::specification;
use crate::model::lambda_microvms as model;

/// `GetMicrovmImage`: the specification is on the versions.
pub(crate) fn image(found: &TaggedImage) -> model::GetMicrovmImageOutput {
    model::GetMicrovmImageOutput {
        microvm_image_summary: image_item(&found.image),
        tags: Some(found.tags.clone()),
        updated_at: Some(found.image.updated_at.into()),
    }
}

/// An item of `ListMicrovmImages`.
pub(crate) fn image_item(image: &Image) -> model::MicrovmImageSummary {
    model::MicrovmImageSummary {
        created_at: image.created_at.into(),
        id: image.id.to_string(),
        image_arn: image.arn.to_string(),
        latest_active_image_version: text(image.latest_active_version.as_ref()),
        latest_failed_image_version: text(image.latest_failed_version.as_ref()),
        name: image.arn.name.to_string(),
        state: image.state.into(),
    }
}

/// The answer of a create: the image, the specification of its first version, and the tags of the request.
pub(crate) fn created(
    made: &ImageWithVersion,
    tags: Option<Tags>,
) -> model::CreateMicrovmImageOutput {
    model::CreateMicrovmImageOutput {
        image_specification: specification(&made.version.spec),
        microvm_image_summary: image_item(&made.image),
        image_version: made.version.number.to_string(),
        tags,
        updated_at: Some(made.image.updated_at.into()),
    }
}

/// The answer of an update: the image and the specification of its new version.
pub(crate) fn updated(made: &ImageWithVersion) -> model::UpdateMicrovmImageOutput {
    model::UpdateMicrovmImageOutput {
        image_specification: specification(&made.version.spec),
        microvm_image_summary: image_item(&made.image),
        image_version: made.version.number.to_string(),
        updated_at: made.image.updated_at.into(),
    }
}

/// An item of `ListManagedMicrovmImages`.
pub(crate) fn managed_image(
    region: &Region,
    image: &ManagedImage,
) -> model::ManagedMicrovmImageSummary {
    let arn = ManagedImageArn {
        region: region.clone(),
        name: image.name.clone(),
    };
    model::ManagedMicrovmImageSummary {
        created_at: image.created_at.into(),
        image_arn: arn.to_string(),
        updated_at: Some(image.updated_at.into()),
    }
}

/// An item of `ListManagedMicrovmImageVersions`. Its version is a bare number.
pub(crate) fn managed_version(
    arn: &ManagedImageArn,
    version: &ManagedVersion,
) -> model::ManagedMicrovmImageVersion {
    let architecture = Architecture::X86_64.into();
    model::ManagedMicrovmImageVersion {
        created_at: version.created_at.into(),
        image_arn: arn.to_string(),
        image_version: version.number.to_string(),
        status: Some(version.status.into()),
        supported_cpu_configurations: Some(vec![model::CpuConfiguration { architecture }]),
        updated_at: Some(version.updated_at.into()),
    }
}
