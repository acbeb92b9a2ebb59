//! The agent of one guest, reached through its VMM's vsock socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_wire::agent::{
    AGENT_PORT, AgentHello, Chunk, ControlReply, ControlRequest, ExecInput, ExecOutput, ExecSpec,
    LogLine, MAX_CHUNK_BYTES, MAX_LOG_LINE_BYTES, Open, OpenReply, Refusal, Stream, UniqueTimes,
    Uniqueness,
};
use hearth_wire::frame::FrameError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time;

use crate::codec;
use crate::socket::Address;
use crate::untrusted_text::harmless;

/// Longest wait for the answer to one request on a control stream. The slowest requests, a start or a sync, wait for
/// disks.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for requests that run programs in the guest.
const SLOW_TIMEOUT: Duration = Duration::from_secs(600);

/// Pause between two attempts to reach an agent that does not listen yet.
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// Largest answer to a request, in bytes. The longest answers are a guest's metrics, or a refusal with its reason.
const MAX_REPLY_BYTES: usize = 16 << 10;

/// Most bytes of a message beside the bulk data or the line that it carries.
const AROUND_BYTES: usize = 64;

/// Largest message with a piece of a file or of a process's output, in bytes.
const MAX_PIECE_BYTES: usize = MAX_CHUNK_BYTES + AROUND_BYTES;

/// Largest message with a line of the application's output, in bytes.
const MAX_LINE_BYTES: usize = MAX_LOG_LINE_BYTES + AROUND_BYTES;

/// Longest answer of the VMM to `CONNECT`: `OK 4294967295\n`.
const MAX_CONNECT_ANSWER: usize = 16;

/// Why a request to the agent of a guest failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The VMM's vsock socket does not accept connections.
    #[error("cannot reach the guest through {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The agent does not listen (yet).
    #[error("the agent does not listen")]
    NotListening,
    /// The agent did not answer in time.
    #[error("the agent did not answer within {0:?}")]
    Timeout(Duration),
    /// A stream to the agent failed.
    #[error("a stream to the agent failed")]
    Stream(#[from] FrameError),
    /// The agent refused the request.
    #[error("the agent refused: {0}")]
    Refused(Refusal),
    /// The agent sent an answer that does not belong to the request.
    #[error("the agent sent an answer that does not belong to the request")]
    Confused,
}

/// A client of the agent of one guest. Opens a stream for each request.
#[derive(Debug, Clone)]
pub struct AgentClient {
    socket: PathBuf,
}

impl AgentClient {
    /// Creates a client for the agent behind this vsock socket. Does not connect yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Opens a stream, without waiting for the agent's answer to the opening.
    async fn dial(&self, stream: Stream) -> Result<UnixStream, AgentError> {
        let connect = |source| AgentError::Connect {
            path: self.socket.clone(),
            source,
        };
        let address = Address::of(&self.socket).map_err(connect)?;
        let mut socket = UnixStream::connect(&address).await.map_err(connect)?;
        socket
            .write_all(format!("CONNECT {AGENT_PORT}\n").as_bytes())
            .await
            .map_err(connect)?;
        read_connect_answer(&mut socket).await?;
        codec::write(&mut socket, &Open::new(stream)).await?;
        Ok(socket)
    }

    /// Opens a stream and waits until the agent accepted it.
    async fn open(&self, stream: Stream) -> Result<UnixStream, AgentError> {
        let mut socket = self.dial(stream).await?;
        expect_ok(&mut socket).await?;
        Ok(socket)
    }

    /// Sends one request on a control stream of its own.
    pub async fn control(&self, request: ControlRequest) -> Result<ControlReply, AgentError> {
        self.control_within(request, REPLY_TIMEOUT).await
    }

    async fn control_within(
        &self,
        request: ControlRequest,
        limit: Duration,
    ) -> Result<ControlReply, AgentError> {
        let exchange = async {
            let mut socket = self.dial(Stream::Control).await?;
            codec::write(&mut socket, &request).await?;
            match codec::read(&mut socket, MAX_REPLY_BYTES).await? {
                ControlReply::Refused(refusal) => Err(refused(refusal)),
                reply => Ok(reply),
            }
        };
        time::timeout(limit, exchange)
            .await
            .unwrap_or(Err(AgentError::Timeout(limit)))
    }

