//! What every HTTP server of Hearth needs beneath its protocol: the API's listener, the doors of guests, the endpoints.

#![forbid(unsafe_code)]

mod linger;

pub use linger::{Limits, Lingering};
