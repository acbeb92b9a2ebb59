//! The VMM process: one event loop that serves the control socket and the devices of one machine.
//!
//! ```text
//!   empty --Boot/Restore--> running <--Pause/Resume--> paused
//!                              |                         |
//!                              |--- Snapshot, Suspend ---|   by a thread of its own (sealing.rs); meanwhile Status
//!                              |                             and Terminate are served, the rest is refused as busy
//!                              |
//!                              '-- Suspend, Terminate, end of the guest --> exit
//! ```

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use hearth_wire::crash_point::CrashPoint;
use hearth_wire::vmm::{
    Command, EndReason, Event, LastSeal, PROTOCOL_VERSION, Phase, Reply, Request, SealOutcome,
    SnapshotSpec, Status, VmmExit,
};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::control::{Asker, CLIENT_TOKENS, ControlError, ControlServer, LISTENER_TOKEN};
use crate::crash_point;
use crate::error_chain;
use crate::machine::{self, GoesOn, Machine, SnapshotError, Wiring};
use crate::say;
use crate::sealing::{SealResult, Sealing, Step};
use crate::virtio::poller::MACHINE_SLOT;
use crate::virtio::{FaultSink, PollEvent, Poller};

/// Tokens in the process's slot, beside those of the control socket.
const FAULTS_TOKEN: u32 = 2;
const ENDED_TOKEN: u32 = 3;
const SEALED_TOKEN: u32 = 4;

/// Number of driver faults after which a guest is ended. A correct driver makes none; a driver that is unloaded while
/// busy may make one for each queue.
const FAULTS_MAX: u64 = 32;

/// The control sockets of the process.
#[derive(Debug, Default)]
pub struct VmmOptions {
    /// Path of the Unix socket on which to listen for nodes.
    pub listen: Option<PathBuf>,
    /// A connected socket that was inherited from the node.
    pub connection: Option<OwnedFd>,
}

/// Why the VMM process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The event loop could not be created.
    #[error("create the event loop")]
    Loop(#[source] io::Error),
    /// The control socket could not be set up.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Serves one microVM until it ends. This is the main function of the process.
pub fn run(options: VmmOptions) -> ExitCode {
    end_process_on_panic();
    let reason = match Process::new(options).map(Process::serve) {
        Ok(reason) => reason,
        Err(error) => {
            say(format_args!("{}", error_chain(&error)));
            return ExitCode::from(VmmExit::NotStarted as u8);
        }
    };
    let exit = VmmExit::from(&reason);
    if exit != VmmExit::Orderly {
        say(format_args!("{reason}"));
    }
    ExitCode::from(exit as u8)
}

/// Ends the process when any thread panics: the machine would be in an unknown state, and might hang.
fn end_process_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        say(format_args!("{panic}"));
        // SAFETY: ends the process without running anything of it; nothing can be left half done that
        // a kill would not leave as well.
        unsafe { libc::_exit(VmmExit::Panic as libc::c_int) }
    }));
}

struct Process {
    poller: Poller,
    control: ControlServer,
    faults: FaultSink,
    /// Eventfd that is written when a vCPU stops by itself.
    ended: Arc<EventFd>,
    /// The machine; `None` before it is built, and while the thread of `sealing` owns it.
    machine: Option<Machine>,
    sealing: Option<Sealing>,
    last_seal: Option<LastSeal>,
}

/// `None` to continue, or the reason for which the process ends.
type Flow = Option<EndReason>;

impl Process {
    fn new(options: VmmOptions) -> Result<Self, StartError> {
        let poller = Poller::new().map_err(StartError::Loop)?;
        let registrar = poller.registrar(MACHINE_SLOT);
        let event = || EventFd::new(EFD_NONBLOCK).map_err(StartError::Loop);
        let (faults, ended) = (FaultSink::new(event()?), Arc::new(event()?));
        let watch = |event: &EventFd, token| {
            registrar
                .add(event.as_raw_fd(), token, EventSet::IN)
                .map_err(StartError::Loop)
        };
        watch(faults.wake(), FAULTS_TOKEN)?;
        watch(&ended, ENDED_TOKEN)?;
        let mut control = ControlServer::new(registrar);
        if let Some(path) = &options.listen {
            control.listen(path)?;
        }
        if let Some(connection) = options.connection {
            control.inherit(connection)?;
        }
        Ok(Self {
            poller,
            control,
            faults,
            ended,
            machine: None,
            sealing: None,
            last_seal: None,
        })
    }

    fn serve(mut self) -> EndReason {
        let reason = self.serve_events();
        if let Some(machine) = &self.machine {
            machine.flush_serial();
        }
        self.control.tell(&Event::Ended(reason.clone()));
        reason
    }

    fn serve_events(&mut self) -> EndReason {
        let mut ready: Vec<PollEvent> = Vec::new();
        loop {
            let is_empty = self.machine.is_none() && self.sealing.is_none();
            if is_empty && !self.control.is_reachable() {
                // Nobody can ever ask for anything.
                return EndReason::Terminated;
            }
            let waited = match self.machine {
                Some(_) => self.poller.wait(-1, |event| ready.push(event)),
                None => self.poller.wait_own(-1, |event| ready.push(event)),
            };
            if let Err(error) = waited {
                return EndReason::Kvm(format!("the event loop failed: {error}"));
            }
            for event in ready.drain(..) {
                if let Some(reason) = self.on_event(event) {
                    return reason;
                }
            }
        }
    }

