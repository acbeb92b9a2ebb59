//! The machine's one epoll: devices register descriptors with it from any thread, the machine's
//! loop waits on it.
//!
//! An event carries (slot, token): the slot names the device (or the machine itself), the token is
//! the device's own. Tokens below [`DEVICE_TOKENS`] are queue notifications and belong to the
//! transport. An event can outlive its descriptor (it was fetched in the same batch that closed
//! it), so every handler must bear spurious events.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

/// First token that a device may use for its own descriptors.
pub const DEVICE_TOKENS: u32 = 16;

/// Slot for the machine's own descriptors (control socket, fault sink, timers).
pub const MACHINE_SLOT: u32 = u32::MAX;

/// Events taken in one wait: enough for all devices of a machine to be ready at once, small enough for the stack.
const BATCH: usize = 32;

/// One ready descriptor.
#[derive(Debug, Clone, Copy)]
pub struct PollEvent {
    /// Whose it is.
    pub slot: u32,
    /// Which of its descriptors.
    pub token: u32,
    /// What it is ready for.
    pub ready: EventSet,
}

/// The event loop's wait object.
#[derive(Debug)]
pub struct Poller {
    epoll: Arc<Epoll>,
}

impl Poller {
    /// A poller without descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Arc::new(Epoll::new()?),
        })
    }

    /// The registrar that a device (or the machine, with [`MACHINE_SLOT`]) uses.
    #[must_use]
    pub fn registrar(&self, slot: u32) -> Registrar {
        Registrar {
            epoll: Arc::clone(&self.epoll),
            slot,
        }
    }

    /// Waits up to `timeout_ms` (-1: for ever) and hands each event to `handle`. Returns the number
    /// of events; an interrupted wait is no event.
    pub fn wait(&self, timeout_ms: i32, mut handle: impl FnMut(PollEvent)) -> io::Result<usize> {
        let mut events = [EpollEvent::default(); BATCH];
        let count = match self.epoll.wait(timeout_ms, &mut events) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        for event in &events[..count] {
            handle(PollEvent {
                slot: (event.data() >> 32) as u32,
                token: event.data() as u32,
                ready: event.event_set(),
            });
        }
        Ok(count)
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// Adds and removes descriptors on behalf of one slot.
#[derive(Debug, Clone)]
pub struct Registrar {
    epoll: Arc<Epoll>,
    slot: u32,
}

impl Registrar {
    /// Starts to watch `fd`. It must be removed before it is closed if a duplicate of it lives on.
    pub fn add(&self, fd: RawFd, token: u32, interest: EventSet) -> io::Result<()> {
        self.epoll
            .ctl(ControlOperation::Add, fd, self.event(token, interest))
    }

    /// Changes what is watched for.
    pub fn modify(&self, fd: RawFd, token: u32, interest: EventSet) -> io::Result<()> {
        self.epoll
            .ctl(ControlOperation::Modify, fd, self.event(token, interest))
    }

    /// Stops watching; that `fd` was not watched is no error.
    pub fn remove(&self, fd: RawFd) {
        let _ = self
            .epoll
            .ctl(ControlOperation::Delete, fd, EpollEvent::default());
    }

    fn event(&self, token: u32, interest: EventSet) -> EpollEvent {
        EpollEvent::new(interest, u64::from(self.slot) << 32 | u64::from(token))
    }
}
