//! What a build says while it runs, in the form of BuildKit's plain output: names of steps, and how long each took.
//!
//! ```text
//! STEP 2/3: RUN make          #2 [2/3] RUN make
//! cc -o a a.c                 #2 0.412 cc -o a a.c
//! --> 4d36ce51bd2c            #2 DONE 3.1s
//! [2/2] STEP 1/3: FROM b      #3 [stage 2/2, 1/3] FROM b
//! --> Using cache 91f2...     #3 CACHED
//! COMMIT                      #4 exporting layers
//! ```

use std::time::Instant;

/// Turns lines of buildah into lines of the build's log.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    number: u32,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    since: Instant,
    is_cached: bool,
}

impl Progress {
    /// The lines that stand for this one of buildah.
    pub(crate) fn translate(&mut self, line: &str, now: Instant) -> Vec<String> {
        if let Some(step) = step(line) {
            let mut lines = self.end(now);
            lines.push(self.begin(&step, now));
            return lines;
        }
        if let Some((id, is_cached)) = layer(line)
            && is_id(id)
        {
            let number = self.number;
            return match &mut self.running {
                Some(running) if is_cached && !running.is_cached => {
                    running.is_cached = true;
                    vec![format!("#{number} CACHED")]
                }
                // The id of a layer says nothing to anybody.
                _ => Vec::new(),
            };
        }
        match &self.running {
            Some(running) => {
                let seconds = now.duration_since(running.since).as_secs_f64();
                vec![format!("#{} {seconds:.3} {line}", self.number)]
            }
            None => vec![line.to_owned()],
        }
    }

    /// The end of the step that is running.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<String> {
        match self.running.take() {
            Some(running) if !running.is_cached => {
                let seconds = now.duration_since(running.since).as_secs_f64();
                vec![format!("#{} DONE {seconds:.1}s", self.number)]
            }
            _ => Vec::new(),
        }
    }

    /// The same of a build that has failed in it.
    pub(crate) fn fail(&mut self, reason: &str) -> Vec<String> {
        match self.running.take() {
            Some(_) => vec![format!("#{} ERROR: {reason}", self.number)],
            None => Vec::new(),
        }
    }

    fn begin(&mut self, step: &str, now: Instant) -> String {
        self.number += 1;
        self.running = Some(Running {
            since: now,
            is_cached: false,
        });
        format!("#{} {step}", self.number)
    }
}

/// The step that a line announces: `STEP 2/3: RUN x`, with `[1/2] ` before it where there are stages.
fn step(line: &str) -> Option<String> {
    let (stage, rest) = match line.strip_prefix('[') {
        Some(rest) => {
            let (stage, rest) = rest.split_once("] ")?;
            (Some(stage), rest)
        }
        None => (None, line),
    };
    if stage.is_some_and(|stage| !is_fraction(stage)) {
        return None;
    }
    if rest == "COMMIT" || rest.starts_with("COMMIT ") {
        return Some(match stage {
            Some(stage) => format!("[stage {stage}] exporting layers"),
            None => "exporting layers".to_owned(),
        });
    }
    let (count, instruction) = rest.strip_prefix("STEP ")?.split_once(": ")?;
    if !is_fraction(count) {
        return None;
    }
    Some(match stage {
        Some(stage) => format!("[stage {stage}, {count}] {instruction}"),
        None => format!("[{count}] {instruction}"),
    })
}

/// What buildah says of a layer, and whether it found it: `--> 4d36ce51bd2c`, `--> Using cache 91f2...`.
fn layer(line: &str) -> Option<(&str, bool)> {
    let rest = line.strip_prefix("--> ")?;
    Some(match rest.strip_prefix("Using cache ") {
        Some(id) => (id, true),
        None => (rest, false),
    })
}

/// Whether this is the id of an image, whole or its first twelve digits. Programs write arrows, too.
fn is_id(text: &str) -> bool {
    matches!(text.len(), 12 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `2/7`.
fn is_fraction(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('/')
        .is_some_and(|(part, whole)| is_number(part) && is_number(whole))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steps_have_names_and_times() {
        let start = Instant::now();
        let mut progress = Progress::default();
        let mut said = Vec::new();
        let lines = [
            (0, "STEP 1/3: FROM hearth/debian:12"),
            (100, "STEP 2/3: RUN make"),
            (512, "cc -o a a.c"),
            (600, "--> linking a"),
            (3200, "--> 4d36ce51bd2c"),
            (3200, "[2/2] STEP 1/1: FROM b"),
            (3300, "--> Using cache 91f2c0ffee00"),
            (3300, "--> 91f2c0ffee00"),
            (3400, "[2/2] COMMIT"),
        ];
        for (ms, line) in lines {
            said.extend(progress.translate(line, start + Duration::from_millis(ms)));
        }
        said.extend(progress.end(start + Duration::from_millis(3900)));
        assert_eq!(
            said,
            [
                "#1 [1/3] FROM hearth/debian:12",
                "#1 DONE 0.1s",
                "#2 [2/3] RUN make",
                "#2 0.412 cc -o a a.c",
                "#2 0.500 --> linking a",
                "#2 DONE 3.1s",
                "#3 [stage 2/2, 1/1] FROM b",
                "#3 CACHED",
                "#4 [stage 2/2] exporting layers",
                "#4 DONE 0.5s",
            ]
        );
    }

    #[test]
    fn what_a_program_says_is_no_step() {
        let now = Instant::now();
        let mut progress = Progress::default();
        assert_eq!(
            progress.translate("time=... warning", now),
            ["time=... warning"]
        );
        progress.translate("STEP 1/1: RUN x", now);
        for line in ["STEP one: RUN", "[x] STEP 1/1: RUN", "STEPS 1/1: x"] {
            assert_eq!(progress.translate(line, now), [format!("#1 0.000 {line}")]);
        }
        assert_eq!(progress.fail("exit code 3"), ["#1 ERROR: exit code 3"]);
        assert!(progress.end(now).is_empty());
    }
}
