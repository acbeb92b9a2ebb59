//! How much of the service's memory requests may fill, all connections together.
//!
//! The service has a bound of its own, which the kernel holds. What requests have it keep as a whole is counted beforehand and stays
//! below that bound by construction, so that no flood of requests brings the service near its end:
//!
//! ```text
//! 4/16  bodies of requests        2/16  XML of S3
//! 2/16  first bytes of bodies     2/16  large chunks of uploads
//! 1/16  lines of guests on their way to the log store (hearth-host)
//! 5/16  what is bounded by number: connections, caches of three databases, the program itself
//! ```

/// Parts of the whole.
const PARTS: usize = 16;
const LARGE_BODY_PARTS: usize = 4;
/// By default of four thousand at a time.
const SMALL_BODY_PARTS: usize = 2;
const XML_PARTS: usize = 2;
const CHUNK_PARTS: usize = 2;

/// What the parts are of where nobody says otherwise.
const DEFAULT_BYTES: usize = 512 << 20;

/// Shares of the service's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryShares {
    pub(crate) large_body_bytes: usize,
    pub(crate) small_body_bytes: usize,
    pub(crate) xml_bytes: usize,
    pub(crate) chunk_bytes: usize,
}

impl MemoryShares {
    /// Below this the largest body does not fit into what a stranger may hold of an account's share.
    pub const LEAST_BYTES: u64 = 256 << 20;

    /// Shares of a service that is to stay below this.
    #[must_use]
    pub fn of(service_bytes: u64) -> Self {
        Self::of_bytes(usize::try_from(service_bytes).unwrap_or(usize::MAX))
    }

    const fn of_bytes(service_bytes: usize) -> Self {
        let part = service_bytes / PARTS;
        Self {
            large_body_bytes: LARGE_BODY_PARTS * part,
            small_body_bytes: SMALL_BODY_PARTS * part,
            xml_bytes: XML_PARTS * part,
            chunk_bytes: CHUNK_PARTS * part,
        }
    }
}

impl Default for MemoryShares {
    fn default() -> Self {
        Self::of_bytes(DEFAULT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_leave_room_for_the_rest() {
        let shares = MemoryShares::default();
        let sum = shares.large_body_bytes
            + shares.small_body_bytes
            + shares.xml_bytes
            + shares.chunk_bytes;
        assert_eq!(sum, DEFAULT_BYTES / 16 * 10);
        assert_eq!(MemoryShares::of(DEFAULT_BYTES as u64), shares);
        // A number that nobody means overflows nothing.
        let _ = MemoryShares::of(u64::MAX);
    }

    /// What one request may hold at most fits into the smallest share that it may be held against, also of the smallest service.
    #[test]
    fn the_largest_request_fits_into_the_smallest_share() {
        let least = MemoryShares::of(MemoryShares::LEAST_BYTES);
        assert!(crate::body::least_share(&least) >= crate::body::MAX_BODY_BYTES);
        assert!(least.xml_bytes >= crate::s3::OF_ACCOUNT_BYTES);
        assert!(least.chunk_bytes >= crate::s3::OF_ACCOUNT_BYTES);
    }
}
