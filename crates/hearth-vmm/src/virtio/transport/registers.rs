//! The register window (VIRTIO 1.3 section 4.2.2) and the driver's handshake.

use virtio_bindings::bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::bindings::virtio_mmio as reg;
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use super::super::device::VirtioDevice;
use super::lifecycle::{DRIVER_STATUS, Inner, MmioTransport, Run, fresh_queues};

/// VendorID register; no meaning to drivers.
const VENDOR_ID: u32 = u32::from_le_bytes(*b"HRTH");

/// "virt", VIRTIO 1.3 section 4.2.2.
const MAGIC: u32 = u32::from_le_bytes(*b"virt");

/// Version of the non-legacy interface.
const VERSION: u32 = 2;

const TRANSPORT_FEATURES: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX;

impl<D: VirtioDevice> MmioTransport<D> {
    pub(super) fn read_register(&self, offset: u32) -> u32 {
        match offset {
            reg::VIRTIO_MMIO_MAGIC_VALUE => return MAGIC,
            reg::VIRTIO_MMIO_VERSION => return VERSION,
            reg::VIRTIO_MMIO_DEVICE_ID => return self.kind as u32,
            reg::VIRTIO_MMIO_VENDOR_ID => return VENDOR_ID,
            reg::VIRTIO_MMIO_INTERRUPT_STATUS => return self.link.interrupt_status(),
            reg::VIRTIO_MMIO_CONFIG_GENERATION => return self.link.config_generation(),
            // No shared memory regions: their length reads as -1 (VIRTIO 1.3 section 4.2.2).
            reg::VIRTIO_MMIO_SHM_LEN_LOW..=reg::VIRTIO_MMIO_SHM_BASE_HIGH => return u32::MAX,
            _ => {}
        }
        let inner = self.lock();
        let queue = inner.queue_sel as usize;
        match offset {
            reg::VIRTIO_MMIO_DEVICE_FEATURES => {
                half(inner.offered_features(), inner.device_features_sel)
            }
            reg::VIRTIO_MMIO_QUEUE_NUM_MAX => inner
                .device
                .queue_sizes()
                .get(queue)
                .map_or(0, |size| u32::from(*size)),
            reg::VIRTIO_MMIO_QUEUE_READY => inner
                .queues
                .get(queue)
                .map_or(0, |queue| u32::from(queue.ready)),
            reg::VIRTIO_MMIO_STATUS => inner.status | self.failed_bit(),
            _ => 0,
        }
    }

    pub(super) fn write_register(&self, offset: u32, value: u32) {
        match offset {
            reg::VIRTIO_MMIO_QUEUE_NOTIFY => return self.notify(value),
            reg::VIRTIO_MMIO_INTERRUPT_ACK => return self.link.acknowledge(value),
            _ => {}
        }
        let mut inner = self.lock();
        match offset {
            reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL => inner.device_features_sel = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL => inner.driver_features_sel = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES => inner.accept_features(value),
            reg::VIRTIO_MMIO_QUEUE_SEL => inner.queue_sel = value,
            reg::VIRTIO_MMIO_QUEUE_READY => self.set_queue_ready(&mut inner, value),
            reg::VIRTIO_MMIO_STATUS => self.set_status(&mut inner, value),
            _ => inner.configure_queue(offset, value),
        }
    }

    /// Handles a notification through the register, for queues without an ioeventfd.
    fn notify(&self, queue: u32) {
        if let Some(kick) = self.kicks.get(queue as usize) {
            // A full counter means that the device is notified already.
            let _ = kick.write(1);
        }
    }

    fn set_queue_ready(&self, inner: &mut Inner<D>, value: u32) {
        if inner.run != Run::Idle {
            return;
        }
        let Some((index, max_size)) = inner.selected_queue() else {
            return;
        };
        inner.queues[usize::from(index)].ready = value == 1;
        if let Err(error) = self.build_queue(inner, index, max_size) {
            inner.queues[usize::from(index)].ready = false;
            self.link.fail(index, error.into());
        }
    }

