//! Everything that depends on the processor architecture.
//!
//! Only x86_64 exists. The rest of the crate uses this module's names and none of the registers
//! behind them, so that another architecture is another directory here.

pub mod x86_64;
