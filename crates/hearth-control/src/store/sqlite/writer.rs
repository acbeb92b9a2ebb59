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
        let answers = write_group(&mut db, group.drain(..));
        watch(CommitMoment::After);
        for (reply, answer) in answers {
            // Who gave up waiting learns the outcome from the records.
            let _ = reply.send(answer);
        }
    }
}

fn write_group(db: &mut Connection, group: impl Iterator<Item = Request>) -> Vec<Answer> {
    let mut transaction = match db.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            return group
                .map(|request| (request.reply, Err(failed(&error))))
                .collect();
        }
    };
    let mut answers: Vec<Answer> = Vec::with_capacity(GROUP);
    for Request { batch, reply } in group {
        let answer = write(&mut transaction, &batch);
        answers.push((reply, answer));
    }
    if let Err(error) = transaction.commit() {
        for (_, answer) in &mut answers {
            *answer = Err(failed(&error));
        }
    }
    answers
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
