//! Publishing: a version of what `$LATEST` is, which does not change afterwards.

use rusqlite::{Connection, OptionalExtension, params};

use crate::checks::{check_room, check_settled};
use crate::configuration::{Configuration, State, UpdateStatus};
use crate::error::FunctionError;
use crate::limits::FunctionLimits;
use crate::owner::Owner;
use crate::records::{function_id, new_revision, next_number};
use crate::reference::VersionId;
use crate::store::Functions;
use crate::version::{
    COLUMNS, FunctionVersion, Stored, check_revision, read_version, touch, write_version,
};

/// The kind of numbers of versions, in `counter`.
const COUNTER: &str = "function";

/// Where a version is published.
#[derive(Clone, Copy)]
pub(crate) struct PublishContext<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) name: &'a str,
    pub(crate) id: i64,
    pub(crate) limits: &'a FunctionLimits,
}

/// Publishes what `$LATEST` is. Answers the last version if nothing has changed since.
pub(crate) fn publish(
    db: &Connection,
    functions: &PublishContext<'_>,
    latest: &FunctionVersion,
    state: (State, Option<UpdateStatus>),
    description: Option<&str>,
) -> Result<FunctionVersion, FunctionError> {
    let PublishContext {
        owner, name, id, ..
    } = *functions;
    let sql = format!(
        "SELECT {COLUMNS} FROM version WHERE function_id = ? AND number > 0 ORDER BY number DESC LIMIT 1"
    );
    let last = db.prepare_cached(&sql)?.query_row([id], Stored::from_row);
    if let Some(last) = last.optional()? {
        let configuration: Configuration = serde_json::from_str(&last.configuration)?;
        if configuration == latest.configuration && last.code_sha256 == latest.code_sha256 {
            return last.of(owner, name);
        }
    }
    let versions: u32 = db
        .prepare_cached("SELECT count(*) FROM version WHERE function_id = ?")?
        .query_row([id], |row| row.get(0))?;
    if versions > functions.limits.versions {
        return Err(FunctionError::CodeStorageExceeded);
    }
    check_room(db, owner, functions.limits, latest.code_bytes)?;
    let mut published = FunctionVersion {
        version: VersionId::Number(next_number(db, owner, COUNTER, name)?),
        revision_id: new_revision(),
        state: state.0,
        update_status: state.1,
        ..latest.clone()
    };
    write_version(db, id, &published, description)?;
    touch(db, id, VersionId::Latest)?;
    if let Some(description) = description {
        description.clone_into(&mut published.configuration.description);
    }
    Ok(published)
}

/// What a request to publish expects, and its description.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// The digest that the code must have: lower-case hex, with the text of the request.
    pub code_sha256: Option<(String, String)>,
    /// The revision id that `$LATEST` must have.
    pub revision_id: Option<String>,
    /// Replaces the description in the version.
    pub description: Option<String>,
}

impl Functions {
    /// Publishes a version of `$LATEST`, which is Active at once. Answers the last version if nothing has changed since.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn publish(
        &self,
        owner: &Owner,
        name: &str,
        publication: Publication,
    ) -> Result<FunctionVersion, FunctionError> {
        let (owner, name, limits) = (owner.clone(), name.to_owned(), self.limits.clone());
        self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            let latest = read_version(db, &owner, &name, id, VersionId::Latest)?;
            check_settled(&latest)?;
            check_revision(&latest.revision_id, publication.revision_id.as_deref())?;
            if let Some((wanted, given)) = &publication.code_sha256
                && *wanted != latest.code_sha256
            {
                return Err(FunctionError::CodeDiffers {
                    given: given.clone(),
                    current: latest.code_sha256,
                });
            }
            let context = PublishContext {
                owner: &owner,
                name: &name,
                id,
                limits: &limits,
            };
            let state = (State::Active, Some(UpdateStatus::Successful));
            publish(
                db,
                &context,
                &latest,
                state,
                publication.description.as_deref(),
            )
        })
    }

    /// Lists the versions of a function, `$LATEST` first, then ascending, from the number `from` on.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn versions(
        &self,
        owner: &Owner,
        name: &str,
        from: u32,
        limit: u32,
    ) -> Result<Vec<FunctionVersion>, FunctionError> {
        self.records.read(|db| {
            let id = function_id(db, owner, name)?;
            let sql = format!(
                "SELECT {COLUMNS} FROM version WHERE function_id = ? AND number >= ? ORDER BY number LIMIT ?"
            );
            let mut find = db.prepare_cached(&sql)?;
            let rows = find.query_map(params![id, from, limit], Stored::from_row)?;
            rows.map(|row| row?.of(owner, name)).collect()
        })
    }
}
