//! Settles what was created and updated: functions become Active, updates Successful, each with a new revision id.
//!
//! The zip was judged before, so nothing fails here. It is done apart from the request because clients of AWS expect
//! `Pending` and `InProgress` in the answer, and wait. The thread begins with what an earlier process has left.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, params};

use crate::error::FunctionError;
use crate::records::{Records, new_revision};

/// The thread that settles.
pub(crate) struct Settler {
    /// `None` once it is being dropped.
    wake: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Settler {
    pub(crate) fn start(records: Arc<Records>) -> Result<Self, FunctionError> {
        // One is enough: a wish that waits is for everything.
        let (wake, wishes) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("hearth-settle".to_owned())
            .spawn(move || {
                for () in wishes {
                    if let Err(error) = records.write(settle) {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "functions cannot be settled"
                        );
                    }
                }
            })?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // If the queue is full, the wish that waits is for this one too.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settler").finish_non_exhaustive()
    }
}

/// Settles everything that is under way.
pub(crate) fn settle(db: &Connection) -> Result<(), FunctionError> {
    let mut find = db.prepare_cached(
        "SELECT function_id, number FROM version
         WHERE state = 'Pending' OR update_status = 'InProgress'",
    )?;
    let found = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(i64, u32)> = found.collect::<Result<_, _>>()?;
    let mut settle = db.prepare_cached(
        "UPDATE version SET state = 'Active', update_status = 'Successful', revision_id = ?
         WHERE function_id = ? AND number = ?",
    )?;
    for (function_id, number) in found {
        settle.execute(params![new_revision(), function_id, number])?;
    }
    Ok(())
}
