//! Changes of images, their versions and builds.

use super::forget_name;
use crate::arn::ImageArn;
use crate::id::VersionNumber;
use crate::image::{Build, Image, ImageVersion};
use crate::store::Result;
use crate::store::form::Stored as _;
use crate::store::primitive::{Rows, Value, Write};
use crate::store::text::{Word as _, scope_text};

pub(super) fn put(image: &Image) -> Write {
    let major = |number: Option<VersionNumber>| Value::from(number.map(VersionNumber::major));
    Write::Put {
        table: "image",
        key: &["arn"],
        columns: vec![
            ("arn", image.arn.to_string().into()),
            ("scope", scope_text(&image.arn.scope).into()),
            ("name", image.arn.name.as_str().into()),
            ("id", image.id.to_string().into()),
            ("state", image.state.word().into()),
            ("latest_active", major(image.latest_active_version)),
            ("latest_failed", major(image.latest_failed_version)),
            ("last_version", image.last_version.major().into()),
            ("created", image.created_at.unix_ms().into()),
            ("updated", image.updated_at.unix_ms().into()),
        ],
        updated: &[
            "state",
            "latest_active",
            "latest_failed",
            "last_version",
            "updated",
        ],
    }
}

pub(super) fn remove(arn: &ImageArn) -> Vec<Write> {
    let arn = arn.to_string();
    let of_image = |table| Rows::of(table).is("image", arn.as_str());
    let mut writes = Vec::from(forget_name(&arn));
    writes.push(Write::forget(of_image("build")));
    writes.push(Write::forget(of_image("version")));
    writes.push(Write::remove(Rows::of("image").is("arn", arn.as_str())));
    writes
}

pub(super) fn put_version(version: &ImageVersion) -> Result<Write> {
    // The size of the template is in the specification, which is stored whole.
    let template = version.template.as_ref();
    let snapshot = template.map(|template| template.snapshot.0.as_str());
    Ok(Write::Put {
        table: "version",
        key: &["image", "number"],
        columns: vec![
            ("image", version.image.to_string().into()),
            ("number", version.number.major().into()),
            ("state", version.state.word().into()),
            ("status", version.status.word().into()),
            ("spec", version.spec.to_text()?.into()),
            ("snapshot", snapshot.into()),
            ("created", version.created_at.unix_ms().into()),
            ("updated", version.updated_at.unix_ms().into()),
        ],
        updated: &["state", "status", "spec", "snapshot", "updated"],
    })
}

pub(super) fn remove_version(arn: &ImageArn, number: VersionNumber) -> Vec<Write> {
    let of_version = |table| {
        Rows::of(table)
            .is("image", arn.to_string())
            .is("number", number.major())
    };
    vec![
        Write::forget(of_version("build")),
        Write::remove(of_version("version")),
    ]
}

pub(super) fn put_build(build: &Build) -> Write {
    let bytes = |bytes: Option<u64>| Value::from(bytes.map(u64::cast_signed));
    Write::Put {
        table: "build",
        key: &["id"],
        columns: vec![
            ("id", build.id.to_string().into()),
            ("image", build.image.to_string().into()),
            ("number", build.version.major().into()),
            ("scope", scope_text(&build.image.scope).into()),
            ("state", build.state.word().into()),
            ("architecture", build.architecture.word().into()),
            (
                "chipset_generation",
                build.chipset_generation.as_str().into(),
            ),
            ("reason", build.reason.as_deref().into()),
            ("memory_bytes", bytes(build.sizes.memory_bytes)),
            ("code_install_bytes", bytes(build.sizes.code_install_bytes)),
            ("disk_bytes", bytes(build.sizes.disk_bytes)),
            ("attempts", build.attempts.into()),
            ("created", build.created_at.unix_ms().into()),
        ],
        updated: &[
            "state",
            "reason",
            "memory_bytes",
            "disk_bytes",
            "code_install_bytes",
            "attempts",
        ],
    }
}
