//! Accepts streams, reads their opening messages, and dispatches them by kind.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use hearth_wire::agent::{ControlReply, Open, OpenReply, PROTOCOL_VERSION, Refusal, Stream};
use hearth_wire::frame::{self, FrameError};

use crate::agent::Agent;
use crate::bounds::MAX_OPEN_BYTES;
use crate::channel::Channel;
use crate::file::FileRequest;
use crate::listener::Listener;
use crate::{control, exec, file, logs, proxy};

/// How long a peer may take to send its opening message. Generous: under emulation everything is slow.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves streams for the lifetime of the machine.
pub(crate) async fn run(agent: Rc<Agent>, listener: Listener) {
    loop {
        let connection = listener.accept().await;
        let agent = Rc::clone(&agent);
        tokio::task::spawn_local(async move {
            // A stream that breaks concerns only the host, which sees it break.
            let _ = serve(&agent, connection).await;
        });
    }
}

async fn serve(agent: &Rc<Agent>, connection: OwnedFd) -> Result<(), FrameError> {
    let channel = Channel::new(connection)?;
    let opened = {
        let _slot = match agent.slots.unopened.take() {
            Ok(slot) => slot,
            Err(refusal) => return refuse(&channel, Rejected::unknown(refusal)).await,
        };
        tokio::time::timeout(OPEN_TIMEOUT, channel.receive_body(MAX_OPEN_BYTES)).await
    };
    let Ok(body) = opened else { return Ok(()) };
    let body = body?;
    let stream = match admit(agent, &body) {
        Ok(stream) => stream,
        Err(rejected) => return refuse(&channel, rejected).await,
    };
    drop(body);
    match stream {
        Stream::Control => control::serve(agent, &channel).await,
        Stream::Exec(spec) => exec::serve(agent, channel, &spec).await,
        Stream::ReadFile { path } => file::serve(agent, channel, FileRequest::Read { path }).await,
        Stream::WriteFile { path, mode } => {
            file::serve(agent, channel, FileRequest::Write { path, mode }).await
        }
        Stream::ReadTree { path } => {
            file::serve(agent, channel, FileRequest::ReadTree { path }).await
        }
        Stream::WriteTree { path } => {
            file::serve(agent, channel, FileRequest::WriteTree { path }).await
        }
        Stream::Proxy { port } => proxy::serve(agent, &channel, port).await,
        Stream::Logs => logs::serve(&agent.logs, &agent.slots.logs, &channel).await,
    }
}

/// A stream that is refused.
struct Rejected {
    is_control: bool,
    refusal: Refusal,
}

impl Rejected {
    fn new(stream: &Stream, refusal: Refusal) -> Self {
        Self {
            is_control: matches!(stream, Stream::Control),
            refusal,
        }
    }

    /// Rejects a stream of unknown kind.
    fn unknown(refusal: Refusal) -> Self {
        Self {
            is_control: false,
            refusal,
        }
    }
}

/// Decides whether the stream may be served. The version is checked first, as the format of the rest depends on it.
fn admit(agent: &Agent, body: &[u8]) -> Result<Stream, Rejected> {
    let version = frame::version(body).unwrap_or(0);
    let decoded = frame::decode::<Open>(body);
    if version != PROTOCOL_VERSION {
        let refusal = Refusal::Version {
            agent: PROTOCOL_VERSION,
            host: version,
        };
        return Err(match decoded {
            Ok(open) => Rejected::new(&open.stream, refusal),
            Err(_) => Rejected::unknown(refusal),
        });
    }
    let open = decoded.map_err(|error| Rejected::unknown(Refusal::State(error.to_string())))?;
    if let Some(expected) = &agent.token
        && !open.token.is_some_and(|token| token.matches(expected))
    {
        return Err(Rejected::new(&open.stream, Refusal::Token));
    }
    let is_served_frozen = matches!(open.stream, Stream::Control | Stream::Logs);
    if agent.application.is_closed() && !is_served_frozen {
        return Err(Rejected::new(&open.stream, Refusal::Frozen));
    }
    Ok(open.stream)
}

/// Sends a refusal in the message type that the peer expects: a control stream has no [`OpenReply`].
async fn refuse(channel: &Channel, rejected: Rejected) -> Result<(), FrameError> {
    if rejected.is_control {
        return channel.send(&ControlReply::Refused(rejected.refusal)).await;
    }
    channel.send(&OpenReply::Refused(rejected.refusal)).await
}
