//! Accounting of memory and build slots: the quota of each account, and the capacity of the host.
//!
//! A share is taken before anything starts and is returned by dropping it, so no code path can leak one.
//! [`crate::fair_share`] divides the host between accounts.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tracing::info;

use super::account_queue::AccountQueue;
use crate::fair_share::FairShare;
use crate::host::WaitingPlace;
use crate::id::AccountId;
use crate::image::MemoryTier;
use crate::policy::{Capacity, Quotas};
use crate::refusal::Refusal;

/// Memory that is reserved for an account that holds none: a microVM of the default size fits, and so does a builder.
const LAST_SLICE_MIB: u64 = 2048;
/// On a small host a quarter is reserved, so that an account may still hold more than one microVM.
const LAST_SLICE_DIVISOR: u64 = 4;

/// All shares that are taken.
#[derive(Debug)]
pub(super) struct Ledger {
    capacity: Capacity,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    /// The number of accounts, whether or not they hold anything.
    accounts: usize,
    allocated: HashMap<AccountId, Allocated>,
    resident_mib: FairShare,
    resident_microvms: FairShare,
    builds: FairShare,
    waiting: AccountQueue<WaitingBuild>,
}

#[derive(Debug, Default)]
struct Allocated {
    mib: u64,
    microvms: u32,
}

#[derive(Debug)]
struct WaitingBuild {
    mib: u64,
    reply: oneshot::Sender<BuildPlace>,
    told: watch::Sender<Option<WaitingPlace>>,
}

/// A microVM's share of its account's quota, held for its whole life.
#[derive(Debug)]
pub(super) struct Allocation {
    ledger: Arc<Ledger>,
    account: AccountId,
    tier: MemoryTier,
}

/// A microVM's share of the host, held while it is in memory.
#[derive(Debug)]
pub(super) struct Residency {
    ledger: Arc<Ledger>,
    account: AccountId,
    tier: MemoryTier,
}

/// A build's share of the host, held while it works.
#[derive(Debug)]
pub(super) struct BuildPlace {
    ledger: Arc<Ledger>,
    account: AccountId,
    mib: u64,
}

