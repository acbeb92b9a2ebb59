//! Prioritises microVMs that have used little processor time lately, when processors are contended.
//!
//! With weights alone, the kernel divides a busy processor by size at every moment and remembers nothing. A session
//! that sleeps for seconds and then computes for some milliseconds gets only its share beside neighbours that never
//! stop, and its latency grows several times. So a microVM that used, for its size, less than the mean gets a multiple
//! of its weight for as long as that lasts. What it uses is less than its share, so nobody gets less than theirs.
//!
//! ```text
//! u     = processors used lately / weight of the size
//! mean  = mean of u over all the processor time that was used
//! first   when u falls below 0.85 mean, until it rises above the mean
//! ```
//!
//! A microVM that computes all the time is at about the mean itself, whatever its size is, so size alone prioritises
//! nobody. Neither does being new: a microVM has its plain weight until it was measured once. Otherwise a tenant that
//! keeps starting microVMs, each for a second, would take the processor from all that run long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cgroup::Groups;
use crate::layout::MachineName;

/// Smoothing factor of the exponential moving average of use. With a measurement each second, a microVM that begins to
/// compute is noticed after one or two.
const SMOOTHING: f64 = 0.4;

/// Thresholds of prioritising, in parts of the mean. There are two for hysteresis, so that weights are not written back
/// and forth. Lower ones would leave a microVM that uses three quarters of its share to wait like one that never stops.
const BELOW: f64 = 0.85;
const ABOVE: f64 = 1.0;

/// Part of the host's processors. As long as all microVMs together use less, nobody waits and no weight is changed.
const SHORT: f64 = 0.5;

/// Sets the weights of a node's microVMs from their use of processors.
#[derive(Debug)]
pub struct Shares {
    groups: Groups,
    processors: f64,
    looked: Instant,
    seen: HashMap<MachineName, Seen>,
}

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    vcpus: u32,
    used: Duration,
    /// Smoothed use in processors; `None` until it was measured.
    lately: Option<f64>,
    goes_first: bool,
}

impl Shares {
    /// Pause between two measurements.
    pub const PAUSE: Duration = Duration::from_secs(1);

    /// Creates it for these groups, which share `processors` processors. No weight is changed before the second
    /// measurement.
    #[must_use]
    pub fn new(groups: Groups, processors: usize) -> Self {
        Self {
            groups,
            processors: processors as f64,
            looked: Instant::now(),
            seen: HashMap::new(),
        }
    }

    /// Reads the processor time that every microVM has used and sets the resulting weights.
    pub fn look(&mut self) {
        let since = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let mut before = std::mem::take(&mut self.seen);
        for name in self.groups.machines() {
            // One that ends meanwhile is not there at the next look.
            let Some(used) = self.groups.used(&name) else {
                continue;
            };
            let seen = match before.remove(&name) {
                Some(seen) => seen.after(used, since),
                None => match self.groups.vcpus(&name) {
                    Some(vcpus) => Seen::new(vcpus, used),
                    None => continue,
                },
            };
            self.seen.insert(name, seen);
        }
        for name in decide(&mut self.seen, self.processors) {
            let seen = &self.seen[&name];
            self.groups.weigh(&name, seen.vcpus, seen.goes_first);
        }
    }
}

impl Seen {
    /// The state of a microVM whose group was just created.
    fn new(vcpus: u32, used: Duration) -> Self {
        Self {
            vcpus,
            used,
            lately: None,
            goes_first: false,
        }
    }

    fn after(self, used: Duration, seconds: f64) -> Self {
        let more = used.saturating_sub(self.used).as_secs_f64() / seconds.max(f64::EPSILON);
        let before = self.lately.unwrap_or(more);
        Self {
            used,
            lately: Some(before + SMOOTHING * (more - before)),
            ..self
        }
    }

    /// Use in processors divided by the weight of the size; 0 if it was not measured.
    fn for_its_size(&self) -> f64 {
        self.used_lately() / f64::from(self.vcpus)
    }

    fn used_lately(&self) -> f64 {
        self.lately.unwrap_or(0.0)
    }
}

