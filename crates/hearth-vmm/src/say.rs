//! What the process has to say to its operator.

use std::fmt;
use std::io::Write as _;

/// Writes a line to standard error, the log that the node gave. Unlike `eprintln!` it bears a log that cannot be written: a host whose
/// disk is full must not lose its microVMs for it.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "hearth-vmm: {line}");
}
