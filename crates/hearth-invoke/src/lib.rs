//! Invocations of Lambda functions.
//!
//! ```text
//!  caller ──> Invoker ── admission, pool: which environment ──> keeper, a task for each environment
//!  EventQueue ──^                                                 │ steps Life, does what it says
//!                                     Runtime API, Extensions API ┤
//!                                     log records ── Logs         │
//!                                                                 v
//!                                                    the trait Environments: microVMs
//! ```
//!
//! The crate knows no front, no signatures, no control plane and no virtual machines. What runs programs is its trait
//! [`Environments`]; what is to be run is a [`FunctionVersion`], which its caller resolves.

#![forbid(unsafe_code)]

mod environment;
mod framed_log;
mod version;

mod limits;

mod failure;
mod records;

mod life;

mod api;
mod logs;

mod keys;
mod variables;

mod invocation;
mod keeper;

mod admission;
mod figures;
mod memory;
mod pool;

mod invoker;

mod events;

#[cfg(test)]
mod test_versions;

pub use environment::{
    ByteStream, CodeFile, Environment, EnvironmentId, EnvironmentSpec, Environments,
    MAX_OUTPUT_BYTES, OUTPUT_QUEUE, Output, OutputSource, Program, ProgramEnd, ProgramId,
    ProgramKind, RUNTIME_API_PORT, RunningProgram, Signal, SpawnError, StartError,
};
pub use events::{
    Delays, EventQueue, EventQueueConfig, EventRequest, EventSource, EventTarget, ResolveError,
    SubmitError,
};
pub use figures::{Figures, FunctionFigures};
pub use framed_log::{FramedLog, FramedRecord};
pub use invocation::{Answer, Invocation, InvokeError, StreamedAnswer, Throttle};
pub use invoker::{Invoker, InvokerConfig, whole_chunk};
pub use keys::{Keys, NoKeys, RoleKeys};
pub use limits::{MAX_EVENT_BYTES, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};
pub use logs::{LogPlace, LogRecord, Logs};
pub use memory::{FixedMemory, MemoryLedger};
pub use pool::PoolLimits;
pub use version::{
    AccountConcurrency, EventRetries, FunctionVersion, LogFormat, Logging, SystemLogLevel,
};
