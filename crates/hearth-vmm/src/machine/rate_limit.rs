//! What the node's request means for a device's rate limiter.

use hearth_wire::vmm::RateLimit as RateSpec;

use crate::virtio::limiter::{BucketLimit, RateLimit};

/// The bucket holds one second.
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
