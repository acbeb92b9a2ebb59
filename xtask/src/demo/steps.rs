//! The steps of the demo, and the lines that show them. Pure functions: the time is a parameter, and nothing is
//! printed.
//!
//! ```text
//! [ 0:42] building Hearth (2 of 8) ...                         it begins (where lines cannot be redrawn)
//! [ 1:12] building Hearth (2 of 8), 30 s: 97 crates compiled   it is under way
//! [ 1:30] building Hearth (2 of 8) took 48 s: 131 crates       it has ended
//! ```

use std::time::Duration;

/// Longest time without a line about a running step, if lines cannot be redrawn.
const SILENCE: Duration = Duration::from_secs(30);

/// What the demo does, in the order in which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Packages,
    Programs,
    Bases,
    Clients,
    Start,
    QuickStart,
    Traces,
    Stop,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Packages,
        Self::Programs,
        Self::Bases,
        Self::Clients,
        Self::Start,
        Self::QuickStart,
        Self::Traces,
        Self::Stop,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Packages => "installing missing packages",
            Self::Programs => "building Hearth",
            Self::Bases => "making the base images",
            Self::Clients => "installing boto3",
            Self::Start => "starting Hearth",
            Self::QuickStart => "running the quick start",
            Self::Traces => "looking for what is left",
            Self::Stop => "stopping Hearth",
        }
    }

    /// Title of the step, with its number and the number of all steps.
    pub(super) fn title(self) -> String {
        let total = Self::ALL.len();
        let number = Self::ALL.iter().take_while(|step| **step != self).count() + 1;
        format!("{} ({number} of {total})", self.words())
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Failed,
}

/// The steps that are under way. Times count from the start of the demo.
#[derive(Debug, Default)]
pub(super) struct Board {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    step: Step,
    since: Duration,
    /// Time of the last line about it.
    told: Duration,
    /// What it is doing, or its result; may be empty.
    detail: String,
}

impl Board {
    /// Begins a step. Answers the line that says so.
    pub(super) fn begin(&mut self, step: Step, now: Duration) -> String {
        self.running.push(Running {
            step,
            since: now,
            told: now,
            detail: String::new(),
        });
        stamped(now, &format!("{} ...", step.title()))
    }

    /// Sets the detail of a step: what it is doing, or its result. No-op unless the step is under way.
    pub(super) fn detail(&mut self, step: Step, detail: &str) {
        let mut running = self.running.iter_mut();
        if let Some(running) = running.find(|running| running.step == step) {
            detail.clone_into(&mut running.detail);
        }
    }

    /// Ends a step, with its last detail as its result. Answers the line that says so.
    pub(super) fn end(&mut self, step: Step, ending: Ending, now: Duration) -> String {
        let position = self.running.iter().position(|running| running.step == step);
        let running = position.map(|position| self.running.remove(position));
        let (since, detail) =
            running.map_or((now, String::new()), |ended| (ended.since, ended.detail));
        let verb = match ending {
            Ending::Done => "took",
            Ending::Failed => "failed after",
        };
        let taken = span(now.saturating_sub(since));
        let text = format!("{} {verb} {taken}", step.title());
        stamped(now, &with_detail(&text, &detail))
    }

    /// A line for each step that is under way.
    pub(super) fn under_way(&self, now: Duration) -> Vec<String> {
        self.running
            .iter()
            .map(|running| running.line(now))
            .collect()
    }

    /// A line for each step without a line for [`SILENCE`]. Marks them as shown now.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<String> {
        let running = self.running.iter_mut();
        let overdue = running.filter(|running| now.saturating_sub(running.told) >= SILENCE);
        overdue
            .map(|running| {
                running.told = now;
                running.line(now)
            })
            .collect()
    }

    /// Notes that a line of a step's own output was shown, which counts as a line about it.
    pub(super) fn told(&mut self, step: Step, now: Duration) {
        let running = self.running.iter_mut();
        for running in running.filter(|running| running.step == step) {
            running.told = now;
        }
    }
}

impl Running {
    fn line(&self, now: Duration) -> String {
        let taken = span(now.saturating_sub(self.since));
        let text = format!("{}, {taken}", self.step.title());
        stamped(now, &with_detail(&text, &self.detail))
    }
}

fn with_detail(text: &str, detail: &str) -> String {
    if detail.is_empty() {
        text.to_owned()
    } else {
        format!("{text}: {detail}")
    }
}

/// The line with the time before it.
pub(super) fn stamped(now: Duration, text: &str) -> String {
    let seconds = now.as_secs();
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("[{minutes:>2}:{seconds:02}] {text}")
}

/// Formats a duration.
pub(super) fn span(taken: Duration) -> String {
    let seconds = taken.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", taken.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Cuts a line to the width of a terminal.
pub(super) fn fitted(line: &str, columns: usize) -> String {
    line.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn times_are_short_words() {
        assert_eq!(span(Duration::from_millis(440)), "0.4 s");
        assert_eq!(span(Duration::from_millis(59_990)), "59 s");
        assert_eq!(span(at(130)), "2 min 10 s");
        assert_eq!(stamped(at(42), "x"), "[ 0:42] x");
        assert_eq!(stamped(at(3_723), "x"), "[62:03] x");
    }

    #[test]
    fn every_step_has_its_own_number_and_words() {
        let titles: Vec<String> = Step::ALL.iter().map(|step| step.title()).collect();
        for (index, step) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, index);
            let others = titles.iter().filter(|title| title.contains(step.words()));
            assert_eq!(others.count(), 1, "{step:?}");
        }
        assert_eq!(titles[1], "building Hearth (2 of 8)");
    }

    #[test]
    fn a_step_is_told_from_its_beginning_to_its_result() {
        let mut board = Board::default();
        let begun = board.begin(Step::Programs, at(42));
        assert_eq!(begun, "[ 0:42] building Hearth (2 of 8) ...");
        board.begin(Step::Bases, at(42));
        board.detail(Step::Programs, "97 crates compiled");
        board.detail(Step::Stop, "not under way");
        assert_eq!(
            board.under_way(at(72)),
            [
                "[ 1:12] building Hearth (2 of 8), 30 s: 97 crates compiled",
                "[ 1:12] making the base images (3 of 8), 30 s"
            ]
        );
        let ended = board.end(Step::Programs, Ending::Done, at(90));
        assert_eq!(
            ended,
            "[ 1:30] building Hearth (2 of 8) took 48 s: 97 crates compiled"
        );
        let ended = board.end(Step::Bases, Ending::Failed, at(91));
        assert_eq!(
            ended,
            "[ 1:31] making the base images (3 of 8) failed after 49 s"
        );
        assert!(board.under_way(at(92)).is_empty());
    }

    #[test]
    fn a_silent_step_gives_a_sign_of_life_every_half_minute() {
        let mut board = Board::default();
        board.begin(Step::Programs, at(0));
        board.begin(Step::Bases, at(10));
        assert!(board.overdue(at(29)).is_empty());
        assert_eq!(board.overdue(at(30)).len(), 1);
        assert!(board.overdue(at(39)).is_empty());
        // What it says itself counts.
        board.told(Step::Bases, at(39));
        assert_eq!(
            board.overdue(at(60)),
            ["[ 1:00] building Hearth (2 of 8), 1 min 0 s"]
        );
        assert_eq!(
            board.overdue(at(69)),
            ["[ 1:09] making the base images (3 of 8), 59 s"]
        );
    }

    #[test]
    fn a_line_never_wraps() {
        assert_eq!(fitted("[ 0:42] müßig", 10), "[ 0:42] mü");
        assert_eq!(fitted("short", 80), "short");
    }
}
