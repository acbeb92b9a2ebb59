//! The pool of reading connections.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::Error;
use crate::connection::connect;

/// Idle connections that are kept. Under load more are opened, and closed afterwards.
const IDLE_READERS: usize = 8;

/// The pool of reading connections.
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::default(),
        }
    }

    /// Runs a query in a read transaction: the whole query sees the same commit. If the query panics, its connection
    /// is closed with its transaction.
    pub(crate) fn read<T, E: From<Error>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let connection = self.take()?;
        let transaction = connection.unchecked_transaction().map_err(Error::Sqlite)?;
        let result = query(&transaction);
        drop(transaction);
        self.put_back(connection);
        result
    }

    fn take(&self) -> Result<Connection, Error> {
        let idle = self.idle().pop();
        match idle {
            Some(connection) => Ok(connection),
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY),
        }
    }

    /// A connection whose transaction did not end would read an old commit forever, so it is closed.
    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE_READERS && connection.is_autocommit() {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
