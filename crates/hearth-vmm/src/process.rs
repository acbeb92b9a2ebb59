//! The VMM process: one event loop that serves the control socket and the devices of one machine.
//!
//! ```text
//!   empty --Boot/Restore--> running <--Pause/Resume--> paused
//!                              |                         |
//!                              '------ Snapshot ---------'   sealed by a thread of its own, while the
//!                              |                             machine goes on; requests wait meanwhile
//!                              '-- Suspend, Terminate, end of the guest --> exit
//! ```

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use hearth_snapshot::{CaptureError, Sealed};
use hearth_wire::vmm::{
    Command, EndReason, Event, Message, PROTOCOL_VERSION, Phase, Reply, Request, SnapshotSpec,
    SnapshotSummary, Status,
};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::control::{CLIENT_TOKEN, Control, ControlError, LISTENER_TOKEN};
use crate::error_chain;
use crate::machine::{self, GoesOn, Machine, SnapshotError, Wiring};
use crate::say;
use crate::virtio::poller::MACHINE_SLOT;
use crate::virtio::{FaultSink, PollEvent, Poller};

/// Tokens in the machine's slot, beside those of the control socket.
const FAULTS_TOKEN: u32 = 2;
const ENDED_TOKEN: u32 = 3;
const SEALED_TOKEN: u32 = 4;

/// Faults of its drivers that a guest is forgiven. A driver that works makes none; one that is being
/// unloaded in a hurry may make one for each queue.
const FAULTS_MAX: u64 = 32;

/// Exit status when the microVM ended for a reason that nobody asked for.
const EXIT_ENDED: u8 = 2;

/// Exit status of a panic, as Rust's own.
const EXIT_PANIC: libc::c_int = 101;

/// How the process is reached.
#[derive(Debug, Default)]
pub struct VmmOptions {
    /// Where to listen for a node.
    pub listen: Option<PathBuf>,
    /// A connected socket that was inherited from the node.
    pub connection: Option<OwnedFd>,
}

/// Why the process could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The event loop.
    #[error("create the event loop")]
    Loop(#[source] io::Error),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Serves one microVM until it ends. This is the whole life of the process.
pub fn run(options: VmmOptions) -> ExitCode {
    end_process_on_panic();
    let reason = match Process::new(options).map(Process::serve) {
        Ok(reason) => reason,
        Err(error) => {
            say(format_args!("{}", error_chain(&error)));
            return ExitCode::FAILURE;
        }
    };
    match reason {
        EndReason::GuestShutdown | EndReason::Terminated | EndReason::Suspended => {
            ExitCode::SUCCESS
        }
        other => {
            say(format_args!("{other}"));
            ExitCode::from(EXIT_ENDED)
        }
    }
}

/// A thread that panicked leaves a machine that nobody can vouch for, and possibly one that hangs.
fn end_process_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        say(format_args!("{panic}"));
        // SAFETY: ends the process without running anything of it; nothing can be left half done that
        // a kill would not leave as well.
        unsafe { libc::_exit(EXIT_PANIC) }
    }));
}

struct Process {
    poller: Poller,
    control: Control,
    faults: FaultSink,
    /// Written when a vCPU stops by itself.
    ended: Arc<EventFd>,
    machine: Option<Machine>,
    sealing: Option<SealingThread>,
}

/// A snapshot that is being made durable.
struct SealingThread {
    thread: JoinHandle<Result<(Sealed, SnapshotSummary), CaptureError>>,
    done: Arc<EventFd>,
}

