//! A job in the queue of the writer, with its types erased.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::OwnedSemaphorePermit;

use crate::Error;

/// A job and its place in the queue.
pub(crate) struct Request {
    pub(crate) job: Box<dyn Job>,
    /// The slot in the queue, freed when the job is done. `None` for a blocking caller, which waits anyway.
    _slot: Option<OwnedSemaphorePermit>,
}

/// What the writer runs and answers.
pub(crate) trait Job: Send {
    /// Runs the job. Returns whether to keep what it wrote. May be called again if the transaction was rolled back. A
    /// job that panics has failed and is not run again, because its state is undefined.
    fn run(&mut self, db: &Connection) -> bool;

    /// Replaces the result of the last run by an error.
    fn fail(&mut self, error: Error);

    /// Sends the result of the last run to the caller.
    fn answer(self: Box<Self>);
}

struct Typed<W, R, T, E> {
    /// `None` once the job has panicked.
    work: Option<W>,
    result: Option<Result<T, E>>,
    reply: R,
}

impl Request {
    /// `reply` is called with the result, once the writes of `work` are durable.
    pub(crate) fn new<T, E>(
        work: impl FnMut(&Connection) -> Result<T, E> + Send + 'static,
        reply: impl FnOnce(Result<T, E>) + Send + 'static,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Self
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        Self {
            job: Box::new(Typed {
                work: Some(work),
                result: None,
                reply,
            }),
            _slot: slot,
        }
    }
}

impl<W, R, T, E> Job for Typed<W, R, T, E>
where
    W: FnMut(&Connection) -> Result<T, E> + Send,
    R: FnOnce(Result<T, E>) + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, db: &Connection) -> bool {
        let Some(work) = &mut self.work else {
            return false;
        };
        // Unwind safe: neither the state nor the writes of a job that panicked are used again.
        match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(result) => {
                let is_kept = result.is_ok();
                self.result = Some(result);
                is_kept
            }
            Err(payload) => {
                self.work = None;
                self.fail(Error::of_panic(payload.as_ref()));
                false
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.result = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            (self.reply)(result);
        }
    }
}
