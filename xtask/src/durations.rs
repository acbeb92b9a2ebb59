//! How long steps and tests take: recorded after each run, and compared with a table of an earlier run.
//!
//! ```text
//! target/durations.csv   of the last run: every step and every test
//! tests/durations.csv    checked in: every step, and the tests that took a second or more
//! ```
//!
//! Both have the columns `step,test,seconds`, and no test in the line of a step. The machine tests take twice as long on a
//! machine that does something else too, so nothing fails for its time: the summary says what has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::outcome::TestTime;
use crate::workspace;

const HEADER: &str = "step,test,seconds";

/// How many of the slowest tests the summary shows.
const SHOWN: usize = 30;

/// The checked-in table leaves out faster tests.
const KEPT_FROM_S: f64 = 1.0;

/// A step that grew by less than this is not reported, also if the increase is large in per cent.
const GROWTH_S: f64 = 20.0;

/// The time of a test, or of a step.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    step: String,
    /// Empty in the row of the step.
    test: String,
    seconds: f64,
}

/// The times of one run.
#[derive(Debug, Default)]
pub(crate) struct Durations(Vec<Row>);

impl Durations {
    /// Adds a step with its tests.
    pub(crate) fn add(&mut self, step: &str, duration: Duration, tests: &[TestTime]) {
        let row = |test: &str, seconds| Row {
            step: step.to_owned(),
            test: test.to_owned(),
            seconds,
        };
        self.0.push(row("", duration.as_secs_f64()));
        let tests = tests.iter().map(|time| row(&time.test, time.seconds));
        self.0.extend(tests);
    }

    /// Writes `target/durations.csv`.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let path = workspace::target_dir().join("durations.csv");
        write(&path, &self.0)?;
        Ok(path)
    }

    /// Replaces the checked-in rows of the steps that ran.
    pub(crate) fn keep(&self) -> Result<PathBuf> {
        let has_run = |row: &Row| self.0.iter().any(|own| own.step == row.step);
        let mut rows = kept()?;
        rows.retain(|row| !has_run(row));
        let worth_keeping = |row: &&Row| row.test.is_empty() || row.seconds >= KEPT_FROM_S;
        rows.extend(self.0.iter().filter(worth_keeping).cloned());
        let path = kept_path();
        write(&path, &rows)?;
        Ok(path)
    }

    /// The lines of the summary: the slowest tests, and what has changed since the checked-in table.
    pub(crate) fn summary(&self) -> Result<Vec<String>> {
        Ok(summary(&self.0, &kept()?))
    }
}

fn summary(rows: &[Row], kept: &[Row]) -> Vec<String> {
    let before: BTreeMap<(&str, &str), f64> = kept
        .iter()
        .map(|row| ((row.step.as_str(), row.test.as_str()), row.seconds))
        .collect();
    let before = |row: &Row| before.get(&(row.step.as_str(), row.test.as_str())).copied();
    let mut tests: Vec<&Row> = rows.iter().filter(|row| !row.test.is_empty()).collect();
    tests.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    let mut lines = Vec::new();
    for row in tests.into_iter().take(SHOWN) {
        let was = before(row).map_or("new".to_owned(), |seconds| format!("{seconds:.1} s before"));
        lines.push(format!("{:>7.1} s  {} ({was})", row.seconds, row.test));
    }
    for row in rows.iter().filter(|row| row.test.is_empty()) {
        if let Some(seconds) = before(row)
            && has_grown(seconds, row.seconds)
        {
            lines.push(format!(
                "{} took {:.0} s and {seconds:.0} s before: it has grown by a third or more",
                row.step, row.seconds
            ));
        }
    }
    lines
}

fn has_grown(before_s: f64, now_s: f64) -> bool {
    now_s > before_s * 4.0 / 3.0 && now_s - before_s >= GROWTH_S
}

fn kept_path() -> PathBuf {
    workspace::root().join("tests/durations.csv")
}

/// The checked-in table; without the file, no rows.
fn kept() -> Result<Vec<Row>> {
    let path = kept_path();
    if !path.exists() {
        return Ok(vec![]);
    }
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let rows: Option<Vec<Row>> = text.lines().skip(1).map(parse).collect();
    rows.with_context(|| format!("{} has a line that is none of its own", path.display()))
}

fn write(path: &PathBuf, rows: &[Row]) -> Result<()> {
    let lines: Vec<String> = rows.iter().map(format).collect();
    let text = format!("{HEADER}\n{}\n", lines.join("\n"));
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Formats a row. Only names of tests may contain commas: [`parse`] takes the text between the first and the last one.
fn format(row: &Row) -> String {
    format!("{},{},{:.1}", row.step, row.test, row.seconds)
}

fn parse(line: &str) -> Option<Row> {
    let (step, rest) = line.split_once(',')?;
    let (test, seconds) = rest.rsplit_once(',')?;
    Some(Row {
        step: step.to_owned(),
        test: test.to_owned(),
        seconds: seconds.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: &str, test: &str, seconds: f64) -> Row {
        Row {
            step: step.into(),
            test: test.into(),
            seconds,
        }
    }

    #[test]
    fn rows_come_back_as_they_went() {
        for row in [row("lints", "", 12.5), row("unit tests", "a::b[x,y]", 0.1)] {
            assert_eq!(parse(&format(&row)), Some(row));
        }
        assert_eq!(parse("no row"), None);
    }

    #[test]
    fn the_slowest_tests_come_first_with_what_they_took_before() {
        let rows = [
            row("s", "", 9.0),
            row("s", "fast", 1.0),
            row("s", "slow", 8.0),
        ];
        let lines = summary(&rows, &[row("s", "fast", 3.0)]);
        assert_eq!(
            lines,
            ["    8.0 s  slow (new)", "    1.0 s  fast (3.0 s before)"]
        );
    }

    #[test]
    fn a_step_that_grew_by_a_third_says_so() {
        let told = |now| summary(&[row("lints", "", now)], &[row("lints", "", 60.0)]).len();
        assert_eq!([told(79.0), told(81.0)], [0, 1]);
        assert!(!has_grown(3.0, 9.0));
    }
}
