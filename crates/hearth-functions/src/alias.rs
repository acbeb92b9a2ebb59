//! Aliases: names for one version, or for two between which invocations are divided.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::FunctionError;
use crate::limits::FunctionLimits;
use crate::owner::Owner;
use crate::records::{forget_qualifier, function_id, is_duplicate, new_revision};
use crate::reference::VersionId;
use crate::store::Functions;
use crate::version::{check_revision, read_version};

/// An alias.
#[derive(Clone, Debug, PartialEq)]
pub struct Alias {
    /// The ARN.
    pub arn: String,
    /// The name, unique to its function.
    pub name: String,
    /// The version that it stands for.
    pub version: VersionId,
    /// Another version that gets a part of the invocations.
    pub routing: Option<Routing>,
    /// The customer's description.
    pub description: String,
    /// Changes with every change.
    pub revision_id: String,
}

/// A version that gets a part of an alias's invocations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Routing {
    /// The version.
    pub version: VersionId,
    /// Its part, from 0 to 1.
    pub weight: f64,
}

/// An alias to create.
#[derive(Clone, Debug)]
pub struct NewAlias {
    /// The name.
    pub name: String,
    /// The version that it stands for.
    pub version: VersionId,
    /// Another version that gets a part of the invocations.
    pub routing: Option<Routing>,
    /// The customer's description.
    pub description: String,
}

/// What changes of an alias.
#[derive(Clone, Debug, Default)]
pub struct AliasChange {
    /// The version.
    pub version: Option<VersionId>,
    /// The other version. `Some(None)` removes it.
    pub routing: Option<Option<Routing>>,
    /// The description.
    pub description: Option<String>,
    /// The revision id that the alias must have.
    pub revision_id: Option<String>,
}

/// An alias without its ARN.
pub(crate) struct StoredAlias {
    name: String,
    pub(crate) version: VersionId,
    pub(crate) routing: Option<Routing>,
    description: String,
    revision_id: String,
}

const COLUMNS: &str = "name, number, other_number, other_weight, description, revision_id";

impl StoredAlias {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let other: (Option<u32>, Option<f64>) = (row.get(2)?, row.get(3)?);
        Ok(Self {
            name: row.get(0)?,
            version: VersionId::from_number(row.get(1)?),
            routing: match other {
                (Some(number), Some(weight)) => Some(Routing {
                    version: VersionId::from_number(number),
                    weight,
                }),
                _ => None,
            },
            description: row.get(4)?,
            revision_id: row.get(5)?,
        })
    }

    fn of(self, function_arn: &str) -> Alias {
        Alias {
            arn: format!("{function_arn}:{}", self.name),
            name: self.name,
            version: self.version,
            routing: self.routing,
            description: self.description,
            revision_id: self.revision_id,
        }
    }

    /// The version that an invocation gets. `chance` is a random number from 0 to below 1.
    pub(crate) fn choose(&self, chance: f64) -> VersionId {
        match self.routing {
            Some(other) if chance < other.weight => other.version,
            _ => self.version,
        }
    }
}

/// Reads an alias.
pub(crate) fn find_alias(
    db: &Connection,
    function_id: i64,
    name: &str,
) -> Result<Option<StoredAlias>, FunctionError> {
    let sql = format!("SELECT {COLUMNS} FROM alias WHERE function_id = ? AND name = ?");
    let mut find = db.prepare_cached(&sql)?;
    let row = find.query_row(params![function_id, name], StoredAlias::from_row);
    Ok(row.optional()?)
}