    /// Sends a request whose success has no content, and which may take minutes on a slow host.
    pub async fn perform_slowly(&self, request: ControlRequest) -> Result<(), AgentError> {
        match self.control_within(request, SLOW_TIMEOUT).await? {
            ControlReply::Done => Ok(()),
            _ => Err(AgentError::Confused),
        }
    }

    /// Sends a request whose success has no content.
    pub async fn perform(&self, request: ControlRequest) -> Result<(), AgentError> {
        match self.control(request).await? {
            ControlReply::Done => Ok(()),
            _ => Err(AgentError::Confused),
        }
    }

    /// Makes a guest unique that was just restored, and thaws its application. Retries until the agent listens again,
    /// with new parameters for every attempt. Answers how long the steps took in the guest, if the agent reports it.
    pub async fn make_unique(
        &self,
        wanted: impl Fn() -> Uniqueness,
        limit: Duration,
    ) -> Result<Option<UniqueTimes>, AgentError> {
        let attempts = async {
            loop {
                let request = ControlRequest::Restored(Box::new(wanted()));
                match self.control(request).await {
                    Ok(ControlReply::MadeUnique(times)) => return Ok(Some(times)),
                    Ok(ControlReply::Done) => return Ok(None),
                    Ok(_) => return Err(AgentError::Confused),
                    Err(error) if error.is_not_yet() => time::sleep(RETRY_PAUSE).await,
                    Err(error) => return Err(error),
                }
            }
        };
        time::timeout(limit, attempts)
            .await
            .unwrap_or(Err(AgentError::Timeout(limit)))
    }

    /// Waits until the agent introduces itself: after a boot, the sign that the guest is up.
    pub async fn hello(&self, limit: Duration) -> Result<AgentHello, AgentError> {
        let attempts = async {
            loop {
                match self.control(ControlRequest::Hello).await {
                    Ok(ControlReply::Hello(hello)) => return Ok(hello),
                    Ok(_) => return Err(AgentError::Confused),
                    Err(error) if error.is_not_yet() => time::sleep(RETRY_PAUSE).await,
                    Err(error) => return Err(error),
                }
            }
        };
        time::timeout(limit, attempts)
            .await
            .unwrap_or(Err(AgentError::Timeout(limit)))
    }

    /// Starts a process in the guest.
    pub async fn exec(&self, spec: ExecSpec) -> Result<Exec, AgentError> {
        let (reader, writer) = self.open(Stream::Exec(spec)).await?.into_split();
        Ok(Exec {
            reader: ExecReader(reader),
            writer: ExecWriter(writer),
        })
    }

    /// Connects to a TCP port on the guest's loopback. From here on the stream carries raw bytes.
    pub async fn proxy(&self, port: u16) -> Result<UnixStream, AgentError> {
        self.open(Stream::Proxy { port }).await
    }

    /// Follows the application's output.
    pub async fn logs(&self) -> Result<LogFollower, AgentError> {
        Ok(LogFollower(self.open(Stream::Logs).await?))
    }

