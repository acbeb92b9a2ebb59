//! What follows an attempt: decisions without effects.

use std::time::Duration;

use crate::version::EventRetries;

/// The delays before further attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// After the first function error. It doubles with each further one.
    pub function_error: Duration,
    /// After the first throttle or failure of the host. It doubles with each further one.
    pub throttle: Duration,
    /// The longest of the latter.
    pub throttle_max: Duration,
}

impl Default for Delays {
    /// As on AWS (facts section 5).
    fn default() -> Self {
        Self {
            function_error: Duration::from_secs(60),
            throttle: Duration::from_secs(1),
            throttle_max: Duration::from_secs(300),
        }
    }
}

impl Delays {
    /// The delays of AWS divided by a number, for tests.
    #[must_use]
    pub fn divided_by(divisor: u32) -> Self {
        let plain = Self::default();
        let divisor = divisor.max(1);
        Self {
            function_error: plain.function_error / divisor,
            throttle: plain.throttle / divisor,
            throttle_max: plain.throttle_max / divisor,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Good,
    FunctionError,
    /// Throttled, or the host failed: it does not count as one of the retries.
    Postponed,
    /// The function is gone, or off.
    Hopeless,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Done,
    /// Give up. Why, as destinations call it.
    GiveUp(&'static str),
    /// Try again after this time.
    Again(Duration),
}

/// What is known of an event after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    /// Attempts that counted, with this one if it counts.
    pub(super) attempts: u32,
    /// Attempts that did not count, with this one if it does not.
    pub(super) postponements: u32,
    pub(super) age: Duration,
}

/// Decides what follows an attempt.
pub(super) fn after(attempt: Attempt, tried: Tried, retries: EventRetries, delays: Delays) -> Next {
    let delay = match attempt {
        Attempt::Good => return Next::Done,
        Attempt::Hopeless => return Next::GiveUp("ZeroReservedConcurrency"),
        Attempt::FunctionError if tried.attempts > u32::from(retries.attempts) => {
            return Next::GiveUp("RetriesExhausted");
        }
        Attempt::FunctionError => doubled(delays.function_error, tried.attempts, Duration::MAX),
        Attempt::Postponed => doubled(delays.throttle, tried.postponements, delays.throttle_max),
    };
    if tried.age + delay > Duration::from_secs(retries.max_age_s.into()) {
        return Next::GiveUp("EventAgeExceeded");
    }
    Next::Again(delay)
}

/// Whether an event may be tried at all.
pub(super) fn may_begin(
    attempts: u32,
    age: Duration,
    retries: EventRetries,
) -> Result<(), &'static str> {
    if attempts > u32::from(retries.attempts) {
        // An earlier run of the service was killed during the last one.
        return Err("RetriesExhausted");
    }
    if age > Duration::from_secs(retries.max_age_s.into()) {
        return Err("EventAgeExceeded");
    }
    Ok(())
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    let factor = 2_u32.saturating_pow(times.saturating_sub(1).min(20));
    first.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tried(attempts: u32, postponements: u32, age_s: u64) -> Tried {
        Tried {
            attempts,
            postponements,
            age: Duration::from_secs(age_s),
        }
    }

    fn next(attempt: Attempt, tried: Tried) -> Next {
        after(attempt, tried, EventRetries::default(), Delays::default())
    }

    #[test]
    fn a_function_error_is_retried_after_one_minute_and_after_two() {
        let error = Attempt::FunctionError;
        assert_eq!(
            next(error, tried(1, 0, 0)),
            Next::Again(Duration::from_secs(60))
        );
        assert_eq!(
            next(error, tried(2, 0, 60)),
            Next::Again(Duration::from_secs(120))
        );
        assert_eq!(
            next(error, tried(3, 0, 180)),
            Next::GiveUp("RetriesExhausted")
        );
    }

    #[test]
    fn throttles_back_off_until_the_age_is_reached() {
        let postponed = Attempt::Postponed;
        let wait = |times| next(postponed, tried(0, times, 0));
        assert_eq!(wait(1), Next::Again(Duration::from_secs(1)));
        assert_eq!(wait(4), Next::Again(Duration::from_secs(8)));
        assert_eq!(wait(30), Next::Again(Duration::from_secs(300)));
        let old = tried(0, 30, 6 * 3600);
        assert_eq!(next(postponed, old), Next::GiveUp("EventAgeExceeded"));
    }

    proptest! {
        /// However attempts end, and wherever the service is killed, none runs more often than allowed.
        #[test]
        fn never_more_than_allowed(retries in 0_u8..=2, outcomes in prop::collection::vec((0_u8..3, any::<bool>()), 0..30)) {
            let retries = EventRetries { attempts: retries, max_age_s: 21_600 };
            let (mut attempts, mut postponements, mut runs) = (0, 0, 0);
            for (outcome, is_killed) in outcomes {
                if may_begin(attempts, Duration::ZERO, retries).is_err() {
                    break;
                }
                attempts += 1;
                let attempt = match outcome {
                    0 => Attempt::Postponed,
                    _ => Attempt::FunctionError,
                };
                if attempt == Attempt::FunctionError {
                    runs += 1;
                }
                if is_killed {
                    continue;
                }
                if attempt == Attempt::Postponed {
                    attempts -= 1;
                    postponements += 1;
                }
                let tried = Tried { attempts, postponements, age: Duration::ZERO };
                if !matches!(after(attempt, tried, retries, Delays::default()), Next::Again(_)) {
                    break;
                }
            }
            prop_assert!(runs <= u32::from(retries.attempts) + 1);
        }
    }
}
