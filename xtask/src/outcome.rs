//! Runs a step of the tests, counts passed and failed tests, and records the time of each test.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};

/// The number of passed and failed tests, and their times.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) times: Vec<TestTime>,
}

/// How long a test took. pytest's fixtures count as tests of their own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TestTime {
    pub(crate) test: String,
    pub(crate) seconds: f64,
}

impl Outcome {
    /// The outcome of a step that counts as one test.
    pub(crate) fn one(has_passed: bool) -> Self {
        Self {
            passed: u32::from(has_passed),
            failed: u32::from(!has_passed),
            times: vec![],
        }
    }

    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.times.extend(other.times);
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            times: self.times,
        }
    }
}

/// Runs a command that passes or fails as a whole.
pub(crate) fn run_step(command: &mut Command) -> Result<Outcome> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    Ok(Outcome::one(status.success()))
}

/// Runs a test command, passes its output on, and counts the tests that it reports.
///
/// A command that fails without reporting a failed test (it did not compile) counts as one failure.
pub(crate) fn run_counted(command: &mut Command) -> Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let (out, err) = thread::scope(|scope| {
        let out = scope.spawn(|| pass_on(stdout, std::io::stdout()));
        let err = scope.spawn(|| pass_on(stderr, std::io::stderr()));
        (out.join(), err.join())
    });
    let counted = out.unwrap_or_default().plus(err.unwrap_or_default());
    let status = child.wait().context("cannot wait for the tests")?;
    if !status.success() && counted.failed == 0 {
        return Ok(counted.plus(Outcome::one(false)));
    }
    Ok(counted)
}

/// Passes on the output of a test command, and counts the tests that it reports.
pub(crate) fn counted(output: impl Read) -> Outcome {
    pass_on(output, std::io::stdout())
}

fn pass_on(source: impl Read, mut target: impl Write) -> Outcome {
    let mut outcome = Outcome::default();
    let mut line = Vec::new();
    let mut source = BufReader::new(source);
    loop {
        line.clear();
        match source.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return outcome,
            Ok(_) => {}
        }
        // The tests are counted also if the reader has closed our output.
        let _ = target.write_all(&line).and_then(|()| target.flush());
        let line = String::from_utf8_lossy(&line);
        outcome = outcome.plus(count(&line));
        outcome.times.extend(time(&line));
    }
}

/// Counts the summary lines of nextest (`Summary [ 0.1s] 26 tests run: 25 passed (1 slow), 1 failed, 0 skipped`), of
/// libtest (`test result: ok. 3 passed; 0 failed; ...`) and of pytest (`1 failed, 254 passed in 31.20s`).
fn count(line: &str) -> Outcome {
    // nextest repeats the indented summary of a failed libtest process inside its own report.
    let is_libtest = line.starts_with("test result:");
    let line = line.trim_start();
    let is_pytest = line.starts_with(|first: char| first.is_ascii_digit())
        && (line.contains(" passed") || line.contains(" failed"))
        && line.contains(" in ");
    let is_summary =
        (line.starts_with("Summary [") && line.contains(" run: ")) || is_libtest || is_pytest;
    if !is_summary {
        return Outcome::default();
    }
    let text = line.split_once("run: ").map_or(line, |(_, counts)| counts);
    let words: Vec<&str> = text
        .split([' ', ',', ';', '(', ')'])
        .filter(|word| !word.is_empty())
        .collect();
    let before = |label: &str| {
        words
            .windows(2)
            .filter(|pair| pair[1] == label)
            .filter_map(|pair| pair[0].parse::<u32>().ok())
            .sum::<u32>()
    };
    Outcome {
        passed: before("passed"),
        failed: before("failed") + before("timed") + before("exec") + before("errors"),
        times: vec![],
    }
}

/// Reads the time of a test from the lines of nextest (`PASS [   1.234s] (  7/345) hearth-vmm::bare runs`) and of pytest's
/// `--durations` (`1.23s call     service/test_cli.py::test_status`).
fn time(line: &str) -> Option<TestTime> {
    let seconds = |word: &str| word.strip_suffix('s')?.parse::<f64>().ok();
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        [taken, "call", test] if test.contains("::") => Some(TestTime {
            test: test.to_owned(),
            seconds: seconds(taken)?,
        }),
        [taken, phase @ ("setup" | "teardown"), test] if test.contains("::") => Some(TestTime {
            test: format!("{test} {phase}"),
            seconds: seconds(taken)?,
        }),
        [
            "PASS" | "FAIL" | "LEAK" | "TIMEOUT" | "ABORT",
            "[",
            taken,
            ..,
            binary,
            test,
        ] => Some(TestTime {
            test: format!("{binary} {test}"),
            seconds: seconds(taken.strip_suffix(']')?)?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(line: &str) -> (u32, u32) {
        let outcome = count(line);
        (outcome.passed, outcome.failed)
    }

    #[test]
    fn summaries_are_counted() {
        assert_eq!(
            counts("     Summary [   0.112s] 26 tests run: 26 passed, 0 skipped"),
            (26, 0)
        );
        assert_eq!(
            counts(
                "  Summary [ 9.1s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 3 skipped"
            ),
            (6, 3)
        );
        assert_eq!(
            counts(
                "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out"
            ),
            (3, 1)
        );
    }

    #[test]
    fn what_nextest_repeats_is_counted_once() {
        let repeated = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured";
        assert_eq!(counts(repeated), (0, 0));
    }

    #[test]
    fn pytest_is_counted() {
        assert_eq!(counts("255 passed in 31.20s"), (255, 0));
        assert_eq!(
            counts("1 failed, 254 passed, 2 errors in 70.03s (0:01:10)"),
            (254, 3)
        );
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(counts("test a ... 3 passed"), (0, 0));
        assert_eq!(counts("5 failed attempts"), (0, 0));
    }

    #[test]
    fn times_are_read() {
        let read = |line| time(line).map(|time| (time.test, time.seconds));
        assert_eq!(
            read("        PASS [   1.234s] (  7/345) hearth-vmm::bare a_guest::runs"),
            Some(("hearth-vmm::bare a_guest::runs".to_owned(), 1.234))
        );
        assert_eq!(
            read("     TIMEOUT [ 960.001s] (1/3) hearth-image::build all"),
            Some(("hearth-image::build all".to_owned(), 960.001))
        );
        assert_eq!(read("        SLOW [> 60.000s] hearth-vmm::bare runs"), None);
        assert_eq!(
            read("12.34s call     service/test_cli.py::test_status[x]"),
            Some(("service/test_cli.py::test_status[x]".to_owned(), 12.34))
        );
        assert_eq!(
            read("45.60s setup    service/test_cli.py::test_status"),
            Some(("service/test_cli.py::test_status setup".to_owned(), 45.6))
        );
        assert_eq!(read("they are 3s call it"), None);
    }

    #[test]
    fn a_failure_without_a_count_is_one_failure() {
        let outcome = run_counted(Command::new("sh").args(["-c", "exit 1"])).unwrap();
        assert_eq!(outcome, Outcome::one(false));
    }
}
