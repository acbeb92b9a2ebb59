//! Limits of rates, for whatever is counted: requests, bytes, lines.
//!
//! It is the generic cell rate algorithm (ITU-T I.371): stored is the time at which everything that was taken so far is paid for. So a
//! limit is one number, and a quiet time costs no work. The crate is pure: the caller passes the time, and does the waiting.
//!
//! - [`RateLimiter`]: one limit.
//! - [`Meter`]: the same with a [`Rate`] that is passed with each call, for limits that may change.

#![forbid(unsafe_code)]

mod limiter;
mod meter;

pub use limiter::RateLimiter;
pub use meter::{Meter, Moment, Rate};
