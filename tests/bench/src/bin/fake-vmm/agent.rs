//! An agent that has nothing to do: it agrees to everything, and its application says nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::Result;
use hearth_wire::agent::{
    AgentHello, AppStatus, ControlReply, ControlRequest, GuestMetrics, Open, OpenReply,
    PROTOCOL_VERSION, Refusal, Stream,
};
use hearth_wire::frame;

/// Listens like the vsock device of a VMM.
pub(crate) fn listen(path: &Path) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    std::thread::spawn(move || {
        for host in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // A stream that breaks is the host's to notice.
                let _ = serve(host);
            });
        }
    });
    Ok(())
}

fn serve(mut host: UnixStream) -> Result<()> {
    let port = connect_line(&mut host)?;
    host.write_all(format!("OK {port}\n").as_bytes())?;
    let open: Open = frame::read(&mut host)?;
    match open.stream {
        Stream::Control => loop {
            let request: ControlRequest = frame::read(&mut host)?;
            frame::write(&mut host, &answer(&request))?;
        },
        Stream::Logs => {
            frame::write(&mut host, &OpenReply::Ok)?;
            // Open until the host closes it.
            host.read_to_end(&mut Vec::new())?;
        }
        _ => {
            let refusal = Refusal::State("there is no guest".to_owned());
            frame::write(&mut host, &OpenReply::Refused(refusal))?;
        }
    }
    Ok(())
}

/// The port in `CONNECT <port>\n`, of which not a byte more is read.
fn connect_line(host: &mut UnixStream) -> Result<u32> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        host.read_exact(&mut byte)?;
        line.extend(byte);
    }
    let line = String::from_utf8(line)?;
    let port = line.trim().strip_prefix("CONNECT ");
    Ok(port.unwrap_or_default().parse()?)
}

fn answer(request: &ControlRequest) -> ControlReply {
    match request {
        ControlRequest::Hello => ControlReply::Hello(AgentHello {
            protocol: PROTOCOL_VERSION,
            agent_version: "none".to_owned(),
            kernel_release: "none".to_owned(),
            boot_id: String::new(),
            uptime_ns: 0,
            realtime_ns: 0,
        }),
        ControlRequest::Status => ControlReply::Status(AppStatus::Running),
        ControlRequest::Metrics => ControlReply::Metrics(GuestMetrics::default()),
        _ => ControlReply::Done,
    }
}
