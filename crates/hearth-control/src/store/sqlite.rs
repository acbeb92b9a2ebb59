//! The store on one host: a SQLite file in WAL mode.
//!
//! One thread writes. It takes every batch that waits, runs each in its own savepoint, and makes them
//! durable with one `fsync`: under load a commit is shared, without load nothing waits. Readers have
//! their own connections and see the last commit.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::{Batch, MicrovmPlace, Result, Store, StoreError, TokenKey, TokenUse, Verdict};
use crate::account::{AccessKey, Account, Role, RolePolicy};
use crate::arn::{ImageArn, Scope, TaggedArn};
use crate::connector::{Connector, ConnectorState, ConnectorVersion};
use crate::id::{
    AccessKeyId, AccountId, BuildId, ConnectorId, ConnectorName, EndpointId, ImageName, MicrovmId,
    RoleName, VersionNumber,
};
use crate::image::{Build, Image, ImageVersion, Tags};
use crate::microvm::{Microvm, MicrovmFilter};
use crate::store::Intent;
use crate::time::Timestamp;

mod changes;
mod guards;
mod read_accounts;
mod read_connectors;
mod read_images;
mod read_microvms;
mod rows;
mod schema;
mod writer;

/// Batches that may wait for the writer. Who finds the queue full waits, so this bounds memory, not load.
const QUEUE: usize = 256;
/// Connections kept for readers; more are opened under load and closed after.
const IDLE_READERS: usize = 8;
/// How long SQLite itself waits for a lock. Only a checkpoint or a foreign process could hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a commit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMoment {
    /// Nothing of it is durable yet.
    Before,
    /// All of it is durable; nobody was told yet.
    After,
}

/// A batch on its way to the writer.
struct Request {
    batch: Batch,
    reply: oneshot::Sender<Result<Verdict>>,
}

/// The store in one SQLite file. The last handle that is dropped closes it.
pub struct SqliteStore {
    writer: mpsc::Sender<Request>,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl SqliteStore {
    /// Opens the file, making it (mode 0600: it holds secrets) or bringing its schema up to date.
    ///
    /// # Errors
    ///
    /// A file that cannot be used, or one of a newer release.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_watched(path, |_| {})
    }

    /// The same; `watch` is called by the thread that writes, around every commit. A test ends the process there.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn open_watched(
        path: &Path,
        watch: impl FnMut(CommitMoment) + Send + 'static,
    ) -> Result<Self> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        options.open(path).map_err(StoreError::File)?;

        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // FULL: a commit that was answered survives the loss of power, not only of the process.
        connection.pragma_update(None, "synchronous", "FULL")?;
        schema::migrate(&mut connection)?;

        let (writer, requests) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("hearth-store".to_owned())
            .spawn(move || writer::run(connection, requests, watch))
            .map_err(StoreError::File)?;
        let readers = Readers {
            path: path.to_owned(),
            idle: Mutex::default(),
        };
        Ok(Self {
            writer,
            readers: Arc::new(readers),
        })
    }

    /// Runs a query on a reader's connection, off the runtime's threads.
    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let task = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let result = query(&connection);
            readers.put_back(connection);
            result
        });
        task.await.map_err(|_| StoreError::Closed)?
    }
}

impl Readers {
    fn take(&self) -> Result<Connection> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        match idle {
            Some(connection) => Ok(connection),
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY),
        }
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
    }
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, batch: Batch) -> Result<Verdict> {
        let (reply, answer) = oneshot::channel();
        self.writer
            .send(Request { batch, reply })
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.read(read_accounts::accounts).await
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
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Role>> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |db| read_accounts::roles(db, account, &after, limit))
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
mod tests;
