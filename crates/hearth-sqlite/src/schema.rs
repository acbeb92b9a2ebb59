//! Migration of older files.

use rusqlite::{Connection, TransactionBehavior};

use crate::Error;

/// Runs the steps that a file has not been through. Each step is one transaction, together with the new
/// `user_version`.
pub(crate) fn migrate(db: &mut Connection, steps: &[&str]) -> Result<(), Error> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if !(0..=known).contains(&found) {
        return Err(Error::Newer { found, known });
    }
    for (version, step) in (1..)
        .zip(steps)
        .skip_while(|(version, _)| *version <= found)
    {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
