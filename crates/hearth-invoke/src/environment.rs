//! The seam between invocations and what runs a function's programs.
//!
//! An *environment* is a place of its own for one version of one function (and one tenant): its code stands at
//! `/var/task`, its layers at `/opt`, `/tmp` is writable. Programs run in it: the runtime's bootstrap and the external
//! extensions. They connect to the Runtime API at [`Environment::runtime_api`]; whoever implements this trait passes
//! the bytes of these connections on and does not look at them.
//!
//! ```text
//! start(id, spec) ──> Environment ──┬─ accept()            connections to the Runtime API, until the environment ends
//!                                   ├─ spawn(program)      output and end of the program through channels
//!                                   ├─ signal(program)     SIGTERM, or SIGKILL for it and all its descendants
//!                                   ├─ pause(), unpause()  the vCPUs stand still between invocations
//!                                   └─ end()               nothing of it is left
//! ```
//!
//! What must hold:
//!
//! - `start` returns as soon as programs can be spawned. It spawns none.
//! - Two environments share nothing that can be written, and differ in entropy, clock and identity.
//! - Killing a program kills all that it has forked. `/tmp` stays.
//! - An environment that ends by itself (its VMM has died) ends its programs as [`ProgramEnd::Lost`], and
//!   [`Environment::accept`] answers `None`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// The port on the guest's loopback at which the programs of an environment reach the Runtime API.
pub const RUNTIME_API_PORT: u16 = 9001;

/// Records of output that wait for the reader. A program that writes faster is held up by its full pipe, and fills no
/// memory of the host.
pub const OUTPUT_QUEUE: usize = 256;

/// The longest record of output, in bytes. Longer lines are cut into records of this size. It is the size of the
/// largest event of CloudWatch Logs.
pub const MAX_OUTPUT_BYTES: usize = 256 << 10;

/// What starts environments.
#[async_trait]
pub trait Environments: Send + Sync + 'static {
    /// Starts an environment. The id is new: no two environments ever have the same one.
    ///
    /// # Errors
    ///
    /// [`StartError`] says whether the host has no room, the runtime or the code cannot be used, or the host is broken.
    /// A failed start leaves nothing behind.
    async fn start(
        &self,
        id: EnvironmentId,
        spec: Arc<EnvironmentSpec>,
    ) -> Result<Arc<dyn Environment>, StartError>;

    /// Ends every environment that an earlier run of the service has left. Called once, before the first start.
    async fn end_orphans(&self);
}

/// One environment. Dropping the last handle ends it as [`Environment::end`] does.
#[async_trait]
pub trait Environment: Send + Sync + 'static {
    /// The address at which the programs reach the Runtime API, as `AWS_LAMBDA_RUNTIME_API` says it.
    fn runtime_api(&self) -> String {
        format!("127.0.0.1:{RUNTIME_API_PORT}")
    }

    /// The next connection of a program to the Runtime API. `None` once the environment has ended. Called by one task
    /// only.
    async fn accept(&self) -> Option<Box<dyn ByteStream>>;

    /// The names of the external extensions: the executable files directly in `/opt/extensions`, sorted.
    ///
    /// # Errors
    ///
    /// [`SpawnError::Lost`] if the environment has ended.
    async fn extensions(&self) -> Result<Vec<String>, SpawnError>;

    /// Starts a program as the environment's user in `/var/task`.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] says what is missing.
    async fn spawn(&self, program: Program) -> Result<RunningProgram, SpawnError>;

    /// Sends a signal. No-op if the program has ended. [`Signal::Kill`] also kills all that the program has forked,
    /// and returns when nothing of it runs.
    async fn signal(&self, program: ProgramId, signal: Signal);

    /// Returns when all output that the programs wrote before this call is in their channels. Best effort.
    async fn flush_output(&self);

    /// The most memory that the programs have used at once since the environment began, in bytes, if it is known.
    async fn peak_memory_bytes(&self) -> Option<u64>;

    /// Stops the vCPUs: no program runs until [`Environment::unpause`]. No-op if they stand still.
    async fn pause(&self);

    /// Lets the vCPUs run again. No-op if they run.
    async fn unpause(&self);

    /// Kills what runs and removes all of it. Idempotent; returns when nothing is left.
    async fn end(&self);
}

