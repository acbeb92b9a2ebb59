//! What benchmarks share: measurements, and what is said of them; a data directory full of suspended instances.

#![forbid(unsafe_code)]

mod samples;
mod sleepers;

pub use samples::{Samples, percentile};
pub use sleepers::{Sleepers, options};
