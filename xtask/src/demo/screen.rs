//! Shows the steps: on a terminal, lines at the bottom that are redrawn every second; elsewhere, a line now and then.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::termios::tcgetwinsize;

use super::steps::{self, Board, Ending, Step};

/// How often a terminal is redrawn, and how often steps are checked for having been silent for too long.
const INTERVAL: Duration = Duration::from_secs(1);

/// Columns of a terminal that does not report its width.
const USUAL_COLUMNS: usize = 80;

/// Shows the steps. Stops drawing on drop.
pub(super) struct Screen {
    shared: Arc<Shared>,
    /// Dropped to end the thread that redraws.
    stop: Option<mpsc::Sender<()>>,
    redrawing: Option<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    board: Board,
    target: File,
    /// Whether lines can be redrawn.
    is_terminal: bool,
    /// Lines at the bottom that the next redrawing replaces.
    drawn: usize,
}

impl Screen {
    /// Begins to show on `target`, and to count the time.
    pub(super) fn begin(target: File) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let shared = Arc::new(Shared {
            began: Instant::now(),
            state: Mutex::new(State {
                board: Board::default(),
                is_terminal: target.is_terminal() && !is_dumb,
                target,
                drawn: 0,
            }),
        });
        let (stop, stopped) = mpsc::channel::<()>();
        let redrawn = Arc::clone(&shared);
        let redrawing = std::thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                redrawn.with(State::refresh);
            }
        });
        Self {
            shared,
            stop: Some(stop),
            redrawing: Some(redrawing),
        }
    }

    /// Time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Shows a step while `work` runs; `work` may set its detail.
    pub(super) fn step<T>(&self, step: Step, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // The log says what belongs to what.
        eprintln!("=== {}", step.title());
        self.shared.with(|state, now| {
            let line = state.board.begin(step, now);
            // A terminal shows it at the bottom.
            let lines = if state.is_terminal {
                vec![]
            } else {
                vec![line]
            };
            state.print(&lines, now);
        });
        let outcome = work();
        let ending = match &outcome {
            Ok(_) => Ending::Done,
            Err(_) => Ending::Failed,
        };
        self.shared.with(|state, now| {
            let line = state.board.end(step, ending, now);
            state.print(&[line], now);
        });
        outcome
    }

    /// Sets the detail of a step: what it is doing, or its result.
    pub(super) fn detail(&self, step: Step, detail: &str) {
        self.shared
            .with(|state, _| state.board.detail(step, detail));
    }

    /// Shows a line of a step's output, with the time before it.
    pub(super) fn say(&self, step: Step, text: &str) {
        self.shared.with(|state, now| {
            state.board.told(step, now);
            state.print(&[steps::stamped(now, text)], now);
        });
    }

    /// Shows lines as they are.
    pub(super) fn lines(&self, lines: &[String]) {
        self.shared.with(|state, now| state.print(lines, now));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(redrawing) = self.redrawing.take() {
            // A panic of that thread has been told.
            let _ = redrawing.join();
        }
    }
}

impl Shared {
    fn with(&self, work: impl FnOnce(&mut State, Duration)) {
        let mut state: MutexGuard<'_, State> =
            self.state.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut state, self.began.elapsed());
    }
}

impl State {
    /// Redraws lines that change with time alone.
    fn refresh(&mut self, now: Duration) {
        let overdue = if self.is_terminal {
            vec![]
        } else {
            self.board.overdue(now)
        };
        if self.is_terminal || !overdue.is_empty() {
            self.print(&overdue, now);
        }
    }

    /// Prints lines that stay, above those that are redrawn.
    fn print(&mut self, lines: &[String], now: Duration) {
        let redrawn = if self.is_terminal {
            let columns = self.columns();
            let all = self.board.under_way(now);
            all.iter()
                .map(|line| steps::fitted(line, columns))
                .collect()
        } else {
            vec![]
        };
        let mut text = erased(self.drawn);
        for line in lines.iter().chain(&redrawn) {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = redrawn.len();
        // Whoever has closed our output still wants the demo to end well.
        let _ = self.target.write_all(text.as_bytes());
    }

    fn columns(&self) -> usize {
        match tcgetwinsize(&self.target) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
            _ => USUAL_COLUMNS,
        }
    }
}

/// The escape sequence that removes `lines` lines above the cursor.
fn erased(lines: usize) -> String {
    match lines {
        0 => String::new(),
        _ => format!("\x1b[{lines}A\x1b[J"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn without_a_terminal_nothing_is_redrawn() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let screen = Screen::begin(File::from(OwnedFd::from(writer)));
        let answer = screen.step(Step::QuickStart, || {
            screen.say(Step::QuickStart, "a plot");
            screen.detail(Step::QuickStart, "all of it");
            Ok(7)
        });
        assert_eq!(answer.unwrap(), 7);
        let failed = screen.step(Step::Stop, || -> Result<()> { anyhow::bail!("no") });
        assert!(failed.is_err());
        screen.lines(&["the end".to_owned()]);
        drop(screen);
        let mut shown = String::new();
        reader.read_to_string(&mut shown).unwrap();
        let expected = [
            ("[", "running the quick start (6 of 8) ..."),
            ("[", "] a plot"),
            ("[", " s: all of it"),
            ("[", "stopping Hearth (8 of 8) ..."),
            ("[", " s"),
            ("the end", "the end"),
        ];
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{shown}");
        for (line, (start, end)) in lines.iter().zip(expected) {
            assert!(line.starts_with(start) && line.ends_with(end), "{line}");
        }
        assert!(lines[2].contains("running the quick start (6 of 8) took"));
        assert!(lines[4].contains("stopping Hearth (8 of 8) failed after"));
    }
}
