//! A running virtqueue: takes descriptor chains from the driver, returns them, and notifies in both directions.
//!
//! `virtio_queue::Queue` keeps the ring indices and the event-index arithmetic; chains are walked
//! in [`chain`](super::chain). All guest input of all devices passes through
//! [`VirtioQueue::pop`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::GuestAddress;
use vmm_sys_util::eventfd::EventFd;

use super::chain::{Chain, QueueError};
use super::link::{Interrupt, Link};
use super::ram::GuestRam;
use super::state::QueueImage;

/// A configured queue that a device owns.
#[derive(Debug)]
pub struct VirtioQueue {
    index: u16,
    queue: Queue,
    /// Whether a chain was returned since the last signal.
    pushed: bool,
    kick: Arc<EventFd>,
    link: Arc<Link>,
}

impl VirtioQueue {
    /// Builds the queue that `image` describes. Fails if its rings are not in `ram`.
    pub fn new(
        index: u16,
        max_size: u16,
        image: &QueueImage,
        event_idx: bool,
        ram: &GuestRam,
        kick: Arc<EventFd>,
        link: Arc<Link>,
    ) -> Result<Self, QueueError> {
        let configure = || {
            let mut queue = Queue::new(max_size)?;
            // What an unused queue's registers hold is nobody's business.
            if !image.ready {
                return Ok(queue);
            }
            queue.try_set_size(image.size)?;
            queue.try_set_desc_table_address(GuestAddress(image.desc_table))?;
            queue.try_set_avail_ring_address(GuestAddress(image.avail_ring))?;
            queue.try_set_used_ring_address(GuestAddress(image.used_ring))?;
            queue.set_next_avail(image.next_avail);
            queue.set_next_used(image.next_used);
            queue.set_event_idx(event_idx);
            queue.set_ready(true);
            Ok::<_, virtio_queue::Error>(queue)
        };
        let queue = configure().map_err(|_| QueueError::Configuration)?;
        // An available ring at 0 is what virtio-queue takes for "not configured".
        if image.ready && (image.avail_ring == 0 || !queue.is_valid(ram)) {
            return Err(QueueError::Configuration);
        }
        Ok(Self {
            index,
            queue,
            pushed: false,
            kick,
            link,
        })
    }

    /// The queue's index in the device.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Whether the driver configured it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.queue.ready()
    }

    /// Its size in descriptors.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// The notification descriptor, for a worker with its own wait.
    #[must_use]
    pub fn kick_event(&self) -> &EventFd {
        &self.kick
    }

    /// Notifies the device itself that work is left over.
    pub fn kick(&self) {
        let _ = self.kick.write(1);
    }

    /// The link to the driver and the machine.
    #[must_use]
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Ring position, for the saved state.
    #[must_use]
    pub fn position(&self) -> (u16, u16) {
        (self.queue.next_avail(), self.queue.next_used())
    }

    /// Whether the driver offers buffers that were not popped.
    pub fn has_pending(&self, ram: &GuestRam) -> Result<bool, QueueError> {
        Ok(self.available_index(ram)? != self.queue.next_avail())
    }

    /// Takes the next chain, checked from end to end: indices, loops, order, addresses, and a
    /// total of at most `max_bytes`.
    pub fn pop<'m>(
        &mut self,
        ram: &'m GuestRam,
        max_bytes: u64,
    ) -> Result<Option<Chain<'m>>, QueueError> {
        if !self.queue.ready() {
            return Ok(None);
        }
        let head = {
            let mut available = self.queue.iter(ram).map_err(|error| match error {
                virtio_queue::Error::InvalidAvailRingIndex => QueueError::AvailableIndex,
                _ => QueueError::Ring,
            })?;
            match available.next() {
                Some(chain) => chain.head_index(),
                None => return Ok(None),
            }
        };
        let table = GuestAddress(self.queue.desc_table());
        Chain::walk(ram, table, self.queue.size(), head, max_bytes).map(Some)
    }

    /// Puts the chain that was popped last back, as if it had not been popped.
    pub fn undo_pop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Returns a chain to the driver, `written` bytes of its writable part being valid.
    pub fn push_used(&mut self, ram: &GuestRam, head: u16, written: u32) -> Result<(), QueueError> {
        self.pushed = true;
        self.queue
            .add_used(ram, head, written)
            .map_err(|_| QueueError::Ring)
    }

    /// Interrupts the driver if it asked for an interrupt for the chains returned since the last call.
    pub fn signal(&mut self, ram: &GuestRam) -> Result<(), QueueError> {
        if !std::mem::take(&mut self.pushed) {
            return Ok(());
        }
        if self
            .queue
            .needs_notification(ram)
            .map_err(|_| QueueError::Ring)?
        {
            self.link.interrupt(Interrupt::UsedBuffer);
        }
        Ok(())
    }

    /// Asks the driver to notify the next buffer. `true` if there already is one: there may then be no notification.
    pub fn rearm(&mut self, ram: &GuestRam) -> Result<bool, QueueError> {
        // A queue that was never configured has no ring to write to.
        if !self.queue.ready() {
            return Ok(false);
        }
        self.queue
            .enable_notification(ram)
            .map_err(|_| QueueError::Ring)
    }

    /// Asks for a notification of the next buffer beyond those that are available already, which stay in the ring.
    /// Returns the available index after which the driver notifies.
    pub fn watch(&mut self, ram: &GuestRam) -> Result<u16, QueueError> {
        let available = self.available_index(ram)?;
        let next = self.queue.next_avail();
        // The event index is written from the position, so move there and back.
        self.queue.set_next_avail(available);
        let armed = self.rearm(ram);
        self.queue.set_next_avail(next);
        armed.map(|_| available)
    }

    /// The driver's available index. Constant for a queue without a ring.
    pub fn available_index(&self, ram: &GuestRam) -> Result<u16, QueueError> {
        if !self.queue.ready() {
            return Ok(self.queue.next_avail());
        }
        self.queue
            .avail_idx(ram, Ordering::Acquire)
            .map(|index| index.0)
            .map_err(|_| QueueError::Ring)
    }

    /// Reports a broken queue; see [`Link::fail`].
    pub fn fail(&self, error: QueueError) {
        self.link.fail(self.index, error.into());
    }
}
