//! Requests of nodes, one after another; only the machine is shared between clients.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use hearth_snapshot::MemoryKind;
use hearth_wire::frame;
use hearth_wire::vmm::{
    Command, EndReason, Envelope, Event, Message, Phase, Reply, Request, SnapshotKind,
    SnapshotSpec, Started, Status,
};

use crate::machine::{Machine, Overlays};

/// The machine, from its restore on.
#[derive(Default)]
pub(crate) struct Vmm(Mutex<Option<Machine>>);

/// Serves one client until it leaves.
pub(crate) fn serve_in_thread(mut client: UnixStream, vmm: &Arc<Vmm>) {
    let vmm = Arc::clone(vmm);
    std::thread::spawn(move || {
        // A client that leaves, in whatever way, changes nothing for the machine.
        let _ = serve(&mut client, &vmm);
    });
}

fn serve(client: &mut UnixStream, vmm: &Vmm) -> Result<()> {
    loop {
        let Request { id, command, .. } = frame::read(client)?;
        let (reply, end) = vmm.perform(command);
        frame::write(client, &Envelope::new(Message::Reply { id, reply }))?;
        if let Some(reason) = end {
            let ended = Message::Event(Event::Ended(reason));
            let _ = frame::write(client, &Envelope::new(ended));
            std::process::exit(0);
        }
    }
}

impl Vmm {
    fn perform(&self, command: Command) -> (Reply, Option<EndReason>) {
        let mut machine = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(command, Command::Terminate) {
            return (Reply::Done, Some(EndReason::Terminated));
        }
        let ends = matches!(command, Command::Suspend(_)).then_some(EndReason::Suspended);
        match answer(&mut machine, command) {
            Ok(reply) => (reply, ends),
            Err(error) => {
                let failed = Reply::Failed {
                    machine_intact: true,
                    reason: format!("{error:#}"),
                    refusal: None,
                };
                (failed, None)
            }
        }
    }
}

fn answer(machine: &mut Option<Machine>, command: Command) -> Result<Reply> {
    if let Command::Restore(spec) = &command {
        *machine = Some(Machine::restore(spec)?);
        return Ok(Reply::Started(Started::default()));
    }
    if matches!(command, Command::Status) {
        return Ok(Reply::Status(status(machine.as_ref())));
    }
    let Some(machine) = machine else {
        anyhow::bail!("there is no machine, and there are no guests to boot");
    };
    Ok(match command {
        Command::Snapshot(spec) => seal(machine, &spec, Overlays::Continue)?,
        Command::Suspend(spec) => seal(machine, &spec, Overlays::End)?,
        Command::TouchedPages => Reply::Pages(Vec::new()),
        _ => Reply::Done,
    })
}

fn seal(machine: &mut Machine, spec: &SnapshotSpec, overlays: Overlays) -> Result<Reply> {
    let kind = match spec.kind {
        SnapshotKind::Full => MemoryKind::Full,
        SnapshotKind::Layer => MemoryKind::Layer,
        SnapshotKind::Merged => MemoryKind::Merged,
    };
    Ok(Reply::Snapshot(machine.seal(spec, kind, overlays)?))
}

fn status(machine: Option<&Machine>) -> Status {
    Status {
        phase: machine.map_or(Phase::Empty, |_| Phase::Running),
        private_guest_bytes: Some(0),
        vsock_streams: 0,
        device_faults: 0,
        sealing: None,
        last_seal: None,
    }
}
