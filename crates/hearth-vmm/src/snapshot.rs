//! Re-exports of `hearth-snapshot`: snapshot directories and guest RAM are a crate of their own, which knows no KVM.
//!
//! Pause the machine, [`Capture::begin`], [`Capture::memory`], [`Capture::adopt`] each writable disk, then
//! (machine running again, or not) [`Capture::seal`] with the encoded machine state. For a machine that goes
//! on: [`Ram::rebase`] while it still stands still, and [`Ram::confirm`] once the capture is sealed, so that
//! its next layer is small.

pub use hearth_snapshot::{
    Capture, CaptureError, Lineage, MemoryKind, OpenError, OpenSnapshot, Ram, RamError, Sealed,
};
