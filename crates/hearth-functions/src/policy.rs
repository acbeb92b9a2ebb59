//! Resource policies: who besides the account may do what with a function or a layer version.
//!
//! A function has a policy of its own, and so has each version and each alias.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::FunctionError;
use crate::function::target;
use crate::owner::Owner;
use crate::records::find_function;
use crate::reference::Qualifier;
use crate::statement::{Policy, Statement};
use crate::store::Functions;
use crate::version::check_revision;

/// The qualifier of a policy in the store: empty for the function itself.
fn key(qualifier: Option<&Qualifier>) -> String {
    qualifier.map(ToString::to_string).unwrap_or_default()
}

impl Functions {
    /// Adds a statement to the policy of a function, a version or an alias.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn add_permission(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
        statement: Statement,
        revision_id: Option<String>,
    ) -> Result<(), FunctionError> {
        let (owner, name, qualifier) = (owner.clone(), name.to_owned(), qualifier.cloned());
        self.records.write(move |db| {
            let (id, _) = target(db, &owner, &name, qualifier.as_ref())?;
            let key = key(qualifier.as_ref());
            let mut policy = match find(db, id, &key)? {
                Some(policy) => policy,
                None => Policy {
                    statements: Vec::new(),
                    revision_id: String::new(),
                },
            };
            check_revision(&policy.revision_id, revision_id.as_deref())?;
            policy.add(statement.clone())?;
            write(db, id, &key, &policy)
        })
    }

    /// Removes a statement. A policy without statements is gone.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn remove_permission(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
        sid: &str,
        revision_id: Option<String>,
    ) -> Result<(), FunctionError> {
        let (owner, name, qualifier) = (owner.clone(), name.to_owned(), qualifier.cloned());
        let sid = sid.to_owned();
        self.records.write(move |db| {
            let (id, _) = target(db, &owner, &name, qualifier.as_ref())?;
            let key = key(qualifier.as_ref());
            let mut policy = find(db, id, &key)?.ok_or(FunctionError::NoPolicy)?;
            check_revision(&policy.revision_id, revision_id.as_deref())?;
            policy.remove(&sid)?;
            if !policy.statements.is_empty() {
                return write(db, id, &key, &policy);
            }
            db.execute(
                "DELETE FROM policy WHERE function_id = ? AND qualifier = ?",
                params![id, key],
            )?;
            Ok(())
        })
    }

    /// Reads the policy of a function, a version or an alias.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoPolicy`], also if there is no such function, or a database failure.
    pub fn policy(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
    ) -> Result<Policy, FunctionError> {
        self.records.read(|db| {
            let id = find_function(db, owner, name)?.ok_or(FunctionError::NoPolicy)?;
            find(db, id, &key(qualifier))?.ok_or(FunctionError::NoPolicy)
        })
    }
}

fn find(db: &Connection, id: i64, key: &str) -> Result<Option<Policy>, FunctionError> {
    let row: Option<(String, String)> = db
        .prepare_cached(
            "SELECT statements, revision_id FROM policy WHERE function_id = ? AND qualifier = ?",
        )?
        .query_row(params![id, key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let read = |(statements, revision_id): (String, String)| {
        Ok(Policy {
            statements: serde_json::from_str(&statements)?,
            revision_id,
        })
    };
    row.map(read).transpose()
}

fn write(db: &Connection, id: i64, key: &str, policy: &Policy) -> Result<(), FunctionError> {
    let statements = serde_json::to_string(&policy.statements)?;
    db.prepare_cached("INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?)")?
        .execute(params![id, key, statements, policy.revision_id])?;
    Ok(())
}
