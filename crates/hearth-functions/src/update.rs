//! Updates of `$LATEST`. What was published does not change.

use std::sync::Arc;

use crate::checks::{check_room, check_settled, check_unzipped};
use crate::code::NewCode;
use crate::configuration::{Configuration, State, UpdateStatus};
use crate::error::FunctionError;
use crate::layer::resolve_layers;
use crate::layer_arn::LayerArn;
use crate::owner::Owner;
use crate::publish::{PublishContext, publish};
use crate::records::{function_id, new_revision};
use crate::reference::VersionId;
use crate::store::Functions;
use crate::version::{FunctionVersion, check_revision, read_version, write_version};

/// New code for a function.
#[derive(Debug)]
pub struct CodeUpdate {
    /// The code.
    pub code: NewCode,
    /// The instruction sets, if they change.
    pub architectures: Option<Vec<String>>,
    /// The revision id that `$LATEST` must have.
    pub revision_id: Option<String>,
    /// Whether a version is published at once.
    pub is_published: bool,
    /// Whether it is only judged.
    pub is_dry_run: bool,
}

/// Changes a configuration. May be called more than once.
pub type Change = dyn Fn(&mut Configuration) -> Result<(), FunctionError> + Send + Sync;

/// A new configuration for a function.
pub struct ConfigurationUpdate {
    /// Changes what the request has.
    pub change: Arc<Change>,
    /// The layers, if they change.
    pub layers: Option<Vec<LayerArn>>,
    /// The revision id that `$LATEST` must have.
    pub revision_id: Option<String>,
}

impl Functions {
    /// Updates the code. Answers the version that was published, if one was.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn update_code(
        &self,
        owner: &Owner,
        name: &str,
        update: CodeUpdate,
        now_ms: i64,
    ) -> Result<FunctionVersion, FunctionError> {
        let CodeUpdate {
            code,
            architectures,
            revision_id,
            is_published,
            is_dry_run,
        } = update;
        let (owner, name, limits) = (owner.clone(), name.to_owned(), self.limits.clone());
        let zip = (code.sha256.clone(), code.bytes, code.unzipped_bytes);
        let (updated, replaced) = self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            let mut latest = read_version(db, &owner, &name, id, VersionId::Latest)?;
            check_settled(&latest)?;
            check_revision(&latest.revision_id, revision_id.as_deref())?;
            let replaced = std::mem::replace(&mut latest.code_sha256, zip.0.clone());
            let freed_bytes = latest.code_bytes;
            latest.code_bytes = zip.1;
            latest.unzipped_bytes = zip.2;
            if let Some(architectures) = &architectures {
                latest.configuration.architectures.clone_from(architectures);
            }
            check_unzipped(&latest, &limits)?;
            check_room(db, &owner, &limits, zip.1.saturating_sub(freed_bytes))?;
            if is_dry_run {
                return Ok((latest, None));
            }
            begin(&mut latest, now_ms);
            write_version(db, id, &latest, None)?;
            if !is_published {
                return Ok((latest, Some(replaced)));
            }
            let context = PublishContext {
                owner: &owner,
                name: &name,
                id,
                limits: &limits,
            };
            let published = publish(db, &context, &latest, (State::Pending, None), None)?;
            Ok((published, Some(replaced)))
        })?;
        let sha256 = code.sha256.clone();
        // The zip has its record now, or needs none.
        drop(code);
        self.forget(replaced.into_iter().chain(is_dry_run.then_some(sha256)))?;
        self.wake_settler();
        Ok(updated)
    }

    /// Updates the configuration.
    ///
    /// # Errors
    ///
    /// [`FunctionError`].
    pub fn update_configuration(
        &self,
        owner: &Owner,
        name: &str,
        update: ConfigurationUpdate,
        now_ms: i64,
    ) -> Result<FunctionVersion, FunctionError> {
        let (owner, name, limits) = (owner.clone(), name.to_owned(), self.limits.clone());
        let (updated, replaced) = self.records.write(move |db| {
            let id = function_id(db, &owner, &name)?;
            let mut latest = read_version(db, &owner, &name, id, VersionId::Latest)?;
            check_settled(&latest)?;
            check_revision(&latest.revision_id, update.revision_id.as_deref())?;
            (update.change)(&mut latest.configuration)?;
            let mut replaced = Vec::new();
            if let Some(layers) = &update.layers {
                let layers = resolve_layers(db, &owner, layers)?;
                let old = std::mem::replace(&mut latest.configuration.layers, layers);
                replaced.extend(old.into_iter().map(|layer| layer.sha256));
            }
            check_unzipped(&latest, &limits)?;
            begin(&mut latest, now_ms);
            write_version(db, id, &latest, None)?;
            Ok((latest, replaced))
        })?;
        self.forget(replaced)?;
        self.wake_settler();
        Ok(updated)
    }
}

fn begin(latest: &mut FunctionVersion, now_ms: i64) {
    latest.update_status = Some(UpdateStatus::InProgress);
    latest.revision_id = new_revision();
    latest.modified_ms = now_ms;
}
