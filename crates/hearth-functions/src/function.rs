//! Functions: create, read, list, delete.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::alias::{aliases_of_version, find_alias};
use crate::checks::{check_room, check_unzipped};
use crate::code::NewCode;
use crate::configuration::{Configuration, State};
use crate::error::FunctionError;
use crate::layer::resolve_layers;
use crate::layer_arn::LayerArn;
use crate::limits::FunctionLimits;
use crate::owner::Owner;
use crate::publish::{PublishContext, publish};
use crate::records::{find_function, forget_qualifier, function_id, is_duplicate, new_revision};
use crate::reference::{Qualifier, VersionId};
use crate::store::Functions;
use crate::version::{FunctionVersion, codes_of, read_version, write_version};

/// A function to create.
#[derive(Debug)]
pub struct NewFunction {
    /// The name.
    pub name: String,
    /// The configuration. Its layers are taken from `layers`.
    pub configuration: Configuration,
    /// The layers.
    pub layers: Vec<LayerArn>,
    /// The code.
    pub code: NewCode,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// Whether version 1 is published at once.
    pub is_published: bool,
}

/// What belongs to a function as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionSettings {
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The reserved concurrency, if it has any.
    pub reserved: Option<u32>,
}

/// Most tags of a function.
pub(crate) const MAX_TAGS: usize = 50;

impl Functions {
    /// Creates a function, which is Pending. Answers the version that was published, if one was.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn create(
        &self,
        owner: &Owner,
        new: NewFunction,
        now_ms: i64,
    ) -> Result<FunctionVersion, FunctionError> {
        let NewFunction {
            name,
            configuration,
            layers,
            code,
            tags,
            is_published,
        } = new;
        if tags.len() > MAX_TAGS {
            return Err(FunctionError::TooManyTags);
        }
        let tags = serde_json::to_string(&tags)?;
        let (owner, limits) = (owner.clone(), self.limits.clone());
        let zip = (code.sha256.clone(), code.bytes, code.unzipped_bytes);
        let created = self.records.write(move |db| {
            let id = insert(db, &owner, &name, &tags, &limits)?;
            let mut configuration = configuration.clone();
            configuration.layers = resolve_layers(db, &owner, &layers)?;
            let latest = FunctionVersion {
                name: name.clone(),
                function_arn: owner.function_arn(&name),
                version: VersionId::Latest,
                configuration,
                code_sha256: zip.0.clone(),
                code_bytes: zip.1,
                unzipped_bytes: zip.2,
                revision_id: new_revision(),
                modified_ms: now_ms,
                state: State::Pending,
                update_status: None,
            };
            check_unzipped(&latest, &limits)?;
            check_room(db, &owner, &limits, latest.code_bytes)?;
            write_version(db, id, &latest, None)?;
            if !is_published {
                return Ok(latest);
            }
            let context = PublishContext {
                owner: &owner,
                name: &name,
                id,
                limits: &limits,
            };
            publish(db, &context, &latest, (State::Pending, None), None)
        })?;
        // The zip has its record now.
        drop(code);
        self.wake_settler();
        Ok(created)
    }

    /// What a name and a qualifier stand for. The version of an alias is its main one.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn version(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
    ) -> Result<FunctionVersion, FunctionError> {
        self.records.read(|db| {
            let (id, version) = target(db, owner, name, qualifier)?;
            read_version(db, owner, name, id, version)
        })
    }

    /// What belongs to a function as a whole.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`] or a database failure.
    pub fn function_settings(
        &self,
        owner: &Owner,
        name: &str,
    ) -> Result<FunctionSettings, FunctionError> {
        self.records.read(|db| {
            let id = function_id(db, owner, name)?;
            let (tags, reserved): (String, Option<u32>) = db
                .prepare_cached("SELECT tags, reserved FROM function WHERE id = ?")?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(FunctionSettings {
                tags: serde_json::from_str(&tags)?,
                reserved,
            })
        })
    }

    /// Lists versions of all functions of an owner by name and number, after this place: `$LATEST` of each, or all.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn functions(
        &self,
        owner: &Owner,
        with_all_versions: bool,
        after: Option<(&str, VersionId)>,
        limit: u32,
    ) -> Result<Vec<FunctionVersion>, FunctionError> {
        self.records.read(|db| {
            let mut find = db.prepare_cached(
                "SELECT name, id, number FROM function JOIN version ON function_id = id
                 WHERE account = ?1 AND region = ?2 AND (number = 0 OR ?3) AND (name, number) > (?4, ?5)
                 ORDER BY name, number LIMIT ?6",
            )?;
            let (name, number) = after.map_or(("", 0), |(name, version)| (name, version.number()));
            let place = params![owner.account, owner.region, with_all_versions, name, number, limit];
            let rows = find.query_map(place, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let rows: Vec<(String, i64, u32)> = rows.collect::<Result<_, _>>()?;
            let read = |(name, id, number): &(String, i64, u32)| {
                read_version(db, owner, name, *id, VersionId::from_number(*number))
            };
            rows.iter().map(read).collect()
        })
    }

    /// Deletes a function with everything that belongs to it, or one version. Deleting a version that does not exist
    /// does nothing.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn delete(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
    ) -> Result<(), FunctionError> {
        let (owner, name, qualifier) = (owner.clone(), name.to_owned(), qualifier.cloned());
        let codes = self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            match &qualifier {
                None => {
                    let codes = codes_of(db, id, None)?;
                    db.execute("DELETE FROM function WHERE id = ?", [id])?;
                    Ok(codes)
                }
                Some(Qualifier::Version(VersionId::Latest)) => {
                    Err(FunctionError::LatestNotDeletable)
                }
                Some(Qualifier::Alias(_)) => Err(FunctionError::AliasNotDeletable),
                Some(Qualifier::NoVersion(_)) => Ok(Vec::new()),
                Some(Qualifier::Version(version)) => delete_version(db, id, *version),
            }
        })?;
        self.forget(codes)
    }
}

