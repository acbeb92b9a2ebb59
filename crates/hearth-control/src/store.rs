//! What the control plane remembers, behind a trait: SQLite on one host, something shared later.
//!
//! Everything that changes goes through [`Store::commit`] as one [`Batch`]: guards that must hold and
//! changes that happen together, or not at all. Uniqueness, quotas and references are guards, so that they
//! are decided where writes are put in order, and no two callers can both win. Lists are read by key,
//! never by offset.
//!
//! Guards and changes are the words of control. `translate` turns them into a few primitives (`store/primitive.rs`): rows that are
//! present, absent or fewer than a number; insert, put, update and delete. Another database executes these and answers the
//! queries of [`Store`], and needs to know nothing else.

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
use crate::microvm::{Microvm, MicrovmFilter};
use crate::time::Timestamp;

mod batch;
pub(crate) mod form;
mod primitive;
mod sqlite;
mod text;
mod translate;

pub use batch::{Batch, Change, Guard, Intent, Subject, TokenKey, TokenUse, Verdict};
pub use hearth_sqlite::CommitMoment;
pub use sqlite::SqliteStore;

/// Why the store could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database could not be opened or used.
    #[error(transparent)]
    Database(hearth_sqlite::Error),
    /// A record was written by something else, or damaged.
    #[error("a record of {kind} cannot be read")]
    Record {
        /// What kind of record.
        kind: &'static str,
    },
    /// A microVM was to be moved that is not, or no longer, at the generation that the move was decided on.
    #[error(
        "the microVM {id} is not at generation {from_generation}: somebody else has moved or removed it"
    )]
    MovedElsewhere {
        /// Which.
        id: MicrovmId,
        /// The generation that the move was decided on.
        from_generation: u64,
    },
    /// A change found no record: it was removed meanwhile, or never written.
    #[error("the record to change does not exist: {0}")]
    NothingToChange(String),
    /// The commit of which this batch was a part failed.
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

/// A place in the list of microVMs: newest first, then by id.
pub type MicrovmPlace = (Timestamp, MicrovmId);

/// What remembers.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Checks the guards and makes the changes, durably, as one. When it fails, nothing has changed.
    ///
    /// A change that has no record to change fails the batch: [`StoreError::MovedElsewhere`],
    /// [`StoreError::NothingToChange`].
    async fn commit(&self, batch: Batch) -> Result<Verdict>;

    /// Every account, by number.
    async fn accounts(&self) -> Result<Vec<Account>>;
    /// One access key.
    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>>;
    /// The access keys of an account, by id.
    async fn access_keys(&self, account: AccountId) -> Result<Vec<AccessKey>>;
    /// One role.
    async fn role(&self, account: AccountId, name: &RoleName) -> Result<Option<Role>>;
    /// Roles by name, behind `after`.
    async fn roles(&self, account: AccountId, after: Option<&str>, limit: u32)
    -> Result<Vec<Role>>;
    /// The policies that stand on a role, by name.
    async fn role_policies(&self, account: AccountId, name: &RoleName) -> Result<Vec<RolePolicy>>;
    /// The policies that are attached to a role, by ARN.
    async fn role_attachments(&self, account: AccountId, name: &RoleName) -> Result<Vec<String>>;

    /// One image.
    async fn image(&self, arn: &ImageArn) -> Result<Option<Image>>;
    /// Images by name, behind `after`.
    async fn images(
        &self,
        scope: &Scope,
        after: Option<&ImageName>,
        limit: u32,
    ) -> Result<Vec<Image>>;
    /// Every image of every account.
    async fn all_images(&self) -> Result<Vec<Image>>;
    /// One version.
    async fn version(&self, arn: &ImageArn, number: VersionNumber) -> Result<Option<ImageVersion>>;
    /// Versions from new to old, older than `before`.
    async fn versions(
        &self,
        arn: &ImageArn,
        before: Option<VersionNumber>,
        limit: u32,
    ) -> Result<Vec<ImageVersion>>;
    /// The builds of a version, by id, behind `after`.
    async fn builds(
        &self,
        arn: &ImageArn,
        number: VersionNumber,
        after: Option<BuildId>,
        limit: u32,
    ) -> Result<Vec<Build>>;
    /// One build, whatever it belongs to.
    async fn build(&self, id: BuildId) -> Result<Option<Build>>;
    /// Whether a version refers to a snapshot, or its build may yet make it do so.
    async fn is_snapshot_needed(&self, snapshot: &str, build: BuildId) -> Result<bool>;

    /// One microVM.
    async fn microvm(&self, id: MicrovmId) -> Result<Option<Microvm>>;
    /// The microVM behind an endpoint.
    async fn microvm_at(&self, endpoint: EndpointId) -> Result<Option<Microvm>>;
    /// MicroVMs from new to old, behind `after`.
    async fn microvms(
        &self,
        scope: &Scope,
        filter: &MicrovmFilter,
        after: Option<MicrovmPlace>,
        limit: u32,
    ) -> Result<Vec<Microvm>>;
    /// Every microVM that is not TERMINATED.
    async fn living_microvms(&self) -> Result<Vec<Microvm>>;
    /// MicroVMs that were TERMINATED at or before a moment.
    async fn terminated_microvms(&self, until: Timestamp, limit: u32) -> Result<Vec<MicrovmId>>;
    /// MicroVMs of an account that are TERMINATED, but for the `newest` that ended last.
    async fn terminated_microvms_beyond(
        &self,
        account: AccountId,
        newest: u32,
        limit: u32,
    ) -> Result<Vec<MicrovmId>>;

    /// What a client token was used for.
    async fn token(&self, key: &TokenKey) -> Result<Option<TokenUse>>;
    /// The tags of a resource.
    async fn tags(&self, resource: &TaggedArn) -> Result<Tags>;

    /// A connector by id.
    async fn connector(&self, id: ConnectorId) -> Result<Option<Connector>>;
    /// A connector by name.
    async fn connector_named(
        &self,
        scope: &Scope,
        name: &ConnectorName,
    ) -> Result<Option<Connector>>;
    /// Connectors by id, behind `after`.
    async fn connectors(
        &self,
        scope: &Scope,
        state: Option<ConnectorState>,
        after: Option<ConnectorId>,
        limit: u32,
    ) -> Result<Vec<Connector>>;
    /// Every connector of every account with a version that waits to be checked, or that is being deleted.
    async fn unsettled_connectors(&self) -> Result<Vec<Connector>>;
    /// One version of a connector.
    async fn connector_version(
        &self,
        id: ConnectorId,
        number: u32,
    ) -> Result<Option<ConnectorVersion>>;
    /// Versions of a connector from new to old, older than `before`.
    async fn connector_versions(
        &self,
        id: ConnectorId,
        state: Option<ConnectorState>,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<ConnectorVersion>>;

    /// Intents without an outcome, oldest first.
    async fn open_intents(&self) -> Result<Vec<Intent>>;
}
