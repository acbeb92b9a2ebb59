//! A limited number of units, shared between holders: no more than a total, and no more than a maximum for one holder.
//!
//! ```text
//! try_take(holder, units, max) -> Share -> the units are returned when it is dropped
//! ```
//!
//! Nobody waits: a holder that finds too few units is refused.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The units of one resource. Cheap to clone; a clone shares the same units.
#[derive(Debug)]
pub struct Shares<K>(Arc<Mutex<Units<K>>>);

#[derive(Debug)]
struct Units<K> {
    free: usize,
    /// Units by holder. Holders without units have no entry.
    held: HashMap<K, usize>,
}

/// Units of one holder. Dropping them returns them.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    shares: Shares<K>,
    holder: K,
    units: usize,
}

/// Why units were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharesError {
    /// The holder would have more units than its maximum.
    HolderFull {
        /// The units that it has.
        held: usize,
    },
    /// Too few units are free.
    AllFull,
}

impl<K> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Shares<K> {
    /// This many units, all of them free.
    #[must_use]
    pub fn new(units: usize) -> Self {
        Self(Arc::new(Mutex::new(Units {
            free: units,
            held: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Units<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Takes units for a holder, which may have `max` of them in all.
    ///
    /// # Errors
    ///
    /// [`SharesError`]. Nothing is taken then.
    pub fn try_take(&self, holder: K, units: usize, max: usize) -> Result<Share<K>, SharesError> {
        let mut all = self.lock();
        let held = all.held.get(&holder).copied().unwrap_or(0);
        if held.saturating_add(units) > max {
            return Err(SharesError::HolderFull { held });
        }
        all.free = all.free.checked_sub(units).ok_or(SharesError::AllFull)?;
        if units > 0 {
            all.held.insert(holder.clone(), held + units);
        }
        Ok(Share {
            shares: self.clone(),
            holder,
            units,
        })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut all = self.shares.lock();
        all.free += self.units;
        match all.held.get_mut(&self.holder) {
            Some(held) if *held > self.units => *held -= self.units,
            _ => drop(all.held.remove(&self.holder)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_no_more_than_its_maximum() {
        let shares = Shares::new(10);
        let first = shares.try_take("a", 3, 4).unwrap();
        let full = SharesError::HolderFull { held: 3 };
        assert_eq!(shares.try_take("a", 2, 4).unwrap_err(), full);
        let _second = shares.try_take("a", 1, 4).unwrap();
        drop(first);
        assert!(shares.try_take("a", 3, 4).is_ok());
    }

    #[test]
    fn all_holders_together_have_no_more_than_there_are() {
        let shares = Shares::new(5);
        let _first = shares.try_take("a", 3, 5).unwrap();
        let second = shares.try_take("b", 2, 5).unwrap();
        assert_eq!(
            shares.try_take("c", 1, 5).unwrap_err(),
            SharesError::AllFull
        );
        drop(second);
        assert!(shares.try_take("c", 2, 5).is_ok());
    }

    #[test]
    fn what_is_returned_is_forgotten() {
        let shares = Shares::new(5);
        let none = shares.try_take("none", 0, 0).unwrap();
        let some = (0..3).map(|_| shares.try_take("a", 1, 3).unwrap());
        drop(some.collect::<Vec<_>>());
        drop(none);
        let all = shares.lock();
        assert_eq!(all.free, 5);
        assert!(all.held.is_empty());
    }

    #[test]
    fn an_empty_share_leaves_the_others_of_its_holder() {
        let shares = Shares::new(5);
        let held = shares.try_take("a", 2, 2).unwrap();
        drop(shares.try_take("a", 0, 2).unwrap());
        assert!(shares.try_take("a", 1, 2).is_err());
        drop(held);
        assert!(shares.lock().held.is_empty());
    }
}
