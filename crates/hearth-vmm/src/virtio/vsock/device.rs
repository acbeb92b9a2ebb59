//! The socket device: its listener, TRANSPORT_RESET, its lifecycle.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use vmm_sys_util::epoll::EventSet;

use super::super::chain::QueueError;
use super::super::device::{
    ActivateError, Activation, DeviceKind, VirtioDevice, read_config_bytes,
};
use super::super::fault::FaultCause;
use super::super::limiter::RetryTimer;
use super::super::poller::{DEVICE_TOKENS, PollEvent};
use super::super::queue::VirtioQueue;
use super::super::state::{DeviceBody, RestoreBodyError, VsockState};
use super::mux::{Mux, STREAM_TOKENS};
use super::packet::EVENT_TRANSPORT_RESET;
use super::queues::{MAX_CHAIN_BYTES, RX, TX, drain_tx, fill_rx};

const EVENT: usize = 2;

const QUEUE_SIZES: &[u16] = &[256, 256, 16];

/// Most connections accepted in one turn of the event loop; the rest waits in the kernel's backlog.
const ACCEPTS_PER_TURN: usize = 16;

/// Pause of the listener when the process cannot accept (no descriptors left).
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A guest that has not taken TRANSPORT_RESET by then is offered streams all the same. Linux takes
/// it within microseconds of running; this is for twenty clones on one emulated processor, and for
/// drivers that have no use for events.
const RESET_PATIENCE: Duration = Duration::from_secs(5);

const LISTENER_TOKEN: u32 = DEVICE_TOKENS;
const REST_TOKEN: u32 = DEVICE_TOKENS + 1;
const RESET_TOKEN: u32 = DEVICE_TOKENS + 2;

/// Default of [`VsockConfig::max_streams`].
pub const DEFAULT_MAX_STREAMS: usize = 1023;

/// Configuration of the socket device.
#[derive(Debug, Clone)]
pub struct VsockConfig {
    /// The guest's context id, 3 or more.
    pub guest_cid: u64,
    /// Path of the host's socket; must not exist. Removed when the device is dropped.
    pub socket: PathBuf,
    /// Most streams at the same time, whichever side opened them.
    pub max_streams: usize,
}

/// Why the device could not be created.
#[derive(Debug, Error)]
pub enum VsockError {
    /// Context ids below 3 are reserved (VIRTIO 1.3 section 5.10.4).
    #[error("context id {0} is reserved")]
    ReservedCid(u64),
    /// The socket could not be bound.
    #[error("listen on {}", .path.display())]
    Listen {
        /// Path of the socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The socket device.
#[derive(Debug)]
pub struct Vsock {
    config: VsockConfig,
    listener: UnixListener,
    mux: Mux,
    active: Option<Activation>,
    rest: RetryTimer,
    reset: Reset,
    reset_timer: RetryTimer,
    reset_patience: Duration,
}

/// Progress of TRANSPORT_RESET, which makes a restored guest drop its old streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    /// No event is needed.
    None,
    /// The event is to be sent.
    Owed,
    /// The event was sent when the ring stood at this index; its driver offers the buffer again
    /// when it is done.
    Sent(u16),
}

impl Vsock {
    /// Binds the host's socket. Connections wait in its backlog until the guest's driver is up.
    pub fn bind(config: VsockConfig) -> Result<Self, VsockError> {
        if config.guest_cid < 3 || config.guest_cid >= u64::from(u32::MAX) {
            return Err(VsockError::ReservedCid(config.guest_cid));
        }
        let listen = || {
            let listener = UnixListener::bind(&config.socket)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = listen().map_err(|source| VsockError::Listen {
            path: config.socket.clone(),
            source,
        })?;
        Ok(Self {
            mux: Mux::new(config.guest_cid, config.socket.clone(), config.max_streams),
            listener,
            active: None,
            rest: RetryTimer::new(REST_TOKEN),
            reset: Reset::None,
            reset_timer: RetryTimer::new(RESET_TOKEN),
            reset_patience: RESET_PATIENCE,
            config,
        })
    }

    /// Number of streams that exist now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.mux.len()
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // Dropped at once, which the client sees as a refusal, if it cannot be used.
                    if stream.set_nonblocking(true).is_ok() {
                        self.mux.on_host_connection(OwnedFd::from(stream));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.rest_listener(),
            }
        }
    }

    fn rest_listener(&mut self) {
        if let Some(active) = &self.active {
            active.registrar.remove(self.listener.as_raw_fd());
            if let Err(error) = self.rest.arm(&active.registrar, ACCEPT_REST) {
                active
                    .link
                    .fail(RX as u16, FaultCause::Host(error.to_string()));
            }
        }
    }

    fn wake_listener(&mut self) {
        self.rest.acknowledge();
        if let Some(active) = &self.active {
            let fd = self.listener.as_raw_fd();
            active.registrar.remove(fd);
            if let Err(error) = active.registrar.add(fd, LISTENER_TOKEN, EventSet::IN) {
                active
                    .link
                    .fail(RX as u16, FaultCause::Host(error.to_string()));
            }
        }
    }

