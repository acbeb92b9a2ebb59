//! A driver in memory, for tests and fuzzing: does through registers and rings what a guest kernel
//! does, and everything that a guest kernel should not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use virtio_bindings::bindings::virtio_mmio as reg;
use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::VirtioDevice;
use super::fault::{DeviceFault, FaultSink};
use super::poller::Poller;
use super::ram::GuestRam;
use super::transport::{MmioDevice, MmioTransport};

/// Guest memory of the tests: two regions with a hole, as a real machine has.
pub(crate) const LOW_LEN: usize = 16 << 20;
pub(crate) const HIGH_START: u64 = 64 << 20;
pub(crate) const RINGS: u64 = 0x1_0000;
const BUFFERS: u64 = 1 << 20;

/// Everything else waits at most this long for a thread.
const PATIENCE: Duration = Duration::from_secs(20);

/// ACKNOWLEDGE | DRIVER, then FEATURES_OK, then DRIVER_OK.
const STATUS_STEPS: [u32; 4] = [1, 3, 11, 15];

/// One descriptor to offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) writable: bool,
}

pub(crate) struct Ring {
    pub(crate) size: u16,
    pub(crate) desc: u64,
    pub(crate) avail: u64,
    pub(crate) used: u64,
    next_desc: u16,
    avail_index: u16,
    used_seen: u16,
}

pub(crate) struct Driver<D> {
    pub(crate) transport: Arc<MmioTransport<D>>,
    pub(crate) ram: GuestRam,
    pub(crate) poller: Poller,
    pub(crate) faults: FaultSink,
    pub(crate) rings: Vec<Ring>,
    next_buffer: u64,
}

pub(crate) fn ram() -> GuestRam {
    GuestRam::from_ranges(&[
        (GuestAddress(0), LOW_LEN),
        (GuestAddress(HIGH_START), LOW_LEN),
    ])
    .expect("anonymous memory")
}

pub(crate) fn event_fd() -> EventFd {
    EventFd::new(EFD_NONBLOCK).expect("eventfd")
}

impl<D: VirtioDevice> Driver<D> {
    /// A device that nobody has touched.
    pub(crate) fn cold(device: D, ram: GuestRam) -> Self {
        let poller = Poller::new().expect("epoll");
        let faults = FaultSink::new(event_fd());
        let rings = device
            .queue_sizes()
            .iter()
            .zip(0u64..)
            .map(|(size, index)| Ring {
                size: *size,
                desc: RINGS + index * 0x8000,
                avail: RINGS + index * 0x8000 + 0x4000,
                used: RINGS + index * 0x8000 + 0x6000,
                next_desc: 0,
                avail_index: 0,
                used_seen: 0,
            })
            .collect();
        let transport = MmioTransport::new(
            "test".into(),
            device,
            ram.clone(),
            event_fd(),
            poller.registrar(0),
            faults.clone(),
        )
        .expect("transport");
        Self {
            transport: Arc::new(transport),
            ram,
            poller,
            faults,
            rings,
            next_buffer: BUFFERS,
        }
    }

    /// A device whose driver accepted `features` (and VERSION_1) and started it.
    pub(crate) fn started(device: D, features: u64) -> Self {
        let driver = Self::cold(device, ram());
        driver.start(features);
        driver
    }

