//! The balloon device: its three queues, its target, its lifecycle.

#[cfg(test)]
mod tests;

use super::super::chain::Chain;
use super::super::device::{
    ActivateError, Activation, DeviceKind, VirtioDevice, read_config_bytes,
};
use super::super::fault::FaultCause;
use super::super::queue::VirtioQueue;
use super::super::ram::GuestRam;
use super::super::state::{BalloonState, DeviceBody, RestoreBodyError};
use super::discard::{discard_pages, discard_slice, runs};

const INFLATE: usize = 0;
const REPORTING: usize = 2;
const QUEUE_SIZES: &[u16] = &[64, 64, 64];

/// Feature bits (VIRTIO 1.3 section 5.5.3).
const F_DEFLATE_ON_OOM: u64 = 1 << 2;
const F_REPORTING: u64 = 1 << 5;

/// Offset of `actual` in the configuration space, the only field that drivers write.
const ACTUAL: usize = 4;

/// Page numbers in one buffer: Linux sends 256. More would make one request long.
const MAX_PAGE_BYTES: u64 = 4 * 4096;

/// A reported chain may name any amount of free memory; the work is per range, not per byte.
const MAX_REPORT_BYTES: u64 = 1 << 40;

const PAGES_PER_MIB: u32 = 256;

/// The balloon device.
#[derive(Debug, Default)]
pub struct Balloon {
    target_pages: u32,
    actual_pages: u32,
    active: Option<Activation>,
}

impl Balloon {
    /// Creates an empty balloon.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the guest to give up (or to take back) memory until it has given up `mib`.
    /// A guest whose target is that already is left alone.
    pub fn set_target_mib(&mut self, mib: u32) {
        let target_pages = mib.saturating_mul(PAGES_PER_MIB);
        if self.target_pages == target_pages {
            return;
        }
        self.target_pages = target_pages;
        if let Some(active) = &self.active {
            active.link.config_changed();
        }
    }

    /// MiB that the guest reports to have given up. A hostile guest can report any number.
    #[must_use]
    pub fn actual_mib(&self) -> u32 {
        self.actual_pages / PAGES_PER_MIB
    }
}

/// Serves at most as many chains as the queue has descriptors.
fn drain(
    queue: &mut VirtioQueue,
    ram: &GuestRam,
    limit: u64,
    mut take: impl FnMut(&mut Chain<'_>) -> Result<(), FaultCause>,
) -> Result<(), FaultCause> {
    let mut budget = queue.size();
    while budget > 0 {
        let Some(mut chain) = queue.pop(ram, limit)? else {
            if queue.rearm(ram)? {
                continue;
            }
            break;
        };
        take(&mut chain)?;
        queue.push_used(ram, chain.head, 0)?;
        budget -= 1;
    }
    queue.signal(ram)?;
    if budget == 0 {
        queue.kick();
    }
    Ok(())
}

/// Serves a buffer of little-endian page numbers (VIRTIO 1.3 section 5.5.6).
fn inflate(ram: &GuestRam, chain: &mut Chain<'_>) -> Result<(), FaultCause> {
    let mut pages = Vec::with_capacity(chain.readable.len() / 4);
    while let Some(page) = chain.readable.read_array() {
        pages.push(u32::from_le_bytes(page));
    }
    for (first, count) in runs(&mut pages) {
        if !discard_pages(ram, first, count) {
            return Err(FaultCause::Request("balloon page outside guest memory"));
        }
    }
    Ok(())
}

/// Serves a chain of free ranges (VIRTIO 1.3 section 5.5.6.7). All of the chain was checked to be guest memory.
fn report(chain: &Chain<'_>) {
    for slice in chain.writable.slices() {
        let _ = discard_slice(slice);
    }
}

impl VirtioDevice for Balloon {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Balloon
    }

    fn features(&self) -> u64 {
        F_DEFLATE_ON_OOM | F_REPORTING
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn fast_queues(&self) -> u16 {
        1 << REPORTING
    }

    /// struct virtio_balloon_config (VIRTIO 1.3 section 5.5.4).
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let mut config = [0; 8];
        config[..ACTUAL].copy_from_slice(&self.target_pages.to_le_bytes());
        config[ACTUAL..].copy_from_slice(&self.actual_pages.to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) {
        if offset == ACTUAL
            && let Ok(actual) = <[u8; 4]>::try_from(data)
        {
            self.actual_pages = u32::from_le_bytes(actual);
        }
    }

    fn start(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.active = Some(activation);
        Ok(())
    }

    fn on_kick(&mut self, index: u16) {
        let Some(active) = &mut self.active else {
            return;
        };
        let ram = &active.ram;
        let Some(queue) = active.queues.get_mut(usize::from(index)) else {
            return;
        };
        let result = match usize::from(index) {
            INFLATE => drain(queue, ram, MAX_PAGE_BYTES, |chain| inflate(ram, chain)),
            REPORTING => drain(queue, ram, MAX_REPORT_BYTES, |chain| {
                report(chain);
                Ok(())
            }),
            // Deflate: the pages come back by being touched.
            _ => drain(queue, ram, MAX_PAGE_BYTES, |_| Ok(())),
        };
        if let Err(cause) = result {
            active.link.fail(index, cause);
        }
    }

    fn stop(&mut self) -> Vec<VirtioQueue> {
        self.active
            .take()
            .map(|active| active.queues)
            .unwrap_or_default()
    }

    fn reset(&mut self) {
        self.actual_pages = 0;
    }

    fn save(&self) -> DeviceBody {
        DeviceBody::Balloon(BalloonState {
            target_pages: self.target_pages,
            actual_pages: self.actual_pages,
        })
    }

    fn restore(&mut self, body: &DeviceBody) -> Result<(), RestoreBodyError> {
        let DeviceBody::Balloon(saved) = body else {
            return Err(RestoreBodyError::WrongKind);
        };
        self.target_pages = saved.target_pages;
        self.actual_pages = saved.actual_pages;
        Ok(())
    }
}
