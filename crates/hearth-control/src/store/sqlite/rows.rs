//! Columns that mean more than text and numbers.

use std::str::FromStr;

use rusqlite::Row;

use crate::arn::Scope;
use crate::id::VersionNumber;
use crate::life::{Life, Phase};
use crate::store::text::Word;
use crate::store::{Result, StoreError};
use crate::time::Timestamp;

/// A scope as it stands in columns.
pub(super) fn scope_text(scope: &Scope) -> String {
    format!("{}/{}", scope.account, scope.region)
}

/// A row with typed access.
pub(super) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    kind: &'static str,
}

impl<'r, 's> Columns<'r, 's> {
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

/// A phase as two columns. The words are part of the file format.
pub(super) fn phase_columns(phase: Phase) -> (&'static str, Option<i64>) {
    match phase {
        Phase::Forking => ("FORKING", None),
        Phase::Launching => ("LAUNCHING", None),
        Phase::RunHook => ("RUN_HOOK", None),
        Phase::ForkHook => ("FORK_HOOK", None),
        Phase::Running => ("RUNNING", None),
        Phase::Sealing { since } => ("SEALING", since.map(Timestamp::unix_ms)),
        Phase::SuspendHook => ("SUSPEND_HOOK", None),
        Phase::Saving => ("SAVING", None),
        Phase::Suspended { since } => ("SUSPENDED", Some(since.unix_ms())),
        Phase::Restoring { since } => ("RESTORING", Some(since.unix_ms())),
        Phase::ResumeHook => ("RESUME_HOOK", None),
        Phase::BackHook => ("BACK_HOOK", None),
        Phase::TerminateHook => ("TERMINATE_HOOK", None),
        Phase::Removing => ("REMOVING", None),
        Phase::Terminated => ("TERMINATED", None),
    }
}

fn phase_of(word: &str, since: Option<Timestamp>) -> Option<Phase> {
    Some(match word {
        "FORKING" => Phase::Forking,
        "LAUNCHING" => Phase::Launching,
        "RUN_HOOK" => Phase::RunHook,
        "FORK_HOOK" => Phase::ForkHook,
        "RUNNING" => Phase::Running,
        "SEALING" => Phase::Sealing { since },
        "SUSPEND_HOOK" => Phase::SuspendHook,
        "SAVING" => Phase::Saving,
        "SUSPENDED" => Phase::Suspended { since: since? },
        "RESTORING" => Phase::Restoring { since: since? },
        "RESUME_HOOK" => Phase::ResumeHook,
        "BACK_HOOK" => Phase::BackHook,
        "TERMINATE_HOOK" => Phase::TerminateHook,
        "REMOVING" => Phase::Removing,
        "TERMINATED" => Phase::Terminated,
        _ => return None,
    })
}