    pub(crate) fn start(&self, features: u64) {
        let features = features | 1 << 32;
        for status in STATUS_STEPS {
            if status == 11 {
                for half in 0..2u32 {
                    self.write(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
                    self.write(
                        reg::VIRTIO_MMIO_DRIVER_FEATURES,
                        (features >> (32 * half)) as u32,
                    );
                }
            }
            if status == 15 {
                self.configure_queues();
            }
            self.write(reg::VIRTIO_MMIO_STATUS, status);
        }
        assert_eq!(self.read(reg::VIRTIO_MMIO_STATUS), 15);
    }

    /// Resets the device and forgets the rings.
    pub(crate) fn reset(&mut self) {
        self.write(reg::VIRTIO_MMIO_STATUS, 0);
        assert_eq!(self.read(reg::VIRTIO_MMIO_STATUS), 0);
        for ring in &mut self.rings {
            (ring.next_desc, ring.avail_index, ring.used_seen) = (0, 0, 0);
            for address in [ring.avail, ring.used] {
                self.ram
                    .write_slice(&[0; 4], GuestAddress(address))
                    .expect("in memory");
            }
        }
    }

    fn configure_queues(&self) {
        for (index, ring) in self.rings.iter().enumerate() {
            self.write(reg::VIRTIO_MMIO_QUEUE_SEL, index as u32);
            self.write(reg::VIRTIO_MMIO_QUEUE_NUM, u32::from(ring.size));
            for (register, address) in [
                (reg::VIRTIO_MMIO_QUEUE_DESC_LOW, ring.desc),
                (reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, ring.avail),
                (reg::VIRTIO_MMIO_QUEUE_USED_LOW, ring.used),
            ] {
                self.write(register, address as u32);
                self.write(register + 4, (address >> 32) as u32);
            }
            self.write(reg::VIRTIO_MMIO_QUEUE_READY, 1);
        }
    }

    pub(crate) fn read(&self, register: u32) -> u32 {
        let mut word = [0; 4];
        self.transport.read(u64::from(register), &mut word);
        u32::from_le_bytes(word)
    }

    pub(crate) fn write(&self, register: u32, value: u32) {
        self.transport
            .write(u64::from(register), &value.to_le_bytes());
    }

    /// Room for `len` bytes of buffer, never reused within a test of less than 14 MiB.
    pub(crate) fn alloc(&mut self, len: usize) -> u64 {
        let address = self.next_buffer;
        self.next_buffer += len.next_multiple_of(64) as u64;
        if self.next_buffer > LOW_LEN as u64 {
            self.next_buffer = BUFFERS + len.next_multiple_of(64) as u64;
            return BUFFERS;
        }
        address
    }

    pub(crate) fn readable(&mut self, bytes: &[u8]) -> Buffer {
        let address = self.alloc(bytes.len());
        self.ram
            .write_slice(bytes, GuestAddress(address))
            .expect("in memory");
        Buffer {
            address,
            len: bytes.len() as u32,
            writable: false,
        }
    }

    pub(crate) fn writable(&mut self, len: usize) -> Buffer {
        let address = self.alloc(len);
        Buffer {
            address,
            len: len as u32,
            writable: true,
        }
    }

    pub(crate) fn bytes(&self, buffer: Buffer) -> Vec<u8> {
        let mut bytes = vec![0; buffer.len as usize];
        self.ram
            .read_slice(&mut bytes, GuestAddress(buffer.address))
            .expect("in memory");
        bytes
    }

    /// Writes a descriptor as it is, however wrong.
    pub(crate) fn raw_descriptor(
        &self,
        queue: usize,
        index: u16,
        address: u64,
        len: u32,
        flags: u16,
        next: u16,
    ) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        let at = self.rings[queue].desc + u64::from(index) * 16;
        self.ram
            .write_slice(&bytes, GuestAddress(at))
            .expect("in memory");
    }

    /// Makes `head` available, without notifying.
    pub(crate) fn publish(&mut self, queue: usize, head: u16) {
        let ring = &mut self.rings[queue];
        let slot = ring.avail + 4 + u64::from(ring.avail_index % ring.size) * 2;
        self.ram
            .write_obj(head, GuestAddress(slot))
            .expect("in memory");
        ring.avail_index = ring.avail_index.wrapping_add(1);
        self.ram
            .store(
                ring.avail_index,
                GuestAddress(ring.avail + 2),
                Ordering::Release,
            )
            .expect("in memory");
    }