    fn on_event(&mut self, event: PollEvent) -> Flow {
        if event.slot != MACHINE_SLOT {
            // A device whose machine just went to be sealed looks for itself what is there when it goes on.
            if let Some(machine) = &self.machine {
                machine.on_device_event(event);
            }
            return None;
        }
        match event.token {
            LISTENER_TOKEN => self.control.accept(),
            FAULTS_TOKEN => return self.on_faults(),
            ENDED_TOKEN => {
                let _ = self.ended.read();
                return self.machine.as_mut().and_then(Machine::take_ended);
            }
            SEALED_TOKEN => return self.on_sealing(),
            client @ CLIENT_TOKENS.. => {
                if event.ready.contains(EventSet::OUT) {
                    self.control.flush(client);
                }
                return self.on_client(client);
            }
            _ => {}
        }
        None
    }

    /// Serves the pending requests of a client, in order.
    fn on_client(&mut self, client: u32) -> Flow {
        while let Some((asker, request)) = self.control.next_request(client) {
            if let Some(reason) = self.on_request(asker, request) {
                return Some(reason);
            }
        }
        None
    }

    fn on_request(&mut self, asker: Asker, request: Request) -> Flow {
        let since = Instant::now();
        if request.version != PROTOCOL_VERSION {
            let reason = format!(
                "the request has protocol version {}, this VMM speaks {PROTOCOL_VERSION}",
                request.version
            );
            self.control.reply(asker, refused(&reason));
            return None;
        }
        let (reply, flow) = match request.command {
            Command::Terminate => (Some(Reply::Done), Some(EndReason::Terminated)),
            Command::Status => (Some(Reply::Status(self.status())), None),
            command => match &self.sealing {
                Some(sealing) => (Some(Reply::Busy(sealing.describe())), None),
                None => self.on_machine_command(asker, command, since),
            },
        };
        if let Some(reply) = reply {
            self.control.reply(asker, reply);
        }
        flow
    }

