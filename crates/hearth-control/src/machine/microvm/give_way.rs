//! Which microVM may be suspended because others need the memory that it has beyond its baseline.

use std::time::Duration;

use super::Terms;
use crate::life::{Life, Phase};
use crate::time::Timestamp;

/// As long as the shortest idle time that a policy may have: nobody is suspended sooner than a policy could have said.
pub const LEAST_IDLE: Duration = Duration::from_secs(60);

/// Whether callers see nothing of it but a slower request: it is idle, its policy suspends, and a request wakes it. All others are left
/// to the kernel, which begins with who is furthest beyond the baseline.
#[must_use]
pub fn may_give_way(life: &Life, terms: &Terms<'_>, idle_since: Timestamp, now: Timestamp) -> bool {
    let sleeps_unseen = terms
        .idle_policy
        .is_some_and(|policy| policy.auto_resume && !policy.suspended.is_zero());
    life.phase == Phase::Running && sleeps_unseen && now.since(idle_since) >= LEAST_IDLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Origin;
    use crate::microvm::IdlePolicy;

    const POLICY: IdlePolicy = IdlePolicy {
        max_idle: Duration::from_secs(900),
        suspended: Duration::from_secs(3600),
        auto_resume: true,
    };

    fn may(phase: Phase, idle_policy: Option<IdlePolicy>, idle: Duration) -> bool {
        let since = Timestamp::from_unix_ms(1_795_000_000_000);
        let terms = Terms {
            hooks: None,
            idle_policy,
            expires_at: since.after(Duration::from_secs(86_400)),
            origin: Origin::Version,
        };
        may_give_way(&Life::at(phase), &terms, since, since.after(idle))
    }

    #[test]
    fn who_is_idle_and_wakes_by_itself_gives_way() {
        assert!(may(Phase::Running, Some(POLICY), LEAST_IDLE));
        let sooner = LEAST_IDLE - Duration::from_millis(1);
        assert!(!may(Phase::Running, Some(POLICY), sooner));
    }

    #[test]
    fn whoever_would_notice_is_left_alone() {
        let asked_for = IdlePolicy {
            auto_resume: false,
            ..POLICY
        };
        let ends = IdlePolicy {
            suspended: Duration::ZERO,
            ..POLICY
        };
        for policy in [None, Some(asked_for), Some(ends)] {
            assert!(!may(Phase::Running, policy, 10 * LEAST_IDLE), "{policy:?}");
        }
    }

    #[test]
    fn whoever_is_under_way_is_left_alone() {
        for phase in [
            Phase::Launching,
            Phase::RunHook,
            Phase::Saving,
            Phase::Sealing { since: None },
            Phase::ResumeHook,
            Phase::Removing,
        ] {
            assert!(!may(phase, Some(POLICY), 10 * LEAST_IDLE), "{phase:?}");
        }
    }
}
