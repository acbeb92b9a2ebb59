//! The network card: frames in both directions, its lifecycle, its configuration space.

#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use virtio_bindings::virtio_net as net;
use vmm_sys_util::epoll::EventSet;

use super::super::device::{
    ActivateError, Activation, DeviceKind, VirtioDevice, read_config_bytes,
};
use super::super::fault::FaultCause;
use super::super::limiter::{RateLimit, RateLimiter, RetryTimer};
use super::super::poller::{DEVICE_TOKENS, PollEvent};
use super::super::queue::VirtioQueue;
use super::super::ram::GuestRam;
use super::super::state::{DeviceBody, NetState, RestoreBodyError};
use super::offload::sanitize;
use super::tap::{HEADER_LEN, Tap};

const RX: usize = 0;
const TX: usize = 1;
const QUEUE_SIZES: &[u16] = &[256, 256];

const TAP_TOKEN: u32 = DEVICE_TOKENS;
const RX_TIMER: u32 = DEVICE_TOKENS + 1;
const TX_TIMER: u32 = DEVICE_TOKENS + 2;

/// An Ethernet header: anything shorter is no frame.
const MIN_FRAME: usize = 14;

/// The largest segmentation-offload frame, and what a receive buffer must hold without
/// offloads (VIRTIO 1.3 section 5.1.6.3.1).
const MAX_FRAME: usize = 65_550;
const RECEIVE_BUFFER: usize = HEADER_LEN + 1514;

/// A receive buffer may be any number of pages; the card uses what a frame needs.
const MAX_RECEIVE_BYTES: u64 = 1 << 20;

/// Configuration of a network card.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Hardware address.
    pub mac: [u8; 6],
    /// Largest packet without its Ethernet header, told to the guest.
    pub mtu: u16,
    /// Limit of frames to the guest.
    pub rx_limit: RateLimit,
    /// Limit of frames from the guest.
    pub tx_limit: RateLimit,
}

/// The network card.
#[derive(Debug)]
pub struct Net {
    config: NetConfig,
    tap: Tap,
    /// Whether the TAP may have frames. Remembered, because the TAP is watched edge-triggered: a guest without receive
    /// buffers then costs nothing.
    readable: bool,
    rx_limiter: RateLimiter,
    tx_limiter: RateLimiter,
    rx_timer: RetryTimer,
    tx_timer: RetryTimer,
    active: Option<Activation>,
}

impl Net {
    /// Creates a card on `tap`.
    #[must_use]
    pub fn new(config: NetConfig, tap: Tap) -> Self {
        let now = Instant::now();
        Self {
            tap,
            readable: false,
            rx_limiter: RateLimiter::new(config.rx_limit, now),
            tx_limiter: RateLimiter::new(config.tx_limit, now),
            rx_timer: RetryTimer::new(RX_TIMER),
            tx_timer: RetryTimer::new(TX_TIMER),
            active: None,
            config,
        }
    }

    fn receive(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let mut card = Receive {
            queue: &mut active.queues[RX],
            tap: &self.tap,
            readable: &mut self.readable,
            limiter: &mut self.rx_limiter,
        };
        let delay = card.run(&active.ram);
        finish(active, RX, delay, &mut self.rx_timer);
    }

    fn transmit(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let queue = &mut active.queues[TX];
        let delay = transmit(
            queue,
            &active.ram,
            &self.tap,
            &mut self.tx_limiter,
            active.features,
        );
        finish(active, TX, delay, &mut self.tx_timer);
    }
}

type Delay = Result<Option<Duration>, FaultCause>;

fn finish(active: &Activation, queue: usize, delay: Delay, timer: &mut RetryTimer) {
    let result = delay.and_then(|delay| match delay {
        Some(delay) => timer
            .arm(&active.registrar, delay)
            .map_err(|error| FaultCause::Host(error.to_string())),
        None => Ok(()),
    });
    if let Err(cause) = result {
        active.link.fail(queue as u16, cause);
    }
}

/// The parts of the card that receive frames for the guest.
struct Receive<'a> {
    queue: &'a mut VirtioQueue,
    tap: &'a Tap,
    readable: &'a mut bool,
    limiter: &'a mut RateLimiter,
}

