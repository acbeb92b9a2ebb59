//! The service protocol: streams from a guest to services of its host.
//!
//! The guest's agent listens on addresses that the application knows. It forwards every connection to the only
//! vsock port that the host offers to guests, [`SERVICE_PORT`]:
//!
//! ```text
//! application             agent                          host
//!  | TCP, 169.254...:80     | vsock, SERVICE_PORT           |
//!  |----------------------->|------------------------------>|
//!  |                        | ServiceOpen                   |
//!  |                        |------------------------------>|
//!  |        raw bytes both ways; half-close is passed on    |
//! ```
//!
//! The host does not answer a [`ServiceOpen`]. It closes the stream of a service that it does not serve. The host
//! knows which guest asks by the socket on which the stream arrives.

use serde::{Deserialize, Serialize};

/// The vsock port of the host on which it serves its guests.
pub const SERVICE_PORT: u32 = 1025;

/// Version of this protocol.
pub const SERVICE_VERSION: u16 = 1;

/// Largest [`ServiceOpen`], in bytes.
pub const MAX_SERVICE_OPEN_BYTES: usize = 64;

/// First frame of every stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceOpen {
    /// [`SERVICE_VERSION`] of the sender; always the first member.
    pub version: u16,
    /// What the stream is for.
    pub service: Service,
}

/// A service that a host offers to its guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Service {
    /// AWS APIs: S3, STS, CloudWatch Logs.
    Aws,
    /// Instance metadata.
    Metadata,
    /// Image registries that a builder's account has logins for. Other guests are not served.
    Registries,
    /// The Runtime API of an environment of a function. Other guests are not served.
    RuntimeApi,
}

impl Service {
    /// The services that have an address of their own in every guest, on whose port 80 they are reached.
    pub const ADDRESSED: [Self; 3] = [Self::Aws, Self::Metadata, Self::Registries];

    /// The address in the guest at which the service is reached.
    #[must_use]
    pub const fn address(self) -> [u8; 4] {
        match self {
            // Beside those that AWS uses in this network for containers: .2 and .23.
            Self::Aws => [169, 254, 170, 8],
            Self::Metadata => [169, 254, 169, 254],
            Self::Registries => [169, 254, 170, 9],
            Self::RuntimeApi => [127, 0, 0, 1],
        }
    }
}
