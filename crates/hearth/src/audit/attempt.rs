//! The outcome of an attack and of its control.

/// Whether the attack and its control succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) attack: bool,
    pub(super) control: bool,
}
