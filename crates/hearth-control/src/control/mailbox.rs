//! The bounded command queue of an owner task, with replies.

use tokio::sync::{mpsc, oneshot};

use crate::refusal::ControlError;

/// Commands that may wait for one owner. Further senders wait themselves.
const MAILBOX: usize = 16;

/// The channel for the reply to a command.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// The sending side. A clone sends to the same owner.
pub(super) struct Mailbox<C>(mpsc::Sender<C>);

impl<C> Clone for Mailbox<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Mailbox<C> {
    /// A mailbox, and the receiving side for the owner.
    pub(super) fn new() -> (Self, mpsc::Receiver<C>) {
        let (sender, receiver) = mpsc::channel(MAILBOX);
        (Self(sender), receiver)
    }

    /// Sends a command and waits for its reply. `None` if the owner has ended.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> C,
    ) -> Option<Result<T, ControlError>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Sends a command, waiting for room. No-op if the owner has ended.
    pub(super) async fn tell(&self, command: C) {
        let _ = self.0.send(command).await;
    }

    /// Sends a command, unless the queue is full or the owner has ended.
    pub(super) fn try_tell(&self, command: C) {
        let _ = self.0.try_send(command);
    }
}
