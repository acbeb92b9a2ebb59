//! What the data path needs from the rest of Hearth, and all that it knows of it.
//!
//! The wiring implements [`Backend`] over the control plane and the node. The endpoint asks for every request
//! where its microVM stands, so a [`Backend`] answers [`Backend::find`] from memory.
//!
//! Who makes one resume out of many waiting requests? The endpoint: it calls [`Backend::resume`] once, from a
//! task of its own, and lets all requests wait for that call. So an implementation may be plain, but must expect
//! a resume of a microVM that is already running (the API can resume it in the same moment).

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::id::{EndpointId, MicrovmId};
use crate::limits::Limits;

/// A stream of bytes to a TCP port in a guest.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where a microVM is in its life, as far as traffic is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not yet launched: traffic is refused.
    Pending,
    /// Its application serves.
    Running,
    /// Frozen, being frozen or being thawed: traffic may wake it.
    Suspended,
    /// Ended or ending.
    Ended,
}

/// Which doors a microVM's ingress connectors open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingress {
    /// `HTTP_INGRESS` or `ALL_INGRESS`: the application's ports.
    pub http: bool,
    /// `SHELL_INGRESS` or `ALL_INGRESS`: the shell.
    pub shell: bool,
}

/// A microVM as the data path sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Microvm {
    /// Its id, which tokens are bound to.
    pub id: MicrovmId,
    /// How often it was resumed. Connections into the guest do not survive a resume, so none is used again
    /// once this has changed.
    pub epoch: u64,
    /// Where it is in its life.
    pub state: State,
    /// Whether traffic resumes it.
    pub auto_resume: bool,
    /// Which doors are open.
    pub ingress: Ingress,
    /// How much it may carry.
    pub limits: Limits,
}

/// Why a microVM could not be resumed; clients are told nothing of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the microVM was not resumed: {0}")]
pub struct ResumeError(pub String);

/// Why no stream into a guest was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody listens on that port.
    #[error("nobody listens on the port")]
    Refused,
    /// The guest cannot be reached; it may have been suspended a moment ago.
    #[error("the guest is not reachable")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalSize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// What a client does to its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellInput {
    /// Keystrokes.
    Bytes(Bytes),
    /// The window has another size.
    Resize(TerminalSize),
}

/// A shell on a terminal in the guest. Both channels are bounded by who made them, which is the back-pressure.
#[derive(Debug)]
pub struct Shell {
    /// What the terminal shows; ends when the shell has exited.
    pub output: mpsc::Receiver<Bytes>,
    /// Dropping it hangs up, which ends the shell.
    pub input: mpsc::Sender<ShellInput>,
}

/// The rest of Hearth.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The microVM behind an endpoint name; `None` when nobody ever had it.
    async fn find(&self, endpoint: EndpointId) -> Option<Microvm>;

    /// Resumes a microVM and returns when it serves. Where a suspend is under way, lets it finish first.
    /// Must be idempotent.
    async fn resume(&self, microvm: MicrovmId) -> Result<(), ResumeError>;

    /// Connects to a TCP port on the guest's loopback.
    async fn open(&self, microvm: MicrovmId, port: u16) -> Result<Box<dyn Stream>, OpenError>;

    /// Starts a root shell on a terminal in the application's namespaces.
    async fn shell(&self, microvm: MicrovmId, size: TerminalSize) -> Result<Shell, OpenError>;

    /// A request that waited for a resume got the first byte of its answer. Must do no more than take the time.
    fn first_byte(&self, microvm: MicrovmId);

    /// Bytes went through a microVM's endpoint: it is not idle. Called for every piece of a body, so it must
    /// do no more than store the moment.
    fn touched(&self, microvm: MicrovmId, bytes: u64);
}
