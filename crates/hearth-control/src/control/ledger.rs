//! Who has how much memory and how many places for builds: the quota of each account, and what the host can carry.
//!
//! A share is taken before anything is started and given back when its owner drops it, so that no path through the
//! code can forget it. Between accounts the host is shared by the rule of [`crate::fair_share`].

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tracing::info;

use super::turns::Turns;
use crate::fair_share::FairShare;
use crate::id::AccountId;
use crate::image::MemoryTier;
use crate::policy::{Capacity, Quotas};
use crate::refusal::Refusal;

/// The slice of memory that no account takes while another one holds none: a microVM of the default size fits, and so does a
/// builder.
const LAST_SLICE_MIB: u64 = 2048;
/// Of a small host the slice is a quarter, so that an account may still hold more than one.
const LAST_SLICE_DIVISOR: u64 = 4;

/// All shares that are taken.
#[derive(Debug)]
pub(super) struct Ledger {
    capacity: Capacity,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    /// How many accounts there are, whether or not they hold anything.
    accounts: usize,
    allocated: HashMap<AccountId, Allocated>,
    resident_mib: FairShare,
    resident_microvms: FairShare,
    builds: FairShare,
    waiting: Turns<WaitingBuild>,
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
    account: AccountId,
    tier: MemoryTier,
}

/// A build's share of the host, while it works.
#[derive(Debug)]
pub(super) struct BuildPlace {
    ledger: Arc<Ledger>,
    account: AccountId,
    mib: u64,
}

impl Ledger {
    /// Nothing is taken, and there are no accounts.
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        let last_mib = LAST_SLICE_MIB.min(capacity.resident_mib / LAST_SLICE_DIVISOR);
        let taken = Taken {
            accounts: 0,
            allocated: HashMap::new(),
            resident_mib: FairShare::new(capacity.resident_mib, last_mib),
            resident_microvms: FairShare::new(capacity.resident_microvms.into(), 1),
            builds: FairShare::new(capacity.concurrent_builds.into(), 1),
            waiting: Turns::default(),
        };
        Arc::new(Self {
            capacity,
            taken: Mutex::new(taken),
        })
    }

    /// Notes that there are more accounts.
    pub(super) fn add_accounts(&self, number: usize) {
        self.lock().accounts += number;
    }

    /// How many accounts there are.
    pub(super) fn accounts(&self) -> usize {
        self.lock().accounts
    }

    /// A share of an account's quota.
    ///
    /// # Errors
    ///
    /// Which quota is used up.
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

    /// The share of a microVM from before a restart, whether or not it would be given one today.
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

    /// A share of the host, or `None` when it is full, or when the rest is kept for another account.
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

    /// The share of the host of a microVM that was in memory before a restart.
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

    /// Waits until the host has a place and the memory for a build. Accounts that wait take turns.
    pub(super) async fn build_place(
        self: &Arc<Self>,
        account: AccountId,
        tier: MemoryTier,
    ) -> BuildPlace {
        let mib = self.build_mib(tier);
        let (reply, mut place) = oneshot::channel();
        self.change(|taken| taken.waiting.push(account, WaitingBuild { mib, reply }));
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

    /// What a build takes: its builder's memory, and later the baseline of the application that it boots and seals. Half of a small
    /// host at most, so that it can build beside a microVM.
    fn build_mib(&self, tier: MemoryTier) -> u64 {
        let largest = u64::from(self.capacity.builder_mib.max(tier.baseline_mib()));
        largest.min(self.capacity.resident_mib / 2)
    }

    /// Changes what is taken, and then begins the builds that have room.
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
        drop(taken);
        for (reply, place) in begun {
            // The place of a build that was given up meanwhile goes back by being dropped, outside the lock.
            drop(reply.send(place));
        }
    }

    /// What is allocated to all accounts, and what is resident, in MiB.
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
    /// The next build that has room.
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