/// Decides which microVMs are prioritised. Answers those for which that has changed.
fn decide(all: &mut HashMap<MachineName, Seen>, processors: f64) -> Vec<MachineName> {
    let total: f64 = all.values().map(Seen::used_lately).sum();
    if total < SHORT * processors {
        return Vec::new();
    }
    let weighed = all
        .values()
        .map(|seen| seen.used_lately() * seen.for_its_size());
    let mean = weighed.sum::<f64>() / total;
    let mut changed = Vec::new();
    let measured = all.iter_mut().filter(|(_, seen)| seen.lately.is_some());
    for (name, seen) in measured {
        let bound = if seen.goes_first { ABOVE } else { BELOW };
        let goes_first = seen.for_its_size() < bound * mean;
        if goes_first != seen.goes_first {
            seen.goes_first = goes_first;
            changed.push(name.clone());
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(machines: &[(&str, u32, f64)]) -> HashMap<MachineName, Seen> {
        let seen = |vcpus, lately| Seen {
            lately: Some(lately),
            ..Seen::new(vcpus, Duration::ZERO)
        };
        machines
            .iter()
            .map(|(name, vcpus, lately)| (name.parse().unwrap(), seen(*vcpus, *lately)))
            .collect()
    }

    fn first(all: &HashMap<MachineName, Seen>) -> Vec<String> {
        let first = all.iter().filter(|(_, seen)| seen.goes_first);
        let mut names: Vec<_> = first.map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn those_that_ask_for_little_go_first_whatever_their_size() {
        let mut all = all(&[
            ("hog", 4, 2.6),
            ("small-hog", 1, 0.7),
            ("light", 1, 0.1),
            ("large-light", 4, 0.5),
        ]);
        let mut changed = decide(&mut all, 4.0);
        changed.sort();
        assert_eq!(changed.len(), 2);
        assert_eq!(first(&all), ["large-light", "light"]);
        assert_eq!(decide(&mut all, 4.0), [], "once");
    }

    /// MicroVMs that are started without end, each for less than it takes to be measured twice (finding L19).
    #[test]
    fn being_new_makes_nobody_first() {
        let mut all = all(&[("hog", 1, 1.0)]);
        let new = || Seen::new(1, Duration::ZERO);
        all.insert("churn".parse().unwrap(), new());
        decide(&mut all, 1.0);
        assert_eq!(first(&all), Vec::<String>::new());
        // Measured once, it is known for what it does.
        all.insert(
            "churn".parse().unwrap(),
            new().after(Duration::from_secs(1), 1.0),
        );
        decide(&mut all, 1.0);
        assert_eq!(first(&all), Vec::<String>::new());
        all.insert(
            "quiet".parse().unwrap(),
            new().after(Duration::from_millis(1), 1.0),
        );
        decide(&mut all, 1.0);
        assert_eq!(first(&all), ["quiet"]);
    }

    #[test]
    fn nothing_changes_while_processors_are_not_short() {
        let mut all = all(&[("busy", 1, 1.0), ("light", 1, 0.01)]);
        assert_eq!(decide(&mut all, 16.0), []);
        assert_eq!(decide(&mut all, 2.0).len(), 1);
    }

    #[test]
    fn between_the_bounds_everybody_stays() {
        let name: MachineName = "other".parse().unwrap();
        for (used, goes_first, expected) in [
            (0.95, true, true),
            (0.95, false, false),
            (1.05, true, false),
            (0.8, false, true),
        ] {
            let mut all = all(&[("hog", 1, 100.0), ("other", 1, used * 100.0)]);
            // What it uses itself is part of the mean.
            let mean = (100.0 * 100.0 + used * 100.0 * used * 100.0) / (100.0 + used * 100.0);
            all.get_mut(&name).unwrap().lately = Some(used * mean);
            all.get_mut(&name).unwrap().goes_first = goes_first;
            decide(&mut all, 1.0);
            assert_eq!(all[&name].goes_first, expected, "{used} {goes_first}");
        }
    }

    #[test]
    fn what_is_used_lately_follows_within_seconds() {
        let mut seen = Seen::new(1, Duration::from_secs(100)).after(Duration::from_secs(100), 1.0);
        for second in 1..=3 {
            seen = seen.after(Duration::from_secs(100 + second), 1.0);
        }
        let lately = seen.used_lately();
        assert!(lately > 0.75 && lately < 1.0, "{lately}");
        for _ in 0..5 {
            seen = seen.after(Duration::from_secs(103), 1.0);
        }
        assert!(seen.used_lately() < 0.1, "{}", seen.used_lately());
    }
}
