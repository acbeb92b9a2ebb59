//! What benchmarks share: measurements, and what is said of them.

#![forbid(unsafe_code)]

mod samples;

pub use samples::Samples;
