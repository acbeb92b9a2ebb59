//! Layers: zips that several functions lay under their code.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::checks::check_room;
use crate::code::{CodeFile, NewCode};
use crate::configuration::LayerUse;
use crate::error::FunctionError;
use crate::layer_arn::LayerArn;
use crate::layer_policy::may_use;
use crate::limits::FunctionLimits;
use crate::owner::Owner;
use crate::records::{new_revision, next_number, signed, unsigned};
use crate::store::Functions;

/// Most layers of a function.
const MAX_OF_FUNCTION: usize = 5;

/// The kind of numbers of layer versions, in `counter`.
const COUNTER: &str = "layer";

/// A layer version to publish.
#[derive(Debug)]
pub struct NewLayerVersion {
    /// The name of the layer.
    pub name: String,
    /// The customer's description.
    pub description: String,
    /// The licence, as the customer words it.
    pub license: Option<String>,
    /// The runtimes that it is for. `None` if the request has no such list.
    pub runtimes: Option<Vec<String>>,
    /// The instruction sets that it is for. `None` if the request has no such list.
    pub architectures: Option<Vec<String>>,
    /// The zip.
    pub code: NewCode,
}

/// A layer version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerVersion {
    /// Its ARN.
    pub arn: LayerArn,
    /// The customer's description.
    pub description: String,
    /// The licence, as the customer words it.
    pub license: Option<String>,
    /// The runtimes that it is for.
    pub runtimes: Option<Vec<String>>,
    /// The instruction sets that it is for.
    pub architectures: Option<Vec<String>>,
    /// The zip.
    pub code: CodeFile,
    /// When it was published, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A layer with its latest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The name.
    pub name: String,
    /// The latest version that matches the filter.
    pub latest: LayerVersion,
}

/// What versions of layers are listed.
#[derive(Clone, Debug, Default)]
pub struct LayerFilter {
    /// Those for this runtime.
    pub runtime: Option<String>,
    /// Those for this instruction set.
    pub architecture: Option<String>,
}

impl LayerFilter {
    fn accepts(&self, version: &StoredLayer) -> bool {
        let is_in = |wanted: &Option<String>, list: &Option<String>| {
            let list: Option<Vec<String>> = list
                .as_deref()
                .and_then(|list| serde_json::from_str(list).ok());
            match wanted {
                None => true,
                Some(wanted) => list.is_some_and(|list| list.contains(wanted)),
            }
        };
        is_in(&self.runtime, &version.runtimes) && is_in(&self.architecture, &version.architectures)
    }
}

const COLUMNS: &str =
    "name, number, description, license, runtimes, architectures, code_sha256, code_bytes,
    unzipped_bytes, created_ms";

struct StoredLayer {
    name: String,
    number: u32,
    description: String,
    license: Option<String>,
    runtimes: Option<String>,
    architectures: Option<String>,
    code_sha256: String,
    code_bytes: i64,
    unzipped_bytes: i64,
    created_ms: i64,
}

impl StoredLayer {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            number: row.get(1)?,
            description: row.get(2)?,
            license: row.get(3)?,
            runtimes: row.get(4)?,
            architectures: row.get(5)?,
            code_sha256: row.get(6)?,
            code_bytes: row.get(7)?,
            unzipped_bytes: row.get(8)?,
            created_ms: row.get(9)?,
        })
    }
}

fn list(text: Option<&str>) -> Result<Option<Vec<String>>, FunctionError> {
    Ok(text.map(serde_json::from_str).transpose()?)
}

fn find_layer(db: &Connection, arn: &LayerArn) -> Result<Option<StoredLayer>, FunctionError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM layer_version WHERE account = ? AND region = ? AND name = ? AND number = ?"
    );
    let owner = &arn.owner;
    let mut find = db.prepare_cached(&sql)?;
    let place = params![owner.account, owner.region, arn.name, arn.version];
    Ok(find.query_row(place, StoredLayer::from_row).optional()?)
}

