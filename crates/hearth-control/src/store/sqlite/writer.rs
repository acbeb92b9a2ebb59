//! The thread that writes.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{CommitMoment, Request, changes, guards};
use crate::store::{Batch, Result, StoreError, Verdict};

/// Batches that share one commit. Each is a few rows, so a full group still takes milliseconds.
const GROUP: usize = 64;

type Answer = (oneshot::Sender<Result<Verdict>>, Result<Verdict>);

/// Writes until every handle is gone.
pub(super) fn run(
    mut db: Connection,
    mut requests: mpsc::Receiver<Request>,
    mut watch: impl FnMut(CommitMoment),
) {
    let mut group = Vec::with_capacity(GROUP);
    while requests.blocking_recv_many(&mut group, GROUP) > 0 {
        watch(CommitMoment::Before);
        let answers = write_group(&mut db, std::mem::take(&mut group));
        watch(CommitMoment::After);
        for (reply, answer) in answers {
            // Who gave up waiting learns the outcome from the records.
            let _ = reply.send(answer);
        }
    }
}

/// Writes a group with one commit. A batch on which SQLite rolled back the whole transaction is answered as failed,
/// and the rest of the group is written again without it.
fn write_group(db: &mut Connection, mut group: Vec<Request>) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
    // Each round that does not end the loop removes a batch, so there are at most as many rounds as batches.
    while !group.is_empty() {
        match attempt(db, &group) {
            Attempt::Finished(results) => {
                let replies = group.drain(..).map(|request| request.reply);
                answers.extend(replies.zip(results));
            }
            Attempt::RolledBack { at, error } => {
                let culprit = group.remove(at);
                answers.push((culprit.reply, Err(error)));
            }
        }
    }
    answers
}

/// How one transaction over a group ended.
enum Attempt {
    /// Every batch has its result, and those that succeeded are durable.
    Finished(Vec<Result<Verdict>>),
    /// SQLite rolled back the whole transaction at this batch. Nothing of the group was written.
    RolledBack { at: usize, error: StoreError },
}

fn attempt(db: &mut Connection, group: &[Request]) -> Attempt {
    let all_failed = |error: &rusqlite::Error| {
        Attempt::Finished(group.iter().map(|_| Err(failed(error))).collect())
    };
    let mut transaction = match db.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => return all_failed(&error),
    };
    let mut results = Vec::with_capacity(group.len());
    for (at, Request { batch, .. }) in group.iter().enumerate() {
        let result = write(&mut transaction, batch);
        // When the disk is full or fails, or memory ends, SQLite may roll back more than the savepoint: the whole
        // transaction. What followed would be committed statement by statement.
        if transaction.is_autocommit() {
            let error = result.err().unwrap_or_else(|| {
                StoreError::Commit("SQLite has rolled back the transaction".to_owned())
            });
            return Attempt::RolledBack { at, error };
        }
        results.push(result);
    }
    match transaction.commit() {
        Ok(()) => Attempt::Finished(results),
        Err(error) => all_failed(&error),
    }
}

/// One batch in its own savepoint, which dropping rolls back.
fn write(transaction: &mut Transaction<'_>, batch: &Batch) -> Result<Verdict> {
    let savepoint = transaction.savepoint()?;
    for guard in &batch.guards {
        if !guards::holds(&savepoint, guard)? {
            return Ok(Verdict::Blocked(guard.clone()));
        }
    }
    for change in &batch.changes {
        changes::apply(&savepoint, change)?;
    }
    savepoint.commit()?;
    Ok(Verdict::Committed)
}

fn failed(error: &rusqlite::Error) -> StoreError {
    StoreError::Commit(error.to_string())
}

#[cfg(test)]
mod tests;
