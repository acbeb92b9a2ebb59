//! What a name and a qualifier mean to whoever runs functions.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::alias::find_alias;
use crate::code::CodeFile;
use crate::configuration::{Logging, State, TracingMode, UpdateStatus};
use crate::error::FunctionError;
use crate::event_invoke::{EventInvokeSettings, find_settings};
use crate::owner::Owner;
use crate::records::find_function;
use crate::reference::{Qualifier, VersionId};
use crate::settings::RuntimeManagement;
use crate::store::Functions;
use crate::version::{FunctionVersion, read_version};

/// A version of a function, with everything that running it needs. It does not change when the function does: whoever
/// keeps one knows by `revision_id` whether it is still current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The owner.
    pub owner: Owner,
    /// The name of the function.
    pub name: String,
    /// The unqualified ARN.
    pub function_arn: String,
    /// The ARN as it was named: unqualified, or with a version or an alias. The function sees it in its context.
    pub invoked_arn: String,
    /// The version that runs. Of an alias with weights it is the one that was chosen.
    pub version: VersionId,
    /// One of [`crate::RUNTIMES`].
    pub runtime: String,
    /// The runtime version that it is to have.
    pub runtime_management: RuntimeManagement,
    /// What the runtime calls.
    pub handler: String,
    /// Longest invocation, in seconds.
    pub timeout_s: u32,
    /// Memory in MB.
    pub memory_mb: u32,
    /// Size of `/tmp` in MB.
    pub ephemeral_storage_mb: u32,
    /// The instruction sets: one.
    pub architectures: Vec<String>,
    /// Environment variables that the customer set.
    pub environment: BTreeMap<String, String>,
    /// The ARN of the execution role.
    pub role_arn: String,
    /// Where and how logs are written.
    pub logging: Logging,
    /// Whether an environment serves one tenant alone for its life.
    pub is_tenant_isolated: bool,
    /// Whether invocations are sampled for tracing.
    pub is_traced: bool,
    /// The code.
    pub code: CodeFile,
    /// The layers, in the order in which they are laid over each other.
    pub layers: Vec<CodeFile>,
    /// The concurrency that the function reserves, if it does. Zero: it is off.
    pub reserved_concurrency: Option<u32>,
    /// How often and how long an asynchronous invocation is tried.
    pub event_invoke: EventInvokeSettings,
    /// Whether the function may call itself in a circle.
    pub is_recursion_allowed: bool,
    /// Its state: only an Active one may run.
    pub state: State,
    /// The state of its last update. `None` while it is created.
    pub update_status: Option<UpdateStatus>,
    /// Changes with every change.
    pub revision_id: String,
}

/// A version with what belongs to its function and its qualifier.
struct Found {
    version: FunctionVersion,
    reserved: Option<u32>,
    is_recursion_allowed: bool,
    event_invoke: EventInvokeSettings,
}

impl Functions {
    /// Resolves a name and a qualifier. `chance` is a random number from 0 to below 1, which chooses between the
    /// versions of an alias.
    ///
    /// # Errors
    ///
    /// [`FunctionError::NoFunction`], with the ARN that names `$LATEST` if there is no qualifier, or a database failure.
    pub fn resolve(
        &self,
        owner: &Owner,
        name: &str,
        qualifier: Option<&Qualifier>,
        chance: f64,
    ) -> Result<Resolved, FunctionError> {
        let found = self
            .records
            .read(|db| find(db, owner, name, qualifier, chance))?;
        let number = found.version.version;
        let runtime_management =
            self.runtime_management(owner, name, Some(&Qualifier::Version(number)))?;
        let FunctionVersion {
            function_arn,
            configuration,
            ..
        } = found.version;
        let layers = configuration.layers.iter();
        let layers = layers.map(|layer| self.codes.file(&layer.sha256, layer.bytes));
        Ok(Resolved {
            owner: owner.clone(),
            name: name.to_owned(),
            invoked_arn: match qualifier {
                Some(qualifier) => format!("{function_arn}:{qualifier}"),
                None => function_arn.clone(),
            },
            function_arn,
            version: number,
            runtime_management,
            timeout_s: configuration.timeout_s,
            memory_mb: configuration.memory_mb,
            ephemeral_storage_mb: configuration.ephemeral_storage_mb,
            is_tenant_isolated: configuration.is_tenant_isolated,
            is_traced: configuration.tracing == TracingMode::Active,
            layers: layers.collect(),
            runtime: configuration.runtime,
            handler: configuration.handler,
            architectures: configuration.architectures,
            environment: configuration.environment.unwrap_or_default(),
            role_arn: configuration.role,
            logging: configuration.logging,
            code: self
                .codes
                .file(&found.version.code_sha256, found.version.code_bytes),
            reserved_concurrency: found.reserved,
            event_invoke: found.event_invoke,
            is_recursion_allowed: found.is_recursion_allowed,
            state: found.version.state,
            update_status: found.version.update_status,
            revision_id: found.version.revision_id,
        })
    }
}

fn find(
    db: &Connection,
    owner: &Owner,
    name: &str,
    qualifier: Option<&Qualifier>,
    chance: f64,
) -> Result<Found, FunctionError> {
    let text = qualifier.map_or_else(|| VersionId::Latest.to_string(), ToString::to_string);
    let missing = || FunctionError::NoFunction(format!("{}:{text}", owner.function_arn(name)));
    let id = find_function(db, owner, name)?.ok_or_else(missing)?;
    let number = match qualifier {
        None => VersionId::Latest,
        Some(Qualifier::Version(version)) => *version,
        Some(Qualifier::NoVersion(_)) => return Err(missing()),
        Some(Qualifier::Alias(alias)) => find_alias(db, id, alias)?
            .ok_or_else(missing)?
            .choose(chance),
    };
    let version = read_version(db, owner, name, id, number)?;
    let (reserved, is_recursion_allowed) = db
        .prepare_cached("SELECT reserved, recursion_allowed FROM function WHERE id = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let event_invoke = find_settings(db, id, &text)?.map(|(settings, _)| settings);
    Ok(Found {
        version,
        reserved,
        is_recursion_allowed,
        event_invoke: event_invoke.unwrap_or_default(),
    })
}
