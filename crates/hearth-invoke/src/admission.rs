//! How many invocations a function and an account may have at once, and how many new ones a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hearth_rate::{Meter, Rate};

use crate::invocation::Throttle;
use crate::version::FunctionVersion;

/// Invocations a second for each unit of concurrency (facts section 5).
const RATE_PER_CONCURRENCY: u32 = 10;

/// New environments of a function at once, and in each ten seconds (facts section 5).
const SCALING_BURST: Duration = Duration::from_secs(10);
const SCALING_PER_SECOND: f64 = 100.0;

/// What runs now, and what has begun lately.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    functions: HashMap<String, Load>,
    /// Invocations of functions without a reservation, by account.
    unreserved: HashMap<String, u32>,
}

#[derive(Debug, Default)]
struct Load {
    running: u32,
    invocations: Meter,
    environments: Meter,
}

/// What an admitted invocation takes. It is given back as it was taken, even if the reservation has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    function_arn: String,
    account: String,
    is_reserved: bool,
}

impl Admission {
    /// Counts an invocation towards the rate of its function.
    ///
    /// # Errors
    ///
    /// The reason, if there were too many within a second.
    pub(crate) fn count(
        &mut self,
        version: &FunctionVersion,
        now: Instant,
    ) -> Result<(), Throttle> {
        let (concurrency, throttle) = match version.reserved_concurrency {
            Some(0) => return Err(Throttle::Reserved),
            Some(reserved) => (reserved, Throttle::ReservedRate),
            None => (version.account.limit, Throttle::Rate),
        };
        let per_second = f64::from(concurrency.saturating_mul(RATE_PER_CONCURRENCY));
        let rate = Rate::new(per_second, Duration::from_secs(1));
        let load = self.load(version);
        let counted = load.invocations.try_take(1.0, rate, now);
        counted.map_err(|_| throttle)
    }

    /// Whether one more may run.
    ///
    /// # Errors
    ///
    /// The reason, if not.
    pub(crate) fn check(&self, version: &FunctionVersion) -> Result<(), Throttle> {
        let spec = &version.spec;
        match version.reserved_concurrency {
            Some(reserved) => {
                let load = self.functions.get(&spec.function_arn);
                let running = load.map_or(0, |load| load.running);
                (running < reserved).then_some(()).ok_or(Throttle::Reserved)
            }
            None => {
                let running = self.unreserved.get(&spec.account).copied();
                let may = running.unwrap_or(0) < version.account.unreserved();
                may.then_some(()).ok_or(Throttle::Account)
            }
        }
    }

    /// Counts a new environment.
    ///
    /// # Errors
    ///
    /// The reason, if there were too many in the last seconds.
    pub(crate) fn scale(
        &mut self,
        version: &FunctionVersion,
        now: Instant,
    ) -> Result<(), Throttle> {
        let rate = Rate::new(SCALING_PER_SECOND, SCALING_BURST);
        let load = self.load(version);
        let taken = load.environments.try_take(1.0, rate, now);
        taken.map_err(|_| Throttle::Scaling)
    }

    /// Takes a slot.
    pub(crate) fn take(&mut self, version: &FunctionVersion) -> Slot {
        let slot = Slot {
            function_arn: version.spec.function_arn.clone(),
            account: version.spec.account.clone(),
            is_reserved: version.reserved_concurrency.is_some(),
        };
        self.load(version).running += 1;
        if !slot.is_reserved {
            *self.unreserved.entry(slot.account.clone()).or_default() += 1;
        }
        slot
    }

    /// Gives a slot back.
    pub(crate) fn give_back(&mut self, slot: &Slot) {
        if let Some(load) = self.functions.get_mut(&slot.function_arn) {
            load.running = load.running.saturating_sub(1);
        }
        if !slot.is_reserved
            && let Some(running) = self.unreserved.get_mut(&slot.account)
        {
            *running = running.saturating_sub(1);
        }
    }

    /// Forgets functions that nobody calls. Their meters are paid for by then.
    pub(crate) fn forget_idle(&mut self) {
        let bound = FUNCTIONS_REMEMBERED;
        if self.functions.len() > bound {
            self.functions.retain(|_, load| load.running > 0);
        }
        self.unreserved.retain(|_, running| *running > 0);
    }

    /// Invocations that run now.
    pub(crate) fn running(&self) -> u32 {
        self.functions.values().map(|load| load.running).sum()
    }

    fn load(&mut self, version: &FunctionVersion) -> &mut Load {
        let name = &version.spec.function_arn;
        if !self.functions.contains_key(name) {
            self.functions.insert(name.clone(), Load::default());
        }
        self.functions.entry(name.clone()).or_default()
    }
}

/// Functions whose rates are remembered. Beyond, those that run nothing are forgotten: they gain one second's burst.
const FUNCTIONS_REMEMBERED: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_versions::version;

    #[test]
    fn reservations_bound_their_function_and_the_rest_shares_what_is_left() {
        let mut admission = Admission::default();
        let mut reserved = version("reserved");
        reserved.reserved_concurrency = Some(2);
        let mut other = version("other");
        other.account.limit = 3;
        other.account.reserved = 2;
        let slots: Vec<Slot> = (0..2).map(|_| admission.take(&reserved)).collect();
        assert_eq!(admission.check(&reserved), Err(Throttle::Reserved));
        assert_eq!(admission.check(&other), Ok(()));
        let slot = admission.take(&other);
        assert_eq!(admission.check(&other), Err(Throttle::Account));
        admission.give_back(&slot);
        admission.give_back(&slots[0]);
        assert_eq!(admission.check(&other), Ok(()));
        assert_eq!(admission.check(&reserved), Ok(()));
        assert_eq!(admission.running(), 1);
    }

    #[test]
    fn a_reservation_of_nothing_turns_a_function_off() {
        let mut off = version("off");
        off.reserved_concurrency = Some(0);
        let mut admission = Admission::default();
        assert_eq!(
            admission.count(&off, Instant::now()),
            Err(Throttle::Reserved)
        );
    }

    #[test]
    fn rates_are_ten_times_the_concurrency() {
        let mut admission = Admission::default();
        let mut one = version("one");
        one.reserved_concurrency = Some(1);
        let now = Instant::now();
        let counted = (0..100).filter(|_| admission.count(&one, now).is_ok());
        // What is in debt for a second, and the one that makes the debt.
        assert!((10..=11).contains(&counted.count()));
        assert_eq!(admission.count(&one, now), Err(Throttle::ReservedRate));
        let later = now + Duration::from_secs(1);
        assert_eq!(admission.count(&one, later), Ok(()));
    }

    #[test]
    fn a_function_scales_by_a_thousand_in_ten_seconds() {
        let mut admission = Admission::default();
        let (version, now) = (version("f"), Instant::now());
        let started = (0..2000).filter(|_| admission.scale(&version, now).is_ok());
        assert!((1000..=1001).contains(&started.count()));
    }
}
