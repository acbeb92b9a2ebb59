//! Limits of invocations, with their reasons.

use std::time::Duration;

/// The largest payload of a synchronous invocation, in bytes (facts section 2.1).
pub const MAX_REQUEST_BYTES: usize = 6 << 20;

/// The largest payload of an event, in bytes (facts section 2.1).
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// The largest response, in bytes: 6 MiB and what the service adds (facts section 2.1).
pub const MAX_RESPONSE_BYTES: usize = (6 << 20) + 100;

/// The largest streamed response, in bytes (facts section 2.1).
pub(crate) const MAX_STREAMED_BYTES: u64 = 200 << 20;

/// How long an init may take before the first invocation (facts section 3.6).
pub(crate) const INIT_LIMIT: Duration = Duration::from_secs(10);

/// How long external extensions may take to shut down (facts section 3.6).
pub(crate) const EXTERNAL_SHUTDOWN: Duration = Duration::from_millis(2000);

/// How long a runtime with internal extensions alone may take to shut down (facts section 3.6).
pub(crate) const INTERNAL_SHUTDOWN: Duration = Duration::from_millis(500);

/// Extensions of one environment, registered or started (facts section 3.2).
pub(crate) const MAX_EXTENSIONS: usize = 10;

/// Connections of one environment to the Runtime API at one time. A runtime and ten extensions need a few each; a
/// hostile program must not take more of the service's descriptors.
pub(crate) const MAX_CONNECTIONS: usize = 64;

/// The largest head of a request to the Runtime API, in bytes. The error cause of X-Ray is the longest header.
pub(crate) const MAX_HEAD_BYTES: usize = 256 << 10;

/// The largest body of a request to the Extensions API, in bytes. It lists a few names of events.
pub(crate) const MAX_EXTENSION_BODY_BYTES: usize = 64 << 10;

/// The log that `LogType=Tail` answers, in bytes (facts section 2.1).
pub(crate) const TAIL_BYTES: usize = 4 << 10;

/// Chunks of a streamed response that wait for the caller. The runtime is held up beyond.
pub(crate) const STREAM_QUEUE: usize = 16;
