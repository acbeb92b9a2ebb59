//! A limited resource of the host (memory, build slots, ports), shared between accounts.
//!
//! One rule: **an account that holds some may not take the last of it while another account holds none.** The last is
//! one slot, or enough memory for a microVM or a build of the usual size. So an account that comes late still finds
//! room, whatever the others hold, and nothing is taken from anybody.
//!
//! One slot is reserved in all, not one for each account: with a slot for each of a hundred idle accounts, a host of
//! 64 ports would serve nobody. A host with one account gives it everything.

use std::collections::HashMap;

use crate::id::AccountId;

/// How many units of one resource each account holds.
#[derive(Debug)]
pub(crate) struct FairShare {
    total: u64,
    last: u64,
    taken: u64,
    /// Units by account. Accounts that hold none have no entry.
    held: HashMap<AccountId, u64>,
}

impl FairShare {
    /// A resource of `total` units. The last `last` units are reserved for an account that holds none.
    pub(crate) fn new(total: u64, last: u64) -> Self {
        Self {
            total,
            last,
            taken: 0,
            held: HashMap::new(),
        }
    }

    /// Whether an account may take `units`. `accounts` is the number of all accounts.
    pub(crate) fn admits(&self, account: AccountId, units: u64, accounts: usize) -> bool {
        let holds_some = self.held.contains_key(&account);
        let another_holds_none = self.held.len() < accounts;
        let kept = if holds_some && another_holds_none {
            self.last
        } else {
            0
        };
        let wanted = self.taken.saturating_add(units).saturating_add(kept);
        wanted <= self.total
    }

    /// Takes units without a check: the caller has asked [`FairShare::admits`], or the units were held before a
    /// restart.
    pub(crate) fn take(&mut self, account: AccountId, units: u64) {
        self.taken += units;
        *self.held.entry(account).or_default() += units;
    }

    /// Returns units.
    pub(crate) fn give_back(&mut self, account: AccountId, units: u64) {
        let Some(held) = self.held.get_mut(&account) else {
            return;
        };
        *held -= units;
        self.taken -= units;
        if *held == 0 {
            self.held.remove(&account);
        }
    }

    /// The number of units taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(number: u64) -> AccountId {
        AccountId::from_number(number).unwrap()
    }

    #[test]
    fn one_account_alone_has_everything() {
        let mut share = FairShare::new(3, 1);
        for _ in 0..3 {
            assert!(share.admits(account(0), 1, 1));
            share.take(account(0), 1);
        }
        assert!(!share.admits(account(0), 1, 1));
    }

    #[test]
    fn the_last_is_for_somebody_who_holds_none() {
        let mut share = FairShare::new(3, 1);
        share.take(account(0), 2);
        assert!(!share.admits(account(0), 1, 2));
        assert!(share.admits(account(1), 1, 2));
        share.take(account(1), 1);
        share.give_back(account(0), 1);
        // Everybody holds some: the last is anybody's.
        assert!(share.admits(account(0), 1, 2));
    }

    proptest! {
        /// Security finding M8: whatever the others take and give back, an account that comes and holds none finds as much free as
        /// the rule keeps, until somebody who held none took it. And never is more taken than there is.
        #[test]
        fn who_holds_none_finds_room(
            total in 4_u64..40,
            last in 1_u64..4,
            steps in prop::collection::vec((0_u64..3, 1_u64..6, prop::bool::ANY), 1..200),
        ) {
            const ACCOUNTS: usize = 4;
            let late = account(3);
            let mut share = FairShare::new(total, last);
            let mut held = [0_u64; 3];
            for (number, units, is_taking) in steps {
                let own = &mut held[usize::try_from(number).unwrap()];
                if is_taking {
                    // The first taking of each is of one unit, so that three who come late leave the rest.
                    let units = if *own == 0 { 1 } else { units };
                    if share.admits(account(number), units, ACCOUNTS) {
                        share.take(account(number), units);
                        *own += units;
                    }
                } else {
                    let units = units.min(*own);
                    share.give_back(account(number), units);
                    *own -= units;
                }
                prop_assert_eq!(share.taken(), held.iter().sum::<u64>());
                prop_assert!(share.taken() <= total);
                let holding_none = held.iter().filter(|own| **own == 0).count();
                let took_of_the_last = (3 - holding_none) as u64;
                let left = last.saturating_sub(took_of_the_last);
                prop_assert!(share.admits(late, left, ACCOUNTS), "{held:?} of {total}");
            }
        }

        /// The rule of one holder: as long as one account holds all that is taken, there is room for any other.
        #[test]
        fn one_holder_never_shuts_others_out(
            total in 1_u64..40,
            last in 1_u64..4,
            wanted in prop::collection::vec(1_u64..6, 1..100),
        ) {
            let last = last.min(total);
            let mut share = FairShare::new(total, last);
            for units in wanted {
                let is_first = share.taken() == 0;
                if share.admits(account(0), units, 2) && !(is_first && units + last > total) {
                    share.take(account(0), units);
                }
                prop_assert!(share.admits(account(1), last, 2));
            }
        }
    }
}
