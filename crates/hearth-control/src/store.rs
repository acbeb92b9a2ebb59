//! The records of the control plane, behind a trait: SQLite on one host, perhaps something shared later.
//!
//! Every change goes through [`Store::commit`] as one [`Batch`]: guards that must hold, and changes that happen
//! together or not at all. Uniqueness, quotas and references are guards: they are decided where writes are
//! serialized, so two callers cannot both win. Lists are read by key, never by offset.
//!
//! Guards and changes are in the terms of the control plane. `translate` turns them into a few primitives
//! (`store/primitive.rs`): rows that are present, absent or fewer than a number; insert, put, update and delete.
//! Another database executes these and answers the queries of [`Store`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use thiserror::Error;

use crate::account::{AccessKey, Account, Role, RolePolicy};
use crate::arn::{ImageArn, Scope, TaggedArn};
use crate::connector::{Connector, ConnectorState, ConnectorVersion};
use crate::id::{
    AccessKeyId, AccountId, BuildId, ConnectorId, ConnectorName, EndpointId, ImageName, MicrovmId,
    RoleName, VersionNumber,
};
use crate::image::{Build, Image, ImageVersion, Tags};
use crate::managed_policy::{FoundPolicy, PolicyArn, PolicyFilter, PolicyVersion};
use crate::microvm::{Microvm, MicrovmFilter};
use crate::time::Timestamp;

mod batch;
pub(crate) mod form;
mod primitive;
mod sqlite;
mod text;
mod translate;

pub use batch::{Batch, Change, Guard, Intent, IntentSubject, TokenKey, TokenUse, Verdict};
pub use hearth_sqlite::CommitMoment;
pub use sqlite::SqliteStore;

