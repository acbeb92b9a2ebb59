//! The counters and histograms of the control plane. Plain numbers: the front renders them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::life::MicrovmState;

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The present count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of [`Latencies`], in milliseconds: from a warm clone to a host that is stuck.
pub const LATENCY_BOUNDS_MS: [u64; 14] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 20_000, 120_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Counts per bucket: one for each bound, and one for longer durations.
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

    /// Counts per bucket, not cumulative. The last bucket has what took longer than every bound.
    #[must_use]
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS_MS.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed))
    }

    /// The sum of all observed durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }
}

/// Why a microVM ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// A caller or the operator terminated it.
    Asked,
    /// It was idle, and its idle policy says terminate.
    Idle,
    /// It was suspended for as long as its idle policy allows.
    SuspendedLong,
    /// Its maximum duration was over.
    Expired,
    /// Its application exited.
    Exited,
    /// A hook failed.
    HookFailed,
    /// The host could not launch it, or could not seal its parent.
    LaunchFailed,
    /// It was a fork that a restart of the service interrupted.
    Interrupted,
    /// The host no longer has it.
    Lost,
}

impl End {
    /// All kinds of end.
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

/// Counts of ended microVMs by [`End`].
#[derive(Debug, Default)]
pub struct Ends([Counter; End::ALL.len()]);

impl Ends {
    /// Adds one.
    pub fn increment(&self, end: End) {
        self.0[end as usize].increment();
    }

    /// The present count.
    #[must_use]
    pub fn get(&self, end: End) -> u64 {
        self.0[end as usize].get()
    }
}

/// All metrics of the control plane.
#[derive(Debug, Default)]
pub struct Metrics {
    /// From the acceptance of `RunMicrovm` to RUNNING.
    pub launch: Latencies,
    /// From the begin of a suspend to SUSPENDED.
    pub suspend: Latencies,
    /// From the begin of a resume to RUNNING.
    pub resume: Latencies,
    /// From the acceptance of `ForkMicrovm` to the launch of the child.
    pub fork: Latencies,
    /// From the request to seal a parent to its durable layer. The parent stands still for a part of that time.
    pub seal: Latencies,
    /// How long parents stood still.
    pub fork_pause: Latencies,
    /// From the begin of a build to SUCCESSFUL.
    pub build: Latencies,
    /// Launches that failed on the host.
    pub launch_failures: Counter,
    /// Forks whose parent could not be sealed.
    pub seal_failures: Counter,
    /// Suspends after which the microVM ran on or was lost.
    pub suspend_failures: Counter,
    /// Resumes after which the microVM stayed suspended or was lost.
    pub resume_failures: Counter,
    /// Builds that failed.
    pub build_failures: Counter,
    /// Failed hooks that ended a microVM.
    pub hook_failures: Counter,
    /// MicroVMs that ended.
    pub ends: Ends,
    /// Suspends because the host's memory was short.
    pub pressure_suspends: Counter,
    /// Things found without an owner and removed.
    pub orphans_removed: Counter,
    /// How long the store took for a commit.
    pub commit: Latencies,
}

/// Counts of what exists now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Living microVMs by state.
    pub microvms: HashMap<MicrovmState, u32>,
    /// Baseline memory of all living microVMs, in MiB: what counts against quotas.
    pub allocated_mib: u64,
    /// Baseline memory of all microVMs that are in memory, in MiB: what counts against the capacity of the host.
    pub resident_mib: u64,
}
