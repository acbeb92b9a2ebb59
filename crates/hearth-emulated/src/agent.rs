//! A blocking client of the agent protocol over TCP.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use hearth_wire::agent::{
    AgentHello, Chunk, ControlReply, ControlRequest, ExecInput, ExecOutput, ExecSpec, ExitStatus,
    MAX_CHUNK_BYTES, Open, OpenReply, PROTOCOL_VERSION, Refusal, Stream, Token,
};
use hearth_wire::frame::{self, FrameError};

/// QEMU accepts connections to a forwarded port at once, so this only bounds a broken loopback.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum HostAgentError {
    /// No connection to the forwarded port.
    #[error("cannot reach the emulated host's agent")]
    Connect(#[source] io::Error),
    /// The stream broke: most often the emulated host died.
    #[error("lost the connection to the emulated host")]
    Lost(#[from] FrameError),
    /// The agent refused.
    #[error("the emulated host's agent refuses: {0}")]
    Refused(#[from] Refusal),
    /// The agent's answer does not belong to the request.
    #[error("the emulated host's agent gave an unexpected answer")]
    Unexpected,
    /// Reading or writing on this side failed.
    #[error("cannot {0}")]
    Local(&'static str, #[source] io::Error),
}

/// A client of an emulated host's agent: its port and its token.
#[derive(Debug, Clone)]
pub struct HostAgentClient {
    port: u16,
    token: Token,
}

impl HostAgentClient {
    /// A client for the agent behind `port` of the loopback. Opens no connection yet.
    pub fn new(port: u16, token: Token) -> Self {
        Self { port, token }
    }

    /// Sends the agent a `Hello`. The emulated host is alive if an answer comes within `timeout`.
    pub fn hello(&self, timeout: Duration) -> Result<AgentHello, HostAgentError> {
        let mut stream = self.open(Stream::Control)?;
        set_timeout(&stream, Some(timeout))?;
        frame::write(&mut stream, &ControlRequest::Hello)?;
        match frame::read(&mut stream)? {
            ControlReply::Hello(hello) => Ok(hello),
            ControlReply::Refused(refusal) => Err(refusal.into()),
            _ => Err(HostAgentError::Unexpected),
        }
    }

    /// Asks the emulated host to sync its disks and to power off.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), HostAgentError> {
        let mut stream = self.open(Stream::Control)?;
        set_timeout(&stream, Some(timeout))?;
        frame::write(&mut stream, &ControlRequest::Shutdown)?;
        match frame::read(&mut stream) {
            // The host may be gone before the agent has sent its answer.
            Ok(ControlReply::Done) | Err(FrameError::Closed | FrameError::Io(_)) => Ok(()),
            Ok(ControlReply::Refused(refusal)) => Err(refusal.into()),
            Ok(_) => Err(HostAgentError::Unexpected),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a process and waits for its end. Its output goes to `stdout` and `stderr` as it comes.
    ///
    /// `stdin` is read by a thread of its own, which ends with `stdin` or with the process.
    pub fn exec(
        &self,
        spec: ExecSpec,
        stdin: Option<Box<dyn Read + Send>>,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<ExitStatus, HostAgentError> {
        let mut stream = self.open_confirmed(Stream::Exec(spec))?;
        let sending = stream
            .try_clone()
            .map_err(|error| HostAgentError::Local("share the stream", error))?;
        match stdin {
            Some(stdin) => {
                // Detached: it may be blocked on a terminal after the process has ended.
                thread::spawn(move || feed(stdin, sending));
            }
            None => {
                // The process may have ended already; its exit status is read below.
                let _ = frame::write(&mut &sending, &ExecInput::StdinEnd);
            }
        }
        let status = loop {
            match frame::read(&mut stream)? {
                ExecOutput::Stdout(bytes) => pass_on(stdout, &bytes, "write to stdout")?,
                ExecOutput::Stderr(bytes) => pass_on(stderr, &bytes, "write to stderr")?,
                // Of programs of functions alone.
                ExecOutput::Framed(_) => {}
                ExecOutput::Exit(status) => break status,
            }
        };
        // Ends the feeding thread's next write; failing means that the peer closed first.
        let _ = stream.shutdown(Shutdown::Both);
        Ok(status)
    }

    /// Writes a file of the emulated host; its directory must exist.
    pub fn write_file(
        &self,
        path: &str,
        permissions: u32,
        content: &mut dyn Read,
    ) -> Result<(), HostAgentError> {
        let mut stream = self.open_confirmed(Stream::WriteFile {
            path: path.to_owned(),
            mode: permissions,
        })?;
        let mut piece = vec![0; MAX_CHUNK_BYTES];
        loop {
            let count = content
                .read(&mut piece)
                .map_err(|error| HostAgentError::Local("read the file to send", error))?;
            frame::write(&mut stream, &Chunk(piece[..count].to_vec()))?;
            if count == 0 {
                return confirmed(&mut stream);
            }
        }
    }

    /// Reads a file of the emulated host, at most `limit_bytes` of it.
    pub fn read_file(&self, path: &str, limit_bytes: usize) -> Result<Vec<u8>, HostAgentError> {
        let mut stream = self.open_confirmed(Stream::ReadFile {
            path: path.to_owned(),
        })?;
        let mut content = Vec::new();
        loop {
            let Chunk(piece) = frame::read(&mut stream)?;
            if piece.is_empty() {
                return Ok(content);
            }
            if content.len() + piece.len() > limit_bytes {
                return Err(FrameError::TooLarge(limit_bytes).into());
            }
            content.extend(piece);
        }
    }

    fn open_confirmed(&self, kind: Stream) -> Result<TcpStream, HostAgentError> {
        let mut stream = self.open(kind)?;
        confirmed(&mut stream)?;
        Ok(stream)
    }

    fn open(&self, kind: Stream) -> Result<TcpStream, HostAgentError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
            .map_err(HostAgentError::Connect)?;
        // Frames are answered one by one; waiting to fill a segment would only add delay.
        stream.set_nodelay(true).map_err(HostAgentError::Connect)?;
        let open = Open {
            version: PROTOCOL_VERSION,
            token: Some(self.token.clone()),
            stream: kind,
        };
        frame::write(&mut stream, &open)?;
        Ok(stream)
    }
}

fn confirmed(stream: &mut TcpStream) -> Result<(), HostAgentError> {
    match frame::read(stream)? {
        OpenReply::Ok => Ok(()),
        OpenReply::Refused(refusal) => Err(refusal.into()),
    }
}

fn set_timeout(stream: &TcpStream, timeout: Option<Duration>) -> Result<(), HostAgentError> {
    stream
        .set_read_timeout(timeout)
        .and_then(|()| stream.set_write_timeout(timeout))
        .map_err(|error| HostAgentError::Local("set the stream's timeout", error))
}

fn pass_on(target: &mut dyn Write, bytes: &[u8], step: &'static str) -> Result<(), HostAgentError> {
    target
        .write_all(bytes)
        .and_then(|()| target.flush())
        .map_err(|error| HostAgentError::Local(step, error))
}

/// Sends `stdin` until its end or until the stream is closed.
fn feed(mut stdin: Box<dyn Read + Send>, mut stream: TcpStream) {
    let mut piece = vec![0; MAX_CHUNK_BYTES];
    loop {
        let input = match stdin.read(&mut piece) {
            Ok(0) | Err(_) => ExecInput::StdinEnd,
            Ok(count) => ExecInput::Stdin(piece[..count].to_vec()),
        };
        let is_end = input == ExecInput::StdinEnd;
        if frame::write(&mut stream, &input).is_err() || is_end {
            return;
        }
    }
}
