//! Queries on images, versions, builds and tags.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::rows::RowReader;
use crate::arn::{ImageArn, Scope};
use crate::host::{SnapshotRef, Template};
use crate::id::{BuildId, ImageName, VersionNumber};
use crate::image::{Build, BuildSizes, Image, ImageSpec, ImageVersion, Tags};
use crate::store::Result;
use crate::store::form::Stored as _;
use crate::store::text::scope_text;

/// Runs a query and converts each row.
pub(super) fn list<T>(
    db: &Connection,
    query: &str,
    arguments: impl Params,
    make: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached(query)?;
    let mut rows = statement.query(arguments)?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(make(row)?);
    }
    Ok(list)
}

/// Runs a query that finds at most one row.
pub(super) fn find<T>(
    db: &Connection,
    query: &str,
    arguments: impl Params,
    make: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = db.prepare_cached(query)?;
    let found = statement
        .query_row(arguments, |row| Ok(make(row)))
        .optional()?;
    found.transpose()
}

fn image_of(row: &Row<'_>) -> Result<Image> {
    let columns = RowReader::of(row, "image");
    Ok(Image {
        arn: columns.parsed("arn")?,
        id: columns.parsed("id")?,
        state: columns.word("state")?,
        latest_active_version: columns.optional_version("latest_active")?,
        latest_failed_version: columns.optional_version("latest_failed")?,
        last_version: columns.version("last_version")?,
        created_at: columns.time("created")?,
        updated_at: columns.time("updated")?,
    })
}

fn version_of(row: &Row<'_>) -> Result<ImageVersion> {
    let columns = RowReader::of(row, "image version");
    let spec = ImageSpec::from_text(&columns.plain::<String>("spec")?)?;
    let snapshot = columns.plain::<Option<String>>("snapshot")?;
    Ok(ImageVersion {
        image: columns.parsed("image")?,
        number: columns.version("number")?,
        state: columns.word("state")?,
        status: columns.word("status")?,
        template: snapshot.map(|snapshot| Template {
            snapshot: SnapshotRef(snapshot),
            tier: spec.tier,
        }),
        spec,
        created_at: columns.time("created")?,
        updated_at: columns.time("updated")?,
    })
}

fn build_of(row: &Row<'_>) -> Result<Build> {
    let columns = RowReader::of(row, "build");
    let bytes = |column| {
        Ok::<_, crate::store::StoreError>(
            columns
                .plain::<Option<i64>>(column)?
                .map(i64::cast_unsigned),
        )
    };
    Ok(Build {
        id: columns.parsed("id")?,
        image: columns.parsed("image")?,
        version: columns.version("number")?,
        state: columns.word("state")?,
        architecture: columns.word("architecture")?,
        chipset_generation: columns.plain("chipset_generation")?,
        reason: columns.plain("reason")?,
        sizes: BuildSizes {
            memory_bytes: bytes("memory_bytes")?,
            code_install_bytes: bytes("code_install_bytes")?,
            disk_bytes: bytes("disk_bytes")?,
        },
        attempts: columns.plain("attempts")?,
        created_at: columns.time("created")?,
    })
}

pub(super) fn image(db: &Connection, arn: &ImageArn) -> Result<Option<Image>> {
    find(
        db,
        "SELECT * FROM image WHERE arn = ?",
        [arn.to_string()],
        image_of,
    )
}

pub(super) fn images(
    db: &Connection,
    scope: &Scope,
    after: Option<&ImageName>,
    limit: u32,
) -> Result<Vec<Image>> {
    let after = after.map_or("", ImageName::as_str);
    let query = "SELECT * FROM image WHERE scope = ? AND name > ? ORDER BY name LIMIT ?";
    list(
        db,
        query,
        params![scope_text(scope), after, limit],
        image_of,
    )
}

pub(super) fn all_images(db: &Connection) -> Result<Vec<Image>> {
    list(db, "SELECT * FROM image", [], image_of)
}

pub(super) fn version(
    db: &Connection,
    arn: &ImageArn,
    number: VersionNumber,
) -> Result<Option<ImageVersion>> {
    let query = "SELECT * FROM version WHERE image = ? AND number = ?";
    find(
        db,
        query,
        params![arn.to_string(), number.major()],
        version_of,
    )
}

pub(super) fn versions(
    db: &Connection,
    arn: &ImageArn,
    before: Option<VersionNumber>,
    limit: u32,
) -> Result<Vec<ImageVersion>> {
    let before = before.map_or(i64::MAX, |number| i64::from(number.major()));
    let query = "SELECT * FROM version WHERE image = ? AND number < ? ORDER BY number DESC LIMIT ?";
    list(
        db,
        query,
        params![arn.to_string(), before, limit],
        version_of,
    )
}

pub(super) fn builds(
    db: &Connection,
    arn: &ImageArn,
    number: VersionNumber,
    after: Option<BuildId>,
    limit: u32,
) -> Result<Vec<Build>> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let query = "SELECT * FROM build WHERE image = ? AND number = ? AND id > ? ORDER BY id LIMIT ?";
    list(
        db,
        query,
        params![arn.to_string(), number.major(), after, limit],
        build_of,
    )
}

pub(super) fn build(db: &Connection, id: BuildId) -> Result<Option<Build>> {
    find(
        db,
        "SELECT * FROM build WHERE id = ?",
        [id.to_string()],
        build_of,
    )
}

pub(super) fn is_snapshot_needed(db: &Connection, snapshot: &str, build: BuildId) -> Result<bool> {
    let query = "SELECT 1 FROM version WHERE snapshot = ? \
                 UNION ALL SELECT 1 FROM build WHERE id = ? AND state IN ('PENDING', 'IN_PROGRESS')";
    Ok(db
        .prepare_cached(query)?
        .exists(params![snapshot, build.to_string()])?)
}

pub(super) fn tags(db: &Connection, resource: &str) -> Result<Tags> {
    let pair = |row: &Row<'_>| Ok((row.get("key")?, row.get("value")?));
    let tags = list(
        db,
        "SELECT key, value FROM tag WHERE resource = ?",
        [resource],
        pair,
    )?;
    Ok(tags.into_iter().collect())
}
