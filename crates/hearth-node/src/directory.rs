//! Lists a directory.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{NodeError, failed};

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, NodeError> {
    let entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed("list", directory))?;
    names.sort_unstable();
    Ok(names)
}
