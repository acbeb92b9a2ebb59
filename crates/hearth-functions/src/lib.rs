//! Lambda functions: their versions, aliases, layers, policies, settings and code.
//!
//! ```text
//! functions.db               functions, versions, aliases, policies, settings, layers
//! code/<xx>/<sha256>         a zip that a client sent, named by its digest; <xx> spreads them over 256 directories
//! ```
//!
//! A zip is judged and complete before a record refers to it. It is removed when the last record that refers to it has
//! gone. Accounts that send equal zips share a file, and each is counted for what it sent (`account.rs`).
//!
//! ```text
//! create ──► Pending ──settle──► Active        settle is a thread of its own (`settle.rs`); it goes on after a restart
//! update ──► Active, InProgress ──settle──► Active, Successful
//! ```
//!
//! Whoever runs functions asks [`Functions::resolve`] what a name and a qualifier mean.
//!
//! Every method blocks on the disk. The crate knows neither HTTP nor the JSON of AWS.

#![forbid(unsafe_code)]

mod owner;
mod reference;
mod runtime;

mod code;
mod configuration;
mod environment;
mod error;
mod limits;
mod records;
mod schema;
mod settle;
mod store;

mod account;
mod alias;
mod checks;
mod concurrency;
mod event_invoke;
mod function;
mod layer;
mod layer_arn;
mod layer_policy;
mod policy;
mod publish;
mod settings;
mod statement;
mod tags;
mod update;
mod version;

mod resolve;

pub use account::AccountUsage;
pub use alias::{Alias, AliasChange, NewAlias, Routing};
pub use code::{CodeFile, NewCode};
pub use configuration::{
    Configuration, LayerUse, LogFormat, Logging, State, TracingMode, UpdateStatus,
};
pub use environment::{check_environment, check_logging};
pub use error::{CodeError, FunctionError};
pub use event_invoke::{EventInvoke, EventInvokeSettings, EventInvokeWrite};
pub use function::{FunctionSettings, NewFunction};
pub use layer::{Layer, LayerFilter, LayerVersion, NewLayerVersion};
pub use layer_arn::LayerArn;
pub use limits::FunctionLimits;
pub use owner::Owner;
pub use publish::Publication;
pub use reference::{FunctionName, FunctionRef, Qualifier, ReferenceError, VersionId};
pub use resolve::Resolved;
pub use runtime::{BLOCKED_RUNTIMES, KNOWN_RUNTIMES, RUNTIMES, runtime_version_arn};
pub use settings::{RuntimeManagement, UpdateRuntimeOn};
pub use statement::{Policy, Statement};
pub use store::Functions;
pub use update::{Change, CodeUpdate, ConfigurationUpdate};
pub use version::FunctionVersion;

#[cfg(test)]
mod tests;
