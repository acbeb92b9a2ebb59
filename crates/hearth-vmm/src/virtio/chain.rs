//! Descriptor chains, checked from end to end before anything in them is used.
//!
//! The table is walked here instead of by the iterator of `virtio-queue`, because that one ends
//! silently where a chain is malformed, and a device must be able to tell "short" from "broken".

use thiserror::Error;
use virtio_bindings::bindings::virtio_ring::{
    VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE,
};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions, VolatileSlice};

use super::ram::GuestRam;

/// A violation of the queue's rules by the driver.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum QueueError {
    /// The queue's size, alignment or addresses are not usable.
    #[error("queue configuration is not usable")]
    Configuration,
    /// The available index ran ahead by more than the queue's size.
    #[error("available index is ahead by more than the queue size")]
    AvailableIndex,
    /// A ring or the descriptor table is not in guest memory any more.
    #[error("ring is outside guest memory")]
    Ring,
    /// A descriptor index is not below the queue's size.
    #[error("descriptor index {0} is outside the table")]
    DescriptorIndex(u16),
    /// More descriptors than the queue has: a loop.
    #[error("descriptor chain has a loop")]
    Loop,
    /// VIRTQ_DESC_F_INDIRECT was not negotiated.
    #[error("indirect descriptor without the feature")]
    Indirect,
    /// A device-readable descriptor follows a device-writable one (VIRTIO 1.3 section 2.7.4.2).
    #[error("readable descriptor after a writable one")]
    Order,
    /// A buffer is not in guest memory.
    #[error("buffer {address:#x}+{len:#x} is outside guest memory")]
    Buffer {
        /// Guest physical address.
        address: u64,
        /// Length in bytes.
        len: u32,
    },
    /// The chain's buffers exceed what the device takes in one request.
    #[error("descriptor chain of more than {limit} bytes")]
    TooLong {
        /// The device's limit.
        limit: u64,
    },
}

/// One checked descriptor chain.
#[derive(Debug)]
pub struct Chain<'m> {
    /// Index of its first descriptor: what goes into the used ring.
    pub head: u16,
    /// Device-readable part.
    pub readable: Buffers<'m>,
    /// Device-writable part.
    pub writable: Buffers<'m>,
}

impl<'m> Chain<'m> {
    /// Walks the chain that starts at `head` in the table of `size` descriptors at `table`.
    pub(super) fn walk(
        ram: &'m GuestRam,
        table: GuestAddress,
        size: u16,
        head: u16,
        max_bytes: u64,
    ) -> Result<Self, QueueError> {
        let mut chain = Self {
            head,
            readable: Buffers::default(),
            writable: Buffers::default(),
        };
        let mut index = head;
        let mut total = 0u64;
        let mut writable_seen = false;
        for _ in 0..size {
            if index >= size {
                return Err(QueueError::DescriptorIndex(index));
            }
            // A table at the end of the address space was refused when the queue was built.
            let address = GuestAddress(table.0.wrapping_add(u64::from(index) * 16));
            let descriptor: Descriptor = ram.read_obj(address).map_err(|_| QueueError::Ring)?;
            let flags = u32::from(descriptor.flags());
            if flags & VRING_DESC_F_INDIRECT != 0 {
                return Err(QueueError::Indirect);
            }
            total += u64::from(descriptor.len());
            if total > max_bytes {
                return Err(QueueError::TooLong { limit: max_bytes });
            }
            if flags & VRING_DESC_F_WRITE != 0 {
                writable_seen = true;
                chain
                    .writable
                    .append(ram, &descriptor, Permissions::Write)?;
            } else if !writable_seen {
                chain.readable.append(ram, &descriptor, Permissions::Read)?;
            } else {
                return Err(QueueError::Order);
            }
            if flags & VRING_DESC_F_NEXT == 0 {
                return Ok(chain);
            }
            index = descriptor.next();
        }
        Err(QueueError::Loop)
    }
}

/// A sequence of guest buffers, none of them empty, consumed from the front. The memory may change under the reader
/// at any time: copy first, then check.
#[derive(Debug, Clone, Default)]
pub struct Buffers<'m> {
    slices: Vec<VolatileSlice<'m>>,
    front: usize,
    len: usize,
}

impl<'m> Buffers<'m> {
    fn append(
        &mut self,
        ram: &'m GuestRam,
        descriptor: &Descriptor,
        access: Permissions,
    ) -> Result<(), QueueError> {
        let outside = || QueueError::Buffer {
            address: descriptor.addr().0,
            len: descriptor.len(),
        };
        let len = descriptor.len() as usize;
        if len == 0 {
            // Nothing to read or write, and an empty part is a trap for what works on parts.
            return Ok(());
        }
        let slices = ram
            .get_slices(descriptor.addr(), len, access)
            .map_err(|_| outside())?;
        let before = self.slices.len();
        for slice in slices {
            self.slices.push(slice.map_err(|_| outside())?);
        }
        // The backend's iterator ends early, without an error, at the end of the last region.
        let found: usize = self.slices[before..].iter().map(VolatileSlice::len).sum();
        if found != len {
            return Err(outside());
        }
        self.len += len;
        Ok(())
    }

    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The buffers that are left.
    #[must_use]
    pub fn slices(&self) -> &[VolatileSlice<'m>] {
        &self.slices[self.front..]
    }

    /// Copies from the front, consuming; returns the number of bytes copied.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let mut done = 0;
        while done < out.len() && self.front < self.slices.len() {
            let copied = self.slices[self.front].copy_to(&mut out[done..]);
            done += copied;
            self.advance(copied);
        }
        done
    }

    /// Copies exactly `N` bytes from the front, or consumes nothing that matters and is `None`.
    pub fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read(&mut bytes) == N).then_some(bytes)
    }

    /// Copies to the front, consuming; returns the number of bytes that fitted.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let mut done = 0;
        while done < data.len() && self.front < self.slices.len() {
            let slice = &self.slices[self.front];
            let count = slice.len().min(data.len() - done);
            slice.copy_from(&data[done..done + count]);
            done += count;
            self.advance(count);
        }
        done
    }

    /// Drops `count` bytes from the front.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.len);
        self.len -= left;
        while left > 0 && self.front < self.slices.len() {
            let slice = &mut self.slices[self.front];
            if left < slice.len() {
                if let Ok(rest) = slice.offset(left) {
                    *slice = rest;
                }
                return;
            }
            left -= slice.len();
            self.front += 1;
        }
    }

    /// Keeps the first `len` bytes and returns the rest.
    #[must_use]
    pub fn split_off(&mut self, len: usize) -> Buffers<'m> {
        let mut rest = self.clone();
        rest.advance(len);
        self.truncate(len);
        rest
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        let mut left = len;
        for position in self.front..self.slices.len() {
            if left == 0 {
                self.slices.truncate(position);
                return;
            }
            let slice = &mut self.slices[position];
            if left <= slice.len() {
                if let Ok(kept) = slice.subslice(0, left) {
                    *slice = kept;
                }
                self.slices.truncate(position + 1);
                return;
            }
            left -= slice.len();
        }
    }
}
