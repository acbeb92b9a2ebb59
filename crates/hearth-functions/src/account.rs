//! What an account has in a region.

use rusqlite::{Connection, params};

use crate::error::FunctionError;
use crate::owner::Owner;
use crate::records::unsigned;
use crate::store::Functions;

/// What an account has in a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountUsage {
    /// Bytes of all zips: of each version of each function, and of each layer version.
    pub code_bytes: u64,
    /// Functions.
    pub functions: u64,
    /// Concurrency that functions reserve together.
    pub reserved: u32,
}

impl Functions {
    /// What an account has.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn account_usage(&self, owner: &Owner) -> Result<AccountUsage, FunctionError> {
        self.records.read(|db| usage(db, owner))
    }
}

pub(crate) fn usage(db: &Connection, owner: &Owner) -> Result<AccountUsage, FunctionError> {
    let mut find = db.prepare_cached(
        "SELECT
            (SELECT coalesce(sum(code_bytes), 0) FROM version JOIN function ON id = function_id
             WHERE account = ?1 AND region = ?2)
            + (SELECT coalesce(sum(code_bytes), 0) FROM layer_version WHERE account = ?1 AND region = ?2),
            (SELECT count(*) FROM function WHERE account = ?1 AND region = ?2),
            (SELECT coalesce(sum(reserved), 0) FROM function WHERE account = ?1 AND region = ?2)",
    )?;
    let row = find.query_row(params![owner.account, owner.region], |row| {
        Ok(AccountUsage {
            code_bytes: unsigned(row.get(0)?),
            functions: unsigned(row.get(1)?),
            reserved: row.get(2)?,
        })
    });
    Ok(row?)
}