/// Why the store could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database could not be opened or used.
    #[error(transparent)]
    Database(hearth_sqlite::Error),
    /// A record is damaged, or was written by something else.
    #[error("a record of {kind} cannot be read")]
    Record {
        /// The kind of record.
        kind: &'static str,
    },
    /// A microVM was to be moved from a generation that it is not at, or no longer.
    #[error(
        "the microVM {id} is not at generation {from_generation}: another owner has moved or removed it"
    )]
    MovedElsewhere {
        /// The microVM.
        id: MicrovmId,
        /// The generation that the move was decided on.
        from_generation: u64,
    },
    /// The record to change does not exist: it was removed meanwhile, or never written.
    #[error("the record to change does not exist: {0}")]
    NothingToChange(String),
    /// The commit that this batch was a part of failed.
    #[error("the commit failed: {0}")]
    Commit(String),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl From<hearth_sqlite::Error> for StoreError {
    fn from(error: hearth_sqlite::Error) -> Self {
        match error {
            hearth_sqlite::Error::Commit(text) => Self::Commit(text),
            hearth_sqlite::Error::Closed => Self::Closed,
            other => Self::Database(other),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// A position in the list of microVMs: newest first, then by id.
pub type MicrovmPlace = (Timestamp, MicrovmId);

/// The store of the control plane's records.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Checks the guards and makes the changes, durably and atomically. If it fails, nothing has changed.
    ///
    /// The batch fails if a change finds no record to change: [`StoreError::MovedElsewhere`],
    /// [`StoreError::NothingToChange`].
    async fn commit(&self, batch: Batch) -> Result<Verdict>;

    /// Lists all accounts, by number.
    async fn accounts(&self) -> Result<Vec<Account>>;
    /// Returns the names of the accounts that have one.
    async fn account_names(&self) -> Result<BTreeMap<AccountId, String>>;
    /// Returns one access key.
    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>>;
    /// Lists the access keys of an account, by id.
    async fn access_keys(&self, account: AccountId) -> Result<Vec<AccessKey>>;
    /// Returns one role.
    async fn role(&self, account: AccountId, name: &RoleName) -> Result<Option<Role>>;
    /// Lists roles whose path begins so by name, after the name `after`.
    async fn roles(
        &self,
        account: AccountId,
        path_prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Role>>;
    /// Lists the inline policies of a role, by name.
    async fn role_policies(&self, account: AccountId, name: &RoleName) -> Result<Vec<RolePolicy>>;
    /// Lists the managed policies that are attached to a role, by ARN.
    async fn role_attachments(&self, account: AccountId, name: &RoleName) -> Result<Vec<String>>;
    /// Returns the documents in force of the account's own policies that are attached to a role.
    async fn attached_documents(&self, account: AccountId, name: &RoleName) -> Result<Vec<String>>;
    /// Returns one managed policy.
    async fn policy(&self, arn: &PolicyArn) -> Result<Option<FoundPolicy>>;
    /// Lists managed policies by name, after the name `after`.
    async fn policies(
        &self,
        account: AccountId,
        filter: &PolicyFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<FoundPolicy>>;
    /// Lists the versions of a managed policy from new to old.
    async fn policy_versions(&self, arn: &PolicyArn) -> Result<Vec<PolicyVersion>>;
    /// Lists the roles that a policy is attached to and whose path begins so by name, after the name `after`.
    async fn policy_roles(
        &self,
        arn: &PolicyArn,
        path_prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Role>>;

    /// Returns one image.
    async fn image(&self, arn: &ImageArn) -> Result<Option<Image>>;
    /// Lists images by name, after the name `after`.
    async fn images(
        &self,
        scope: &Scope,
        after: Option<&ImageName>,
        limit: u32,
    ) -> Result<Vec<Image>>;
    /// Lists all images of all accounts.
    async fn all_images(&self) -> Result<Vec<Image>>;
    /// Returns one version.
    async fn version(&self, arn: &ImageArn, number: VersionNumber) -> Result<Option<ImageVersion>>;
    /// Lists versions from new to old, older than `before`.
    async fn versions(
        &self,
        arn: &ImageArn,
        before: Option<VersionNumber>,
        limit: u32,
    ) -> Result<Vec<ImageVersion>>;
    /// Lists the builds of a version by id, after the id `after`.
    async fn builds(
        &self,
        arn: &ImageArn,
        number: VersionNumber,
        after: Option<BuildId>,
        limit: u32,
    ) -> Result<Vec<Build>>;
    /// Returns one build of any image.
    async fn build(&self, id: BuildId) -> Result<Option<Build>>;
    /// Whether a version refers to a snapshot, or its build may yet make it do so.
    async fn is_snapshot_needed(&self, snapshot: &str, build: BuildId) -> Result<bool>;

    /// Returns one microVM.
    async fn microvm(&self, id: MicrovmId) -> Result<Option<Microvm>>;
    /// Returns the microVM of an endpoint.
    async fn microvm_at(&self, endpoint: EndpointId) -> Result<Option<Microvm>>;
    /// Lists microVMs from new to old, after the position `after`.
    async fn microvms(
        &self,
        scope: &Scope,
        filter: &MicrovmFilter,
        after: Option<MicrovmPlace>,
        limit: u32,
    ) -> Result<Vec<Microvm>>;
    /// Lists all microVMs that are not TERMINATED.
    async fn living_microvms(&self) -> Result<Vec<Microvm>>;
    /// Lists microVMs that became TERMINATED at or before a time.
    async fn terminated_microvms(&self, until: Timestamp, limit: u32) -> Result<Vec<MicrovmId>>;
    /// Lists the TERMINATED microVMs of an account, except for the `newest` that ended last.
    async fn terminated_microvms_beyond(
        &self,
        account: AccountId,
        newest: u32,
        limit: u32,
    ) -> Result<Vec<MicrovmId>>;

    /// Returns what a client token was used for.
    async fn token(&self, key: &TokenKey) -> Result<Option<TokenUse>>;
    /// Returns the tags of a resource.
    async fn tags(&self, resource: &TaggedArn) -> Result<Tags>;

    /// Returns a connector by id.
    async fn connector(&self, id: ConnectorId) -> Result<Option<Connector>>;
    /// Returns a connector by name.
    async fn connector_named(
        &self,
        scope: &Scope,
        name: &ConnectorName,
    ) -> Result<Option<Connector>>;
    /// Lists connectors by id, after the id `after`.
    async fn connectors(
        &self,
        scope: &Scope,
        state: Option<ConnectorState>,
        after: Option<ConnectorId>,
        limit: u32,
    ) -> Result<Vec<Connector>>;
    /// Lists the connectors of all accounts that are being deleted or have a version that waits to be checked.
    async fn unsettled_connectors(&self) -> Result<Vec<Connector>>;
    /// Returns one version of a connector.
    async fn connector_version(
        &self,
        id: ConnectorId,
        number: u32,
    ) -> Result<Option<ConnectorVersion>>;
    /// Lists versions of a connector from new to old, older than `before`.
    async fn connector_versions(
        &self,
        id: ConnectorId,
        state: Option<ConnectorState>,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<ConnectorVersion>>;

    /// Lists intents without an outcome, oldest first.
    async fn open_intents(&self) -> Result<Vec<Intent>>;
}
