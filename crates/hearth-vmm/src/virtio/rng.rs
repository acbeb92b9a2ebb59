//! Entropy source (VIRTIO 1.3 section 5.4): every buffer is filled from the host's getrandom.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use super::chain::QueueError;
use super::device::{ActivateError, Activation, DeviceKind, VirtioDevice};
use super::fault::FaultCause;
use super::limiter::{BucketLimit, RateLimit, RateLimiter, RetryTimer};
use super::poller::{DEVICE_TOKENS, PollEvent};
use super::queue::VirtioQueue;
use super::ram::GuestRam;
use super::state::{DeviceBody, RestoreBodyError};

/// Linux asks for at most a page at a time.
const QUEUE_SIZES: &[u16] = &[64];

/// Bytes given for one buffer; a driver that offers more gets a short answer, as the
/// specification allows. Keeps the work for one request small.
const REQUEST_BYTES: usize = 4096;

/// A driver may offer as large a buffer as it likes; only `REQUEST_BYTES` of it are used.
const CHAIN_BYTES: u64 = u32::MAX as u64;

/// Seeding a guest takes less than a KiB; this is for guests that read /dev/hwrng directly, and
/// keeps one of them from eating a host core.
const LIMIT: RateLimit = RateLimit {
    operations: Some(BucketLimit {
        per_second: 4096,
        burst: 256,
    }),
    bytes: Some(BucketLimit {
        per_second: 1 << 20,
        burst: 64 << 10,
    }),
};

const TIMER_TOKEN: u32 = DEVICE_TOKENS;

/// The entropy device.
#[derive(Debug)]
pub struct Rng {
    limiter: RateLimiter,
    timer: RetryTimer,
    active: Option<Activation>,
}

impl Default for Rng {
    fn default() -> Self {
        Self::new()
    }
}

impl Rng {
    /// Creates an entropy device.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limiter: RateLimiter::new(LIMIT, Instant::now()),
            timer: RetryTimer::new(TIMER_TOKEN),
            active: None,
        }
    }

    fn process(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let queue = &mut active.queues[0];
        match serve(queue, &active.ram, &mut self.limiter) {
            Ok(None) => {}
            Ok(Some(delay)) => {
                if let Err(error) = self.timer.arm(&active.registrar, delay) {
                    active.link.fail(0, FaultCause::Host(error.to_string()));
                }
            }
            Err(error) => queue.fail(error),
        }
    }
}

/// Serves the available buffers. Answers the time to wait if the rate limit is reached.
fn serve(
    queue: &mut VirtioQueue,
    ram: &GuestRam,
    limiter: &mut RateLimiter,
) -> Result<Option<Duration>, QueueError> {
    loop {
        let delay = loop {
            let delay = limiter.delay(Instant::now());
            if delay.is_some() {
                break delay;
            }
            let Some(mut chain) = queue.pop(ram, CHAIN_BYTES)? else {
                break None;
            };
            let mut bytes = [MaybeUninit::uninit(); REQUEST_BYTES];
            let wanted = chain.writable.len().min(REQUEST_BYTES);
            // Without host entropy (impossible after boot) the guest gets an empty answer.
            let filled = rustix::rand::getrandom(
                &mut bytes[..wanted],
                rustix::rand::GetRandomFlags::empty(),
            )
            .map_or(0, |(filled, _)| chain.writable.write(filled));
            limiter.charge(filled as u64);
            queue.push_used(ram, chain.head, filled as u32)?;
        };
        queue.signal(ram)?;
        if delay.is_some() || !queue.rearm(ram)? {
            return Ok(delay);
        }
    }
}

impl VirtioDevice for Rng {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Rng
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn fast_queues(&self) -> u16 {
        0
    }

    fn read_config(&self, _offset: usize, data: &mut [u8]) {
        data.fill(0);
    }

    fn start(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.active = Some(activation);
        Ok(())
    }

    fn on_kick(&mut self, _index: u16) {
        self.process();
    }

    fn on_event(&mut self, _event: PollEvent) {
        self.timer.acknowledge();
        self.process();
    }

    fn stop(&mut self) -> Vec<VirtioQueue> {
        let Some(active) = self.active.take() else {
            return Vec::new();
        };
        self.timer.disarm(&active.registrar);
        active.queues
    }

    fn reset(&mut self) {}

    fn save(&self) -> DeviceBody {
        DeviceBody::Rng
    }

    fn restore(&mut self, body: &DeviceBody) -> Result<(), RestoreBodyError> {
        match body {
            DeviceBody::Rng => Ok(()),
            _ => Err(RestoreBodyError::WrongKind),
        }
    }
}
