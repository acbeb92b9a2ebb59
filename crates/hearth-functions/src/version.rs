//! Versions of functions: `$LATEST` and those that were published.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::configuration::{Configuration, State, UpdateStatus};
use crate::error::FunctionError;
use crate::owner::Owner;
use crate::records::{new_revision, signed, unsigned};
use crate::reference::VersionId;

/// One version of a function, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionVersion {
    /// The name of the function.
    pub name: String,
    /// The unqualified ARN of the function.
    pub function_arn: String,
    /// Which version.
    pub version: VersionId,
    /// Its configuration.
    pub configuration: Configuration,
    /// The SHA-256 of its zip: lower-case hex.
    pub code_sha256: String,
    /// The size of its zip in bytes.
    pub code_bytes: u64,
    /// The size of the zip's content in bytes.
    pub unzipped_bytes: u64,
    /// Changes with every change.
    pub revision_id: String,
    /// When it was changed last, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its state.
    pub state: State,
    /// The state of its last update. `None` while it is created.
    pub update_status: Option<UpdateStatus>,
}

pub(crate) const COLUMNS: &str =
    "number, configuration, description, code_sha256, code_bytes, unzipped_bytes, revision_id,
    modified_ms, state, update_status";

/// The columns of a version, before its configuration is parsed.
pub(crate) struct Stored {
    number: u32,
    pub(crate) configuration: String,
    description: Option<String>,
    pub(crate) code_sha256: String,
    code_bytes: i64,
    unzipped_bytes: i64,
    revision_id: String,
    modified_ms: i64,
    state: String,
    update_status: Option<String>,
}

impl Stored {
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            configuration: row.get(1)?,
            description: row.get(2)?,
            code_sha256: row.get(3)?,
            code_bytes: row.get(4)?,
            unzipped_bytes: row.get(5)?,
            revision_id: row.get(6)?,
            modified_ms: row.get(7)?,
            state: row.get(8)?,
            update_status: row.get(9)?,
        })
    }

    pub(crate) fn of(self, owner: &Owner, name: &str) -> Result<FunctionVersion, FunctionError> {
        let mut configuration: Configuration = serde_json::from_str(&self.configuration)?;
        if let Some(description) = self.description {
            configuration.description = description;
        }
        let damaged = || <serde_json::Error as serde::de::Error>::custom("an unknown state");
        let update_status = self.update_status.as_deref();
        let update_status = update_status.map(|text| UpdateStatus::parse(text).ok_or_else(damaged));
        Ok(FunctionVersion {
            name: name.to_owned(),
            function_arn: owner.function_arn(name),
            version: VersionId::from_number(self.number),
            configuration,
            code_sha256: self.code_sha256,
            code_bytes: unsigned(self.code_bytes),
            unzipped_bytes: unsigned(self.unzipped_bytes),
            revision_id: self.revision_id,
            modified_ms: self.modified_ms,
            state: State::parse(&self.state).ok_or_else(damaged)?,
            update_status: update_status.transpose()?,
        })
    }
}

/// Reads a version of a function. `None` if it does not exist.
pub(crate) fn find_version(
    db: &Connection,
    owner: &Owner,
    name: &str,
    function_id: i64,
    version: VersionId,
) -> Result<Option<FunctionVersion>, FunctionError> {
    let sql = format!("SELECT {COLUMNS} FROM version WHERE function_id = ? AND number = ?");
    let mut find = db.prepare_cached(&sql)?;
    let row = find.query_row(params![function_id, version.number()], Stored::from_row);
    row.optional()?.map(|row| row.of(owner, name)).transpose()
}

/// Reads a version of a function, or refuses with its qualified ARN.
pub(crate) fn read_version(
    db: &Connection,
    owner: &Owner,
    name: &str,
    function_id: i64,
    version: VersionId,
) -> Result<FunctionVersion, FunctionError> {
    find_version(db, owner, name, function_id, version)?
        .ok_or_else(|| FunctionError::NoFunction(format!("{}:{version}", owner.function_arn(name))))
}

/// Writes a version anew, with what it needs of zips.
pub(crate) fn write_version(
    db: &Connection,
    function_id: i64,
    version: &FunctionVersion,
    description: Option<&str>,
) -> Result<(), FunctionError> {
    let number = version.version.number();
    db.prepare_cached(
        "INSERT INTO version (function_id, number, configuration, description, code_sha256, code_bytes, unzipped_bytes,
             revision_id, modified_ms, state, update_status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO UPDATE SET configuration = ?3, description = ?4, code_sha256 = ?5, code_bytes = ?6,
             unzipped_bytes = ?7, revision_id = ?8, modified_ms = ?9, state = ?10, update_status = ?11",
    )?
    .execute(params![
        function_id,
        number,
        serde_json::to_string(&version.configuration)?,
        description,
        version.code_sha256,
        signed(version.code_bytes),
        signed(version.unzipped_bytes),
        version.revision_id,
        version.modified_ms,
        version.state.text(),
        version.update_status.map(UpdateStatus::text),
    ])?;
    db.prepare_cached("DELETE FROM version_code WHERE function_id = ? AND number = ?")?
        .execute(params![function_id, number])?;
    let layers = version.configuration.layers.iter();
    let digests = std::iter::once(&version.code_sha256).chain(layers.map(|layer| &layer.sha256));
    let mut insert = db.prepare_cached("INSERT INTO version_code VALUES (?, ?, ?, ?)")?;
    for (place, sha256) in digests.enumerate() {
        insert.execute(params![function_id, number, signed(place as u64), sha256])?;
    }
    Ok(())
}

/// The zips that a version needs.
pub(crate) fn codes_of(
    db: &Connection,
    function_id: i64,
    version: Option<VersionId>,
) -> Result<Vec<String>, FunctionError> {
    let mut find = db.prepare_cached(
        "SELECT DISTINCT sha256 FROM version_code WHERE function_id = ?1 AND (?2 IS NULL OR number = ?2)",
    )?;
    let number = version.map(VersionId::number);
    let rows = find.query_map(params![function_id, number], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Sets a new revision id.
pub(crate) fn touch(
    db: &Connection,
    function_id: i64,
    version: VersionId,
) -> Result<String, FunctionError> {
    let revision = new_revision();
    db.prepare_cached("UPDATE version SET revision_id = ? WHERE function_id = ? AND number = ?")?
        .execute(params![revision, function_id, version.number()])?;
    Ok(revision)
}

/// Refuses a stale revision id.
pub(crate) fn check_revision(current: &str, wanted: Option<&str>) -> Result<(), FunctionError> {
    match wanted {
        Some(wanted) if wanted != current => Err(FunctionError::StaleRevision),
        _ => Ok(()),
    }
}
