//! Changes of images, their versions and builds.

use rusqlite::{Connection, params};

use super::super::rows::scope_text;
use super::{hit, remove_resource, run};
use crate::arn::ImageArn;
use crate::id::VersionNumber;
use crate::image::{Build, Image, ImageVersion};
use crate::store::form::Stored as _;
use crate::store::text::Word as _;
use crate::store::{Change, Result};

pub(super) fn put(db: &Connection, image: &Image) -> Result<()> {
    run(
        db,
        "INSERT INTO image (arn, scope, name, id, state, latest_active, latest_failed, last_version, created, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (arn) DO UPDATE SET state = excluded.state, \
         latest_active = excluded.latest_active, latest_failed = excluded.latest_failed, \
         last_version = excluded.last_version, updated = excluded.updated",
        params![
            image.arn.to_string(),
            scope_text(&image.arn.scope),
            image.arn.name.as_str(),
            image.id.to_string(),
            image.state.word(),
            image.latest_active_version.map(|number| number.major()),
            image.latest_failed_version.map(|number| number.major()),
            image.last_version.major(),
            image.created_at.unix_ms(),
            image.updated_at.unix_ms(),
        ],
    )?;
    Ok(())
}

/// Removes an image. Its versions and builds go with it, because they refer to it.
pub(super) fn remove(db: &Connection, change: &Change, arn: &ImageArn) -> Result<()> {
    let statement = "DELETE FROM image WHERE arn = ?";
    remove_resource(db, change, statement, &arn.to_string())
}

pub(super) fn put_version(db: &Connection, version: &ImageVersion) -> Result<()> {
    run(
        db,
        "INSERT INTO version (image, number, state, status, spec, snapshot, created, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (image, number) DO UPDATE SET state = excluded.state, \
         status = excluded.status, spec = excluded.spec, snapshot = excluded.snapshot, updated = excluded.updated",
        params![
            version.image.to_string(),
            version.number.major(),
            version.state.word(),
            version.status.word(),
            version.spec.to_text()?,
            version.snapshot.as_ref().map(|snapshot| &snapshot.0),
            version.created_at.unix_ms(),
            version.updated_at.unix_ms(),
        ],
    )?;
    Ok(())
}

pub(super) fn remove_version(
    db: &Connection,
    change: &Change,
    arn: &ImageArn,
    number: VersionNumber,
) -> Result<()> {
    hit(
        db,
        change,
        "DELETE FROM version WHERE image = ? AND number = ?",
        params![arn.to_string(), number.major()],
    )
}

pub(super) fn put_build(db: &Connection, build: &Build) -> Result<()> {
    run(
        db,
        "INSERT INTO build (id, image, number, scope, state, architecture, chipset_generation, reason, \
         memory_bytes, code_install_bytes, disk_bytes, attempts, created) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
         reason = excluded.reason, memory_bytes = excluded.memory_bytes, disk_bytes = excluded.disk_bytes, \
         code_install_bytes = excluded.code_install_bytes, attempts = excluded.attempts",
        params![
            build.id.to_string(),
            build.image.to_string(),
            build.version.major(),
            scope_text(&build.image.scope),
            build.state.word(),
            build.architecture.word(),
            build.chipset_generation,
            build.reason,
            build.sizes.memory_bytes.map(u64::cast_signed),
            build.sizes.code_install_bytes.map(u64::cast_signed),
            build.sizes.disk_bytes.map(u64::cast_signed),
            build.attempts,
            build.created_at.unix_ms(),
        ],
    )?;
    Ok(())
}