    /// Handles the guest's packets, then sends the packets that wait for it.
    fn process(&mut self, queue: usize) {
        let Some(active) = &mut self.active else {
            return;
        };
        let result = match queue {
            TX => drain_tx(active, &mut self.mux).and_then(|()| fill_rx(active, &mut self.mux)),
            _ => fill_rx(active, &mut self.mux),
        };
        if let Err((queue, cause)) = result {
            active.link.fail(queue as u16, cause);
        }
    }

    /// Sends TRANSPORT_RESET, or notices that the driver has handled it.
    fn process_event_queue(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let queue = &mut active.queues[EVENT];
        let mut send = || {
            let Some(mut chain) = queue.pop(&active.ram, MAX_CHAIN_BYTES)? else {
                queue.rearm(&active.ram)?;
                return Ok::<_, QueueError>(None);
            };
            // Before the driver can see the event, or its answer might come unnoticed.
            let available = queue.watch(&active.ram)?;
            let written = chain.writable.write(&EVENT_TRANSPORT_RESET.to_le_bytes());
            queue.push_used(&active.ram, chain.head, written as u32)?;
            queue.signal(&active.ram)?;
            Ok(Some(available))
        };
        match self.reset {
            Reset::None => {}
            Reset::Owed => match send() {
                Ok(Some(available)) => self.reset = Reset::Sent(available),
                Ok(None) => {}
                Err(error) => queue.fail(error),
            },
            Reset::Sent(available) => match queue.available_index(&active.ram) {
                Ok(now) if now == available => {}
                Ok(_) => self.finish_reset(),
                Err(error) => queue.fail(error),
            },
        }
    }

    fn finish_reset(&mut self) {
        self.reset = Reset::None;
        if let Some(active) = &self.active {
            self.reset_timer.disarm(&active.registrar);
        }
        self.mux.set_held(false);
        self.process(RX);
    }
}

impl VirtioDevice for Vsock {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Vsock
    }

    /// No feature bit means: stream sockets (VIRTIO 1.3 section 5.10.3).
    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn fast_queues(&self) -> u16 {
        1 << RX | 1 << TX
    }

    /// struct virtio_vsock_config (VIRTIO 1.3 section 5.10.4).
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        read_config_bytes(&self.config.guest_cid.to_le_bytes(), offset, data);
    }

    fn start(&mut self, activation: Activation) -> Result<(), ActivateError> {
        activation
            .registrar
            .add(self.listener.as_raw_fd(), LISTENER_TOKEN, EventSet::IN)
            .map_err(ActivateError::Register)?;
        self.mux.set_registrar(activation.registrar.clone());
        self.mux.assume_ready();
        if matches!(self.reset, Reset::Sent(_)) {
            // Paused before the driver answered: its answer may have been missed, so ask again.
            self.reset = Reset::Owed;
        }
        if self.reset != Reset::None {
            self.reset_timer
                .arm(&activation.registrar, self.reset_patience)
                .map_err(ActivateError::Register)?;
        }
        for queue in activation.queues.iter().filter(|queue| queue.is_ready()) {
            queue.kick();
        }
        self.active = Some(activation);
        Ok(())
    }

    fn on_kick(&mut self, index: u16) {
        match usize::from(index) {
            EVENT => self.process_event_queue(),
            queue => self.process(queue),
        }
    }

    fn on_event(&mut self, event: PollEvent) {
        match event.token {
            LISTENER_TOKEN => self.accept(),
            REST_TOKEN => self.wake_listener(),
            RESET_TOKEN => {
                self.reset_timer.acknowledge();
                if self.reset != Reset::None {
                    self.finish_reset();
                }
            }
            STREAM_TOKENS.. => self.mux.on_event(event),
            _ => {}
        }
        self.process(RX);
    }

    fn stop(&mut self) -> Vec<VirtioQueue> {
        let Some(active) = self.active.take() else {
            return Vec::new();
        };
        active.registrar.remove(self.listener.as_raw_fd());
        self.rest.disarm(&active.registrar);
        self.reset_timer.disarm(&active.registrar);
        active.queues
    }

    fn reset(&mut self) {
        self.mux.clear();
        self.mux.set_held(false);
        self.reset = Reset::None;
    }

    fn save(&self) -> DeviceBody {
        DeviceBody::Vsock(VsockState {
            guest_cid: self.config.guest_cid,
        })
    }

    fn restore(&mut self, body: &DeviceBody) -> Result<(), RestoreBodyError> {
        let DeviceBody::Vsock(saved) = body else {
            return Err(RestoreBodyError::WrongKind);
        };
        if saved.guest_cid != self.config.guest_cid {
            return Err(RestoreBodyError::Changed {
                what: "guest context id",
                saved: saved.guest_cid.to_string(),
                now: self.config.guest_cid.to_string(),
            });
        }
        self.reset = Reset::Owed;
        self.mux.set_held(true);
        Ok(())
    }
}

impl Drop for Vsock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config.socket);
    }
}
