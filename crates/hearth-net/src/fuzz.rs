//! Bodies of fuzz targets: the readers of messages from guests and name servers.

pub use crate::resolver::fuzz::messages as dns_messages;
