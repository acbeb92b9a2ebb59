//! The store on one host: a SQLite file ([`hearth_sqlite`]).
//!
//! A batch is one job of the writer: it shares its commit with others, and fails or succeeds by itself. Writes go
//! through primitives ([`super::primitive`]), each of which is one statement. Reads are queries of this backend.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use hearth_sqlite::{CommitMoment, Database, Options};
use rusqlite::Connection;

use super::{Batch, MicrovmPlace, Result, Store, TokenKey, TokenUse, Verdict};
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
use crate::store::Intent;
use crate::time::Timestamp;

mod execute;
mod read_accounts;
mod read_connectors;
mod read_images;
mod read_microvms;
mod read_policies;
mod rows;
mod schema;

/// The store in one SQLite file. Dropping the last handle closes it.
pub struct SqliteStore(Database);

impl SqliteStore {
    /// Opens the file. Creates it if it does not exist (mode 0600: it holds secrets), and migrates its schema.
    ///
    /// # Errors
    ///
    /// The file cannot be used, or was written by a newer release.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_watched(path, |_| {})
    }

    /// Opens the file as [`SqliteStore::open`] does. The writing thread calls `watch` around every commit, so that a
    /// test can end the process there.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn open_watched(
        path: &Path,
        watch: impl FnMut(CommitMoment) + Send + 'static,
    ) -> Result<Self> {
        let options = Options::new(schema::STEPS);
        Ok(Self(Database::open_watched(path, &options, watch)?))
    }

    /// Runs a query on a reader's connection, on a thread outside the async runtime.
    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.0.read(query).await
    }
}

