//! Policies of layer versions: which other accounts may use them.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::FunctionError;
use crate::layer_arn::LayerArn;
use crate::owner::Owner;
use crate::statement::{Policy, Statement};
use crate::store::Functions;
use crate::version::check_revision;

/// Whether the policy of a layer version lets an account use it. A layer that does not exist lets nobody.
pub(crate) fn may_use(
    db: &Connection,
    arn: &LayerArn,
    account: &str,
) -> Result<bool, FunctionError> {
    let Some(policy) = find(db, arn)? else {
        return Ok(false);
    };
    let lets = |named: &String| named == "*" || named == account;
    let mut statements = policy.statements.iter();
    Ok(statements.any(|statement| statement.accounts.iter().any(lets)))
}

impl Functions {
    /// Adds a statement to the policy of a layer version. Answers the new revision id.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn add_layer_permission(
        &self,
        owner: &Owner,
        name: &str,
        version: u32,
        statement: Statement,
        revision_id: Option<String>,
    ) -> Result<String, FunctionError> {
        self.change_policy(
            layer_arn(owner, name, version),
            revision_id,
            move |policy| policy.add(statement.clone()),
        )
    }

    /// Removes a statement from the policy of a layer version.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn remove_layer_permission(
        &self,
        owner: &Owner,
        name: &str,
        version: u32,
        sid: &str,
        revision_id: Option<String>,
    ) -> Result<(), FunctionError> {
        let sid = sid.to_owned();
        let arn = layer_arn(owner, name, version);
        let changed = self.change_policy(arn, revision_id, move |policy| {
            if policy.statements.is_empty() {
                return Err(FunctionError::NoPolicy);
            }
            policy.remove(&sid)
        });
        changed.map(drop)
    }

    /// Reads the policy of a layer version.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoLayerVersion`], [`FunctionError::NoPolicy`] or a database failure.
    pub fn layer_policy(
        &self,
        owner: &Owner,
        name: &str,
        version: u32,
    ) -> Result<Policy, FunctionError> {
        let arn = layer_arn(owner, name, version);
        let policy = self.records.read(|db| find(db, &arn))?;
        let policy = policy.ok_or_else(|| FunctionError::NoLayerVersion(arn.to_string()))?;
        if policy.statements.is_empty() {
            return Err(FunctionError::NoPolicy);
        }
        Ok(policy)
    }

    fn change_policy(
        &self,
        arn: LayerArn,
        revision_id: Option<String>,
        change: impl Fn(&mut Policy) -> Result<(), FunctionError> + Send + 'static,
    ) -> Result<String, FunctionError> {
        self.records.write(move |db| {
            let missing = || FunctionError::NoLayerVersion(arn.to_string());
            let mut policy = find(db, &arn)?.ok_or_else(missing)?;
            check_revision(&policy.revision_id, revision_id.as_deref())?;
            change(&mut policy)?;
            db.prepare_cached(
                "UPDATE layer_version SET statements = ?, policy_revision_id = ?
                 WHERE account = ? AND region = ? AND name = ? AND number = ?",
            )?
            .execute(params![
                serde_json::to_string(&policy.statements)?,
                policy.revision_id,
                arn.owner.account,
                arn.owner.region,
                arn.name,
                arn.version
            ])?;
            Ok(policy.revision_id)
        })
    }
}

fn layer_arn(owner: &Owner, name: &str, version: u32) -> LayerArn {
    LayerArn {
        owner: owner.clone(),
        name: name.to_owned(),
        version,
    }
}

fn find(db: &Connection, arn: &LayerArn) -> Result<Option<Policy>, FunctionError> {
    let row: Option<(String, String)> = db
        .prepare_cached(
            "SELECT statements, policy_revision_id FROM layer_version
             WHERE account = ? AND region = ? AND name = ? AND number = ?",
        )?
        .query_row(
            params![arn.owner.account, arn.owner.region, arn.name, arn.version],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let read = |(statements, revision_id): (String, String)| {
        Ok(Policy {
            statements: serde_json::from_str(&statements)?,
            revision_id,
        })
    };
    row.map(read).transpose()
}
