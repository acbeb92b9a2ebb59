//! What became of an attempt.

/// Whether each attempt got what it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) attack: bool,
    pub(super) control: bool,
}
