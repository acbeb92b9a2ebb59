//! Tables for people, JSON for programs.

use anyhow::Result;
use serde::Serialize;

/// Prints a value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A value as one line of JSON.
pub(crate) fn line<T: Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// Prints rows under a heading, columns padded to their widest cell.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    print_row(heading, widths);
    for row in rows {
        print_row(row.each_ref().map(String::as_str), widths);
    }
}

fn print_row<const N: usize>(cells: [&str; N], widths: [usize; N]) {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip(widths) {
        line.push_str(&format!("{cell:width$}  "));
    }
    println!("{}", line.trim_end());
}

/// The first twelve digits of an id: enough to name one on a host.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Prints members of one thing, a line each.
pub(crate) fn members(members: &[(&str, String)]) {
    let width = members.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    for (name, value) in members {
        println!("{name:width$}  {value}");
    }
}