/// Checks the guards and makes the changes.
fn write(db: &Connection, batch: &Batch) -> Result<Verdict> {
    for guard in &batch.guards {
        for expect in guard.expects() {
            if !execute::holds(db, &expect)? {
                return Ok(Verdict::Blocked(guard.clone()));
            }
        }
    }
    for change in &batch.changes {
        for write in change.writes()? {
            let found = execute::apply(db, &write)?;
            if found == 0 && write.must_find() {
                return Err(change.nothing_found());
            }
        }
    }
    Ok(Verdict::Committed)
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, batch: Batch) -> Result<Verdict> {
        self.0.write(move |db| write(db, &batch)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.read(read_accounts::accounts).await
    }

    async fn account_names(&self) -> Result<BTreeMap<AccountId, String>> {
        self.read(read_accounts::names).await
    }

    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>> {
        let id = id.clone();
        self.read(move |db| read_accounts::access_key(db, &id))
            .await
    }

    async fn access_keys(&self, account: AccountId) -> Result<Vec<AccessKey>> {
        self.read(move |db| read_accounts::access_keys(db, account))
            .await
    }

    async fn role(&self, account: AccountId, name: &RoleName) -> Result<Option<Role>> {
        let name = name.clone();
        self.read(move |db| read_accounts::role(db, account, &name))
            .await
    }

    async fn roles(
        &self,
        account: AccountId,
        path_prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Role>> {
        let (path, after) = (path_prefix.to_owned(), after.unwrap_or_default().to_owned());
        self.read(move |db| read_accounts::roles(db, account, &path, &after, limit))
            .await
    }

    async fn role_policies(&self, account: AccountId, name: &RoleName) -> Result<Vec<RolePolicy>> {
        let name = name.clone();
        self.read(move |db| read_accounts::role_policies(db, account, &name))
            .await
    }

    async fn role_attachments(&self, account: AccountId, name: &RoleName) -> Result<Vec<String>> {
        let name = name.clone();
        self.read(move |db| read_accounts::role_attachments(db, account, &name))
            .await
    }

    async fn attached_documents(&self, account: AccountId, name: &RoleName) -> Result<Vec<String>> {
        let name = name.clone();
        self.read(move |db| read_policies::attached_documents(db, account, &name))
            .await
    }

    async fn policy(&self, arn: &PolicyArn) -> Result<Option<FoundPolicy>> {
        let arn = arn.clone();
        self.read(move |db| read_policies::policy(db, &arn)).await
    }

    async fn policies(
        &self,
        account: AccountId,
        filter: &PolicyFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<FoundPolicy>> {
        let (filter, after) = (filter.clone(), after.unwrap_or_default().to_owned());
        self.read(move |db| read_policies::policies(db, account, &filter, &after, limit))
            .await
    }

    async fn policy_versions(&self, arn: &PolicyArn) -> Result<Vec<PolicyVersion>> {
        let arn = arn.clone();
        self.read(move |db| read_policies::versions(db, &arn)).await
    }

    async fn policy_roles(
        &self,
        arn: &PolicyArn,
        path_prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Role>> {
        let (arn, path) = (arn.clone(), path_prefix.to_owned());
        let after = after.unwrap_or_default().to_owned();
        self.read(move |db| read_policies::roles(db, &arn, &path, &after, limit))
            .await
    }

    async fn image(&self, arn: &ImageArn) -> Result<Option<Image>> {
        let arn = arn.clone();
        self.read(move |db| read_images::image(db, &arn)).await
    }

    async fn images(
        &self,
        scope: &Scope,
        after: Option<&ImageName>,
        limit: u32,
    ) -> Result<Vec<Image>> {
        let (scope, after) = (scope.clone(), after.cloned());
        self.read(move |db| read_images::images(db, &scope, after.as_ref(), limit))
            .await
    }

    async fn all_images(&self) -> Result<Vec<Image>> {
        self.read(read_images::all_images).await
    }

    async fn version(&self, arn: &ImageArn, number: VersionNumber) -> Result<Option<ImageVersion>> {
        let arn = arn.clone();
        self.read(move |db| read_images::version(db, &arn, number))
            .await
    }

    async fn versions(
        &self,
        arn: &ImageArn,
        before: Option<VersionNumber>,
        limit: u32,
    ) -> Result<Vec<ImageVersion>> {
        let arn = arn.clone();
        self.read(move |db| read_images::versions(db, &arn, before, limit))
            .await
    }

    async fn builds(
        &self,
        arn: &ImageArn,
        number: VersionNumber,
        after: Option<BuildId>,
        limit: u32,
    ) -> Result<Vec<Build>> {
        let arn = arn.clone();
        self.read(move |db| read_images::builds(db, &arn, number, after, limit))
            .await
    }

    async fn build(&self, id: BuildId) -> Result<Option<Build>> {
        self.read(move |db| read_images::build(db, id)).await
    }

    async fn is_snapshot_needed(&self, snapshot: &str, build: BuildId) -> Result<bool> {
        let snapshot = snapshot.to_owned();
        self.read(move |db| read_images::is_snapshot_needed(db, &snapshot, build))
            .await
    }

    async fn microvm(&self, id: MicrovmId) -> Result<Option<Microvm>> {
        self.read(move |db| read_microvms::microvm(db, id)).await
    }

    async fn microvm_at(&self, endpoint: EndpointId) -> Result<Option<Microvm>> {
        self.read(move |db| read_microvms::microvm_at(db, endpoint))
            .await
    }

    async fn microvms(
        &self,
        scope: &Scope,
        filter: &MicrovmFilter,
        after: Option<MicrovmPlace>,
        limit: u32,
    ) -> Result<Vec<Microvm>> {
        let (scope, filter) = (scope.clone(), filter.clone());
        self.read(move |db| read_microvms::microvms(db, &scope, &filter, after, limit))
            .await
    }

    async fn living_microvms(&self) -> Result<Vec<Microvm>> {
        self.read(read_microvms::living).await
    }

    async fn terminated_microvms_beyond(
        &self,
        account: AccountId,
        newest: u32,
        limit: u32,
    ) -> Result<Vec<MicrovmId>> {
        self.read(move |db| read_microvms::terminated_beyond(db, account, newest, limit))
            .await
    }

    async fn terminated_microvms(&self, until: Timestamp, limit: u32) -> Result<Vec<MicrovmId>> {
        self.read(move |db| read_microvms::terminated(db, until, limit))
            .await
    }

    async fn token(&self, key: &TokenKey) -> Result<Option<TokenUse>> {
        let key = key.clone();
        self.read(move |db| read_accounts::token(db, &key)).await
    }

    async fn tags(&self, resource: &TaggedArn) -> Result<Tags> {
        let resource = resource.to_string();
        self.read(move |db| read_images::tags(db, &resource)).await
    }

    async fn connector(&self, id: ConnectorId) -> Result<Option<Connector>> {
        self.read(move |db| read_connectors::connector(db, id))
            .await
    }

    async fn connector_named(
        &self,
        scope: &Scope,
        name: &ConnectorName,
    ) -> Result<Option<Connector>> {
        let (scope, name) = (scope.clone(), name.clone());
        self.read(move |db| read_connectors::named(db, &scope, &name))
            .await
    }

    async fn connectors(
        &self,
        scope: &Scope,
        state: Option<ConnectorState>,
        after: Option<ConnectorId>,
        limit: u32,
    ) -> Result<Vec<Connector>> {
        let scope = scope.clone();
        self.read(move |db| read_connectors::connectors(db, &scope, state, after, limit))
            .await
    }

    async fn unsettled_connectors(&self) -> Result<Vec<Connector>> {
        self.read(read_connectors::unsettled).await
    }

    async fn connector_version(
        &self,
        id: ConnectorId,
        number: u32,
    ) -> Result<Option<ConnectorVersion>> {
        self.read(move |db| read_connectors::version(db, id, number))
            .await
    }

    async fn connector_versions(
        &self,
        id: ConnectorId,
        state: Option<ConnectorState>,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<ConnectorVersion>> {
        self.read(move |db| read_connectors::versions(db, id, state, before, limit))
            .await
    }

    async fn open_intents(&self) -> Result<Vec<Intent>> {
        self.read(read_microvms::open_intents).await
    }
}

#[cfg(test)]
mod every_change;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