/// A connection.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// Names one environment for ever. It is written as 32 lower-case hexadecimal digits, as in the names of log streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentId(u128);

impl EnvironmentId {
    /// A new id.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What an environment is made of. It does not change during the life of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentSpec {
    /// The account that owns the function: 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// The function's name.
    pub function_name: String,
    /// The ARN of the function, without a qualifier.
    pub function_arn: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// The runtime's id, for example `python3.11`.
    pub runtime: String,
    /// What the runtime calls, for example `app.handler`.
    pub handler: String,
    /// `MemorySize` in MB. It also decides the share of processors: 1,769 MB are one vCPU.
    pub memory_mb: u32,
    /// The size of `/tmp` in MB.
    pub ephemeral_storage_mb: u32,
    /// The function's code.
    pub code: CodeFile,
    /// The layers in order. Later ones overwrite earlier ones.
    pub layers: Vec<CodeFile>,
    /// The environment variables that the function's configuration sets.
    pub variables: BTreeMap<String, String>,
    /// The tenant that the environment serves for life, if the function isolates tenants.
    pub tenant: Option<String>,
}

/// A zip archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CodeFile {
    /// Where it lies. It is never changed.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Which program.
    pub kind: ProgramKind,
    /// Its environment variables, complete: the implementation adds only what names descriptors that it hands over
    /// (`_LAMBDA_TELEMETRY_LOG_FD`).
    pub variables: BTreeMap<String, String>,
}

/// Which program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProgramKind {
    /// The runtime: `/var/runtime/bootstrap`, or for `provided.*` the first executable of `/var/task/bootstrap` and
    /// `/opt/bootstrap`.
    Bootstrap,
    /// The external extension of this name in `/opt/extensions`.
    Extension(String),
}

/// Names a program within its environment. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProgramId(pub u64);

/// A started program.
#[derive(Debug)]
pub struct RunningProgram {
    /// Its id.
    pub id: ProgramId,
    /// What it writes, in the order it was written per source. At most [`OUTPUT_QUEUE`] records wait; then the program
    /// is held up. Closes after the last output.
    pub output: mpsc::Receiver<Output>,
    /// How it ended. Sent when the program itself has ended, even if what it forked goes on.
    pub end: oneshot::Receiver<ProgramEnd>,
}

/// One record of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where it came from.
    pub source: OutputSource,
    /// The text without the newline. At most [`MAX_OUTPUT_BYTES`].
    pub text: Bytes,
}

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputSource {
    /// A line of standard output.
    Stdout,
    /// A line of standard error.
    Stderr,
    /// A record of the descriptor that `_LAMBDA_TELEMETRY_LOG_FD` names. It can have several lines.
    Framed,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgramEnd {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// The kernel killed it because the environment has no more memory.
    OutOfMemory,
    /// Its environment is gone.
    Lost,
}

/// A signal for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM to the program itself.
    Terminate,
    /// SIGKILL to the program and all that it has forked.
    Kill,
}

/// Why an environment did not start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartError {
    /// The host lacks memory, disk space or other room. It may have some later.
    #[error("the host has no room for another environment")]
    NoRoom,
    /// The runtime has not been built on this host. The text says which, and how to build it.
    #[error("{0}")]
    RuntimeNotBuilt(String),
    /// The code or a layer cannot be used. The text says why.
    #[error("the code cannot be used: {0}")]
    CodeUnusable(String),
    /// The host failed. The text is for the log of the service.
    #[error("the host failed: {0}")]
    Broken(String),
}

/// Why a program did not start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpawnError {
    /// There is no bootstrap. The paths that were tried, in order.
    #[error("no bootstrap at {0:?}")]
    NoBootstrap(Vec<String>),
    /// The file cannot be executed: for example `fork/exec /var/task/bootstrap: permission denied`.
    #[error("{0}")]
    NotExecutable(String),
    /// The environment is gone or does not answer. The text is for the log of the service.
    #[error("the environment is lost: {0}")]
    Lost(String),
}
