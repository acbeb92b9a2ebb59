//! What every HTTP server of Hearth needs beneath its protocol: the API's listener, the doors of guests, the endpoints.

#![forbid(unsafe_code)]

mod linger;
mod places;

pub use linger::{Limits, Lingering};
pub use places::{Place, Places};
