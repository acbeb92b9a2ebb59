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

/// Jobs of asynchronous callers that may wait for the writer. Callers that find the queue full wait for a place.
/// A blocking caller waits for its answer and so has one job in the queue at most.
const QUEUE: usize = 256;

/// Bytes that the write-ahead log may have before the writer empties it. SQLite does so itself at 4 MiB, unless readers
/// are in the way.
const MAX_WAL_BYTES: u64 = 64 << 20;

/// What a job that was answered survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process and the loss of power (`synchronous = FULL`).
    Full,
    /// The end of the process. The loss of power may take the last commits, and leaves the file whole
    /// (`synchronous = NORMAL`).
    Normal,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The steps of the schema, in order. A step that was released is never changed.
    pub schema: &'static [&'static str],
    /// What a job that was answered survives.
    pub durability: Durability,
    /// Bytes that the write-ahead log may have before the writer empties it. A long read can hold that up.
    pub max_wal_bytes: u64,
}

impl Options {
    /// Of a database with this schema, fully durable.
    #[must_use]
    pub fn new(schema: &'static [&'static str]) -> Self {
        Self {
            schema,
            durability: Durability::Full,
            max_wal_bytes: MAX_WAL_BYTES,
        }
    }
}

/// An open database. Dropping it finishes the jobs that wait and closes the file.
pub struct Database {
    /// `None` once it is being dropped.
    requests: Option<mpsc::Sender<Request>>,
    slots: Arc<Semaphore>,
    readers: Arc<Readers>,
    writer: Option<JoinHandle<()>>,
}

impl Database {
    /// Opens a file. Creates it with mode 0600 if it does not exist, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`Error::Newer`] if a newer release wrote it, [`Error::File`] or [`Error::Sqlite`] if it cannot be used.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        Self::open_watched(path, options, |_| {})
    }

    /// Opens a file as [`Database::open`] does. `watch` is called by the thread that writes, around every commit: a test
    /// ends the process there.
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
        let (requests, queue) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("hearth-store".to_owned())
            .spawn(move || writer::run(db, &queue, wal, watch))
            .map_err(Error::File)?;
        Ok(Self {
            requests: Some(requests),
            slots: Arc::new(Semaphore::new(QUEUE)),
            readers: Arc::new(Readers::new(path.to_owned())),
            writer: Some(writer),
        })
    }

    /// Runs a job that writes, and answers once it is durable. When it fails, nothing has changed.
    ///
    /// The job may run more than once, and runs even if the caller stops waiting.
    ///
    /// # Errors
    ///
    /// Those of the job, and [`Error::Commit`], [`Error::Sqlite`], [`Error::Panicked`] or [`Error::Closed`] as an error
    /// of the job.
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
        // A caller that no longer waits learns the outcome from the database.
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

    /// Runs a query on a thread that may block. All of it sees the same commit.
    ///
    /// # Errors
    ///
    /// Those of the query, and [`Error::Sqlite`], [`Error::Panicked`] or [`Error::Closed`] as an error of the query.
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
                // The runtime ends.
                Err(_) => Error::Closed,
            })?,
        }
    }

    /// Runs a query on this thread, which a panic of it unwinds. All of it sees the same commit.
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
    /// Waits for the writer, so that whoever opens the file next finds it closed.
    fn drop(&mut self) {
        drop(self.requests.take());
        let writer = self.writer.take();
        // A job may hold the last handle: then the writer drops it, and cannot wait for itself.
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
    // SQLite gives the files beside it the mode of this one.
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