/// Goes on, or ends with a reason.
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
        let mut control = Control::new(registrar);
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
        })
    }

    fn serve(mut self) -> EndReason {
        let reason = self.serve_events();
        if let Some(machine) = &self.machine {
            machine.flush_serial();
        }
        self.control
            .send(&Message::Event(Event::Ended(reason.clone())));
        reason
    }

    fn serve_events(&mut self) -> EndReason {
        let mut ready: Vec<PollEvent> = Vec::new();
        loop {
            if self.machine.is_none() && !self.control.is_reachable() {
                // Nobody can ever ask for anything.
                return EndReason::Terminated;
            }
            if let Err(error) = self.poller.wait(-1, |event| ready.push(event)) {
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
            if let Some(machine) = &self.machine {
                machine.on_device_event(event);
            }
            return None;
        }
        match event.token {
            LISTENER_TOKEN => self.control.accept(),
            CLIENT_TOKEN => {
                if event.ready.contains(EventSet::OUT) {
                    self.control.flush();
                }
                return self.on_client();
            }
            FAULTS_TOKEN => return self.on_faults(),
            ENDED_TOKEN => {
                let _ = self.ended.read();
                return self.machine.as_mut().and_then(Machine::take_ended);
            }
            SEALED_TOKEN => return self.on_sealed(),
            _ => {}
        }
        None
    }

    /// Serves the requests that are there, in order. While a snapshot is being sealed they wait.
    fn on_client(&mut self) -> Flow {
        while self.sealing.is_none() {
            let Some(request) = self.control.next_request() else {
                break;
            };
            if let Some(reason) = self.on_request(request) {
                return Some(reason);
            }
        }
        None
    }

    fn on_request(&mut self, request: Request) -> Flow {
        let since = Instant::now();
        if request.version != PROTOCOL_VERSION {
            let reason = format!(
                "the request has protocol version {}, this VMM speaks {PROTOCOL_VERSION}",
                request.version
            );
            self.reply(Reply::Failed {
                machine_intact: true,
                reason,
                refusal: None,
            });
            return None;
        }
        let (reply, flow) = match request.command {
            Command::Terminate => (Some(Reply::Done), Some(EndReason::Terminated)),
            Command::Status => (Some(Reply::Status(self.status())), None),
            Command::Boot(spec) => (Some(self.start(|w| machine::boot(&spec, w, since))), None),
            Command::Restore(spec) => (
                Some(self.start(|w| machine::restore(&spec, w, since))),
                None,
            ),
            other => match self.machine.as_mut() {
                Some(_) => self.on_machine_command(other),
                None => (Some(refused("there is no machine yet")), None),
            },
        };
        if let Some(reply) = reply {
            self.reply(reply);
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

    fn on_machine_command(&mut self, command: Command) -> (Option<Reply>, Flow) {
        let Some(machine) = self.machine.as_mut() else {
            return (None, None);
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
            Command::Snapshot(spec) => self.snapshot(&spec),
            Command::Suspend(spec) => self.suspend(&spec),
            Command::TouchedPages => match machine.touched_pages() {
                Ok(pages) => (Some(Reply::Pages(pages)), None),
                Err(error) => (Some(refused(&format!("read the page map: {error}"))), None),
            },
            Command::SetBalloon { target_mib } => match machine.set_balloon(target_mib) {
                true => (Some(Reply::Done), None),
                false => (Some(refused("the machine has no balloon")), None),
            },
            Command::Boot(_) | Command::Restore(_) | Command::Status | Command::Terminate => {
                (None, None)
            }
        }
    }

    /// Captures the machine, lets it go on if it ran, and seals in the background.
    fn snapshot(&mut self, spec: &SnapshotSpec) -> (Option<Reply>, Flow) {
        let Some(machine) = self.machine.as_mut() else {
            return (None, None);
        };
        let ran = machine.phase() == Phase::Running;
        if let Err(reason) = machine.pause() {
            return (Some(gone(&reason)), Some(reason));
        }
        let captured = machine.capture(spec, GoesOn::Yes);
        let lost = captured
            .as_ref()
            .is_err_and(|error| !error.machine_is_intact());
        if ran && !lost {
            machine.resume();
        }
        let started = captured
            .map_err(|error| failed(&error))
            .and_then(|mut sealing| {
                if ran {
                    sealing.paused_us = machine.last_pause_us();
                }
                SealingThread::start(sealing, &self.poller)
                    .map_err(|error| (refused(&format!("start the sealing thread: {error}")), None))
            });
        match started {
            Ok(thread) => {
                self.sealing = Some(thread);
                (None, None)
            }
            Err((reply, flow)) => (Some(reply), flow),
        }
    }

    fn on_sealed(&mut self) -> Flow {
        let sealing = self.sealing.take()?;
        self.poller
            .registrar(MACHINE_SLOT)
            .remove(sealing.done.as_raw_fd());
        let reply = match sealing.thread.join() {
            Ok(Ok((sealed, summary))) => {
                if let Some(machine) = &mut self.machine {
                    machine.confirm(&sealed);
                }
                Reply::Snapshot(summary)
            }
            Ok(Err(error)) => Reply::Failed {
                machine_intact: true,
                reason: error_chain(&error),
                refusal: None,
            },
            Err(_) => return Some(EndReason::Kvm("the sealing thread panicked".into())),
        };
        self.reply(reply);
        self.on_client()
    }

    /// Writes the layer and ends; on a failure the machine runs (or stands) as before.
    fn suspend(&mut self, spec: &SnapshotSpec) -> (Option<Reply>, Flow) {
        let Some(machine) = self.machine.as_mut() else {
            return (None, None);
        };
        let ran = machine.phase() == Phase::Running;
        if let Err(reason) = machine.pause() {
            return (Some(gone(&reason)), Some(reason));
        }
        let sealed = machine.capture(spec, GoesOn::No).and_then(|sealing| {
            sealing
                .finish()
                .map_err(|error| machine.reopen_disks(SnapshotError::Capture(error)))
        });
        match sealed {
            Ok((_, summary)) => (Some(Reply::Snapshot(summary)), Some(EndReason::Suspended)),
            Err(error) => {
                if ran && error.machine_is_intact() {
                    machine.resume();
                }
                let (reply, flow) = failed(&error);
                (Some(reply), flow)
            }
        }
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
        let machine = self.machine.as_ref();
        Status {
            phase: machine.map_or(Phase::Empty, Machine::phase),
            private_guest_bytes: machine.map_or(0, Machine::private_guest_bytes),
            vsock_streams: machine.map_or(0, Machine::vsock_streams),
            device_faults: self.faults.total(),
        }
    }

    fn reply(&mut self, reply: Reply) {
        self.control.send(&Message::Reply(reply));
    }
}

impl SealingThread {
    fn start(sealing: machine::Sealing, poller: &Poller) -> io::Result<Self> {
        let done = Arc::new(EventFd::new(EFD_NONBLOCK)?);
        poller
            .registrar(MACHINE_SLOT)
            .add(done.as_raw_fd(), SEALED_TOKEN, EventSet::IN)?;
        let signal = Arc::clone(&done);
        let thread = std::thread::Builder::new()
            .name("seal".into())
            .spawn(move || {
                let result = sealing.finish();
                let _ = signal.write(1);
                result
            })?;
        Ok(Self { thread, done })
    }
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

/// A machine that was lost by a failed snapshot ends.
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
