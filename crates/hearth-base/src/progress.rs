//! Progress reports of long work.

/// Receives one sentence about each step that takes long enough to be noticed.
pub type Progress<'a> = &'a dyn Fn(&str);
