//! The front's trait `Guests` on this host: processes, files and log groups of running guests.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{StreamExt, unfold};
use hearth_control::id::MicrovmId;
use hearth_control::microvm::Microvm;
use hearth_front::{
    Command, FileContent, GuestError, Guests, Input, LogStreamName, ProcessInput, ProcessOutput,
};
use hearth_host::LocalHost;
use hearth_node::{AgentClient, AgentError, ExecReader, ExecWriter, FileReader};
use hearth_wire::agent::{
    ExecInput, ExecOutput, ExecPlace, ExecSpec, ExitStatus, MAX_CHUNK_BYTES, Refusal, TerminalSize,
};
use hearth_wire::without_error_numbers;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

/// Pieces of output that may wait for their reader; then the process waits.
const QUEUE: usize = 4;

/// `ENOENT` of Linux, as the guest's kernel numbers it.
const NO_SUCH_FILE: i32 = 2;

/// The guests of this host.
pub(crate) struct HostGuests(pub(crate) LocalHost);

#[async_trait]
impl Guests for HostGuests {
    async fn exec(
        &self,
        microvm: MicrovmId,
        command: Command,
        input: Input,
    ) -> Result<mpsc::Receiver<ProcessOutput>, GuestError> {
        let spec = ExecSpec {
            argv: command.argv,
            env: command.env,
            cwd: command.cwd,
            user: command.user,
            tty: command.tty.map(terminal_size),
            place: ExecPlace::Application,
        };
        let started = self.agent(microvm)?.exec(spec).await;
        let (reader, mut writer) = started.map_err(guest_error)?.split();
        let (sender, output) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            // Dropping both halves kills the process, if it has not ended.
            tokio::select! {
                () = tell(reader, &sender) => {}
                never = feed(&mut writer, input) => match never {},
                () = sender.closed() => {}
            }
        });
        Ok(output)
    }

    async fn read_file(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError> {
        let opened = self.agent(microvm)?.open_file(path).await;
        Ok(content(opened.map_err(guest_error)?))
    }

    async fn write_file(
        &self,
        microvm: MicrovmId,
        path: &str,
        mode: u32,
        mut content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError> {
        let agent = self.agent(microvm)?;
        let written = agent.write_file(path, mode, &mut content).await;
        written.map_err(guest_error)
    }

    async fn read_tree(&self, microvm: MicrovmId, path: &str) -> Result<FileContent, GuestError> {
        let opened = self.agent(microvm)?.open_tree(path).await;
        Ok(content(opened.map_err(guest_error)?))
    }

    async fn write_tree(
        &self,
        microvm: MicrovmId,
        path: &str,
        mut content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, GuestError> {
        let agent = self.agent(microvm)?;
        let written = agent.write_tree(path, &mut content).await;
        written.map_err(guest_error)
    }

    fn output(&self, microvm: &Microvm) -> Option<LogStreamName> {
        let wanted = microvm.instance().output;
        let (group, stream) = hearth_host::place(&wanted, &microvm.id.to_string())?;
        Some(LogStreamName { group, stream })
    }
}

impl HostGuests {
    fn agent(&self, microvm: MicrovmId) -> Result<AgentClient, GuestError> {
        let agent = self.0.agent(microvm);
        agent.map_err(|error| GuestError::Unreachable(Box::new(error)))
    }
}

/// The content of a file, piece by piece. A failure is the last piece.
fn content(reader: FileReader) -> FileContent {
    let pieces = unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let piece = reader.next().await.transpose()?;
        let reader = piece.is_ok().then_some(reader);
        Some((piece.map(Bytes::from).map_err(guest_error), reader))
    });
    Box::pin(pieces)
}