/// The layers of a function, as they are now.
///
/// # Errors
///
/// [`FunctionError`].
pub(crate) fn resolve_layers(
    db: &Connection,
    owner: &Owner,
    arns: &[LayerArn],
) -> Result<Vec<LayerUse>, FunctionError> {
    if arns.len() > MAX_OF_FUNCTION {
        return Err(FunctionError::TooManyLayers);
    }
    let mut uses = Vec::new();
    for (place, arn) in arns.iter().enumerate() {
        if arn.owner.region != owner.region {
            return Err(FunctionError::LayerElsewhere);
        }
        let is_same = |other: &&LayerArn| other.owner == arn.owner && other.name == arn.name;
        if let Some(other) = arns[..place].iter().find(is_same) {
            return Err(FunctionError::SameLayer(arn.to_string(), other.to_string()));
        }
        if arn.owner.account != owner.account && !may_use(db, arn, &owner.account)? {
            return Err(FunctionError::LayerDenied(arn.to_string()));
        }
        let layer =
            find_layer(db, arn)?.ok_or_else(|| FunctionError::NoLayerVersion(arn.to_string()))?;
        uses.push(LayerUse {
            arn: arn.to_string(),
            sha256: layer.code_sha256,
            bytes: unsigned(layer.code_bytes),
            unzipped_bytes: unsigned(layer.unzipped_bytes),
        });
    }
    Ok(uses)
}

impl Functions {
    fn layer_of(&self, owner: &Owner, stored: StoredLayer) -> Result<LayerVersion, FunctionError> {
        Ok(LayerVersion {
            arn: LayerArn {
                owner: owner.clone(),
                name: stored.name,
                version: stored.number,
            },
            description: stored.description,
            license: stored.license,
            runtimes: list(stored.runtimes.as_deref())?,
            architectures: list(stored.architectures.as_deref())?,
            code: self
                .codes
                .file(&stored.code_sha256, unsigned(stored.code_bytes)),
            created_ms: stored.created_ms,
        })
    }

    /// Publishes a layer version.
    ///
    /// # Errors
    ///
    /// [`FunctionError::CodeStorageExceeded`] or a database failure.
    pub fn publish_layer(
        &self,
        owner: &Owner,
        new: NewLayerVersion,
        now_ms: i64,
    ) -> Result<LayerVersion, FunctionError> {
        let NewLayerVersion {
            name,
            description,
            license,
            runtimes,
            architectures,
            code,
        } = new;
        let json = |list: Option<Vec<String>>| list.map(|list| serde_json::to_string(&list));
        let (runtimes, architectures) = (
            json(runtimes).transpose()?,
            json(architectures).transpose()?,
        );
        let (sha256, bytes, unzipped) = (code.sha256.clone(), code.bytes, code.unzipped_bytes);
        let (by, limits) = (owner.clone(), self.limits.clone());
        let published = self.records.write(move |db| {
            check_count(db, &by, &name, &limits)?;
            check_room(db, &by, &limits, bytes)?;
            let layer = StoredLayer {
                number: next_number(db, &by, COUNTER, &name)?,
                name: name.clone(),
                description: description.clone(),
                license: license.clone(),
                runtimes: runtimes.clone(),
                architectures: architectures.clone(),
                code_sha256: sha256.clone(),
                code_bytes: signed(bytes),
                unzipped_bytes: signed(unzipped),
                created_ms: now_ms,
            };
            insert(db, &by, &layer)?;
            Ok(layer)
        })?;
        // The zip has its record now.
        drop(code);
        self.layer_of(owner, published)
    }

    /// Reads a layer version, also of another account that lets this one use it.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoLayerVersion`], [`FunctionError::LayerDenied`] or a database failure.
    pub fn layer_version(
        &self,
        owner: &Owner,
        arn: &LayerArn,
    ) -> Result<LayerVersion, FunctionError> {
        let found = self.records.read(|db| {
            if arn.owner.account != owner.account && !may_use(db, arn, &owner.account)? {
                return Err(FunctionError::LayerDenied(arn.to_string()));
            }
            find_layer(db, arn)
        })?;
        let found = found.ok_or_else(|| FunctionError::NoLayerVersion(arn.to_string()))?;
        self.layer_of(&arn.owner, found)
    }

