//! How others reach the task that owns something: a bounded line of commands, with answers.

use tokio::sync::{mpsc, oneshot};

use crate::refusal::ControlError;

/// Commands that may wait for one owner. Callers beyond wait themselves.
const MAILBOX: usize = 16;

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// The sending side. Clones reach the same owner.
pub(super) struct Mailbox<C>(mpsc::Sender<C>);

impl<C> Clone for Mailbox<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Mailbox<C> {
    /// A mailbox, and the side that its owner reads.
    pub(super) fn new() -> (Self, mpsc::Receiver<C>) {
        let (sender, receiver) = mpsc::channel(MAILBOX);
        (Self(sender), receiver)
    }

    /// Asks for something; `None` when the owner has ended meanwhile.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> C,
    ) -> Option<Result<T, ControlError>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Tells the owner something, waiting for room. An owner that has ended need not know.
    pub(super) async fn tell(&self, command: C) {
        let _ = self.0.send(command).await;
    }

    /// Tells the owner something, unless it has other things to do.
    pub(super) fn try_tell(&self, command: C) {
        let _ = self.0.try_send(command);
    }
}
