//! Log groups.

use rusqlite::{Connection, Row, params};

use crate::limits::LogLimits;
use crate::oldest::make_room;
use crate::schema::REMOVED_OWNER;
use crate::store::{LogError, LogOwner, LogStore, group_id, is_duplicate};

/// The retention periods that CloudWatch Logs accepts, in days.
pub const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// A log group: a set of streams with one retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name of the group, unique to its owner.
    pub name: String,
    /// When the group was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// How long events are kept, in days. `None` keeps them until the byte limit removes them.
    pub retention_days: Option<u32>,
    /// Bytes of all events of the group, as CloudWatch Logs counts them.
    pub stored_bytes: i64,
}

impl Group {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            created_ms: row.get(1)?,
            retention_days: row.get(2)?,
            stored_bytes: row.get(3)?,
        })
    }
}

impl LogStore {
    /// Creates a group.
    ///
    /// # Errors
    ///
    /// [`LogError::GroupExists`], [`LogError::TooMany`], [`LogError::AccountFull`] or a database failure.
    pub fn create_group(&self, owner: &LogOwner, name: &str, now_ms: i64) -> Result<(), LogError> {
        let (owner, name) = (owner.clone(), name.to_owned());
        let limits = self.limits.clone();
        self.write(move |db| insert_group(db, &owner, &name, now_ms, &limits))
    }

    /// Removes a group with its streams and events. The group is gone for all callers when this returns. If it was
    /// large, some events still take room until [`LogStore::sweep`] has removed them.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`] or a database failure.
    pub fn delete_group(&self, owner: &LogOwner, name: &str) -> Result<(), LogError> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.write(move |db| {
            let id = group_id(db, &owner, &name)?;
            db.execute(
                "UPDATE log_group SET account = ?, name = 'removed ' || id WHERE id = ?",
                params![REMOVED_OWNER, id],
            )?;
            Ok(())
        })?;
        self.begin_removal()
    }

    /// Lists groups by name, after the name `after`, whose names begin with `prefix` and contain `part`.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn groups(
        &self,
        owner: &LogOwner,
        prefix: &str,
        part: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Group>, LogError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, created_ms, retention_days, stored_bytes FROM log_group
             WHERE account = ?1 AND region = ?2 AND name > ?3
               AND substr(name, 1, length(?4)) = ?4 AND instr(name, ?5) > 0
             ORDER BY name LIMIT ?6",
            )?;
            let after = after.unwrap_or_default();
            let rows = statement.query_map(
                params![
                    owner.account,
                    owner.region,
                    after,
                    prefix,
                    part,
                    sql_limit(limit)
                ],
                Group::from_row,
            )?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Sets or removes the retention of a group.
    ///
    /// # Errors
    ///
    /// [`LogError::NoGroup`], [`LogError::BadRetention`] or a database failure.
    pub fn set_retention(
        &self,
        owner: &LogOwner,
        name: &str,
        days: Option<u32>,
    ) -> Result<(), LogError> {
        if days.is_some_and(|days| !RETENTION_DAYS.contains(&days)) {
            return Err(LogError::BadRetention);
        }
        let (owner, name) = (owner.clone(), name.to_owned());
        self.write(move |db| {
            let id = group_id(db, &owner, &name)?;
            db.execute(
                "UPDATE log_group SET retention_days = ? WHERE id = ?",
                params![days, id],
            )?;
            Ok(())
        })
    }
}

/// Creates a group.
pub(crate) fn insert_group(
    db: &Connection,
    owner: &LogOwner,
    name: &str,
    now_ms: i64,
    limits: &LogLimits,
) -> Result<(), LogError> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO log_group (account, region, name, created_ms, charged_account)
             SELECT ?1, ?2, ?3, ?4, ?1
             WHERE (SELECT count(*) FROM log_group WHERE account = ?1 AND region = ?2) < ?5",
        )?
        .execute(params![
            owner.account,
            owner.region,
            name,
            now_ms,
            limits.max_groups
        ]);
    match inserted {
        Ok(0) => Err(LogError::TooMany),
        Ok(_) => make_room(db, &owner.account, limits.bytes_of(&owner.account)),
        Err(error) if is_duplicate(&error) => Err(LogError::GroupExists),
        Err(error) => Err(error.into()),
    }
}

/// A limit in the type of SQLite.
pub(crate) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
