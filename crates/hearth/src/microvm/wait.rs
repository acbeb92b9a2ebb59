//! Waits for a state of a microVM: until it is reached, has become impossible, takes too long, or the user interrupts.
//!
//! ```text
//! launch, fork    PENDING -> RUNNING             SUSPENDING, SUSPENDED: somebody else has suspended it
//! suspend         SUSPENDING -> SUSPENDED        RUNNING after SUSPENDING: it did not work
//! resume          SUSPENDED -> RUNNING
//! terminate       TERMINATING -> TERMINATED
//! any but the last one                           TERMINATED: it has ended
//! ```
//!
//! A stateReason in another state than the wanted one means that the operation failed.

use std::time::Duration;

use anyhow::Result;
use hearth_client::{Client, ClientError};
use serde_json::Value;
use tokio::time::Instant;

use crate::view::{harmless, text};

/// Pause between two polls of a microVM: its states last tens of milliseconds.
const POLL: Duration = Duration::from_millis(50);

/// Time after which a state is asked for again if the microVM has not begun to change. The service may have been busy
/// with an operation that no state shows (a fork), or may have given up silently. Asking twice is idempotent.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A state that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// RUNNING for the first time: after a launch or a fork.
    Launched,
    Suspended,
    Resumed,
    Terminated,
}

impl Wish {
    pub(crate) fn state(self) -> &'static str {
        match self {
            Self::Suspended => "SUSPENDED",
            Self::Launched | Self::Resumed => "RUNNING",
            Self::Terminated => "TERMINATED",
        }
    }

    /// Asks the service for the state. No-op for a launch: it has been asked for already.
    pub(crate) async fn ask(self, client: &Client, id: &str) -> Result<(), ClientError> {
        match self {
            Self::Launched => {}
            Self::Suspended => drop(client.suspend(id).await?),
            Self::Resumed => drop(client.resume(id).await?),
            Self::Terminated => drop(client.terminate(id).await?),
        }
        Ok(())
    }
}

/// Why a wait ended without the wanted state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WaitError {
    /// The microVM has ended.
    #[error("{id} is TERMINATED: {reason}")]
    Ended { id: String, reason: String },
    /// The microVM is in a state that does not lead to the wanted one.
    #[error("{id} is {state}, not {wanted}{}", because(.reason))]
    Failed {
        id: String,
        state: String,
        wanted: &'static str,
        reason: String,
    },
    /// The wait has reached its limit.
    #[error("{id} is {state} still after {} s, not {wanted}{}", .limit.as_secs(), because(.reason))]
    Late {
        id: String,
        state: String,
        wanted: &'static str,
        reason: String,
        limit: Duration,
    },
    /// The user does not want to wait any longer.
    #[error("interrupted while {id} was not {wanted} yet; the service goes on with it")]
    Interrupted { id: String, wanted: &'static str },
}

fn because(reason: &str) -> String {
    match reason {
        "" => "; the service gave no reason".to_owned(),
        reason => format!(": {reason}"),
    }
}

/// Limit of a wait, counted from when the state was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    since: Instant,
    limit: Option<Duration>,
}

impl Patience {
    /// Half an hour, the default of --timeout: hooks may take minutes, and on the emulated host thirty times as long.
    pub(crate) const DEFAULT_SECONDS: u64 = 1800;

    /// So many seconds from now; 0 stands for no limit.
    pub(crate) fn seconds(seconds: u64) -> Self {
        Self {
            since: Instant::now(),
            limit: (seconds > 0).then(|| Duration::from_secs(seconds)),
        }
    }

    /// The limit, if it has passed.
    fn passed(self) -> Option<Duration> {
        self.limit.filter(|limit| self.since.elapsed() >= *limit)
    }
}

/// Waits until a microVM is in a state.
///
/// # Errors
///
/// [`WaitError`], or what the service answers to a question.
pub(crate) async fn wait(
    client: &Client,
    id: &str,
    wish: Wish,
    patience: Patience,
) -> Result<Value> {
    let interrupted = async {
        // Without a handler Ctrl-C ends this process, which is as good.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let followed = follow(
        id,
        wish,
        patience,
        async || client.microvm(id).await,
        async || wish.ask(client, id).await,
    );
    tokio::select! {
        followed = followed => followed,
        () = interrupted => Err(WaitError::Interrupted {
            id: id.to_owned(),
            wanted: wish.state(),
        }
        .into()),
    }
}

/// Polls until the outcome is clear. `ask` asks for the state again.
async fn follow(
    id: &str,
    wish: Wish,
    patience: Patience,
    look: impl AsyncFn() -> Result<Value, ClientError>,
    ask: impl AsyncFn() -> Result<(), ClientError>,
) -> Result<Value> {
    let mut course = Course::new(wish);
    let mut asked = Instant::now();
    loop {
        let microvm = look().await?;
        let next = course.look(id, &microvm)?;
        if next == Next::Done {
            return Ok(microvm);
        }
        if let Some(limit) = patience.passed() {
            let (state, reason) = described(&microvm);
            return Err(WaitError::Late {
                id: id.to_owned(),
                state,
                wanted: wish.state(),
                reason,
                limit,
            }
            .into());
        }
        if next == Next::NotBegun && asked.elapsed() >= ASK_AGAIN {
            ask().await?;
            asked = Instant::now();
        }
        tokio::time::sleep(POLL).await;
    }
}

/// State and stateReason, made harmless for a terminal.
fn described(microvm: &Value) -> (String, String) {
    let member = |name| harmless(text(microvm, name));
    (member("state"), member("stateReason"))
}

/// What follows from one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is in the wanted state.
    Done,
    /// The change has begun.
    UnderWay,
    /// The microVM is in its old state.
    NotBegun,
}

/// The changes that were seen on the way to a state.
struct Course {
    wish: Wish,
    was_suspending: bool,
}

impl Course {
    fn new(wish: Wish) -> Self {
        Self {
            wish,
            was_suspending: false,
        }
    }

    fn look(&mut self, id: &str, microvm: &Value) -> Result<Next, WaitError> {
        let (state, reason) = described(microvm);
        if state == self.wish.state() {
            return Ok(Next::Done);
        }
        let failed = |reason| WaitError::Failed {
            id: id.to_owned(),
            state: state.clone(),
            wanted: self.wish.state(),
            reason,
        };
        match (self.wish, state.as_str()) {
            (_, "TERMINATED") => Err(WaitError::Ended {
                id: id.to_owned(),
                reason,
            }),
            // TERMINATED will follow and has the reason.
            (_, "TERMINATING") => Ok(Next::UnderWay),
            (Wish::Suspended, "SUSPENDING") => {
                self.was_suspending = true;
                Ok(Next::UnderWay)
            }
            (Wish::Suspended, "RUNNING") if self.was_suspending || !reason.is_empty() => {
                Err(failed(reason))
            }
            (Wish::Resumed, "SUSPENDED") if !reason.is_empty() => Err(failed(reason)),
            (Wish::Launched, "SUSPENDING" | "SUSPENDED") => Err(failed(reason)),
            (Wish::Suspended, "RUNNING") | (Wish::Resumed, "SUSPENDED") => Ok(Next::NotBegun),
            _ => Ok(Next::UnderWay),
        }
    }
}

#[cfg(test)]
mod tests;
