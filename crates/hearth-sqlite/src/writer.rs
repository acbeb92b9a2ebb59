//! The writing thread.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::Error;
use crate::job::{Job, Request};
use crate::wal::Wal;

/// Most jobs that share one commit. Most jobs are a few rows, so a full group still takes milliseconds.
const GROUP: usize = 64;

/// After this time a group takes no further job, because its first job waits for all of them.
const GROUP_TIME: Duration = Duration::from_millis(50);

/// The moments of a commit that a watcher is called at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMoment {
    /// Before the commit: nothing is durable yet.
    Before,
    /// After the commit: everything is durable, and no caller is answered yet.
    After,
}

/// Writes until every handle is dropped.
pub(crate) fn run(
    mut db: Connection,
    queue: &Receiver<Request>,
    mut wal: Wal,
    mut watch: impl FnMut(CommitMoment),
) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP - 1));
        write_all(&mut db, group, &mut watch);
        wal.limit(&db);
    }
}

/// Writes jobs in as few commits as their number and time allow. A job because of which SQLite rolled back the whole
/// transaction fails. The jobs that had run before it run again without it.
pub(crate) fn write_all(
    db: &mut Connection,
    mut group: Vec<Request>,
    watch: &mut impl FnMut(CommitMoment),
) {
    // Each round removes at least one job.
    while !group.is_empty() {
        let done = match attempt(db, &mut group, watch) {
            Attempt::Finished(count) => group.drain(..count),
            Attempt::RolledBack(at) => group.drain(at..=at),
        };
        for request in done {
            request.job.answer();
        }
    }
}

/// How one transaction over a group ended.
enum Attempt {
    /// The first jobs, this many, have their results, and the writes of those that succeeded are durable.
    Finished(usize),
    /// SQLite rolled back the whole transaction at this job. Nothing of the group was written.
    RolledBack(usize),
}

fn attempt(
    db: &mut Connection,
    group: &mut [Request],
    watch: &mut impl FnMut(CommitMoment),
) -> Attempt {
    let mut transaction = match db.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => return all_failed(group, &error),
    };
    let begun = Instant::now();
    let mut count = 0;
    for request in group.iter_mut() {
        let is_written = write(&mut transaction, request.job.as_mut());
        // If the disk is full or fails, or memory runs out, SQLite may roll back the whole transaction instead of the
        // savepoint. Later statements would then be committed one by one.
        if transaction.is_autocommit() {
            if is_written {
                let text = "SQLite has rolled back the transaction".to_owned();
                request.job.fail(Error::Commit(text));
            }
            return Attempt::RolledBack(count);
        }
        count += 1;
        if begun.elapsed() >= GROUP_TIME {
            break;
        }
    }
    watch(CommitMoment::Before);
    if let Err(error) = transaction.commit() {
        return all_failed(&mut group[..count], &error);
    }
    watch(CommitMoment::After);
    Attempt::Finished(count)
}

/// Runs one job in its own savepoint. Returns whether what it wrote is kept.
fn write(transaction: &mut Transaction<'_>, job: &mut dyn Job) -> bool {
    let written = transaction.savepoint().and_then(|savepoint| {
        if job.run(&savepoint) {
            savepoint.commit().map(|()| true)
        } else {
            // Dropping the savepoint rolls it back.
            Ok(false)
        }
    });
    written.unwrap_or_else(|error| {
        job.fail(Error::Sqlite(error));
        false
    })
}

fn all_failed(group: &mut [Request], error: &rusqlite::Error) -> Attempt {
    for request in group.iter_mut() {
        request.job.fail(Error::Commit(error.to_string()));
    }
    Attempt::Finished(group.len())
}

#[cfg(test)]
mod tests;