fn delete_version(
    db: &Connection,
    id: i64,
    version: VersionId,
) -> Result<Vec<String>, FunctionError> {
    let aliases = aliases_of_version(db, id, version)?;
    if !aliases.is_empty() {
        return Err(FunctionError::VersionInUse(aliases));
    }
    let codes = codes_of(db, id, Some(version))?;
    db.execute(
        "DELETE FROM version WHERE function_id = ? AND number = ?",
        params![id, version.number()],
    )?;
    forget_qualifier(db, id, &version.to_string())?;
    Ok(codes)
}

fn insert(
    db: &Connection,
    owner: &Owner,
    name: &str,
    tags: &str,
    limits: &FunctionLimits,
) -> Result<i64, FunctionError> {
    if find_function(db, owner, name)?.is_some() {
        return Err(FunctionError::FunctionExists(name.to_owned()));
    }
    let count: u32 = db
        .prepare_cached("SELECT count(*) FROM function WHERE account = ? AND region = ?")?
        .query_row(params![owner.account, owner.region], |row| row.get(0))?;
    if count >= limits.functions {
        return Err(FunctionError::CodeStorageExceeded);
    }
    let inserted = db
        .prepare_cached("INSERT INTO function (account, region, name, tags) VALUES (?, ?, ?, ?)")?
        .insert(params![owner.account, owner.region, name, tags]);
    inserted.map_err(|error| match is_duplicate(&error) {
        true => FunctionError::FunctionExists(name.to_owned()),
        false => error.into(),
    })
}

/// The function and the version that a qualifier stands for.
pub(crate) fn target(
    db: &Connection,
    owner: &Owner,
    name: &str,
    qualifier: Option<&Qualifier>,
) -> Result<(i64, VersionId), FunctionError> {
    let arn = || owner.function_arn(name);
    let missing = || {
        FunctionError::NoFunction(match qualifier {
            Some(qualifier) => format!("{}:{qualifier}", arn()),
            None => arn(),
        })
    };
    let id = find_function(db, owner, name)?.ok_or_else(missing)?;
    let version = match qualifier {
        None => VersionId::Latest,
        Some(Qualifier::Version(version)) => *version,
        Some(Qualifier::NoVersion(_)) => return Err(missing()),
        Some(Qualifier::Alias(alias)) => find_alias(db, id, alias)?.ok_or_else(missing)?.version,
    };
    let exists: Option<i64> = db
        .prepare_cached("SELECT 1 FROM version WHERE function_id = ? AND number = ?")?
        .query_row(params![id, version.number()], |row| row.get(0))
        .optional()?;
    exists.map(|_| (id, version)).ok_or_else(missing)
}
