//! What the control plane counts. Plain numbers: the front renders them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::life::MicrovmState;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of [`Latencies`], in milliseconds: from a warm clone to a host that is stuck.
pub const LATENCY_BOUNDS_MS: [u64; 14] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 20_000, 120_000,
];

/// How long something took, as a histogram.
#[derive(Debug, Default)]
pub struct Latencies {
    /// One per bound, and one for what took longer.
    buckets: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Latencies {
    /// Adds one observation.
    pub fn observe(&self, took: Duration) {
        let within = |bound_ms: &u64| took > Duration::from_millis(*bound_ms);
        let bucket = LATENCY_BOUNDS_MS.partition_point(within);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// Observations per bucket, not cumulative; the last is what took longer than every bound.
    #[must_use]
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS_MS.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed))
    }

    /// All observations together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }
}

/// Why a microVM ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// A caller, or the operator, wanted it.
    Asked,
    /// Nobody talked to it, and its policy says terminate.
    Idle,
    /// It was suspended for as long as its policy allows.
    SuspendedLong,
    /// Its maximum duration was over.
    Expired,
    /// Its application left.
    Exited,
    /// Its application answered a hook badly or not at all.
    HookFailed,
    /// The host could not launch it, or not seal its parent.
    LaunchFailed,
    /// It was a fork that a restart of the service cut in two.
    Interrupted,
    /// The host has it no more.
    Lost,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Asked,
        Self::Idle,
        Self::SuspendedLong,
        Self::Expired,
        Self::Exited,
        Self::HookFailed,
        Self::LaunchFailed,
        Self::Interrupted,
        Self::Lost,
    ];
}

/// How many microVMs have ended, by why.
#[derive(Debug, Default)]
pub struct Ends([Counter; End::ALL.len()]);

impl Ends {
    /// Counts one more.
    pub fn increment(&self, end: End) {
        self.0[end as usize].increment();
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self, end: End) -> u64 {
        self.0[end as usize].get()
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// `RunMicrovm` taken to RUNNING.
    pub launch: Latencies,
    /// Suspend begun to SUSPENDED.
    pub suspend: Latencies,
    /// Resume begun to RUNNING.
    pub resume: Latencies,
    /// `ForkMicrovm` taken to the child's launch.
    pub fork: Latencies,
    /// A parent begun to be sealed for its child to the layer: it stands still for a part of that.
    pub seal: Latencies,
    /// How long parents stood still.
    pub fork_pause: Latencies,
    /// Builds begun to SUCCESSFUL.
    pub build: Latencies,
    /// Launches that failed on the host.
    pub launch_failures: Counter,
    /// Forks of which the parent could not be sealed.
    pub seal_failures: Counter,
    /// Suspends after which the microVM ran on or was lost.
    pub suspend_failures: Counter,
    /// Resumes after which the microVM stayed suspended or was lost.
    pub resume_failures: Counter,
    /// Builds that failed.
    pub build_failures: Counter,
    /// Hooks that ended microVMs.
    pub hook_failures: Counter,
    /// MicroVMs that ended.
    pub ends: Ends,
    /// Suspends because the host's memory was short.
    pub pressure_suspends: Counter,
    /// Things found without an owner and removed.
    pub orphans_removed: Counter,
    /// How long the store took for a commit: the journal's lag.
    pub commit: Latencies,
}

/// What there is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Living microVMs by state.
    pub microvms: HashMap<MicrovmState, u32>,
    /// Baseline memory of all living microVMs: what counts against quotas.
    pub allocated_mib: u64,
    /// Baseline memory of those that are in memory: what counts against the host.
    pub resident_mib: u64,
}
