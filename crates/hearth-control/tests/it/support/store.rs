//! A store that dies, or fails, at a chosen write.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hearth_control::account::{AccessKey, Account, Role, RolePolicy};
use hearth_control::arn::{ImageArn, Scope, TaggedArn};
use hearth_control::connector::{Connector, ConnectorState, ConnectorVersion};
use hearth_control::id::{
    AccessKeyId, AccountId, BuildId, ConnectorId, ConnectorName, EndpointId, ImageName, MicrovmId,
    RoleName, VersionNumber,
};
use hearth_control::image::{Build, Image, ImageVersion, Tags};
use hearth_control::managed_policy::{FoundPolicy, PolicyArn, PolicyFilter, PolicyVersion};
use hearth_control::microvm::{Microvm, MicrovmFilter};
use hearth_control::store::{
    Batch, Intent, MicrovmPlace, SqliteStore, Store, StoreError, TokenKey, TokenUse, Verdict,
};
use hearth_control::time::Timestamp;
use tokio::sync::watch;

type Result<T> = std::result::Result<T, StoreError>;

/// What goes wrong at the chosen write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The process dies before it.
    Before,
    /// The process dies after it.
    After,
    /// It fails, and the one after it does not: a disk that was full for a moment.
    Refused,
}

/// The write at which the process dies, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrashPoint {
    pub(crate) write: u32,
    pub(crate) side: Side,
}

/// A SQLite store that answers nothing any more once its crash point was reached.
pub(crate) struct CrashingStore {
    store: SqliteStore,
    point: Option<CrashPoint>,
    writes: Mutex<u32>,
    loses_next_answer: AtomicBool,
    reached: watch::Sender<bool>,
}

impl CrashingStore {
    pub(crate) fn new(store: SqliteStore, point: Option<CrashPoint>) -> Self {
        let reached = watch::Sender::new(false);
        Self {
            store,
            point,
            writes: Mutex::default(),
            loses_next_answer: AtomicBool::default(),
            reached,
        }
    }

    /// Turns true when the chosen write was reached.
    pub(crate) fn reached(&self) -> watch::Receiver<bool> {
        self.reached.subscribe()
    }

    /// The next write is made, and answered as if it was not.
    pub(crate) fn lose_next_answer(&self) {
        self.loses_next_answer.store(true, Ordering::Relaxed);
    }

