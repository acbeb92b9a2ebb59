//! The store: records in a database, and the directory of zips.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use hearth_sqlite::{Database, Options};
use rusqlite::{Connection, OptionalExtension, params};

use crate::code::{CodeFile, Codes, NewCode};
use crate::error::{CodeError, FunctionError};
use crate::limits::FunctionLimits;
use crate::owner::Owner;
use crate::records::{Records, unsigned};
use crate::schema;
use crate::settle::{self, Settler};

/// The functions and layers of all accounts.
#[derive(Debug)]
pub struct Functions {
    pub(crate) records: Arc<Records>,
    pub(crate) codes: Codes,
    pub(crate) limits: FunctionLimits,
    /// Nothing settles by itself without one.
    pub(crate) settler: Option<Settler>,
}

impl Functions {
    /// Opens the store in `directory`, which is created if it does not exist. Removes zips without a record, and starts
    /// the thread that settles functions.
    ///
    /// # Errors
    ///
    /// The directory or the database cannot be opened, or was written by a later release.
    pub fn open(directory: &Path, limits: FunctionLimits) -> Result<Self, FunctionError> {
        let mut functions = Self::open_unsettled(directory, limits)?;
        let settler = Settler::start(Arc::clone(&functions.records))?;
        settler.wake();
        functions.settler = Some(settler);
        Ok(functions)
    }

    /// Opens the store as [`Functions::open`] does, without the thread: what is created or updated stays so until
    /// [`Functions::settle`] is called.
    ///
    /// # Errors
    ///
    /// As [`Functions::open`].
    pub fn open_unsettled(directory: &Path, limits: FunctionLimits) -> Result<Self, FunctionError> {
        std::fs::create_dir_all(directory)?;
        // Fully durable: once a client is answered, its function is kept.
        let options = Options::new(schema::STEPS);
        let database = Database::open(&directory.join("functions.db"), &options)?;
        let functions = Self {
            records: Arc::new(Records(database)),
            codes: Codes::open(&directory.join("code"))?,
            limits,
            settler: None,
        };
        functions.forget(functions.codes.all()?)?;
        Ok(functions)
    }

    /// The limits of accounts.
    #[must_use]
    pub fn limits(&self) -> &FunctionLimits {
        &self.limits
    }

    /// Stores a zip that a request contains, or that lies elsewhere. The zip is judged: its names, its sizes, and its
    /// content.
    ///
    /// # Errors
    ///
    /// [`CodeError`].
    pub fn receive(&self, source: &mut dyn Read, max_bytes: u64) -> Result<NewCode, CodeError> {
        self.codes.receive(source, max_bytes, &self.limits)
    }

    /// The zip of this digest, if a function or a layer of the owner has it.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn code(&self, owner: &Owner, sha256: &str) -> Result<Option<CodeFile>, FunctionError> {
        let bytes: Option<i64> = self.records.read(|db| {
            let mut find = db.prepare_cached(
                "SELECT code_bytes FROM version JOIN function ON function.id = version.function_id
                 WHERE account = ?1 AND region = ?2 AND code_sha256 = ?3
                 UNION ALL
                 SELECT code_bytes FROM layer_version
                 WHERE account = ?1 AND region = ?2 AND code_sha256 = ?3 LIMIT 1",
            )?;
            let row = find.query_row(params![owner.account, owner.region, sha256], |row| {
                row.get(0)
            });
            Ok(row.optional()?)
        })?;
        Ok(bytes.map(|bytes| self.codes.file(sha256, unsigned(bytes))))
    }

    /// Settles everything that is under way.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn settle(&self) -> Result<(), FunctionError> {
        self.records.write(settle::settle)
    }

    pub(crate) fn wake_settler(&self) {
        if let Some(settler) = &self.settler {
            settler.wake();
        }
    }

    /// Removes those of the zips that nothing refers to any more. A zip that cannot be removed now goes at the next
    /// start.
    pub(crate) fn forget(
        &self,
        digests: impl IntoIterator<Item = String>,
    ) -> Result<(), FunctionError> {
        for sha256 in digests {
            let is_used = || self.records.read(|db| is_used(db, &sha256));
            match self.codes.forget(&sha256, is_used) {
                Err(FunctionError::File(error)) => {
                    tracing::warn!(%error, sha256, "a zip without a record stays until the next start");
                }
                other => other?,
            }
        }
        Ok(())
    }
}

fn is_used(db: &Connection, sha256: &str) -> Result<bool, FunctionError> {
    let mut find = db.prepare_cached(
        "SELECT 1 FROM version_code WHERE sha256 = ?1
         UNION ALL SELECT 1 FROM layer_version WHERE code_sha256 = ?1",
    )?;
    Ok(find.exists([sha256])?)
}
