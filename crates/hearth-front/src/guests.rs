//! What Hearth's own operations need of a running guest. The service implements [`Guests`]; the front only reads
//! requests and shapes answers.

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
    /// Program and arguments. Never empty.
    pub argv: Vec<String>,
    /// Environment variables, added to those of the application.
    pub env: BTreeMap<String, String>,
    /// Working directory. Empty means that of the application.
    pub cwd: String,
    /// `uid`, `uid:gid`, `name` or `name:group`. Empty means the user of the application.
    pub user: String,
    /// Gives the process a terminal of this size. All its output is standard output then.
    pub tty: Option<TerminalSize>,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// Input for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessInput {
    /// Bytes for standard input.
    Stdin(Bytes),
    /// The end of standard input. On a terminal, as Ctrl-D.
    StdinEnd,
    /// A signal to the process group.
    Signal(i32),
    /// A new size of the terminal.
    Resize(TerminalSize),
}

/// A stream of input. When it ends, the process runs on.
pub type Input = Pin<Box<dyn Stream<Item = ProcessInput> + Send>>;

impl fmt::Debug for Command {
    /// Environment variables may be secrets and are not printed.
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

/// Output of a process.
#[derive(Debug)]
pub enum ProcessOutput {
    /// Bytes of standard output.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// The process exited with this code. The last output.
    Exited(i32),
    /// This signal killed the process. The last output.
    Killed(i32),
    /// The outcome of the process is unknown. The last output.
    Lost(GuestError),
}

impl ProcessOutput {
    /// Whether this is the last output.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::Killed(_) | Self::Lost(_))
    }
}

/// The content of a file, piece by piece. An error is the last piece.
pub type FileContent = Pin<Box<dyn Stream<Item = Result<Bytes, GuestError>> + Send>>;

/// The log stream that the output of an application goes to, in the log store of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStreamName {
    /// The log group.
    pub group: String,
    /// The stream of the group.
    pub stream: String,
}

/// Running guests.
#[async_trait]
pub trait Guests: Send + Sync + 'static {
    /// Starts a process and feeds it its input. The process waits while its output is not received. Dropping the
    /// receiver kills it.
    ///
    /// # Errors
    ///
    /// [`GuestError`], if the process could not be started.
    async fn exec(
        &self,
        microvm: MicrovmId,
        command: Command,
        input: Input,
    ) -> Result<mpsc::Receiver<ProcessOutput>, GuestError>;

    /// Opens a regular file below the application's root directory.
    ///
    /// # Errors
    ///
    /// [`GuestError`], if the file could not be opened.
    async fn read_file(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError>;

    /// Writes a file below the application's root directory: under a temporary name, then renamed, so that nobody
    /// sees a partial file. If `content` fails, nothing is written. Returns the size in bytes.
    ///
    /// # Errors
    ///
    /// [`GuestError`]. What was at the path is unchanged.
    async fn write_file(
        &self,
        microvm: MicrovmId,
        path: &str,
        mode: u32,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError>;

    /// Opens a directory below the application's root directory as a tar archive.
    ///
    /// # Errors
    ///
    /// [`GuestError`], if the directory could not be opened.
    async fn read_tree(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError>;

    /// Unpacks a tar archive into a directory below the application's root directory. Returns the size of the archive
    /// in bytes.
    ///
    /// # Errors
    ///
    /// [`GuestError`]. Files that were unpacked before the failure stay.
    async fn write_tree(
        &self,
        microvm: MicrovmId,
        path: &str,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError>;

    /// The log stream of a microVM's output. `None` if the output is not kept.
    fn output(&self, microvm: &Microvm) -> Option<LogStreamName>;
}

/// Why a guest could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The file, directory or program does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The guest refuses the request. A retry would be refused too.
    #[error("{0}")]
    Refused(String),
    /// The guest is frozen for a snapshot.
    #[error("the guest stands still")]
    Frozen,
    /// The guest serves as many requests of this kind as it can.
    #[error("the guest serves {0} requests of this kind already")]
    TooMany(u32),
    /// The guest cannot be reached, or the connection was lost.
    #[error("the guest does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
