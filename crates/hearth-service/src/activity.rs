//! Activity other than traffic, of microVMs that have it enabled ([`Activity`]).
//!
//! Bytes through an endpoint are counted as they pass. Processes and CPU time are known to the guest alone, so its
//! agent is polled. Activity that begins and ends between two polls is not seen. An active microVM is touched, as by traffic.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use hearth_control::Control;
use hearth_control::id::MicrovmId;
use hearth_control::life::MicrovmState;
use hearth_control::microvm::{Activity, Microvm};
use hearth_host::LocalHost;
use hearth_wire::agent::{ControlReply, ControlRequest};
use tokio::sync::watch;

/// Time between two polls of all guests. The shortest idle time is a minute, so several polls fit in, also late ones.
const INTERVAL: Duration = Duration::from_secs(10);

/// Longest wait for a guest's answer. A guest that does not answer in time keeps its last sample.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Guests that are polled at one time; each takes a descriptor. A thousand that do not answer take 20 s, which
/// the others can wait for.
const MAX_ASKED: usize = 256;

/// A guest is busy from this share of one CPU on. Timers and keep-alives of a waiting runtime take less.
const BUSY_PERCENT: u64 = 5;

/// A guest's counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    at: Instant,
    /// How often the microVM was resumed: CPU time is comparable only between samples with the same number.
    resumes: u64,
    execs: u32,
    cpu_us: u64,
}

/// Whether a guest is active, by its last sample and this one.
fn is_active(counts: Activity, before: Option<&Sample>, now: &Sample) -> bool {
    (counts.execs && now.execs > 0)
        || (counts.guest_cpu && before.is_some_and(|before| is_busy(before, now)))
}

fn is_busy(before: &Sample, now: &Sample) -> bool {
    let elapsed_us = now.at.saturating_duration_since(before.at).as_micros();
    let cpu_us = now.cpu_us.saturating_sub(before.cpu_us);
    before.resumes == now.resumes
        && elapsed_us > 0
        && u128::from(cpu_us) * 100 >= elapsed_us * u128::from(BUSY_PERCENT)
}

/// Polls guests for activity.
pub(crate) struct ActivityWatch {
    control: Control,
    host: LocalHost,
    seen: HashMap<MicrovmId, Sample>,
}

impl ActivityWatch {
    pub(crate) fn new(control: Control, host: LocalHost) -> Self {
        Self {
            control,
            host,
            seen: HashMap::new(),
        }
    }

    /// Polls until `stop` is set.
    pub(crate) async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            never = self.look_on() => match never {},
            _ = stop.wait_for(|&stop| stop) => {}
        }
    }

    async fn look_on(&mut self) -> Infallible {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let living = self.control.living_microvms().into_iter();
        let counted = living.filter(|microvm| {
            microvm.activity.is_any() && microvm.state() == MicrovmState::Running
        });
        let asked = counted.map(|microvm| ask(self.host.clone(), microvm));
        let mut answers = stream::iter(asked).buffer_unordered(MAX_ASKED);
        let mut seen = HashMap::new();
        while let Some((microvm, sample)) = answers.next().await {
            let before = self.seen.get(&microvm.id);
            if let Some(now) = &sample
                && is_active(microvm.activity, before, now)
            {
                self.control.touch(microvm.id);
            }
            // A guest that did not answer keeps its last sample for the next comparison.
            if let Some(sample) = sample.or(before.copied()) {
                seen.insert(microvm.id, sample);
            }
        }
        drop(answers);
        self.seen = seen;
    }
}

async fn ask(host: LocalHost, microvm: Microvm) -> (Microvm, Option<Sample>) {
    let resumes = host.resumes_of(microvm.id);
    let answer = async {
        let agent = host.agent(microvm.id).ok()?;
        let reply = agent.control(ControlRequest::Metrics).await.ok()?;
        let ControlReply::Metrics(metrics) = reply else {
            return None;
        };
        Some(Sample {
            at: Instant::now(),
            resumes,
            execs: metrics.exec_streams,
            cpu_us: metrics.app_cpu_us,
        })
    };
    let sample = tokio::time::timeout(ANSWER_LIMIT, answer).await;
    (microvm, sample.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXECS: Activity = Activity {
        execs: true,
        guest_cpu: false,
    };
    const GUEST_CPU: Activity = Activity {
        execs: false,
        guest_cpu: true,
    };
    const TEN_SECONDS: Duration = Duration::from_secs(10);

    fn first() -> Sample {
        Sample {
            at: Instant::now(),
            resumes: 1,
            execs: 0,
            cpu_us: 1_000_000,
        }
    }

    /// A sample ten seconds later, with so much more CPU time.
    fn after(before: &Sample, cpu_ms: u64) -> Sample {
        Sample {
            at: before.at + TEN_SECONDS,
            cpu_us: before.cpu_us + cpu_ms * 1000,
            ..*before
        }
    }

    #[test]
    fn a_process_counts_where_it_was_asked_for() {
        let idle = first();
        let working = Sample { execs: 1, ..idle };
        assert!(is_active(EXECS, None, &working));
        assert!(!is_active(EXECS, None, &idle));
        assert!(!is_active(Activity::default(), None, &working));
        assert!(!is_active(GUEST_CPU, Some(&idle), &working));
    }

    #[test]
    fn cpu_time_counts_from_a_twentieth_of_a_cpu_on() {
        let before = first();
        let is_busy = |counts, cpu_ms| is_active(counts, Some(&before), &after(&before, cpu_ms));
        assert!(is_busy(GUEST_CPU, 10_000));
        assert!(is_busy(GUEST_CPU, 500));
        assert!(!is_busy(GUEST_CPU, 499));
        assert!(!is_busy(EXECS, 10_000));
        assert!(!is_busy(Activity::default(), 10_000));
    }

    #[test]
    fn cpu_time_is_measured_within_one_life() {
        let before = first();
        let busy = after(&before, 10_000);
        let resumed = Sample { resumes: 2, ..busy };
        assert!(!is_active(GUEST_CPU, None, &busy));
        assert!(!is_active(GUEST_CPU, Some(&before), &resumed));
        assert!(is_active(
            GUEST_CPU,
            Some(&resumed),
            &after(&resumed, 10_000)
        ));
        // Whatever a guest claims.
        let backwards = Sample { cpu_us: 0, ..busy };
        assert!(!is_active(GUEST_CPU, Some(&before), &backwards));
        let at_once = Sample {
            at: before.at,
            ..busy
        };
        assert!(!is_active(GUEST_CPU, Some(&before), &at_once));
        let all = Sample {
            cpu_us: u64::MAX,
            ..busy
        };
        assert!(is_active(GUEST_CPU, Some(&before), &all));
    }
}