    /// Reads a file below the application's root directory.
    pub async fn read_file(
        &self,
        path: &str,
        to: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> Result<u64, AgentError> {
        let mut file = self.open_file(path).await?;
        let mut total = 0;
        while let Some(bytes) = file.next().await? {
            total += bytes.len() as u64;
            to.write_all(&bytes).await.map_err(FrameError::Io)?;
        }
        Ok(total)
    }

    /// Opens a file below the application's root directory, to be read piece by piece.
    pub async fn open_file(&self, path: &str) -> Result<FileReader, AgentError> {
        let path = path.to_owned();
        Ok(FileReader(self.open(Stream::ReadFile { path }).await?))
    }

    /// Opens a directory below the application's root directory as a tar archive, to be read piece by piece.
    pub async fn open_tree(&self, path: &str) -> Result<FileReader, AgentError> {
        let path = path.to_owned();
        Ok(FileReader(self.open(Stream::ReadTree { path }).await?))
    }

    /// Writes a file below the application's root directory. The file is durable in the guest when this returns.
    pub async fn write_file(
        &self,
        path: &str,
        mode: u32,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<u64, AgentError> {
        let path = path.to_owned();
        self.write(Stream::WriteFile { path, mode }, from).await
    }

    /// Unpacks a tar archive into a directory below the application's root directory. The files are durable in the
    /// guest when this returns.
    pub async fn write_tree(
        &self,
        path: &str,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<u64, AgentError> {
        let path = path.to_owned();
        self.write(Stream::WriteTree { path }, from).await
    }

    async fn write(
        &self,
        stream: Stream,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<u64, AgentError> {
        let mut socket = self.open(stream).await?;
        let mut buffer = vec![0; MAX_CHUNK_BYTES];
        let mut total = 0;
        loop {
            let count = from.read(&mut buffer).await.map_err(FrameError::Io)?;
            codec::write(&mut socket, &Chunk(buffer[..count].to_vec())).await?;
            if count == 0 {
                break;
            }
            total += count as u64;
        }
        expect_ok(&mut socket).await?;
        Ok(total)
    }

    /// Path of the VMM's vsock socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl AgentError {
    /// Whether the error is one that a starting or just restored guest causes before its agent listens.
    fn is_not_yet(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::NotListening
                | Self::Stream(FrameError::Io(_) | FrameError::Closed)
        )
    }
}

/// A process that runs in the guest. Dropping it kills the process.
#[derive(Debug)]
pub struct Exec {
    reader: ExecReader,
    writer: ExecWriter,
}

impl Exec {
    /// Splits the two directions, so that one task can write stdin while another reads output.
    pub fn split(self) -> (ExecReader, ExecWriter) {
        (self.reader, self.writer)
    }
}

/// The output of a process.
#[derive(Debug)]
pub struct ExecReader(OwnedReadHalf);

impl ExecReader {
    /// The next output; after [`ExecOutput::Exit`] there is none.
    pub async fn next(&mut self) -> Result<ExecOutput, AgentError> {
        Ok(codec::read(&mut self.0, MAX_PIECE_BYTES).await?)
    }
}

/// The input of a process.
#[derive(Debug)]
pub struct ExecWriter(OwnedWriteHalf);

impl ExecWriter {
    /// Sends input, a signal or a new terminal size. Input for a process that has ended is dropped without an error:
    /// the reader reports how the process ended, also if its guest ended.
    pub async fn send(&mut self, input: &ExecInput) -> Result<(), AgentError> {
        match codec::write(&mut self.0, input).await {
            Err(FrameError::Io(error)) if has_hung_up(&error) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

/// A file or archive that is being read from a guest.
#[derive(Debug)]
pub struct FileReader(UnixStream);

impl FileReader {
    /// The next piece; `None` at the end of the file.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, AgentError> {
        let Chunk(bytes) = codec::read(&mut self.0, MAX_PIECE_BYTES).await?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}

/// Follows the application's output.
#[derive(Debug)]
pub struct LogFollower(UnixStream);

impl LogFollower {
    /// The next line; [`FrameError::Closed`] when the application ended.
    pub async fn next(&mut self) -> Result<LogLine, AgentError> {
        Ok(codec::read(&mut self.0, MAX_LINE_BYTES).await?)
    }
}

/// Whether the error means that the other end of a stream closed it.
fn has_hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

async fn expect_ok(socket: &mut UnixStream) -> Result<(), AgentError> {
    match codec::read(socket, MAX_REPLY_BYTES).await? {
        OpenReply::Ok => Ok(()),
        OpenReply::Refused(refusal) => Err(refused(refusal)),
    }
}

/// A guest's refusal as an error. The guest's text is made safe for our own logs.
fn refused(refusal: Refusal) -> AgentError {
    AgentError::Refused(match refusal {
        Refusal::State(text) => Refusal::State(harmless(&text)),
        Refusal::Os {
            step,
            errno,
            message,
        } => Refusal::Os {
            step: harmless(&step),
            errno,
            message: harmless(&message),
        },
        other => other,
    })
}

/// Reads `OK <port>\n` and not a byte more: the following bytes are the agent's.
async fn read_connect_answer(socket: &mut UnixStream) -> Result<(), AgentError> {
    let mut answer = Vec::with_capacity(MAX_CONNECT_ANSWER);
    while answer.last() != Some(&b'\n') && answer.len() < MAX_CONNECT_ANSWER {
        answer.push(
            socket
                .read_u8()
                .await
                .map_err(|_| AgentError::NotListening)?,
        );
    }
    if answer.starts_with(b"OK ") {
        Ok(())
    } else {
        Err(AgentError::NotListening)
    }
}

#[cfg(test)]
mod tests {
    use hearth_wire::agent::LogLineKind;

    use super::*;

    #[tokio::test]
    async fn input_that_comes_too_late_is_no_error() {
        let (near, far) = UnixStream::pair().unwrap();
        let (reader, writer) = near.into_split();
        let (mut reader, mut writer) = (ExecReader(reader), ExecWriter(writer));
        drop(far);
        writer.send(&ExecInput::StdinEnd).await.unwrap();
        assert!(matches!(
            reader.next().await,
            Err(AgentError::Stream(FrameError::Closed))
        ));
    }

    /// Finding L5: what a guest says of itself stands in the service's log, where it must not look like lines of the service.
    #[tokio::test]
    async fn what_a_guest_refuses_with_is_one_harmless_line() {
        let forged = "no\n2026-11-30T00:00:00Z  INFO hearth: all is well\r\u{1b}[2J\u{202e}";
        let os = Refusal::Os {
            step: forged.to_owned(),
            errno: 2,
            message: forged.to_owned(),
        };
        for refusal in [Refusal::State(forged.to_owned()), os] {
            let (mut near, mut far) = UnixStream::pair().unwrap();
            let said = OpenReply::Refused(refusal);
            codec::write(&mut far, &said).await.unwrap();
            let error = expect_ok(&mut near).await.unwrap_err();
            let told = crate::causes::with_causes(&error);
            assert!(told.contains("all is well"), "{told}");
            assert!(!told.contains(char::is_control), "{told:?}");
            assert!(!told.contains('\u{202e}'), "{told:?}");
        }
    }

    /// What an agent of ours sends at most is taken; one byte more in a message of a hostile one is not waited for.
    #[tokio::test]
    async fn each_stream_has_its_largest_message() {
        async fn told(length: usize) -> UnixStream {
            let (near, mut far) = UnixStream::pair().unwrap();
            let prefix = u32::try_from(length).unwrap().to_le_bytes();
            far.write_all(&prefix).await.unwrap();
            // Not closed: whoever waits for the rest waits for ever.
            std::mem::forget(far);
            near
        }
        let refused =
            |error: &AgentError| matches!(error, AgentError::Stream(FrameError::TooLarge(_)));
        let mut lines = LogFollower(told(MAX_LINE_BYTES + 1).await);
        assert!(refused(&lines.next().await.unwrap_err()));
        let mut file = FileReader(told(MAX_PIECE_BYTES + 1).await);
        assert!(refused(&file.next().await.unwrap_err()));
        let mut output = ExecReader(told(MAX_PIECE_BYTES + 1).await.into_split().0);
        assert!(refused(&output.next().await.unwrap_err()));
        let mut opening = told(MAX_REPLY_BYTES + 1).await;
        assert!(refused(&expect_ok(&mut opening).await.unwrap_err()));

        let line = LogLine {
            realtime_ns: u64::MAX,
            kind: LogLineKind::Lost,
            bytes: vec![0; MAX_LOG_LINE_BYTES],
        };
        let piece = ExecOutput::Stdout(vec![0; MAX_CHUNK_BYTES]);
        let (near, mut far) = UnixStream::pair().unwrap();
        let sent = async {
            codec::write(&mut far, &line).await.unwrap();
            codec::write(&mut far, &piece).await.unwrap();
        };
        let read = async {
            let mut lines = LogFollower(near);
            assert_eq!(lines.next().await.unwrap(), line);
            let mut output = ExecReader(lines.0.into_split().0);
            assert_eq!(output.next().await.unwrap(), piece);
        };
        tokio::join!(sent, read);
    }
}
