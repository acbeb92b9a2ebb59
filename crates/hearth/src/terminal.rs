//! Our terminal, while it is connected to a terminal in a microVM.

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Keystrokes that are sent together: a paste.
pub(crate) const INPUT_BYTES: usize = 4096;

/// Columns and rows.
pub(crate) fn size() -> Result<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdin()).context("cannot ask the terminal")?;
    Ok((size.ws_col, size.ws_row))
}

/// A terminal in raw mode: every key is passed on. Restored on drop.
pub(crate) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    pub(crate) fn enter() -> Result<Self> {
        let before = tcgetattr(std::io::stdin()).context("cannot ask the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)
            .context("cannot set the terminal")?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}
