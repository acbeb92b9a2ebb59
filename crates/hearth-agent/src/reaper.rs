//! Reaps children: as PID 1 the agent reaps its own children and all orphans of its namespace.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;

use hearth_wire::agent::ExitStatus;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::sys::{readiness, signal};

/// Bytes of one `signalfd_siginfo`; its content does not matter, signals of one kind are merged anyway.
const SIGNAL_INFO_BYTES: usize = 128;

/// Resolves to the exit status of a child.
pub(crate) type Exit = oneshot::Receiver<ExitStatus>;

/// Reaps ended processes and notifies those who wait for them.
#[derive(Debug)]
pub(crate) struct Reaper {
    events: AsyncFd<OwnedFd>,
    waiting: RefCell<HashMap<i32, oneshot::Sender<ExitStatus>>>,
}

impl Reaper {
    /// Starts to receive SIGCHLD.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            events: readiness::register(signal::child_events()?, Interest::READABLE)?,
            waiting: RefCell::default(),
        })
    }

    /// Registers interest in the end of a child. Must be called before the first await after the fork, so that the end
    /// cannot be missed.
    pub(crate) fn watch(&self, pid: Pid) -> Exit {
        let (sender, receiver) = oneshot::channel();
        self.waiting
            .borrow_mut()
            .insert(pid.as_raw_nonzero().get(), sender);
        receiver
    }

    /// Reaps for as long as the agent lives.
    pub(crate) async fn run(&self) {
        while let Ok(mut ready) = self.events.readable().await {
            let mut info = [0; SIGNAL_INFO_BYTES];
            match rustix::io::read(self.events.get_ref(), &mut info) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                // Whatever else it was, children may have ended.
                _ => self.reap_all(),
            }
        }
    }

    fn reap_all(&self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let waiting = self
                .waiting
                .borrow_mut()
                .remove(&pid.as_raw_nonzero().get());
            if let Some(waiting) = waiting {
                // Nobody waits any more when the stream was closed meanwhile.
                let _ = waiting.send(exit_status(status));
            }
        }
    }
}

/// Converts a status to the protocol's exit status.
fn exit_status(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        // Stops and continuations were not asked for.
        (None, None) => ExitStatus::Code(-1),
    }
}
