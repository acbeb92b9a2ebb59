//! Translates a rate limit of the node's request for a device's rate limiter.

use hearth_wire::vmm::RateLimit as RateSpec;

use crate::virtio::limiter::{BucketLimit, RateLimit};

/// Translates the limit. The token bucket holds one second's worth.
pub(super) fn rate_limit(spec: RateSpec) -> RateLimit {
    let bucket = |per_second| BucketLimit {
        per_second,
        burst: per_second,
    };
    RateLimit {
        operations: spec.operations_per_second.map(bucket),
        bytes: spec.bytes_per_second.map(bucket),
    }
}