    /// Status register (VIRTIO 1.3 sections 2.1 and 3.1.1).
    fn set_status(&self, inner: &mut Inner<D>, value: u32) {
        if value == 0 {
            return self.reset(inner);
        }
        let added = value & !inner.status & DRIVER_STATUS;
        if added & VIRTIO_CONFIG_S_FEATURES_OK != 0 && !inner.features_acceptable() {
            // Not setting the bit is how a device refuses the driver's choice.
            inner.status |= added & !(VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
            return;
        }
        inner.status |= added;
        if added & VIRTIO_CONFIG_S_DRIVER_OK != 0 && inner.run == Run::Idle {
            self.start(inner);
        }
    }

    fn reset(&self, inner: &mut Inner<D>) {
        if inner.run == Run::Running {
            self.stop(inner);
            inner.run = Run::Idle;
        }
        inner.device.reset();
        inner.status = 0;
        inner.driver_features = 0;
        inner.queues = fresh_queues(&inner.device);
        self.link.set_failed(false);
        self.link.set_interrupt_status(0);
    }
}

impl<D: VirtioDevice> Inner<D> {
    pub(super) fn offered_features(&self) -> u64 {
        self.device.features() | TRANSPORT_FEATURES
    }

    fn features_acceptable(&self) -> bool {
        self.driver_features & 1 << VIRTIO_F_VERSION_1 != 0
            && self.driver_features & !self.offered_features() == 0
    }

    pub(super) fn may_run(&self) -> bool {
        let needed = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
        self.status & (needed | VIRTIO_CONFIG_S_FAILED) == needed
    }

    /// DriverFeatures register: only before FEATURES_OK (VIRTIO 1.3 section 3.1.1).
    fn accept_features(&mut self, value: u32) {
        if self.status & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            return;
        }
        let value = u64::from(value);
        match self.driver_features_sel {
            0 => self.driver_features = self.driver_features & !LOW_HALF | value,
            1 => self.driver_features = self.driver_features & LOW_HALF | value << 32,
            _ => {}
        }
    }

    fn selected_queue(&self) -> Option<(u16, u16)> {
        let max_size = *self.device.queue_sizes().get(self.queue_sel as usize)?;
        Some((u16::try_from(self.queue_sel).ok()?, max_size))
    }

    /// Sets size or addresses of the selected queue. Ignored for a queue that is ready.
    fn configure_queue(&mut self, offset: u32, value: u32) {
        let Some((index, max_size)) = self.selected_queue() else {
            return;
        };
        let queue = &mut self.queues[usize::from(index)];
        if queue.ready {
            return;
        }
        match offset {
            reg::VIRTIO_MMIO_QUEUE_NUM => {
                if let Ok(size @ 1..) = u16::try_from(value)
                    && size <= max_size
                    && size.is_power_of_two()
                {
                    queue.size = size;
                }
            }
            reg::VIRTIO_MMIO_QUEUE_DESC_LOW => set_low(&mut queue.desc_table, value),
            reg::VIRTIO_MMIO_QUEUE_DESC_HIGH => set_high(&mut queue.desc_table, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_low(&mut queue.avail_ring, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_high(&mut queue.avail_ring, value),
            reg::VIRTIO_MMIO_QUEUE_USED_LOW => set_low(&mut queue.used_ring, value),
            reg::VIRTIO_MMIO_QUEUE_USED_HIGH => set_high(&mut queue.used_ring, value),
            _ => {}
        }
    }
}

const LOW_HALF: u64 = u32::MAX as u64;

fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_low(address: &mut u64, value: u32) {
    *address = *address & !LOW_HALF | u64::from(value);
}

fn set_high(address: &mut u64, value: u32) {
    *address = *address & LOW_HALF | u64::from(value) << 32;
}
