//! The handle of an open database.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};

use crate::Error;
use crate::connection::connect;
use crate::job::Request;
use crate::readers::Readers;
use crate::schema;
use crate::wal::Wal;
use crate::writer::{self, CommitMoment};

/// Jobs of asynchronous callers that may wait for the writer. Further callers wait themselves. A blocking caller
/// waits for its answer, so it has at most one job in the queue.
const QUEUE: usize = 256;

/// Size in bytes at which the writer empties the write-ahead log. SQLite itself does so at 4 MiB, unless readers
/// prevent it.
const MAX_WAL_BYTES: u64 = 64 << 20;

/// What the result of an answered job survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process and a loss of power (`synchronous = FULL`).
    Full,
    /// The end of the process. A loss of power may undo the last commits, and leaves the file whole (`synchronous =
    /// NORMAL`).
    Normal,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The migration steps of the schema, in order. A released step is never changed.
    pub schema: &'static [&'static str],
    /// What the result of an answered job survives.
    pub durability: Durability,
    /// Size in bytes at which the writer empties the write-ahead log. A long read can delay that.
    pub max_wal_bytes: u64,
    /// How much the writing thread gives way to other threads, as `nice` counts it: from 0 (not at all) to 19.
    pub niceness: u8,
}

impl Options {
    /// Options for this schema, fully durable.
    #[must_use]
    pub fn new(schema: &'static [&'static str]) -> Self {
        Self {
            schema,
            durability: Durability::Full,
            max_wal_bytes: MAX_WAL_BYTES,
            niceness: 0,
        }
    }
}

/// Lowers the priority of this thread alone. Without effect where the kernel refuses it.
fn give_way(niceness: u8) {
    if niceness > 0 {
        // For Linux, each thread has a priority of its own and is named by its id.
        let thread = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(thread), niceness.into()) {
            tracing::warn!(%error, "a writer of a database has the priority of all others");
        }
    }
}

/// An open database. Dropping it finishes the waiting jobs and closes the file.
pub struct Database {
    /// `None` once it is being dropped.
    requests: Option<mpsc::Sender<Request>>,
    slots: Arc<Semaphore>,
    readers: Arc<Readers>,
    writer: Option<JoinHandle<()>>,
}

impl Database {
    /// Opens a file. Creates it with mode 0600 if it does not exist, and migrates its schema.
    ///
    /// # Errors
    ///
    /// [`Error::Newer`] if a newer release wrote it, [`Error::File`] or [`Error::Sqlite`] if it cannot be used.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        Self::open_watched(path, options, |_| {})
    }

    /// Opens a file as [`Database::open`] does. The writing thread calls `watch` around every commit, so that a test
    /// can end the process there.
    ///
    /// # Errors
    ///
    /// As [`Database::open`].
    pub fn open_watched(
        path: &Path,
        options: &Options,
        watch: impl FnMut(CommitMoment) + Send + 'static,
    ) -> Result<Self, Error> {
        let db = open_for_writing(path, options)?;
        let wal = Wal::of(path, options.max_wal_bytes);
        let niceness = options.niceness;
        let (requests, queue) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("hearth-store".to_owned())
            .spawn(move || {
                give_way(niceness);
                writer::run(db, &queue, wal, watch);
            })
            .map_err(Error::File)?;
        Ok(Self {
            requests: Some(requests),
            slots: Arc::new(Semaphore::new(QUEUE)),
            readers: Arc::new(Readers::new(path.to_owned())),
            writer: Some(writer),
        })
    }

    /// Runs a job that writes, and answers once the result is durable. If it fails, nothing has changed.
    ///
    /// The job may run more than once, and runs even if the caller stops waiting.
    ///
    /// # Errors
    ///
    /// Those of the job, and [`Error::Commit`], [`Error::Sqlite`], [`Error::Panicked`] or [`Error::Closed`] converted
    /// to an error of the job.
    pub async fn write<T, E>(
        &self,
        job: impl FnMut(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Error::Closed)?;
        let (sender, answer) = oneshot::channel();
        // A caller that has stopped waiting can read the result from the database.
        let reply = move |result| drop(sender.send(result));
        self.send(Request::new(job, reply, Some(slot)))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Runs a job like [`Database::write`], and blocks the thread until it is answered.
    ///
    /// # Errors
    ///
    /// As [`Database::write`].
    pub fn blocking_write<T, E>(
        &self,
        job: impl FnMut(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (sender, answer) = mpsc::sync_channel(1);
        let reply = move |result| drop(sender.send(result));
        self.send(Request::new(job, reply, None))?;
        answer.recv().map_err(|_| Error::Closed)?
    }

    /// Runs a query on a thread that may block. The whole query sees the same commit.
    ///
    /// # Errors
    ///
    /// Those of the query, and [`Error::Sqlite`], [`Error::Panicked`] or [`Error::Closed`] converted to an error of
    /// the query.
    pub async fn read<T, E>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let task = tokio::task::spawn_blocking(move || readers.read(query));
        match task.await {
            Ok(result) => result,
            Err(error) => Err(match error.try_into_panic() {
                Ok(payload) => Error::of_panic(payload.as_ref()),
                // The runtime is shutting down.
                Err(_) => Error::Closed,
            })?,
        }
    }

    /// Runs a query on the calling thread; a panic of the query unwinds it. The whole query sees the same commit.
    ///
    /// # Errors
    ///
    /// As [`Database::read`].
    pub fn blocking_read<T, E: From<Error>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.readers.read(query)
    }

    fn send(&self, request: Request) -> Result<(), Error> {
        let requests = self.requests.as_ref().ok_or(Error::Closed)?;
        requests.send(request).map_err(|_| Error::Closed)
    }
}

impl Drop for Database {
    /// Waits for the writer, so that the file is closed for whoever opens it next.
    fn drop(&mut self) {
        drop(self.requests.take());
        let writer = self.writer.take();
        // If a job holds the last handle, the writer drops it, and cannot wait for itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id())
        {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

fn open_for_writing(path: &Path, options: &Options) -> Result<Connection, Error> {
    // SQLite gives the files beside this one the same mode.
    let mut create = OpenOptions::new();
    create.read(true).write(true).create(true).truncate(false);
    create.mode(0o600).open(path).map_err(Error::File)?;

    let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match options.durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    schema::migrate(&mut db, options.schema)?;
    Ok(db)
}

#[cfg(test)]
mod tests;
