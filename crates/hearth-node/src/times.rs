//! Measures the steps of a start.

use std::time::{Duration, Instant};

use hearth_wire::agent::UniqueTimes;
use hearth_wire::vmm::Started;

/// One step of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepTime {
    /// Name of the step, such as `memory mapped`.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// The times of a start.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// From the start of the process to the VMM's answer.
    pub to_running: Duration,
    /// From the start of the process to the agent's answer. For a clone: until it is unique and runs.
    pub to_agent: Duration,
    /// The times that the VMM measured.
    pub vmm: Started,
    /// All consecutive steps from the beginning of the operation.
    pub steps: Vec<StepTime>,
}

/// Measures consecutive steps.
#[derive(Debug)]
pub(crate) struct Laps {
    last: Instant,
    steps: Vec<StepTime>,
}

impl Laps {
    pub(crate) fn begin() -> Self {
        Self {
            last: Instant::now(),
            steps: Vec::new(),
        }
    }

    /// Ends a step, under this name.
    pub(crate) fn lap(&mut self, name: &'static str) {
        let took = self.last.elapsed();
        self.last += took;
        self.steps.push(StepTime { name, took });
    }

    /// Ends several steps. All but the first were measured elsewhere; the first gets the rest of the time.
    fn laps(&mut self, first: &'static str, others: &[(&'static str, Duration)]) {
        let whole = self.last.elapsed();
        self.last += whole;
        let measured = others.iter().map(|(_, took)| *took).sum();
        let steps = [(first, whole.saturating_sub(measured))];
        let steps = steps.into_iter().chain(others.iter().copied());
        self.steps
            .extend(steps.map(|(name, took)| StepTime { name, took }));
    }

    /// Ends the steps up to the VMM's answer to its first command.
    pub(crate) fn started(&mut self, vmm: Started) {
        let between = |from: u64, to: u64| Duration::from_micros(to.saturating_sub(from));
        self.laps(
            "VMM ready",
            &[
                ("memory mapped", between(0, vmm.memory_us)),
                ("devices made", between(vmm.memory_us, vmm.machine_us)),
                ("vCPUs running", between(vmm.machine_us, vmm.running_us)),
            ],
        );
    }

    /// Ends the steps up to the point where the guest is unique and its application runs.
    pub(crate) fn unique(&mut self, times: Option<UniqueTimes>) {
        match times {
            Some(times) => self.laps(
                "agent answers",
                &[
                    ("unique", Duration::from_micros(times.unique_us)),
                    ("thawed", Duration::from_micros(times.thaw_us)),
                ],
            ),
            None => self.lap("agent answers, unique and thawed"),
        }
    }

    pub(crate) fn steps(self) -> Vec<StepTime> {
        self.steps
    }
}
