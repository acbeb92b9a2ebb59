//! Who has how much memory: the quota of each account, and what the host can carry.
//!
//! A share is taken before anything is started and given back when its owner drops it, so that no path through the
//! code can forget it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::AccountId;
use crate::image::MemoryTier;
use crate::policy::{Capacity, Quotas};

/// All shares that are taken.
#[derive(Debug)]
pub(super) struct Ledger {
    max_allocated_mib: u64,
    capacity: Capacity,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    allocated_mib: HashMap<AccountId, u64>,
    resident_mib: u64,
    resident_microvms: u32,
}

/// A microVM's share of its account's quota, for its whole life.
#[derive(Debug)]
pub(super) struct Allocation {
    ledger: Arc<Ledger>,
    account: AccountId,
    tier: MemoryTier,
}

/// A microVM's share of the host, while it is in memory.
#[derive(Debug)]
pub(super) struct Residency {
    ledger: Arc<Ledger>,
    tier: MemoryTier,
}

impl Ledger {
    pub(super) fn new(quotas: &Quotas, capacity: Capacity) -> Arc<Self> {
        let max_allocated_mib = quotas.memory_mib;
        Arc::new(Self {
            max_allocated_mib,
            capacity,
            taken: Mutex::default(),
        })
    }

    /// A share of an account's quota, or `None` when it is used up.
    pub(super) fn allocate(
        self: &Arc<Self>,
        account: AccountId,
        tier: MemoryTier,
    ) -> Option<Allocation> {
        let mut taken = self.lock();
        let allocated_mib = taken.allocated_mib.entry(account).or_default();
        let wanted_mib = *allocated_mib + u64::from(tier.baseline_mib());
        if wanted_mib > self.max_allocated_mib {
            return None;
        }
        *allocated_mib = wanted_mib;
        Some(self.allocation(account, tier))
    }

    /// The share of a microVM from before a restart, whether or not it would be given one today.
    pub(super) fn grant(self: &Arc<Self>, account: AccountId, tier: MemoryTier) -> Allocation {
        let mut taken = self.lock();
        *taken.allocated_mib.entry(account).or_default() += u64::from(tier.baseline_mib());
        self.allocation(account, tier)
    }

    fn allocation(self: &Arc<Self>, account: AccountId, tier: MemoryTier) -> Allocation {
        Allocation {
            ledger: Arc::clone(self),
            account,
            tier,
        }
    }

    /// A share of the host, or `None` when it is full.
    pub(super) fn reside(self: &Arc<Self>, tier: MemoryTier) -> Option<Residency> {
        let mut taken = self.lock();
        let wanted_mib = taken.resident_mib + u64::from(tier.baseline_mib());
        let fits = wanted_mib <= self.capacity.resident_mib
            && taken.resident_microvms < self.capacity.resident_microvms;
        if !fits {
            return None;
        }
        Some(self.residency(&mut taken, tier))
    }

    /// The share of the host of a microVM that was in memory before a restart.
    pub(super) fn grant_residency(self: &Arc<Self>, tier: MemoryTier) -> Residency {
        self.residency(&mut self.lock(), tier)
    }

    fn residency(self: &Arc<Self>, taken: &mut Taken, tier: MemoryTier) -> Residency {
        taken.resident_mib += u64::from(tier.baseline_mib());
        taken.resident_microvms += 1;
        Residency {
            ledger: Arc::clone(self),
            tier,
        }
    }

    /// What is allocated to all accounts, and what is resident, in MiB.
    pub(super) fn totals_mib(&self) -> (u64, u64) {
        let taken = self.lock();
        (taken.allocated_mib.values().sum(), taken.resident_mib)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let mut taken = self.ledger.lock();
        if let Some(allocated_mib) = taken.allocated_mib.get_mut(&self.account) {
            *allocated_mib -= u64::from(self.tier.baseline_mib());
        }
    }
}

impl Drop for Residency {
    fn drop(&mut self) {
        let mut taken = self.ledger.lock();
        taken.resident_mib -= u64::from(self.tier.baseline_mib());
        taken.resident_microvms -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_and_come_back() {
        let quotas = Quotas {
            memory_mib: 1024,
            ..Quotas::default()
        };
        let capacity = Capacity {
            resident_mib: 512,
            ..Capacity::default()
        };
        let ledger = Ledger::new(&quotas, capacity);
        let allocate = || ledger.allocate(AccountId::FIRST, MemoryTier::Mib512);
        let (first, _second) = (allocate().unwrap(), allocate().unwrap());
        assert!(allocate().is_none());
        drop(first);
        assert!(allocate().is_some());

        let resident = ledger.reside(MemoryTier::Mib512).unwrap();
        assert!(ledger.reside(MemoryTier::Mib512).is_none());
        let granted = ledger.grant_residency(MemoryTier::Mib512);
        assert_eq!(ledger.totals_mib(), (512, 1024));
        drop((granted, resident));
        assert!(ledger.reside(MemoryTier::Mib512).is_some());
    }
}
