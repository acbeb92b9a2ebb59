//! Messages of the process to its operator.

use std::fmt;
use std::io::Write as _;

/// Writes a line to standard error, which is the log that the node opened. Best effort, unlike `eprintln!`: microVMs
/// must not end because the log's disk is full.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "hearth-vmm: {line}");
}
