//! The epoll wrapper of the machine's event loop. Devices register descriptors from any thread.
//!
//! ```text
//!   epoll <-- descriptors of the devices
//!     ^
//!     '------ process's own epoll <-- control socket, fault sink, end of vCPUs, sealing
//! ```
//!
//! [`Poller::wait`] waits on all descriptors. [`Poller::wait_own`] waits on the process's own descriptors only: while
//! the sealing thread owns the machine, events of its devices stay queued and do not wake the loop.
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

/// Slot for the process's own descriptors (control socket, fault sink, end of vCPUs, sealing).
pub const MACHINE_SLOT: u32 = u32::MAX;

/// Event data of the process's own epoll among those of the devices. No descriptor in that slot has this token.
const OWN: u64 = u64::MAX;

/// Events taken in one wait: enough for all devices of a machine to be ready at once, small enough for the stack.
const BATCH: usize = 32;

/// One ready descriptor.
#[derive(Debug, Clone, Copy)]
pub struct PollEvent {
    /// The device, or the process, that the descriptor belongs to.
    pub slot: u32,
    /// Identifies the descriptor within its slot.
    pub token: u32,
    /// The operations that the descriptor is ready for.
    pub ready: EventSet,
}

/// The event loop's wait object.
#[derive(Debug)]
pub struct Poller {
    epoll: Arc<Epoll>,
    /// Epoll of the process's own descriptors, which `epoll` watches as well.
    own: Arc<Epoll>,
}

impl Poller {
    /// Creates a poller without descriptors.
    pub fn new() -> io::Result<Self> {
        let (epoll, own) = (Epoll::new()?, Epoll::new()?);
        let event = EpollEvent::new(EventSet::IN, OWN);
        epoll.ctl(ControlOperation::Add, own.as_raw_fd(), event)?;
        Ok(Self {
            epoll: Arc::new(epoll),
            own: Arc::new(own),
        })
    }

    /// The registrar that a device (or the process, with [`MACHINE_SLOT`]) uses.
    #[must_use]
    pub fn registrar(&self, slot: u32) -> Registrar {
        let epoll = match slot {
            MACHINE_SLOT => &self.own,
            _ => &self.epoll,
        };
        Registrar {
            epoll: Arc::clone(epoll),
            slot,
        }
    }

    /// Waits up to `timeout_ms` (-1: for ever) and hands each event to `handle`. Returns the number
    /// of events; an interrupted wait is no event.
    pub fn wait(&self, timeout_ms: i32, mut handle: impl FnMut(PollEvent)) -> io::Result<usize> {
        let mut own = false;
        let count = wait_on(&self.epoll, timeout_ms, |event| match event.data() {
            OWN => own = true,
            _ => handle(poll_event(event)),
        })?;
        if !own {
            return Ok(count);
        }
        Ok(count - 1 + self.wait_own(0, handle)?)
    }

    /// Same as [`Poller::wait`], for the descriptors of [`MACHINE_SLOT`] only.
    pub fn wait_own(
        &self,
        timeout_ms: i32,
        mut handle: impl FnMut(PollEvent),
    ) -> io::Result<usize> {
        wait_on(&self.own, timeout_ms, |event| handle(poll_event(event)))
    }
}

fn wait_on(epoll: &Epoll, timeout_ms: i32, handle: impl FnMut(&EpollEvent)) -> io::Result<usize> {
    let mut events = [EpollEvent::default(); BATCH];
    let count = match epoll.wait(timeout_ms, &mut events) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        Err(error) => return Err(error),
    };
    events[..count].iter().for_each(handle);
    Ok(count)
}

fn poll_event(event: &EpollEvent) -> PollEvent {
    PollEvent {
        slot: (event.data() >> 32) as u32,
        token: event.data() as u32,
        ready: event.event_set(),
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
    /// Starts to watch `fd`. `fd` must be removed before it is closed if a duplicate of it stays open.
    pub fn add(&self, fd: RawFd, token: u32, interest: EventSet) -> io::Result<()> {
        self.epoll
            .ctl(ControlOperation::Add, fd, self.event(token, interest))
    }

    /// Changes what is watched for.
    pub fn modify(&self, fd: RawFd, token: u32, interest: EventSet) -> io::Result<()> {
        self.epoll
            .ctl(ControlOperation::Modify, fd, self.event(token, interest))
    }

    /// Stops watching `fd`. No-op if it is not watched.
    pub fn remove(&self, fd: RawFd) {
        let _ = self
            .epoll
            .ctl(ControlOperation::Delete, fd, EpollEvent::default());
    }

    fn event(&self, token: u32, interest: EventSet) -> EpollEvent {
        EpollEvent::new(interest, u64::from(self.slot) << 32 | u64::from(token))
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;

    fn seen(wait: impl FnOnce(&mut dyn FnMut(PollEvent)) -> io::Result<usize>) -> Vec<(u32, u32)> {
        let mut events = Vec::new();
        let count = wait(&mut |event| events.push((event.slot, event.token))).unwrap();
        assert_eq!(count, events.len());
        events
    }

    #[test]
    fn the_process_can_wait_without_its_devices() {
        let poller = Poller::new().unwrap();
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let (device, own) = (event(), event());
        let add = |slot, token, event: &EventFd| {
            let registrar = poller.registrar(slot);
            registrar.add(event.as_raw_fd(), token, EventSet::IN)
        };
        add(3, 1, &device).unwrap();
        add(MACHINE_SLOT, 2, &own).unwrap();
        device.write(1).unwrap();
        assert_eq!(seen(|handle| poller.wait(0, handle)), [(3, 1)]);
        assert_eq!(seen(|handle| poller.wait_own(0, handle)), []);
        own.write(1).unwrap();
        assert_eq!(
            seen(|handle| poller.wait_own(0, handle)),
            [(MACHINE_SLOT, 2)]
        );
        let mut all = seen(|handle| poller.wait(0, handle));
        all.sort_unstable();
        assert_eq!(all, [(3, 1), (MACHINE_SLOT, 2)]);
        // The event of a device waited for a loop that looks at it.
        own.read().unwrap();
        assert_eq!(seen(|handle| poller.wait(0, handle)), [(3, 1)]);
    }
}
