//! What the endpoint needs from the rest of Hearth, as a trait.
//!
//! The service implements [`Backend`] over the control plane and the node. The endpoint looks up the microVM for
//! every request, so [`Backend::find`] has to answer from memory.
//!
//! The endpoint makes one resume out of many waiting requests: it calls [`Backend::resume`] once, in a task of its
//! own, and all requests wait for that call. So an implementation may be simple, but must accept a resume of a
//! microVM that already runs (the API may resume it at the same time).

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::id::{EndpointId, MicrovmId};
use crate::limits::EndpointLimits;

/// A byte stream to a TCP port in a guest.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The state of a microVM, as far as traffic is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The microVM is being launched: traffic is refused.
    Pending,
    /// The application serves.
    Running,
    /// The microVM is frozen, or is being frozen or resumed: traffic may resume it.
    Suspended,
    /// The microVM has ended or is ending.
    Ended,
}

/// What the ingress connectors of a microVM allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingress {
    /// `HTTP_INGRESS`, `ALL_INGRESS` or `CORS_INGRESS`: the application's ports.
    pub http: bool,
    /// `SHELL_INGRESS` or `ALL_INGRESS`: the shell.
    pub shell: bool,
    /// `CORS_INGRESS`: preflights of browsers reach the application without a token.
    pub preflights: bool,
}

/// A microVM as the endpoint sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Microvm {
    /// The id, which tokens are bound to.
    pub id: MicrovmId,
    /// How often the microVM was resumed. Connections into the guest do not survive a resume, so none is reused once
    /// this has changed.
    pub epoch: u64,
    /// The state of the microVM.
    pub state: State,
    /// Whether traffic resumes the microVM.
    pub auto_resume: bool,
    /// What the ingress connectors allow.
    pub ingress: Ingress,
    /// The limits of the endpoint.
    pub limits: EndpointLimits,
}

/// A microVM could not be resumed. Clients do not get the text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the microVM was not resumed: {0}")]
pub struct ResumeError(pub String);

/// Why a stream into a guest could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The connection was refused: nothing listens on the port.
    #[error("nobody listens on the port")]
    Refused,
    /// The guest cannot be reached. It may just have been suspended.
    #[error("the guest is not reachable")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalSize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// Input from a client to its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellInput {
    /// Bytes that were typed.
    Bytes(Bytes),
    /// A new size of the terminal.
    Resize(TerminalSize),
}

/// A shell on a terminal in the guest. Both channels are bounded by the backend, for back-pressure.
#[derive(Debug)]
pub struct Shell {
    /// Output of the terminal. Ends when the shell has exited.
    pub output: mpsc::Receiver<Bytes>,
    /// Input for the shell. Dropping it hangs up, which ends the shell.
    pub input: mpsc::Sender<ShellInput>,
}

/// The rest of Hearth, as the endpoint sees it.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Returns the microVM of an endpoint name. `None` if no microVM ever had the name.
    async fn find(&self, endpoint: EndpointId) -> Option<Microvm>;

    /// Resumes a microVM and returns when it serves. If a suspend is under way, lets it finish first. Must be
    /// idempotent.
    async fn resume(&self, microvm: MicrovmId) -> Result<(), ResumeError>;

    /// Connects to a TCP port on the loopback interface of the guest.
    async fn open(&self, microvm: MicrovmId, port: u16) -> Result<Box<dyn Stream>, OpenError>;

    /// Starts a root shell on a terminal, in the namespaces of the application.
    async fn shell(&self, microvm: MicrovmId, size: TerminalSize) -> Result<Shell, OpenError>;

    /// Reports that a request which waited for a resume got the first byte of its answer. Must only record the time.
    fn first_byte(&self, microvm: MicrovmId);

    /// Reports that bytes went through a microVM's endpoint, so it is not idle. Called for every piece of a body, so
    /// it must only record the time.
    fn touched(&self, microvm: MicrovmId, bytes: u64);
}