    fn start<E: std::error::Error>(
        &mut self,
        make: impl FnOnce(Wiring<'_>) -> Result<(Machine, hearth_wire::vmm::Started), E>,
    ) -> Reply {
        if self.machine.is_some() {
            return refused("this process has its machine already");
        }
        let wiring = Wiring {
            poller: &self.poller,
            faults: &self.faults,
            ended: &self.ended,
        };
        match make(wiring) {
            Ok((machine, started)) => {
                self.machine = Some(machine);
                Reply::Started(started)
            }
            Err(error) => Reply::Failed {
                machine_intact: true,
                reason: error_chain(&error),
                refusal: None,
            },
        }
    }

    fn on_machine_command(
        &mut self,
        asker: Asker,
        command: Command,
        since: Instant,
    ) -> (Option<Reply>, Flow) {
        match command {
            Command::Boot(spec) => {
                return (Some(self.start(|w| machine::boot(&spec, w, since))), None);
            }
            Command::Restore(spec) => {
                return (
                    Some(self.start(|w| machine::restore(&spec, w, since))),
                    None,
                );
            }
            Command::Snapshot(spec) => return (self.seal(asker, spec, GoesOn::Yes), None),
            Command::Suspend(spec) => return (self.seal(asker, spec, GoesOn::No), None),
            _ => {}
        }
        let Some(machine) = self.machine.as_mut() else {
            return (Some(no_machine()), None);
        };
        match command {
            Command::Pause => match machine.pause() {
                Ok(()) => (Some(Reply::Done), None),
                Err(reason) => (Some(gone(&reason)), Some(reason)),
            },
            Command::Resume => {
                machine.resume();
                (Some(Reply::Done), None)
            }
            Command::TouchedPages => match machine.touched_pages() {
                Ok(pages) => (Some(Reply::Pages(pages)), None),
                Err(error) => (Some(refused(&format!("read the page map: {error}"))), None),
            },
            Command::SetBalloon { target_mib } => match machine.set_balloon(target_mib) {
                true => (Some(Reply::Done), None),
                false => (Some(refused("the machine has no balloon")), None),
            },
            // Served before.
            Command::Boot(_)
            | Command::Restore(_)
            | Command::Snapshot(_)
            | Command::Suspend(_)
            | Command::Status
            | Command::Terminate => (None, None),
        }
    }

    /// Hands the machine to a thread that makes the snapshot. Answers a reply only if the request is refused.
    fn seal(&mut self, asker: Asker, spec: SnapshotSpec, goes_on: GoesOn) -> Option<Reply> {
        let Some(machine) = self.machine.take() else {
            return Some(no_machine());
        };
        let events = (&self.poller, MACHINE_SLOT, SEALED_TOKEN);
        match Sealing::begin(Box::new(machine), asker, (spec, goes_on), events) {
            Ok(sealing) => {
                self.sealing = Some(sealing);
                None
            }
            Err((machine, error)) => {
                self.machine = Some(*machine);
                Some(refused(&format!("start the sealing thread: {error}")))
            }
        }
    }

    /// Handles a message of the sealing thread.
    fn on_sealing(&mut self) -> Flow {
        while let Some(step) = self.sealing.as_mut().and_then(Sealing::next_step) {
            let flow = match step {
                Step::Captured(machine) => {
                    self.take_back(*machine);
                    None
                }
                Step::Ended(machine, reason) => {
                    self.machine = Some(*machine);
                    self.settle(gone(&reason));
                    Some(reason)
                }
                Step::Finished(machine, result) => self.on_sealed(machine, result),
            };
            if flow.is_some() {
                return flow;
            }
        }
        None
    }

    /// Takes the machine back from the sealing thread, and runs it if it ran before the snapshot.
    fn take_back(&mut self, mut machine: Machine) {
        if let Some(sealing) = &mut self.sealing
            && sealing.phase_before == Phase::Running
        {
            machine.resume();
            sealing.paused_us = Some(machine.last_pause_us());
        }
        self.machine = Some(machine);
    }

    fn on_sealed(&mut self, machine: Option<Box<Machine>>, result: SealResult) -> Flow {
        let sealing = self.sealing.as_ref()?;
        let (goes_on, paused_us) = (sealing.goes_on, sealing.paused_us);
        match result {
            Ok((_, summary)) if goes_on == GoesOn::No => {
                self.machine = machine.map(|machine| *machine);
                self.settle(Reply::Snapshot(summary));
                crash_point::reach(CrashPoint::SuspendReplied);
                Some(EndReason::Suspended)
            }
            Ok((sealed, mut summary)) => {
                if let Some(machine) = &mut self.machine {
                    machine.confirm(&sealed);
                }
                summary.paused_us = paused_us.unwrap_or(summary.paused_us);
                self.settle(Reply::Snapshot(summary));
                None
            }
            Err(error) => {
                match machine {
                    Some(machine) if error.machine_is_intact() => self.take_back(*machine),
                    Some(machine) => self.machine = Some(*machine),
                    None => {}
                }
                let (reply, flow) = failed(&error);
                self.settle(reply);
                flow
            }
        }
    }

    /// Ends the snapshot that is under way: sends `reply` to the client that asked for it.
    fn settle(&mut self, reply: Reply) {
        let Some(sealing) = self.sealing.take() else {
            return;
        };
        let outcome = match &reply {
            Reply::Snapshot(summary) => Some(SealOutcome::Sealed(summary.clone())),
            Reply::Failed {
                machine_intact,
                reason,
                ..
            } => Some(SealOutcome::Failed {
                machine_intact: *machine_intact,
                reason: reason.clone(),
            }),
            _ => None,
        };
        self.last_seal = outcome.map(|outcome| LastSeal {
            request: sealing.asker.request,
            is_suspend: sealing.goes_on == GoesOn::No,
            directory: sealing.spec.directory.clone(),
            outcome,
        });
        self.control.reply(sealing.asker, reply);
    }

    fn on_faults(&mut self) -> Flow {
        let _ = self.faults.wake().read();
        let (total, records) = self.faults.take();
        for fault in &records {
            say(format_args!("{}", error_chain(fault)));
        }
        let last = records.last().filter(|_| total > FAULTS_MAX)?;
        Some(EndReason::DeviceMisuse {
            device: last.device.clone(),
            fault: error_chain(&last.cause),
        })
    }

    fn status(&self) -> Status {
        let (machine, sealing) = (self.machine.as_ref(), self.sealing.as_ref());
        let (phase, vsock_streams) = match (machine, sealing) {
            (Some(machine), _) => (machine.phase(), machine.vsock_streams()),
            (None, Some(sealing)) => (Phase::Paused, sealing.vsock_streams),
            (None, None) => (Phase::Empty, 0),
        };
        Status {
            phase,
            private_guest_bytes: match sealing {
                Some(_) => machine.map(Machine::private_guest_bytes),
                None => Some(machine.map_or(0, Machine::private_guest_bytes)),
            },
            vsock_streams,
            device_faults: self.faults.total(),
            sealing: sealing.map(Sealing::describe),
            last_seal: self.last_seal.clone(),
        }
    }
}

fn no_machine() -> Reply {
    refused("there is no machine yet")
}

fn refused(reason: &str) -> Reply {
    Reply::Failed {
        machine_intact: true,
        reason: reason.to_owned(),
        refusal: None,
    }
}

fn gone(reason: &EndReason) -> Reply {
    Reply::Failed {
        machine_intact: false,
        reason: format!("the microVM ended: {reason}"),
        refusal: None,
    }
}

/// The reply to a failed snapshot. The process ends if the machine was lost by the failure.
fn failed(error: &SnapshotError) -> (Reply, Flow) {
    let (machine_intact, reason) = (error.machine_is_intact(), error_chain(error));
    let flow = (!machine_intact).then(|| EndReason::Kvm(reason.clone()));
    (
        Reply::Failed {
            machine_intact,
            reason,
            refusal: error.refusal(),
        },
        flow,
    )
}
