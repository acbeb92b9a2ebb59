//! Flow control of one stream (VIRTIO 1.3 section 5.10.6.3): counts how many bytes either side may send. All counters
//! wrap at 2^32, as the specification defines.

/// Credit of both directions, seen from the host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credit {
    /// Bytes of guest data that the host is ready to buffer; sent to the guest as buf_alloc.
    window: u32,
    /// Bytes of guest data that were received.
    received: u32,
    /// Bytes of guest data that were passed to the host's socket: fwd_cnt.
    forwarded: u32,
    /// The fwd_cnt that the guest knows.
    announced: u32,
    /// Bytes sent to the guest.
    sent: u32,
    /// The guest's buf_alloc and fwd_cnt.
    peer_window: u32,
    peer_forwarded: u32,
}

impl Credit {
    pub(super) fn new(window: u32) -> Self {
        Self {
            window,
            received: 0,
            forwarded: 0,
            announced: 0,
            sent: 0,
            peer_window: 0,
            peer_forwarded: 0,
        }
    }

    /// Updates the guest's counters from a packet.
    pub(super) fn update_peer(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        self.peer_window = buf_alloc;
        self.peer_forwarded = fwd_cnt;
    }

    /// Bytes that may be sent to the guest; 0 if the guest's counters are inconsistent.
    pub(super) fn sendable(&self) -> u32 {
        self.peer_window
            .saturating_sub(self.sent.wrapping_sub(self.peer_forwarded))
    }

    pub(super) fn sent(&mut self, bytes: u32) {
        self.sent = self.sent.wrapping_add(bytes);
    }

    /// Counts `bytes` of guest data; false if the guest had no credit for them.
    #[must_use]
    pub(super) fn receive(&mut self, bytes: u32) -> bool {
        let held = self.received.wrapping_sub(self.forwarded);
        if u64::from(held) + u64::from(bytes) > u64::from(self.window) {
            return false;
        }
        self.received = self.received.wrapping_add(bytes);
        true
    }

    pub(super) fn forwarded(&mut self, bytes: u32) {
        self.forwarded = self.forwarded.wrapping_add(bytes);
    }

    /// Whether a credit update is due: by the counters that the guest knows, less than half of the window is left.
    pub(super) fn owes_update(&self) -> bool {
        let unannounced = self.forwarded.wrapping_sub(self.announced);
        let believed_used = self.received.wrapping_sub(self.announced);
        unannounced > 0 && believed_used >= self.window / 2
    }

    /// buf_alloc and fwd_cnt for a packet that is being sent.
    pub(super) fn announce(&mut self) -> (u32, u32) {
        self.announced = self.forwarded;
        (self.window, self.forwarded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A guest that follows the rules, as Linux does.
    struct Guest {
        sent: u32,
        window: u32,
        forwarded: u32,
    }

    proptest! {
        /// A guest within its credit is never refused and never left waiting for ever.
        #[test]
        fn an_honest_guest_always_gets_on(
            window in 1024u32..300_000,
            steps in prop::collection::vec((1u32..70_000, 1u32..70_000), 1..300),
        ) {
            let mut credit = Credit::new(window);
            let (alloc, fwd) = credit.announce();
            let mut guest = Guest { sent: 0, window: alloc, forwarded: fwd };
            let mut held = 0u32;
            for (wish, drained) in steps {
                let room = guest.window - guest.sent.wrapping_sub(guest.forwarded);
                let bytes = wish.min(room);
                prop_assert!(credit.receive(bytes));
                guest.sent = guest.sent.wrapping_add(bytes);
                held += bytes;
                let drained = drained.min(held);
                credit.forwarded(drained);
                held -= drained;
                if credit.owes_update() {
                    (guest.window, guest.forwarded) = credit.announce();
                }
                if held == 0 {
                    prop_assert!(guest.window - guest.sent.wrapping_sub(guest.forwarded) > 0);
                }
            }
        }

        /// No claim of the guest makes the counting panic or the window grow.
        #[test]
        fn claims_are_harmless(claims in prop::collection::vec(any::<(u32, u32, u32)>(), 1..100)) {
            let mut credit = Credit::new(1000);
            for (alloc, fwd, bytes) in claims {
                credit.update_peer(alloc, fwd);
                prop_assert!(credit.sendable() <= alloc);
                if credit.receive(bytes) {
                    prop_assert!(bytes <= 1000);
                    credit.forwarded(bytes);
                }
            }
        }
    }
}
