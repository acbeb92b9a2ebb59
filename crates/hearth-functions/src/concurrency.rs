//! Reserved concurrency.

use rusqlite::params;

use crate::account::usage;
use crate::error::FunctionError;
use crate::owner::Owner;
use crate::records::function_id;
use crate::store::Functions;

impl Functions {
    /// Reserves concurrency for a function. Zero turns it off.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`], [`FunctionError::ReservesTooMuch`] or a database failure.
    pub fn reserve_concurrency(
        &self,
        owner: &Owner,
        name: &str,
        executions: u64,
    ) -> Result<u32, FunctionError> {
        let (owner, name, limits) = (owner.clone(), name.to_owned(), self.limits.clone());
        self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            let own: Option<u32> = db
                .prepare_cached("SELECT reserved FROM function WHERE id = ?")?
                .query_row([id], |row| row.get(0))?;
            let others = usage(db, &owner)?.reserved.saturating_sub(own.unwrap_or(0));
            let most = limits
                .concurrency
                .saturating_sub(limits.unreserved_concurrency)
                .saturating_sub(others);
            let executions = u32::try_from(executions)
                .ok()
                .filter(|wanted| *wanted <= most);
            let executions = executions.ok_or(FunctionError::ReservesTooMuch)?;
            db.execute(
                "UPDATE function SET reserved = ? WHERE id = ?",
                params![executions, id],
            )?;
            Ok(executions)
        })
    }

    /// Gives reserved concurrency back. Idempotent.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn release_concurrency(&self, owner: &Owner, name: &str) -> Result<(), FunctionError> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            db.execute("UPDATE function SET reserved = NULL WHERE id = ?", [id])?;
            Ok(())
        })
    }
}
