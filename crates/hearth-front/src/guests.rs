//! What Hearth's own operations need of a running guest. Whoever runs the guests implements it; the front only
//! words requests and answers.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use hearth_control::id::MicrovmId;
use hearth_control::microvm::Microvm;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

/// A process to run beside the application.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// Variables, added to the application's.
    pub env: BTreeMap<String, String>,
    /// Working directory; empty is the application's.
    pub cwd: String,
    /// `uid`, `uid:gid`, `name` or `name:group`; empty is the application's.
    pub user: String,
    /// Gives it a terminal of this size; all its output is standard output then.
    pub tty: Option<TerminalSize>,
}

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What goes into a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessInput {
    /// Bytes for its standard input.
    Stdin(Bytes),
    /// Its standard input ends; on a terminal, as Ctrl-D does.
    StdinEnd,
    /// A signal to its process group.
    Signal(i32),
    /// Its terminal has another size.
    Resize(TerminalSize),
}

/// Input, piece by piece. After its end the process runs on.
pub type Input = Pin<Box<dyn Stream<Item = ProcessInput> + Send>>;

impl fmt::Debug for Command {
    /// Variables may be secrets and are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("env", &self.env.keys())
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("tty", &self.tty)
            .finish()
    }
}

/// What comes out of a process.
#[derive(Debug)]
pub enum ProcessOutput {
    /// Bytes of its standard output.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
    /// It exited with this code; the last output.
    Exited(i32),
    /// This signal killed it; the last output.
    Killed(i32),
    /// It is not known what became of it; the last output.
    Lost(GuestError),
}

impl ProcessOutput {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::Killed(_) | Self::Lost(_))
    }
}

/// The content of a file, piece by piece; an error is the last piece.
pub type FileContent = Pin<Box<dyn Stream<Item = Result<Bytes, GuestError>> + Send>>;

/// Where the output of an application goes in the log store of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPlace {
    /// The log group.
    pub group: String,
    /// The stream of the group.
    pub stream: String,
}

/// Running guests.
#[async_trait]
pub trait Guests: Send + Sync + 'static {
    /// Starts a process and gives it its input as it takes it. Its output must be taken, else it waits; dropping the
    /// receiver kills it.
    ///
    /// # Errors
    ///
    /// [`GuestError`], when it could not be started.
    async fn exec(
        &self,
        microvm: MicrovmId,
        command: Command,
        input: Input,
    ) -> Result<mpsc::Receiver<ProcessOutput>, GuestError>;

    /// Opens a regular file of the application's root.
    ///
    /// # Errors
    ///
    /// [`GuestError`], when it could not be opened.
    async fn read_file(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError>;

    /// Writes a file into the application's root: beside its place and then renamed, so that nobody sees a part of
    /// it. It is not written when `content` fails. Answers its size in bytes.
    ///
    /// # Errors
    ///
    /// [`GuestError`]; what was at the path is as it was.
    async fn write_file(
        &self,
        microvm: MicrovmId,
        path: &str,
        mode: u32,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError>;

    /// Opens a directory of the application's root as a tar archive.
    ///
    /// # Errors
    ///
    /// [`GuestError`], when it could not be opened.
    async fn read_tree(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError>;

    /// Unpacks a tar archive into a directory of the application's root. Answers the size of the archive in bytes.
    ///
    /// # Errors
    ///
    /// [`GuestError`]; what was unpacked before it stays.
    async fn write_tree(
        &self,
        microvm: MicrovmId,
        path: &str,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError>;

    /// Where the output of a microVM goes; `None` when it is not kept.
    fn output(&self, microvm: &Microvm) -> Option<OutputPlace>;
}

/// Why a guest did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// It has no such file, directory or program.
    #[error("{0}")]
    NotFound(String),
    /// It refuses the request, and would again.
    #[error("{0}")]
    Refused(String),
    /// It stands still for a snapshot.
    #[error("the guest stands still")]
    Frozen,
    /// It serves as many requests of this kind as it can.
    #[error("the guest serves {0} requests of this kind already")]
    TooMany(u32),
    /// It cannot be reached, or went away.
    #[error("the guest does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
