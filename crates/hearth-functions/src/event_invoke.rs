//! Settings of asynchronous invocations, for each qualifier apart.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::FunctionError;
use crate::function::target;
use crate::owner::Owner;
use crate::records::function_id;
use crate::reference::{Qualifier, VersionId};
use crate::store::Functions;

/// How often and how long an event is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventInvokeSettings {
    /// Further tries after a function error.
    pub retries: Option<u32>,
    /// The age in seconds at which an event is given up.
    pub max_age_s: Option<u32>,
}

/// Stored settings of asynchronous invocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventInvoke {
    /// The ARN with its qualifier, `$LATEST` if none was named.
    pub function_arn: String,
    /// The settings.
    pub settings: EventInvokeSettings,
    /// When they were changed, in milliseconds since 1970.
    pub modified_ms: i64,
}

const COLUMNS: &str = "qualifier, retries, age_s, modified_ms";

fn from_row(row: &Row<'_>) -> rusqlite::Result<(String, EventInvokeSettings, i64)> {
    let settings = EventInvokeSettings {
        retries: row.get(1)?,
        max_age_s: row.get(2)?,
    };
    Ok((row.get(0)?, settings, row.get(3)?))
}

fn qualifier_text(qualifier: Option<&Qualifier>) -> String {
    qualifier.map_or_else(|| VersionId::Latest.to_string(), ToString::to_string)
}

/// Reads the settings of a qualifier.
pub(crate) fn find_settings(
    db: &Connection,
    function_id: i64,
    qualifier: &str,
) -> Result<Option<(EventInvokeSettings, i64)>, FunctionError> {
    let sql = format!("SELECT {COLUMNS} FROM event_invoke WHERE function_id = ? AND qualifier = ?");
    let mut find = db.prepare_cached(&sql)?;
    let row = find.query_row(params![function_id, qualifier], from_row);
    Ok(row.optional()?.map(|(_, settings, at)| (settings, at)))
}

impl Functions {
    /// Writes the settings of a qualifier: replaces them, or only what is given.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] if it does not exist, [`FunctionError::NoEventInvoke`] if there is nothing to
    /// complete, or a database failure.
    pub fn write_event_invoke(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
        write: EventInvokeWrite,
        now_ms: i64,
    ) -> Result<EventInvoke, FunctionError> {
        let (owner, name, qualifier) = (owner.clone(), name.to_owned(), qualifier.cloned());
        self.records.write(move |db| {
            let text = qualifier_text(qualifier.as_ref());
            let arn = format!("{}:{text}", owner.function_arn(&name));
            let found = target(db, &owner, &name, qualifier.as_ref());
            let settings = match (write, found) {
                (EventInvokeWrite::Replace(settings), found) => {
                    found?;
                    settings
                }
                (EventInvokeWrite::Complete(given), found) => {
                    let found = match found {
                        Ok((id, _)) => find_settings(db, id, &text)?,
                        Err(FunctionError::NoFunction(_)) => None,
                        Err(error) => return Err(error),
                    };
                    let none = || FunctionError::NoEventInvoke(arn.clone());
                    let (own, _) = found.ok_or_else(none)?;
                    EventInvokeSettings {
                        retries: given.retries.or(own.retries),
                        max_age_s: given.max_age_s.or(own.max_age_s),
                    }
                }
            };
            let id = function_id(db, &owner, &name)?;
            db.prepare_cached("INSERT OR REPLACE INTO event_invoke VALUES (?, ?, ?, ?, ?)")?
                .execute(params![
                    id,
                    text,
                    settings.retries,
                    settings.max_age_s,
                    now_ms
                ])?;
            Ok(EventInvoke {
                function_arn: arn,
                settings,
                modified_ms: now_ms,
            })
        })
    }

    /// Reads the settings of a qualifier.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoEventInvoke`] or a database failure.
    pub fn event_invoke(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
    ) -> Result<EventInvoke, FunctionError> {
        let text = qualifier_text(qualifier);
        let arn = format!("{}:{text}", owner.function_arn(name));
        self.records.read(|db| {
            let id = function_id(db, owner, name);
            let found = match id {
                Ok(id) => find_settings(db, id, &text)?,
                Err(FunctionError::NoFunction(_)) => None,
                Err(error) => return Err(error),
            };
            let (settings, modified_ms) =
                found.ok_or_else(|| FunctionError::NoEventInvoke(arn.clone()))?;
            Ok(EventInvoke {
                function_arn: arn,
                settings,
                modified_ms,
            })
        })
    }

    /// Deletes the settings of a qualifier.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoEventInvoke`] or a database failure.
    pub fn delete_event_invoke(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
    ) -> Result<(), FunctionError> {
        let text = qualifier_text(qualifier);
        let (owner, name) = (owner.clone(), name.to_owned());
        self.records.write(move |db| {
            let deleted = db
                .prepare_cached(
                    "DELETE FROM event_invoke WHERE qualifier = ? AND function_id =
                     (SELECT id FROM function WHERE account = ? AND region = ? AND name = ?)",
                )?
                .execute(params![text, owner.account, owner.region, name])?;
            match deleted {
                0 => Err(FunctionError::NoEventInvoke(format!(
                    "{}:{text}",
                    owner.function_arn(&name)
                ))),
                _ => Ok(()),
            }
        })
    }

    /// Lists the settings of a function by qualifier, after this one.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn event_invokes(
        &self,
        owner: &Owner,
        name: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EventInvoke>, FunctionError> {
        self.records.read(|db| {
            let id = function_id(db, owner, name)?;
            let sql = format!(
                "SELECT {COLUMNS} FROM event_invoke WHERE function_id = ? AND qualifier > ?
                 ORDER BY qualifier LIMIT ?"
            );
            let mut find = db.prepare_cached(&sql)?;
            let rows = find.query_map(params![id, after, limit], from_row)?;
            let arn = owner.function_arn(name);
            rows.map(|row| {
                let (qualifier, settings, modified_ms) = row?;
                Ok(EventInvoke {
                    function_arn: format!("{arn}:{qualifier}"),
                    settings,
                    modified_ms,
                })
            })
            .collect()
        })
    }
}

/// How settings are written.
#[derive(Clone, Copy, Debug)]
pub enum EventInvokeWrite {
    /// All of them.
    Replace(EventInvokeSettings),
    /// Only those that are given.
    Complete(EventInvokeSettings),
}
