//! Tags of functions.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::error::FunctionError;
use crate::function::MAX_TAGS;
use crate::owner::Owner;
use crate::records::function_id;
use crate::reference::VersionId;
use crate::store::Functions;
use crate::version::touch;

impl Functions {
    /// Adds or replaces tags. The function gets a new revision id.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`], [`FunctionError::TooManyTags`] or a database failure.
    pub fn tag(
        &self,
        owner: &Owner,
        name: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<(), FunctionError> {
        self.change_tags(owner, name, move |own| own.extend(tags.clone()))
    }

    /// Removes tags. Idempotent. The function gets a new revision id.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn untag(&self, owner: &Owner, name: &str, keys: Vec<String>) -> Result<(), FunctionError> {
        self.change_tags(owner, name, move |own| {
            own.retain(|key, _| !keys.contains(key));
        })
    }

    fn change_tags(
        &self,
        owner: &Owner,
        name: &str,
        change: impl Fn(&mut BTreeMap<String, String>) + Send + 'static,
    ) -> Result<(), FunctionError> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            let mut tags = read(db, id)?;
            change(&mut tags);
            if tags.len() > MAX_TAGS {
                return Err(FunctionError::TooManyTags);
            }
            db.execute(
                "UPDATE function SET tags = ? WHERE id = ?",
                params![serde_json::to_string(&tags)?, id],
            )?;
            touch(db, id, VersionId::Latest).map(drop)
        })
    }
}

fn read(db: &Connection, id: i64) -> Result<BTreeMap<String, String>, FunctionError> {
    let tags: String = db
        .prepare_cached("SELECT tags FROM function WHERE id = ?")?
        .query_row([id], |row| row.get(0))?;
    Ok(serde_json::from_str(&tags)?)
}
