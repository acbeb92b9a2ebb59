//! The body of a fuzz target: what reads messages of guests and name servers.

pub use crate::resolver::fuzz::messages as dns_messages;