impl Ledger {
    /// A ledger in which nothing is taken, with no accounts.
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        let last_mib = LAST_SLICE_MIB.min(capacity.resident_mib / LAST_SLICE_DIVISOR);
        let taken = Taken {
            accounts: 0,
            allocated: HashMap::new(),
            resident_mib: FairShare::new(capacity.resident_mib, last_mib),
            resident_microvms: FairShare::new(capacity.resident_microvms.into(), 1),
            builds: FairShare::new(capacity.concurrent_builds.into(), 1),
            waiting: AccountQueue::default(),
        };
        Arc::new(Self {
            capacity,
            taken: Mutex::new(taken),
        })
    }

    /// Adds to the number of accounts.
    pub(super) fn add_accounts(&self, number: usize) {
        self.lock().accounts += number;
    }

    /// The number of accounts.
    pub(super) fn accounts(&self) -> usize {
        self.lock().accounts
    }

    /// Takes a share of an account's quota.
    ///
    /// # Errors
    ///
    /// The refusal that names the quota that is used up.
    pub(super) fn allocate(
        self: &Arc<Self>,
        account: AccountId,
        tier: MemoryTier,
        quotas: &Quotas,
    ) -> Result<Allocation, Refusal> {
        let mut taken = self.lock();
        let allocated = taken.allocated.entry(account).or_default();
        if allocated.mib + u64::from(tier.baseline_mib()) > quotas.memory_mib {
            return Err(Refusal::MemoryQuota(account));
        }
        let max = quotas.microvms;
        if allocated.microvms >= max {
            return Err(Refusal::MicrovmQuota { account, max });
        }
        Ok(self.allocation(&mut taken, account, tier))
    }

    /// Takes the share of a microVM from before a restart, even above the quota.
    pub(super) fn grant(self: &Arc<Self>, account: AccountId, tier: MemoryTier) -> Allocation {
        self.allocation(&mut self.lock(), account, tier)
    }

    fn allocation(
        self: &Arc<Self>,
        taken: &mut Taken,
        account: AccountId,
        tier: MemoryTier,
    ) -> Allocation {
        let allocated = taken.allocated.entry(account).or_default();
        allocated.mib += u64::from(tier.baseline_mib());
        allocated.microvms += 1;
        Allocation {
            ledger: Arc::clone(self),
            account,
            tier,
        }
    }

    /// Takes a share of the host. `None` if the host is full, or if the rest is reserved for another account.
    pub(super) fn reside(
        self: &Arc<Self>,
        account: AccountId,
        tier: MemoryTier,
    ) -> Option<Residency> {
        let mut taken = self.lock();
        let (mib, accounts) = (u64::from(tier.baseline_mib()), taken.accounts);
        let fits = taken.resident_mib.admits(account, mib, accounts)
            && taken.resident_microvms.admits(account, 1, accounts);
        fits.then(|| self.residency(&mut taken, account, tier))
    }

    /// Takes the share of the host for a microVM that was in memory before a restart, even above the capacity.
    pub(super) fn grant_residency(
        self: &Arc<Self>,
        account: AccountId,
        tier: MemoryTier,
    ) -> Residency {
        self.residency(&mut self.lock(), account, tier)
    }

    fn residency(
        self: &Arc<Self>,
        taken: &mut Taken,
        account: AccountId,
        tier: MemoryTier,
    ) -> Residency {
        taken.resident_mib.take(account, tier.baseline_mib().into());
        taken.resident_microvms.take(account, 1);
        Residency {
            ledger: Arc::clone(self),
            account,
            tier,
        }
    }

    /// Waits until the host has a build slot and the memory for a build. Waiting accounts take turns. Tells `told` its
    /// place among the waiting builds of its account.
    pub(super) async fn build_place(
        self: &Arc<Self>,
        account: AccountId,
        tier: MemoryTier,
        told: watch::Sender<Option<WaitingPlace>>,
    ) -> BuildPlace {
        let mib = self.build_mib(tier);
        let (reply, mut place) = oneshot::channel();
        let waiting = WaitingBuild { mib, reply, told };
        self.change(|taken| taken.waiting.push(account, waiting));
        if let Ok(place) = place.try_recv() {
            return place;
        }
        info!(%account, mib, "a build waits for one of the host's places and for memory");
        match place.await {
            Ok(place) => place,
            // Who waits is answered as long as the ledger is there.
            Err(_) => pending().await,
        }
    }

    /// The memory of a build: that of its builder, and later that of the application it boots and seals. At most half
    /// of the host, so that a small host can build beside a microVM.
    fn build_mib(&self, tier: MemoryTier) -> u64 {
        let largest = u64::from(self.capacity.builder_mib.max(tier.baseline_mib()));
        largest.min(self.capacity.resident_mib / 2)
    }

    /// Changes what is taken, then starts the builds that fit.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Taken)) {
        let mut begun = Vec::new();
        let mut taken = self.lock();
        change(&mut taken);
        while let Some((account, build)) = taken.next_build() {
            taken.builds.take(account, 1);
            taken.resident_mib.take(account, build.mib);
            let place = BuildPlace {
                ledger: Arc::clone(self),
                account,
                mib: build.mib,
            };
            begun.push((build.reply, place));
        }
        taken.waiting.for_each_place(|build, place, of| {
            let place = Some(WaitingPlace { place, of });
            build
                .told
                .send_if_modified(|told| std::mem::replace(told, place) != place);
        });
        drop(taken);
        for (reply, place) in begun {
            // The share of a build that was cancelled meanwhile is returned by its drop, outside the lock.
            drop(reply.send(place));
        }
    }

    /// The memory allocated to all accounts and the resident memory, in MiB.
    pub(super) fn totals_mib(&self) -> (u64, u64) {
        let taken = self.lock();
        let allocated = taken.allocated.values();
        let allocated_mib = allocated.map(|allocated| allocated.mib).sum();
        (allocated_mib, taken.resident_mib.taken())
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The next build that fits.
    fn next_build(&mut self) -> Option<(AccountId, WaitingBuild)> {
        self.waiting.retain(|build| !build.reply.is_closed());
        let accounts = self.accounts;
        self.waiting.next(|account, build| {
            self.builds.admits(account, 1, accounts)
                && self.resident_mib.admits(account, build.mib, accounts)
        })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let mut taken = self.ledger.lock();
        if let Some(allocated) = taken.allocated.get_mut(&self.account) {
            allocated.mib -= u64::from(self.tier.baseline_mib());
            allocated.microvms -= 1;
        }
    }
}

impl Drop for Residency {
    fn drop(&mut self) {
        let (account, mib) = (self.account, self.tier.baseline_mib());
        self.ledger.change(|taken| {
            taken.resident_mib.give_back(account, mib.into());
            taken.resident_microvms.give_back(account, 1);
        });
    }
}

impl Drop for BuildPlace {
    fn drop(&mut self) {
        let (account, mib) = (self.account, self.mib);
        self.ledger.change(|taken| {
            taken.resident_mib.give_back(account, mib);
            taken.builds.give_back(account, 1);
        });
    }
}

#[cfg(test)]
mod tests;
