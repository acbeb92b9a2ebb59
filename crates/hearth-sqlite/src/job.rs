//! A job on its way to the writer, whose types the writer does not know.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::OwnedSemaphorePermit;

use crate::Error;

/// A job and its place in the queue.
pub(crate) struct Request {
    pub(crate) job: Box<dyn Job>,
    /// The place in the queue, which is free again when the job is done. A blocking caller needs none: it waits.
    _slot: Option<OwnedSemaphorePermit>,
}

/// What the writer runs and answers.
pub(crate) trait Job: Send {
    /// Runs it. Answers whether what it wrote is to be kept. May be called again when the transaction was rolled back.
    /// A job that panics has failed, and is not run again: nobody knows what is left of its state.
    fn run(&mut self, db: &Connection) -> bool;

    /// Replaces the result of the last run by a failure.
    fn fail(&mut self, error: Error);

    /// Gives the caller the result of the last run.
    fn answer(self: Box<Self>);
}

struct Typed<W, R, T, E> {
    /// `None` once it has panicked.
    work: Option<W>,
    result: Option<Result<T, E>>,
    reply: R,
}

impl Request {
    /// `reply` is called with the result, once what `work` wrote is durable.
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
        // Unwind safe: of a job that panicked neither its state nor what it wrote is used again.
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
