//! Standard output: tables for people, JSON for programs. On standard error: announcements of slow steps.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// The reader of our standard output has closed it, as `head` does. Not reported as a failure.
#[derive(Debug, thiserror::Error)]
#[error("standard output is not read any more")]
pub(crate) struct Unread;

/// Prints a line.
pub(crate) fn say(line: &str) -> Result<()> {
    bytes(format!("{line}\n").as_bytes())
}

/// Announces a slow step. `cargo xtask demo` recognises such a line by its three dots.
pub(crate) fn announce(step: &str) {
    eprintln!("{step} ...");
}

/// Prints bytes unchanged and at once: output without an end of line is a prompt or a progress bar.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Unread.into()),
        other => Ok(other?),
    }
}

/// Prints a value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// Prints rows under a heading, columns padded to their widest cell.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut lines = vec![padded(heading, widths)];
    lines.extend(
        rows.iter()
            .map(|row| padded(row.each_ref().map(String::as_str), widths)),
    );
    say(&lines.join("\n"))
}

fn padded<const N: usize>(cells: [&str; N], widths: [usize; N]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip(widths) {
        line.push_str(&format!("{cell:width$}  "));
    }
    line.trim_end().to_owned()
}

/// Prints members of one thing, a line each.
pub(crate) fn members(members: &[(&str, String)]) -> Result<()> {
    let width = members.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let lines: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect();
    say(&lines.join("\n"))
}

/// The first twelve digits of an id: enough to name one on a host.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