    /// Lists the versions of a layer, newest first, below the number `before`.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn layer_versions(
        &self,
        owner: &Owner,
        name: &str,
        filter: &LayerFilter,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<LayerVersion>, FunctionError> {
        let found: Vec<StoredLayer> = self.records.read(|db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM layer_version WHERE account = ? AND region = ? AND name = ? AND number < ?
                 ORDER BY number DESC"
            );
            let mut find = db.prepare_cached(&sql)?;
            let before = before.map_or(i64::MAX, i64::from);
            let place = params![owner.account, owner.region, name, before];
            let rows = find.query_map(place, StoredLayer::from_row)?;
            take(rows, filter, limit)
        })?;
        let found = found.into_iter();
        found.map(|layer| self.layer_of(owner, layer)).collect()
    }

    /// Lists layers by name, after this name, each with the latest version that matches.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn layers(
        &self,
        owner: &Owner,
        filter: &LayerFilter,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Layer>, FunctionError> {
        let found: Vec<StoredLayer> = self.records.read(|db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM layer_version WHERE account = ? AND region = ? AND name > ?
                 ORDER BY name, number DESC"
            );
            let mut find = db.prepare_cached(&sql)?;
            let rows = find.query_map(
                params![owner.account, owner.region, after],
                StoredLayer::from_row,
            )?;
            let mut found: Vec<StoredLayer> = Vec::new();
            for row in rows {
                let row = row?;
                let is_known = found.last().is_some_and(|last| last.name == row.name);
                if is_known || !filter.accepts(&row) {
                    continue;
                }
                if found.len() == limit {
                    break;
                }
                found.push(row);
            }
            Ok(found)
        })?;
        let found = found.into_iter();
        found
            .map(|layer| {
                Ok(Layer {
                    name: layer.name.clone(),
                    latest: self.layer_of(owner, layer)?,
                })
            })
            .collect()
    }

    /// Deletes a layer version. Functions that use it go on. Succeeds if it does not exist.
    ///
    /// # Errors
    ///
    /// A database failure.
    pub fn delete_layer_version(&self, arn: &LayerArn) -> Result<(), FunctionError> {
        let arn = arn.clone();
        let codes: Vec<String> = self.records.write(move |db| {
            let owner = &arn.owner;
            let mut delete = db.prepare_cached(
                "DELETE FROM layer_version WHERE account = ? AND region = ? AND name = ? AND number = ?
                 RETURNING code_sha256",
            )?;
            let place = params![owner.account, owner.region, arn.name, arn.version];
            let rows = delete.query_map(place, |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        self.forget(codes)
    }
}

fn take(
    rows: impl Iterator<Item = rusqlite::Result<StoredLayer>>,
    filter: &LayerFilter,
    limit: usize,
) -> Result<Vec<StoredLayer>, FunctionError> {
    let mut found = Vec::new();
    for row in rows {
        let row = row?;
        if found.len() == limit {
            break;
        }
        if filter.accepts(&row) {
            found.push(row);
        }
    }
    Ok(found)
}

fn check_count(
    db: &Connection,
    owner: &Owner,
    name: &str,
    limits: &FunctionLimits,
) -> Result<(), FunctionError> {
    let (versions, layers): (u32, u32) = db
        .prepare_cached(
            "SELECT (SELECT count(*) FROM layer_version WHERE account = ?1 AND region = ?2 AND name = ?3),
                (SELECT count(DISTINCT name) FROM layer_version
                 WHERE account = ?1 AND region = ?2 AND name <> ?3)",
        )?
        .query_row(params![owner.account, owner.region, name], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if versions >= limits.versions || layers >= limits.layers {
        return Err(FunctionError::CodeStorageExceeded);
    }
    Ok(())
}

fn insert(db: &Connection, owner: &Owner, layer: &StoredLayer) -> Result<(), FunctionError> {
    db.prepare_cached(
        "INSERT INTO layer_version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '[]', ?)",
    )?
    .execute(params![
        owner.account,
        owner.region,
        layer.name,
        layer.number,
        layer.description,
        layer.license,
        layer.runtimes,
        layer.architectures,
        layer.code_sha256,
        layer.code_bytes,
        layer.unzipped_bytes,
        layer.created_ms,
        new_revision()
    ])?;
    Ok(())
}
