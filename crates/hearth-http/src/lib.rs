//! What the HTTP servers of Hearth (the API, the guest services, the endpoints) share: limits for each client, and
//! closing a connection so that its last answer arrives.

#![forbid(unsafe_code)]

mod linger;
mod places;
mod shares;

pub use linger::{LingerLimits, Lingering};
pub use places::{Place, Places};
pub use shares::{Share, Shares, SharesError};