/// Passes output on until the process has ended or the reader is gone.
async fn tell(mut reader: ExecReader, output: &mpsc::Sender<ProcessOutput>) {
    loop {
        let said = match reader.next().await {
            Ok(ExecOutput::Stdout(bytes)) => ProcessOutput::Stdout(bytes.into()),
            Ok(ExecOutput::Stderr(bytes)) => ProcessOutput::Stderr(bytes.into()),
            // Of programs of functions alone.
            Ok(ExecOutput::Framed(_)) => continue,
            Ok(ExecOutput::Exit(ExitStatus::Code(code))) => ProcessOutput::Exited(code),
            Ok(ExecOutput::Exit(ExitStatus::Signal(number))) => ProcessOutput::Killed(number),
            Err(error) => ProcessOutput::Lost(guest_error(error)),
        };
        let is_last = said.is_last();
        if output.send(said).await.is_err() || is_last {
            return;
        }
    }
}

/// Gives the process its input, then waits for ever: closing this half would kill the process.
async fn feed(writer: &mut ExecWriter, mut input: Input) -> std::convert::Infallible {
    'input: while let Some(said) = input.next().await {
        for frame in frames(&said) {
            // If the stream has failed, the other half reports it.
            if writer.send(&frame).await.is_err() {
                break 'input;
            }
        }
    }
    std::future::pending().await
}

/// The frames to the agent for one input.
fn frames(said: &ProcessInput) -> Vec<ExecInput> {
    let stdin = |piece: &[u8]| ExecInput::Stdin(piece.to_vec());
    match said {
        ProcessInput::Stdin(bytes) => bytes.chunks(MAX_CHUNK_BYTES).map(stdin).collect(),
        ProcessInput::StdinEnd => vec![ExecInput::StdinEnd],
        ProcessInput::Signal(number) => vec![ExecInput::Signal(*number)],
        ProcessInput::Resize(size) => vec![ExecInput::Resize(terminal_size(*size))],
    }
}

fn terminal_size(size: hearth_front::TerminalSize) -> TerminalSize {
    TerminalSize {
        columns: size.columns,
        rows: size.rows,
    }
}

fn guest_error(error: AgentError) -> GuestError {
    match error {
        AgentError::Refused(Refusal::Frozen) => GuestError::Frozen,
        AgentError::Refused(Refusal::TooMany { limit }) => GuestError::TooMany(limit),
        AgentError::Refused(refusal @ Refusal::Os { errno, .. }) if errno == NO_SUCH_FILE => {
            GuestError::NotFound(words(&refusal))
        }
        AgentError::Refused(refusal @ (Refusal::Os { .. } | Refusal::State(_))) => {
            GuestError::Refused(words(&refusal))
        }
        other => GuestError::Unreachable(Box::new(other)),
    }
}

/// The text of a guest's refusal, without error numbers: the caller has handled the number already. Agents of earlier
/// releases, which go on in suspended microVMs, write it into the message too.
fn words(refusal: &Refusal) -> String {
    let text = match refusal {
        Refusal::Os { step, message, .. } if message.is_empty() => step.clone(),
        Refusal::Os { step, message, .. } => format!("{step}: {message}"),
        other => other.to_string(),
    };
    without_error_numbers(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(errno: i32) -> AgentError {
        AgentError::Refused(Refusal::Os {
            step: "open /x".to_owned(),
            errno,
            message: "no".to_owned(),
        })
    }

    #[test]
    fn what_the_guest_refuses_is_told_in_its_words() {
        let missing = guest_error(os(NO_SUCH_FILE));
        assert!(matches!(&missing, GuestError::NotFound(text) if text == "open /x: no"));
        let full = guest_error(os(28));
        assert!(matches!(&full, GuestError::Refused(text) if text == "open /x: no"));
        let nobody = guest_error(AgentError::Refused(Refusal::Os {
            step: "there is no user x".to_owned(),
            errno: NO_SUCH_FILE,
            message: String::new(),
        }));
        assert!(matches!(&nobody, GuestError::NotFound(text) if text == "there is no user x"));
        let full = Refusal::State("a: No space left on device (os error 28)".to_owned());
        let full = guest_error(AgentError::Refused(full));
        assert!(matches!(&full, GuestError::Refused(text) if text == "a: No space left on device"));
        let gone = guest_error(AgentError::NotListening);
        assert!(matches!(gone, GuestError::Unreachable(_)));
    }
}