    /// Offers a chain of `buffers`; returns its head. The table is used round-robin, so at most
    /// a table's worth of descriptors may be in flight.
    pub(crate) fn offer(&mut self, queue: usize, buffers: &[Buffer]) -> u16 {
        let size = self.rings[queue].size;
        let head = self.rings[queue].next_desc;
        for (position, buffer) in buffers.iter().enumerate() {
            let index = (head + position as u16) % size;
            let more = position + 1 < buffers.len();
            let flags = if buffer.writable {
                VRING_DESC_F_WRITE
            } else {
                0
            } | if more { VRING_DESC_F_NEXT } else { 0 };
            self.raw_descriptor(
                queue,
                index,
                buffer.address,
                buffer.len,
                flags as u16,
                (index + 1) % size,
            );
        }
        self.rings[queue].next_desc = (head + buffers.len() as u16) % size;
        self.publish(queue, head);
        head
    }

    /// Notifies through the register.
    pub(crate) fn kick(&self, queue: usize) {
        self.write(reg::VIRTIO_MMIO_QUEUE_NOTIFY, queue as u32);
    }

    /// Runs the event loop until it has nothing to do for the moment.
    pub(crate) fn pump(&self) {
        for _ in 0..1000 {
            let transport = &self.transport;
            if self
                .poller
                .wait(0, |event| transport.on_event(event))
                .expect("epoll")
                == 0
            {
                return;
            }
        }
        panic!("the device never comes to rest");
    }

    /// The next used chain, if there is one: (head, written).
    pub(crate) fn used(&mut self, queue: usize) -> Option<(u16, u32)> {
        let ring = &mut self.rings[queue];
        let index: u16 = self
            .ram
            .load(GuestAddress(ring.used + 2), Ordering::Acquire)
            .expect("in memory");
        if index == ring.used_seen {
            return None;
        }
        let slot = ring.used + 4 + u64::from(ring.used_seen % ring.size) * 8;
        ring.used_seen = ring.used_seen.wrapping_add(1);
        let head: u32 = self.ram.read_obj(GuestAddress(slot)).expect("in memory");
        let len: u32 = self
            .ram
            .read_obj(GuestAddress(slot + 4))
            .expect("in memory");
        Some((head as u16, len))
    }

    /// Runs the loop until `done` gives something.
    pub(crate) fn wait_for<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.pump();
            if let Some(value) = done(self) {
                return value;
            }
            assert!(Instant::now() < deadline, "nothing came");
            let transport = &self.transport;
            self.poller
                .wait(1, |event| transport.on_event(event))
                .expect("epoll");
        }
    }

    /// Offers, notifies, and waits for the answer.
    pub(crate) fn request(&mut self, queue: usize, buffers: &[Buffer]) -> u32 {
        let head = self.offer(queue, buffers);
        self.kick(queue);
        let (used, len) = self.wait_for(|driver| driver.used(queue));
        assert_eq!(used, head);
        len
    }

    /// Waits for the first fault.
    pub(crate) fn fault(&mut self) -> DeviceFault {
        let fault = self.wait_for(|driver| driver.faults.take().1.pop());
        let needs_reset = 64;
        assert_eq!(
            self.read(reg::VIRTIO_MMIO_STATUS) & needs_reset,
            needs_reset
        );
        fault
    }

    /// Saves this machine's device and puts its state on `device`, over the same memory.
    pub(crate) fn moved_to(self, device: D) -> Self {
        self.transport.pause();
        let state = self.transport.save();
        let encoded = postcard::to_stdvec(&state).expect("encode");
        let state = postcard::from_bytes(&encoded).expect("decode");
        let mut next = Self::cold(device, self.ram);
        next.rings = self.rings;
        next.next_buffer = self.next_buffer;
        next.transport.restore(&state).expect("restore");
        next.transport.resume();
        next
    }
}

/// Memory as a clone has it: private over a file.
#[cfg(test)]
pub(crate) fn mapped_ram(file: std::fs::File) -> GuestRam {
    use vm_memory::mmap::MmapRegionBuilder;
    use vm_memory::{FileOffset, GuestRegionMmap};
    let region = MmapRegionBuilder::new(LOW_LEN)
        .with_file_offset(FileOffset::new(file, 0))
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE)
        .build()
        .expect("mapping");
    let region = GuestRegionMmap::new(region, GuestAddress(0)).expect("region");
    GuestRam::from_regions(vec![region]).expect("memory")
}