impl Receive<'_> {
    /// Reads frames from the TAP while there are frames and buffers; at most as many as the queue has descriptors.
    fn run(&mut self, ram: &GuestRam) -> Delay {
        let mut delay = None;
        let mut budget = self.queue.size();
        while *self.readable && budget > 0 {
            delay = self.limiter.delay(Instant::now());
            if delay.is_some() {
                break;
            }
            if !self.queue.has_pending(ram)? && !self.queue.rearm(ram)? {
                break;
            }
            self.one(ram)?;
            budget -= 1;
        }
        self.queue.signal(ram)?;
        if budget == 0 {
            self.queue.kick();
        }
        Ok(delay)
    }

    fn one(&mut self, ram: &GuestRam) -> Result<(), FaultCause> {
        let Some(mut chain) = self.queue.pop(ram, MAX_RECEIVE_BYTES)? else {
            return Ok(());
        };
        if chain.writable.len() < RECEIVE_BUFFER {
            return Err(FaultCause::Request(
                "network receive buffer is too small for a frame",
            ));
        }
        chain.writable.truncate(HEADER_LEN + MAX_FRAME);
        match self.tap.receive(&chain.writable) {
            Ok(len) if len >= HEADER_LEN => {
                self.limiter.charge((len - HEADER_LEN) as u64);
                // The TAP leaves num_buffers alone; it must be 1 (VIRTIO 1.3 section 5.1.6.4).
                chain.writable.advance(HEADER_LEN - 2);
                chain.writable.write(&1u16.to_le_bytes());
                self.queue.push_used(ram, chain.head, len as u32)?;
                return Ok(());
            }
            Ok(_) => *self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Nothing there; or the interface is down, which its next event will end.
            Err(_) => *self.readable = false,
        }
        self.queue.undo_pop();
        Ok(())
    }
}

/// Sends at most as many frames as the queue has descriptors.
fn transmit(
    queue: &mut VirtioQueue,
    ram: &GuestRam,
    tap: &Tap,
    limiter: &mut RateLimiter,
    features: u64,
) -> Delay {
    let mut delay = None;
    let mut budget = queue.size();
    while budget > 0 {
        delay = limiter.delay(Instant::now());
        if delay.is_some() {
            break;
        }
        let Some(mut chain) = queue.pop(ram, (HEADER_LEN + MAX_FRAME) as u64)? else {
            if queue.rearm(ram)? {
                continue;
            }
            break;
        };
        let header = chain.readable.read_array::<HEADER_LEN>();
        if let Some(header) = header
            && chain.readable.len() >= MIN_FRAME
        {
            limiter.charge(chain.readable.len() as u64);
            // A network may lose frames: what may not be asked of the TAP, or what it does not take, is lost.
            if let Some(header) = sanitize(header, features, chain.readable.len()) {
                let _ = tap.send(&header, &chain.readable);
            }
        }
        queue.push_used(ram, chain.head, 0)?;
        budget -= 1;
    }
    queue.signal(ram)?;
    if budget == 0 {
        queue.kick();
    }
    Ok(delay)
}

/// Checksums and TCP segmentation of frames from the guest.
const OFFLOADS: u64 = 1 << net::VIRTIO_NET_F_CSUM
    | 1 << net::VIRTIO_NET_F_HOST_TSO4
    | 1 << net::VIRTIO_NET_F_HOST_TSO6;

impl VirtioDevice for Net {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Net
    }

    fn features(&self) -> u64 {
        OFFLOADS | 1 << net::VIRTIO_NET_F_MAC | 1 << net::VIRTIO_NET_F_MTU
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    /// struct virtio_net_config (VIRTIO 1.3 section 5.1.4).
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let mut config = [0; 12];
        config[..6].copy_from_slice(&self.config.mac);
        config[10..].copy_from_slice(&self.config.mtu.to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn start(&mut self, activation: Activation) -> Result<(), ActivateError> {
        activation
            .registrar
            .add(
                self.tap.as_fd().as_raw_fd(),
                TAP_TOKEN,
                EventSet::IN | EventSet::EDGE_TRIGGERED,
            )
            .map_err(ActivateError::Register)?;
        self.active = Some(activation);
        Ok(())
    }

    fn on_kick(&mut self, index: u16) {
        match usize::from(index) {
            RX => self.receive(),
            _ => self.transmit(),
        }
    }

    fn on_event(&mut self, event: PollEvent) {
        match event.token {
            TX_TIMER => {
                self.tx_timer.acknowledge();
                self.transmit();
            }
            RX_TIMER => {
                self.rx_timer.acknowledge();
                self.receive();
            }
            _ => {
                self.readable = true;
                self.receive();
            }
        }
    }

    fn stop(&mut self) -> Vec<VirtioQueue> {
        let Some(active) = self.active.take() else {
            return Vec::new();
        };
        // Adding it again at the next start reports frames that came in between.
        active.registrar.remove(self.tap.as_fd().as_raw_fd());
        self.rx_timer.disarm(&active.registrar);
        self.tx_timer.disarm(&active.registrar);
        active.queues
    }

    fn reset(&mut self) {
        self.readable = false;
    }

    fn save(&self) -> DeviceBody {
        DeviceBody::Net(NetState {
            mac: self.config.mac,
        })
    }

    fn restore(&mut self, body: &DeviceBody) -> Result<(), RestoreBodyError> {
        let DeviceBody::Net(saved) = body else {
            return Err(RestoreBodyError::WrongKind);
        };
        if saved.mac != self.config.mac {
            return Err(RestoreBodyError::Changed {
                what: "hardware address",
                saved: format!("{:02x?}", saved.mac),
                now: format!("{:02x?}", self.config.mac),
            });
        }
        Ok(())
    }
}
