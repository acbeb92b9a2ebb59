//! Settings that stand beside a configuration: recursion, and how runtimes are updated.

use rusqlite::params;

use crate::error::FunctionError;
use crate::function::target;
use crate::owner::Owner;
use crate::records::function_id;
use crate::reference::Qualifier;
use crate::store::Functions;

/// When a version gets a new version of its runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateRuntimeOn {
    /// Whenever there is one.
    Auto,
    /// When the function is updated.
    FunctionUpdate,
    /// Never: it has the version that is named.
    Manual,
}

/// How a version gets new versions of its runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeManagement {
    /// When.
    pub update_on: UpdateRuntimeOn,
    /// The runtime version of [`UpdateRuntimeOn::Manual`].
    pub runtime_arn: Option<String>,
}

impl UpdateRuntimeOn {
    fn text(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::FunctionUpdate => "FunctionUpdate",
            Self::Manual => "Manual",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "FunctionUpdate" => Self::FunctionUpdate,
            "Manual" => Self::Manual,
            _ => Self::Auto,
        }
    }
}

impl Functions {
    /// Whether a function may call itself in a circle.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn is_recursion_allowed(&self, owner: &Owner, name: &str) -> Result<bool, FunctionError> {
        self.records.read(|db| {
            let id = function_id(db, owner, name)?;
            let row = db
                .prepare_cached("SELECT recursion_allowed FROM function WHERE id = ?")?
                .query_row([id], |row| row.get(0));
            Ok(row?)
        })
    }

    /// Sets whether a function may call itself in a circle.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn set_recursion(
        &self,
        owner: &Owner,
        name: &str,
        is_allowed: bool,
    ) -> Result<(), FunctionError> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            db.execute(
                "UPDATE function SET recursion_allowed = ? WHERE id = ?",
                params![is_allowed, id],
            )?;
            Ok(())
        })
    }

    /// How a version gets new versions of its runtime.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn runtime_management(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
    ) -> Result<RuntimeManagement, FunctionError> {
        self.records.read(|db| {
            let (id, version) = target(db, owner, name, qualifier)?;
            let row = db
                .prepare_cached(
                    "SELECT update_runtime_on, runtime_arn FROM version WHERE function_id = ? AND number = ?",
                )?
                .query_row(params![id, version.number()], |row| {
                    let update_on: String = row.get(0)?;
                    Ok(RuntimeManagement {
                        update_on: UpdateRuntimeOn::parse(&update_on),
                        runtime_arn: row.get(1)?,
                    })
                });
            Ok(row?)
        })
    }

    /// Sets how a version gets new versions of its runtime.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn set_runtime_management(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
        management: &RuntimeManagement,
    ) -> Result<(), FunctionError> {
        let (owner, name) = (owner.clone(), name.to_owned());
        let (qualifier, management) = (qualifier.cloned(), management.clone());
        self.records.write(move |db| {
            let (id, version) = target(db, &owner, &name, qualifier.as_ref())?;
            db.execute(
                "UPDATE version SET update_runtime_on = ?, runtime_arn = ? WHERE function_id = ? AND number = ?",
                params![
                    management.update_on.text(),
                    management.runtime_arn,
                    id,
                    version.number()
                ],
            )?;
            Ok(())
        })
    }
}