/// The names of the aliases that point to a version.
pub(crate) fn aliases_of_version(
    db: &Connection,
    function_id: i64,
    version: VersionId,
) -> Result<Vec<String>, FunctionError> {
    let mut find = db.prepare_cached(
        "SELECT name FROM alias WHERE function_id = ?1 AND (number = ?2 OR other_number = ?2)",
    )?;
    let rows = find.query_map(params![function_id, version.number()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Functions {
    /// Creates an alias.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn create_alias(
        &self,
        owner: &Owner,
        function: &str,
        new: NewAlias,
    ) -> Result<Alias, FunctionError> {
        let (owner, function, limits) = (owner.clone(), function.to_owned(), self.limits.clone());
        self.records.write(move |db| {
            let id = function_id(db, &owner, &function)?;
            check_count(db, id, &limits)?;
            let alias = StoredAlias {
                name: new.name.clone(),
                version: new.version,
                routing: new.routing,
                description: new.description.clone(),
                revision_id: new_revision(),
            };
            check_targets(db, &owner, &function, id, &alias)?;
            let other = alias.routing;
            let inserted = db
                .prepare_cached("INSERT INTO alias VALUES (?, ?, ?, ?, ?, ?, ?)")?
                .execute(params![
                    id,
                    alias.name,
                    alias.version.number(),
                    alias.description,
                    other.map(|other| other.version.number()),
                    other.map(|other| other.weight),
                    alias.revision_id
                ]);
            let alias = alias.of(&owner.function_arn(&function));
            match inserted {
                Ok(_) => Ok(alias),
                Err(error) if is_duplicate(&error) => Err(FunctionError::AliasExists(alias.arn)),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Reads an alias.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`], [`FunctionError::NoAlias`] or a database failure.
    pub fn alias(&self, owner: &Owner, function: &str, name: &str) -> Result<Alias, FunctionError> {
        self.records
            .read(|db| read(db, owner, function, name).map(|(_, alias)| alias))
    }

    /// Lists aliases by name after this name, those of one version or all.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn aliases(
        &self,
        owner: &Owner,
        function: &str,
        version: Option<VersionId>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Alias>, FunctionError> {
        self.records.read(|db| {
            let id = function_id(db, owner, function)?;
            let sql = format!(
                "SELECT {COLUMNS} FROM alias WHERE function_id = ?1 AND name > ?2
                 AND (?3 IS NULL OR number = ?3 OR other_number = ?3) ORDER BY name LIMIT ?4"
            );
            let mut find = db.prepare_cached(&sql)?;
            let number = version.map(VersionId::number);
            let rows = find.query_map(params![id, after, number, limit], StoredAlias::from_row)?;
            let arn = owner.function_arn(function);
            rows.map(|row| Ok(row?.of(&arn))).collect()
        })
    }

    /// Changes an alias.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn update_alias(
        &self,
        owner: &Owner,
        function: &str,
        name: &str,
        change: AliasChange,
    ) -> Result<Alias, FunctionError> {
        let (owner, function) = (owner.clone(), function.to_owned());
        let name = name.to_owned();
        self.records.write(move |db| {
            let (id, old) = read(db, &owner, &function, &name)?;
            check_revision(&old.revision_id, change.revision_id.as_deref())?;
            let alias = StoredAlias {
                name: name.clone(),
                version: change.version.unwrap_or(old.version),
                routing: change.routing.unwrap_or(old.routing),
                description: change.description.clone().unwrap_or(old.description),
                revision_id: new_revision(),
            };
            check_targets(db, &owner, &function, id, &alias)?;
            let other = alias.routing;
            db.prepare_cached(
                "UPDATE alias SET number = ?, description = ?, other_number = ?, other_weight = ?, revision_id = ?
                 WHERE function_id = ? AND name = ?",
            )?
            .execute(params![
                alias.version.number(),
                alias.description,
                other.map(|other| other.version.number()),
                other.map(|other| other.weight),
                alias.revision_id,
                id,
                name
            ])?;
            Ok(alias.of(&owner.function_arn(&function)))
        })
    }

    /// Deletes an alias with its policy and settings. Succeeds if it does not exist.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn delete_alias(
        &self,
        owner: &Owner,
        function: &str,
        name: &str,
    ) -> Result<(), FunctionError> {
        let (owner, function) = (owner.clone(), function.to_owned());
        let name = name.to_owned();
        self.records.write(move |db| {
            let id = function_id(db, &owner, &function)?;
            db.execute(
                "DELETE FROM alias WHERE function_id = ? AND name = ?",
                params![id, name],
            )?;
            forget_qualifier(db, id, &name)
        })
    }
}

fn read(
    db: &Connection,
    owner: &Owner,
    function: &str,
    name: &str,
) -> Result<(i64, Alias), FunctionError> {
    let id = function_id(db, owner, function)?;
    let arn = owner.function_arn(function);
    match find_alias(db, id, name)? {
        Some(alias) => Ok((id, alias.of(&arn))),
        None => Err(FunctionError::NoAlias(format!("{arn}:{name}"))),
    }
}

fn check_count(db: &Connection, id: i64, limits: &FunctionLimits) -> Result<(), FunctionError> {
    let count: u32 = db
        .prepare_cached("SELECT count(*) FROM alias WHERE function_id = ?")?
        .query_row([id], |row| row.get(0))?;
    if count >= limits.aliases {
        return Err(FunctionError::TooManyAliases);
    }
    Ok(())
}

fn check_targets(
    db: &Connection,
    owner: &Owner,
    function: &str,
    id: i64,
    alias: &StoredAlias,
) -> Result<(), FunctionError> {
    if let Some(other) = alias.routing {
        if alias.version == VersionId::Latest || other.version == VersionId::Latest {
            return Err(FunctionError::WeightedLatest);
        }
        if alias.version == other.version {
            return Err(FunctionError::VersionTwice(other.version.to_string()));
        }
        read_version(db, owner, function, id, other.version)?;
    }
    read_version(db, owner, function, id, alias.version).map(drop)
}
