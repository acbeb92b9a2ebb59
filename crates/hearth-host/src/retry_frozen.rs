//! Retries connections to a guest that is frozen for a fork, so that the callers do not notice.

use std::time::{Duration, Instant};

use hearth_node::AgentError;
use hearth_wire::agent::Refusal;

/// Longest wait for a frozen guest: longer than the largest guest takes to be sealed.
const FROZEN_LIMIT: Duration = Duration::from_secs(20);

/// Pause between two attempts.
const FROZEN_PAUSE: Duration = Duration::from_millis(5);

/// Repeats `ask` while the guest's agent refuses because the application is frozen. A RUNNING guest is frozen only
/// while it is sealed for a fork, and its users should notice no more than the delay.
pub async fn retry_while_frozen<T, F>(ask: impl Fn() -> F) -> Result<T, AgentError>
where
    F: Future<Output = Result<T, AgentError>>,
{
    let deadline = Instant::now() + FROZEN_LIMIT;
    loop {
        match ask().await {
            Err(AgentError::Refused(Refusal::Frozen)) if Instant::now() < deadline => {
                tokio::time::sleep(FROZEN_PAUSE).await;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn a_thaw_is_waited_for_and_nothing_else() {
        let asked = Cell::new(0);
        let thaws = retry_while_frozen(|| {
            asked.set(asked.get() + 1);
            ready(match asked.get() {
                1..=3 => Err(AgentError::Refused(Refusal::Frozen)),
                times => Ok(times),
            })
        });
        assert_eq!(thaws.await.unwrap(), 4);
        asked.set(0);
        let gone = retry_while_frozen(|| {
            asked.set(asked.get() + 1);
            ready(Err::<(), _>(AgentError::NotListening))
        });
        assert!(matches!(gone.await, Err(AgentError::NotListening)));
        assert_eq!(asked.get(), 1);
    }
}
