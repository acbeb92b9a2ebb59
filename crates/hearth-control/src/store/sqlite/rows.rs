//! Typed reading of columns.

use std::str::FromStr;

use rusqlite::Row;

use crate::arn::Scope;
use crate::id::VersionNumber;
use crate::life::Life;
use crate::store::text::{Word, phase_of};
use crate::store::{Result, StoreError};
use crate::time::Timestamp;

/// A row with typed access to its columns.
pub(super) struct RowReader<'r, 's> {
    row: &'r Row<'s>,
    kind: &'static str,
}

impl<'r, 's> RowReader<'r, 's> {
    pub(super) fn of(row: &'r Row<'s>, kind: &'static str) -> Self {
        Self { row, kind }
    }

    fn damaged(&self) -> StoreError {
        StoreError::Record { kind: self.kind }
    }

    pub(super) fn plain<T: rusqlite::types::FromSql>(&self, column: &str) -> Result<T> {
        Ok(self.row.get(column)?)
    }

    pub(super) fn parsed<T: FromStr>(&self, column: &str) -> Result<T> {
        self.plain::<String>(column)?
            .parse()
            .map_err(|_| self.damaged())
    }

    pub(super) fn optional_parsed<T: FromStr>(&self, column: &str) -> Result<Option<T>> {
        self.plain::<Option<String>>(column)?
            .map(|text| text.parse().map_err(|_| self.damaged()))
            .transpose()
    }

    pub(super) fn word<T: Word>(&self, column: &str) -> Result<T> {
        T::of_word(&self.plain::<String>(column)?)
    }

    pub(super) fn optional_word<T: Word>(&self, column: &str) -> Result<Option<T>> {
        self.plain::<Option<String>>(column)?
            .map(|word| T::of_word(&word))
            .transpose()
    }

    pub(super) fn time(&self, column: &str) -> Result<Timestamp> {
        self.plain(column).map(Timestamp::from_unix_ms)
    }

    pub(super) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>> {
        Ok(self
            .plain::<Option<i64>>(column)?
            .map(Timestamp::from_unix_ms))
    }

    pub(super) fn version(&self, column: &str) -> Result<VersionNumber> {
        VersionNumber::from_major(self.plain(column)?).ok_or_else(|| self.damaged())
    }

    pub(super) fn optional_version(&self, column: &str) -> Result<Option<VersionNumber>> {
        let major = self.plain::<Option<u32>>(column)?;
        major
            .map(|major| VersionNumber::from_major(major).ok_or_else(|| self.damaged()))
            .transpose()
    }

    pub(super) fn scope(&self, column: &str) -> Result<Scope> {
        let text = self.plain::<String>(column)?;
        let (account, region) = text.split_once('/').ok_or_else(|| self.damaged())?;
        let account = account.parse().map_err(|_| self.damaged())?;
        let region = region.parse().map_err(|_| self.damaged())?;
        Ok(Scope { account, region })
    }

    pub(super) fn life(&self) -> Result<Life> {
        let since = self.optional_time("phase_since")?;
        let phase =
            phase_of(&self.plain::<String>("phase")?, since).ok_or_else(|| self.damaged())?;
        Ok(Life {
            phase,
            wish: self.optional_word("wish")?,
            reason: self.plain("reason")?,
        })
    }
}