    fn alive(&self) -> Result<()> {
        let refused = self.point.is_some_and(|point| point.side == Side::Refused);
        if *self.reached.borrow() && !refused {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    fn reaches(&self, side: Side) -> bool {
        let writes = *self.writes.lock().unwrap();
        self.point
            == Some(CrashPoint {
                write: writes,
                side,
            })
    }

    fn crash(&self) -> StoreError {
        self.reached.send_replace(true);
        StoreError::Closed
    }
}

#[async_trait]
impl Store for CrashingStore {
    async fn commit(&self, batch: Batch) -> Result<Verdict> {
        self.alive()?;
        *self.writes.lock().unwrap() += 1;
        if self.reaches(Side::Before) {
            return Err(self.crash());
        }
        if self.reaches(Side::Refused) {
            self.reached.send_replace(true);
            return Err(StoreError::Commit("disk full".to_owned()));
        }
        let verdict = self.store.commit(batch).await;
        if self.reaches(Side::After) {
            return Err(self.crash());
        }
        if self.loses_next_answer.swap(false, Ordering::Relaxed) {
            return Err(StoreError::Commit("the answer is lost".to_owned()));
        }
        verdict
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.alive()?;
        self.store.accounts().await
    }

    async fn account_names(&self) -> Result<BTreeMap<AccountId, String>> {
        self.alive()?;
        self.store.account_names().await
    }

    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>> {
        self.alive()?;
        self.store.access_key(id).await
    }

    async fn access_keys(&self, account: AccountId) -> Result<Vec<AccessKey>> {
        self.alive()?;
        self.store.access_keys(account).await
    }

    async fn role(&self, account: AccountId, name: &RoleName) -> Result<Option<Role>> {
        self.alive()?;
        self.store.role(account, name).await
    }

    async fn roles(
        &self,
        account: AccountId,
        path_prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Role>> {
        self.alive()?;
        self.store.roles(account, path_prefix, after, limit).await
    }

    async fn role_policies(&self, account: AccountId, name: &RoleName) -> Result<Vec<RolePolicy>> {
        self.alive()?;
        self.store.role_policies(account, name).await
    }

    async fn role_attachments(&self, account: AccountId, name: &RoleName) -> Result<Vec<String>> {
        self.alive()?;
        self.store.role_attachments(account, name).await
    }

    async fn attached_documents(&self, account: AccountId, name: &RoleName) -> Result<Vec<String>> {
        self.alive()?;
        self.store.attached_documents(account, name).await
    }

    async fn policy(&self, arn: &PolicyArn) -> Result<Option<FoundPolicy>> {
        self.alive()?;
        self.store.policy(arn).await
    }

    async fn policies(
        &self,
        account: AccountId,
        filter: &PolicyFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<FoundPolicy>> {
        self.alive()?;
        self.store.policies(account, filter, after, limit).await
    }

    async fn policy_versions(&self, arn: &PolicyArn) -> Result<Vec<PolicyVersion>> {
        self.alive()?;
        self.store.policy_versions(arn).await
    }

    async fn policy_roles(
        &self,
        arn: &PolicyArn,
        path_prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Role>> {
        self.alive()?;
        self.store
            .policy_roles(arn, path_prefix, after, limit)
            .await
    }

    async fn image(&self, arn: &ImageArn) -> Result<Option<Image>> {
        self.alive()?;
        self.store.image(arn).await
    }

    async fn images(
        &self,
        scope: &Scope,
        after: Option<&ImageName>,
        limit: u32,
    ) -> Result<Vec<Image>> {
        self.alive()?;
        self.store.images(scope, after, limit).await
    }

    async fn all_images(&self) -> Result<Vec<Image>> {
        self.alive()?;
        self.store.all_images().await
    }

    async fn version(&self, arn: &ImageArn, number: VersionNumber) -> Result<Option<ImageVersion>> {
        self.alive()?;
        self.store.version(arn, number).await
    }

    async fn versions(
        &self,
        arn: &ImageArn,
        before: Option<VersionNumber>,
        limit: u32,
    ) -> Result<Vec<ImageVersion>> {
        self.alive()?;
        self.store.versions(arn, before, limit).await
    }

    async fn builds(
        &self,
        arn: &ImageArn,
        number: VersionNumber,
        after: Option<BuildId>,
        limit: u32,
    ) -> Result<Vec<Build>> {
        self.alive()?;
        self.store.builds(arn, number, after, limit).await
    }

    async fn build(&self, id: BuildId) -> Result<Option<Build>> {
        self.alive()?;
        self.store.build(id).await
    }

    async fn is_snapshot_needed(&self, snapshot: &str, build: BuildId) -> Result<bool> {
        self.alive()?;
        self.store.is_snapshot_needed(snapshot, build).await
    }

    async fn microvm(&self, id: MicrovmId) -> Result<Option<Microvm>> {
        self.alive()?;
        self.store.microvm(id).await
    }

    async fn microvm_at(&self, endpoint: EndpointId) -> Result<Option<Microvm>> {
        self.alive()?;
        self.store.microvm_at(endpoint).await
    }

    async fn microvms(
        &self,
        scope: &Scope,
        filter: &MicrovmFilter,
        after: Option<MicrovmPlace>,
        limit: u32,
    ) -> Result<Vec<Microvm>> {
        self.alive()?;
        self.store.microvms(scope, filter, after, limit).await
    }

    async fn living_microvms(&self) -> Result<Vec<Microvm>> {
        self.alive()?;
        self.store.living_microvms().await
    }

    async fn terminated_microvms_beyond(
        &self,
        account: AccountId,
        newest: u32,
        limit: u32,
    ) -> Result<Vec<MicrovmId>> {
        self.alive()?;
        let store = &self.store;
        store
            .terminated_microvms_beyond(account, newest, limit)
            .await
    }

    async fn terminated_microvms(&self, until: Timestamp, limit: u32) -> Result<Vec<MicrovmId>> {
        self.alive()?;
        self.store.terminated_microvms(until, limit).await
    }

    async fn token(&self, key: &TokenKey) -> Result<Option<TokenUse>> {
        self.alive()?;
        self.store.token(key).await
    }

    async fn tags(&self, resource: &TaggedArn) -> Result<Tags> {
        self.alive()?;
        self.store.tags(resource).await
    }

    async fn connector(&self, id: ConnectorId) -> Result<Option<Connector>> {
        self.alive()?;
        self.store.connector(id).await
    }

    async fn connector_named(
        &self,
        scope: &Scope,
        name: &ConnectorName,
    ) -> Result<Option<Connector>> {
        self.alive()?;
        self.store.connector_named(scope, name).await
    }

    async fn connectors(
        &self,
        scope: &Scope,
        state: Option<ConnectorState>,
        after: Option<ConnectorId>,
        limit: u32,
    ) -> Result<Vec<Connector>> {
        self.alive()?;
        self.store.connectors(scope, state, after, limit).await
    }

    async fn unsettled_connectors(&self) -> Result<Vec<Connector>> {
        self.alive()?;
        self.store.unsettled_connectors().await
    }

    async fn connector_version(
        &self,
        id: ConnectorId,
        number: u32,
    ) -> Result<Option<ConnectorVersion>> {
        self.alive()?;
        self.store.connector_version(id, number).await
    }

    async fn connector_versions(
        &self,
        id: ConnectorId,
        state: Option<ConnectorState>,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<ConnectorVersion>> {
        self.alive()?;
        self.store
            .connector_versions(id, state, before, limit)
            .await
    }

    async fn open_intents(&self) -> Result<Vec<Intent>> {
        self.alive()?;
        self.store.open_intents().await
    }
}
