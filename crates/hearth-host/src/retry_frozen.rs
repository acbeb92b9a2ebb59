//! Waiting for a guest that stands still for its fork: who connects then is not told of it.

use std::time::{Duration, Instant};

use hearth_node::AgentError;
use hearth_wire::agent::Refusal;

/// How long a connection waits for a guest that stands still: longer than the largest guest takes to be sealed.
const FROZEN_PATIENCE: Duration = Duration::from_secs(20);

/// Pause before it is asked again.
const FROZEN_PAUSE: Duration = Duration::from_millis(5);

/// Asks again while the guest stands still. A RUNNING one does so only for as long as it takes to seal it for a fork, and
/// its users should not notice more than that.
pub async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, AgentError>
where
    F: Future<Output = Result<T, AgentError>>,
{
    let deadline = Instant::now() + FROZEN_PATIENCE;
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
        let thaws = patiently(|| {
            asked.set(asked.get() + 1);
            ready(match asked.get() {
                1..=3 => Err(AgentError::Refused(Refusal::Frozen)),
                times => Ok(times),
            })
        });
        assert_eq!(thaws.await.unwrap(), 4);
        asked.set(0);
        let gone = patiently(|| {
            asked.set(asked.get() + 1);
            ready(Err::<(), _>(AgentError::NotListening))
        });
        assert!(matches!(gone.await, Err(AgentError::NotListening)));
        assert_eq!(asked.get(), 1);
    }
}
