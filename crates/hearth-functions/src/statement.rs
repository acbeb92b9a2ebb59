//! Policies and their statements.

use serde::{Deserialize, Serialize};

use crate::error::FunctionError;
use crate::records::new_revision;

/// Longest policy, as a JSON document.
const MAX_BYTES: usize = 20_480;

/// What a document has around its statements: `Version`, `Id` and brackets.
const AROUND_STATEMENTS_BYTES: usize = 64;

/// A statement of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its id, unique to its policy.
    pub sid: String,
    /// The statement as a JSON document.
    pub document: String,
    /// For statements of layers: the accounts that may use it, `*` for all. Empty for functions.
    pub accounts: Vec<String>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its statements, in the order in which they were added.
    pub statements: Vec<Statement>,
    /// Changes with every change.
    pub revision_id: String,
}

impl Policy {
    /// Adds a statement.
    ///
    /// # Errors
    ///
    /// [`FunctionError::StatementExists`] or [`FunctionError::PolicyTooLong`].
    pub(crate) fn add(&mut self, statement: Statement) -> Result<(), FunctionError> {
        let has_it = |own: &Statement| own.sid == statement.sid;
        if self.statements.iter().any(has_it) {
            return Err(FunctionError::StatementExists(statement.sid));
        }
        self.statements.push(statement);
        let statements = self.statements.iter();
        let bytes: usize = statements.map(|own| own.document.len() + 1).sum();
        if bytes + AROUND_STATEMENTS_BYTES > MAX_BYTES {
            return Err(FunctionError::PolicyTooLong);
        }
        self.revision_id = new_revision();
        Ok(())
    }

    /// Removes a statement.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoStatement`].
    pub(crate) fn remove(&mut self, sid: &str) -> Result<(), FunctionError> {
        let place = self.statements.iter().position(|own| own.sid == sid);
        let place = place.ok_or_else(|| FunctionError::NoStatement(sid.to_owned()))?;
        self.statements.remove(place);
        self.revision_id = new_revision();
        Ok(())
    }
}
