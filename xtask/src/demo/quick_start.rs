//! Runs `examples/quickstart.py` as a step of the demo: its steps are shown, the output of its build goes to the log.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::screen::Screen;
use super::steps::Step;

/// Prefix with which the quick start prints lines of the image's build.
const OF_BUILD: &str = "    | ";

/// A line of the quick start's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    /// Output of the image's build.
    OfBuild(&'a str),
    /// A step that begins or has ended.
    Done(&'a str),
    /// A line of the summary at its end.
    OfSummary(&'a str),
}

/// Runs the quick start. Answers the lines of its summary.
pub(super) fn run(screen: &Screen, command: &mut Command) -> Result<Vec<String>> {
    let mut quick_start = command
        // Each line when it is printed.
        .env("PYTHONUNBUFFERED", "1")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run the quick start")?;
    let output = quick_start.stdout.take().context("its output is piped")?;
    let mut summary: Option<Vec<String>> = None;
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what the quick start says")?;
        // The log has everything.
        println!("{line}");
        if line.is_empty() {
            summary.get_or_insert_default();
            continue;
        }
        match classify(&line, summary.is_some()) {
            Line::OfBuild(text) => screen.detail(Step::QuickStart, text),
            Line::Done(text) => {
                screen.detail(Step::QuickStart, "");
                screen.say(Step::QuickStart, text);
            }
            Line::OfSummary(text) => summary.get_or_insert_default().push(text.to_owned()),
        }
    }
    let status = quick_start.wait()?;
    if !status.success() {
        bail!("the quick start failed");
    }
    Ok(summary.unwrap_or_default())
}

fn classify(line: &str, is_in_summary: bool) -> Line<'_> {
    match line.strip_prefix(OF_BUILD) {
        _ if is_in_summary => Line::OfSummary(line),
        Some(text) => Line::OfBuild(text.trim_end()),
        None => Line::Done(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_build_says_is_told_from_what_the_quick_start_does() {
        let step = "    build the image: 95.33 s";
        assert_eq!(classify(step, false), Line::Done(step));
        let built = "    | STEP 3/6: WORKDIR /app ";
        assert_eq!(
            classify(built, false),
            Line::OfBuild("STEP 3/6: WORKDIR /app")
        );
        let row = "suspend    0.90 s    1.00 s";
        assert_eq!(classify(row, true), Line::OfSummary(row));
    }
}
