//! The memory that environments may take together.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts memory. The host may also say that it has no room when an environment starts.
pub trait MemoryLedger: Send + Sync + 'static {
    /// Takes memory for an environment. Returns false, and takes nothing, if there is not so much left.
    fn reserve(&self, memory_mb: u32) -> bool;

    /// Gives back what an environment took.
    fn release(&self, memory_mb: u32);
}

/// A fixed amount of memory.
#[derive(Debug)]
pub struct FixedMemory {
    left_mb: AtomicU64,
}

impl FixedMemory {
    /// So much memory.
    #[must_use]
    pub fn new(memory_mb: u64) -> Self {
        Self {
            left_mb: AtomicU64::new(memory_mb),
        }
    }
}

impl MemoryLedger for FixedMemory {
    fn reserve(&self, memory_mb: u32) -> bool {
        let take = |left: u64| left.checked_sub(memory_mb.into());
        let taken = self
            .left_mb
            .try_update(Ordering::SeqCst, Ordering::SeqCst, take);
        taken.is_ok()
    }

    fn release(&self, memory_mb: u32) {
        self.left_mb.fetch_add(memory_mb.into(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let memory = FixedMemory::new(300);
        assert!(memory.reserve(200));
        assert!(!memory.reserve(200));
        memory.release(200);
        assert!(memory.reserve(300));
    }
}
