//! Doing something until it is done.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tracing::warn;

/// First wait after a failure; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait: how late, at most, work goes on after a full disk has been emptied.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Repeats `attempt` until it succeeds. For what must happen and has nobody to report to: the outcome of
/// a transition that is written down, the removal of what has ended. It waits in real time, because what is
/// broken heals in real time.
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
