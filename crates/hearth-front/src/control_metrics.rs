//! Metrics of the control plane in OpenMetrics form. The values are read at the time of the request; no copy is kept.

use std::fmt;

use hearth_control::Control;
use hearth_control::life::MicrovmState;
use hearth_control::metrics::{Counter, End, LATENCY_BOUNDS_MS, Latencies};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::aws_strings::Word;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// The control plane's metrics.
pub struct ControlMetrics(Control);

impl ControlMetrics {
    /// Registers the metrics of a control plane.
    pub fn register(registry: &mut Registry, control: Control) {
        registry.register_collector(Box::new(Self(control)));
    }
}

impl fmt::Debug for ControlMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlMetrics")
    }
}

impl Collector for ControlMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.census(&mut encoder)?;
        self.latencies(&mut encoder)?;
        self.counts(&mut encoder)
    }
}

impl ControlMetrics {
    fn census(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let census = self.0.census();
        let help = "Living microVMs by state";
        let mut family =
            encoder.encode_descriptor("hearth_microvms", help, None, MetricType::Gauge)?;
        for state in MicrovmState::ALL {
            if *state != MicrovmState::Terminated {
                let count = census.microvms.get(state).copied().unwrap_or_default();
                family
                    .encode_family(&[("state", state.text())])?
                    .encode_gauge(&i64::from(count))?;
            }
        }
        for (name, help, mib) in [
            (
                "hearth_memory_allocated",
                "Baseline memory of all living microVMs: what counts against quotas",
                census.allocated_mib,
            ),
            (
                "hearth_memory_resident",
                "Baseline memory of the microVMs in memory: what counts against the host",
                census.resident_mib,
            ),
        ] {
            let unit = Some(&Unit::Bytes);
            let mut gauge = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            gauge.encode_gauge(&signed(mib.saturating_mul(MIB)))?;
        }
        Ok(())
    }

    fn latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = self.0.metrics();
        for (name, help, latencies) in [
            (
                "hearth_launch",
                "RunMicrovm taken to the launch",
                &metrics.launch,
            ),
            (
                "hearth_suspend",
                "Suspend begun to SUSPENDED",
                &metrics.suspend,
            ),
            (
                "hearth_resume",
                "Resume begun to the restore",
                &metrics.resume,
            ),
            (
                "hearth_fork",
                "ForkMicrovm taken to the launch of the child",
                &metrics.fork,
            ),
            (
                "hearth_fork_pause",
                "How long running parents stood still for their forks",
                &metrics.fork_pause,
            ),
            (
                "hearth_seal",
                "A parent begun to be sealed for its child to the layer",
                &metrics.seal,
            ),
            ("hearth_build", "Build begun to SUCCESSFUL", &metrics.build),
            (
                "hearth_journal_commit",
                "Lag of the journal: a commit of the store",
                &metrics.commit,
            ),
        ] {
            let unit = Some(&Unit::Seconds);
            let histogram = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
            encode_latencies(histogram, latencies)?;
        }
        Ok(())
    }

    fn counts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = self.0.metrics();
        let help = "Operations of the node that failed";
        let name = "hearth_failures";
        let mut failures = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (operation, counter) in [
            ("launch", &metrics.launch_failures),
            ("suspend", &metrics.suspend_failures),
            ("resume", &metrics.resume_failures),
            ("seal", &metrics.seal_failures),
            ("build", &metrics.build_failures),
            ("hook", &metrics.hook_failures),
        ] {
            let labels = [("operation", operation)];
            encode_count(failures.encode_family(&labels)?, counter.get())?;
        }
        let help = "MicroVMs that ended, by why";
        let name = "hearth_microvm_ends";
        let mut ends = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for end in End::ALL {
            let labels = [("reason", reason(end))];
            encode_count(ends.encode_family(&labels)?, metrics.ends.get(end))?;
        }
        let help = "MicroVMs that were suspended because the host's memory was short";
        let name = "hearth_pressure_suspends";
        let suspends = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        encode_count(suspends, metrics.pressure_suspends.get())?;
        let help = "Things found without an owner and removed";
        let name = "hearth_orphans_removed";
        let orphans = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        encode_count(orphans, Counter::get(&metrics.orphans_removed))
    }
}

/// The label of an end.
const fn reason(end: End) -> &'static str {
    match end {
        End::Asked => "asked",
        End::Idle => "idle",
        End::SuspendedLong => "suspended_long",
        End::Expired => "expired",
        End::Exited => "exited",
        End::HookFailed => "hook_failed",
        End::LaunchFailed => "launch_failed",
        End::Interrupted => "interrupted",
        End::Lost => "lost",
    }
}

fn encode_count(mut encoder: MetricEncoder<'_>, count: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn encode_latencies(mut encoder: MetricEncoder<'_>, latencies: &Latencies) -> fmt::Result {
    let counts = latencies.counts();
    // The last bound stands for everything above the others.
    let bounds = LATENCY_BOUNDS_MS
        .iter()
        .map(|ms| seconds(*ms))
        .chain([f64::MAX]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let sum = latencies.sum().as_secs_f64();
    encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}

/// The bounds are exact in both units.
fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

/// Gauges are signed.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
