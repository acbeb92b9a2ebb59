//! Judges whether the emulated host is alive. Its emulator has faults of its own, which must be neither hidden nor
//! mistaken for Hearth's.

use std::fmt;
use std::time::{Duration, Instant};

/// How long the agent may stay silent. It answers within milliseconds; a starving one processor machine
/// needed seconds.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(45);

/// State of an emulated host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The agent answers.
    Well,
    /// The agent did not answer this time; it may be busy.
    Silent,
    /// The host is dead and will not come back.
    Dead(Death),
}

/// Why an emulated host is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// Its kernel panicked, with this message.
    Panic(String),
    /// QEMU is gone and the console does not say why.
    Gone,
    /// QEMU runs, but the agent has been silent for too long.
    Hang,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(words) => write!(f, "the emulated host's kernel gave up: {words}"),
            Self::Gone => f.write_str("the emulated host's QEMU process is gone"),
            Self::Hang => write!(
                f,
                "the emulated host has not answered for {} s",
                SILENCE_LIMIT.as_secs()
            ),
        }
    }
}

/// Result of one probe of an emulated host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) is_running: bool,
    pub(crate) is_answering: bool,
    pub(crate) last_words: Option<String>,
}

/// Judges an emulated host by its probes over time.
#[derive(Debug)]
pub struct Watch {
    last_answer: Instant,
}

impl Watch {
    /// Starts the clock of silence at `now`.
    pub fn new(now: Instant) -> Self {
        Self { last_answer: now }
    }

    pub(crate) fn judge(&mut self, now: Instant, look: Look) -> Health {
        match look {
            Look {
                last_words: Some(words),
                ..
            } => Health::Dead(Death::Panic(words)),
            Look {
                is_running: false, ..
            } => Health::Dead(Death::Gone),
            Look {
                is_answering: true, ..
            } => {
                self.last_answer = now;
                Health::Well
            }
            _ if now.duration_since(self.last_answer) > SILENCE_LIMIT => Health::Dead(Death::Hang),
            _ => Health::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(is_running: bool, is_answering: bool) -> Look {
        Look {
            is_running,
            is_answering,
            last_words: None,
        }
    }

    #[test]
    fn silence_is_forgiven_until_the_limit() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        assert_eq!(
            watch.judge(start + SILENCE_LIMIT, look(true, false)),
            Health::Silent
        );
        let late = start + SILENCE_LIMIT + Duration::from_secs(1);
        assert_eq!(
            watch.judge(late, look(true, false)),
            Health::Dead(Death::Hang)
        );
    }

    #[test]
    fn an_answer_starts_the_clock_again() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        assert_eq!(
            watch.judge(start + SILENCE_LIMIT, look(true, true)),
            Health::Well
        );
        assert_eq!(
            watch.judge(start + 2 * SILENCE_LIMIT, look(true, false)),
            Health::Silent
        );
    }

    #[test]
    fn a_panic_explains_a_missing_process() {
        let start = Instant::now();
        let dying = Look {
            last_words: Some("Kernel panic".into()),
            ..look(false, false)
        };
        assert_eq!(
            Watch::new(start).judge(start, dying),
            Health::Dead(Death::Panic("Kernel panic".into()))
        );
        assert_eq!(
            Watch::new(start).judge(start, look(false, false)),
            Health::Dead(Death::Gone)
        );
    }
}
