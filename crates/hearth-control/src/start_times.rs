//! How long each step of a microVM's last start took: of its launch, its fork or its last resume.
//!
//! Kept in memory, one for each microVM, and lost when the service ends. It shows an operator what a start costs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::time::Timestamp;

/// One step of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartStep {
    /// What was done, such as `memory mapped`.
    pub name: String,
    /// How long the step took.
    pub took: Duration,
}

/// The kind of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartKind {
    /// A launch from an image version.
    Launch,
    /// A launch from a layer of the parent.
    Fork,
    /// A resume from the microVM's own snapshot.
    Resume,
}

impl StartKind {
    /// The kind as answers show it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Launch => "LAUNCH",
            Self::Fork => "FORK",
            Self::Resume => "RESUME",
        }
    }
}

/// The steps of a start so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartTimes {
    /// The kind of the start.
    pub kind: StartKind,
    /// When the start was requested.
    pub began: Timestamp,
    /// The steps, in order; each begins where the one before ended.
    pub steps: Vec<StartStep>,
}

/// Records the step times of one microVM.
#[derive(Debug, Default)]
pub(crate) struct StartRecorder(Mutex<Option<Recording>>);

#[derive(Debug)]
struct Recording {
    times: StartTimes,
    /// When the last step ended.
    last: Instant,
    /// Whether a request still waits for its first byte.
    awaits_byte: bool,
}

impl Recording {
    fn add(&mut self, name: &str, took: Duration) {
        let name = name.to_owned();
        self.times.steps.push(StartStep { name, took });
    }

    fn lap(&mut self, name: &str) {
        let took = self.last.elapsed();
        self.last += took;
        self.add(name, took);
    }
}

impl StartRecorder {
    fn lock(&self) -> MutexGuard<'_, Option<Recording>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a start that was just requested.
    pub(crate) fn begin(&self, kind: StartKind, began: Timestamp) {
        let times = StartTimes {
            kind,
            began,
            steps: Vec::new(),
        };
        *self.lock() = Some(Recording {
            times,
            last: Instant::now(),
            awaits_byte: true,
        });
    }

    /// Adds the steps that the host reports, once it has done its part.
    pub(crate) fn hosted(&self, steps: Vec<StartStep>) {
        let mut recording = self.lock();
        let Some(recording) = recording.as_mut() else {
            return;
        };
        let whole = recording.last.elapsed();
        recording.last += whole;
        let measured = steps.iter().map(|step| step.took).sum();
        recording.add("asked the host", whole.saturating_sub(measured));
        recording.times.steps.extend(steps);
    }

    /// Ends another step.
    pub(crate) fn lap(&self, name: &str) {
        if let Some(recording) = self.lock().as_mut() {
            recording.lap(name);
        }
    }

    /// Ends the step up to the first byte of the answer to a request that waited for the start. Later bytes are
    /// ignored.
    pub(crate) fn first_byte(&self) {
        if let Some(recording) = self.lock().as_mut()
            && std::mem::take(&mut recording.awaits_byte)
        {
            recording.lap("first byte");
        }
    }

    pub(crate) fn times(&self) -> Option<StartTimes> {
        self.lock()
            .as_ref()
            .map(|recording| recording.times.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

    fn names(recorder: &StartRecorder) -> Vec<String> {
        let times = recorder.times().unwrap();
        times.steps.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn steps_follow_each_other_and_only_the_first_byte_counts() {
        let recorder = StartRecorder::default();
        recorder.lap("before anything");
        assert_eq!(recorder.times(), None);
        recorder.begin(StartKind::Resume, NOON);
        let step = StartStep {
            name: "memory mapped".to_owned(),
            took: Duration::from_nanos(1),
        };
        recorder.hosted(vec![step]);
        recorder.lap("written down");
        recorder.first_byte();
        recorder.first_byte();
        let expected = [
            "asked the host",
            "memory mapped",
            "written down",
            "first byte",
        ];
        assert_eq!(names(&recorder), expected);
        recorder.begin(StartKind::Resume, NOON);
        assert_eq!(names(&recorder), Vec::<String>::new());
    }
}
