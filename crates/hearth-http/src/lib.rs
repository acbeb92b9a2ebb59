//! Closing HTTP connections: shared by every HTTP server of Hearth (the API, the guest services, the endpoints).

#![forbid(unsafe_code)]

mod linger;
mod places;

pub use linger::{LingerLimits, Lingering};
pub use places::{Place, Places};
