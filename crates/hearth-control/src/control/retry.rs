//! Retries until success.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tracing::warn;

/// First wait after a failure. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait: the longest delay after, say, a full disk has been emptied.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Repeats `attempt` until it succeeds, for work that must be done and has no caller to report to: writing a
/// transition that has happened, removing what has ended. Waits in real time, not by the injected clock: faults are
/// repaired in real time.
pub(super) async fn until_done<T, E, F>(what: &str, mut attempt: impl FnMut() -> F) -> T
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let mut wait = FIRST_WAIT;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => warn!(%error, ?wait, "{what} failed and will be repeated"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}
