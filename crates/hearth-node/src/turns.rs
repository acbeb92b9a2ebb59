//! Serialises operations on each instance.
//!
//! An operation that changes an instance takes its turn. Operations on one instance run in the order in which they were
//! asked for; those on different instances do not wait for each other. A removal is announced first, so that the
//! operation that has the turn gives up soon. Then the removal waits for its own turn like all others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::layout::MachineName;

/// The turns of all instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<MachineName, Arc<Lane>>>>);

#[derive(Debug, Default)]
struct Lane {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Number of removals that are under way or wait.
    removals: AtomicUsize,
}

/// The right to change one instance, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    lane: Guard,
    _turn: OwnedMutexGuard<()>,
}

/// An announced removal.
#[derive(Debug)]
pub(crate) struct Removal(Guard);

/// Keeps a lane in the map. Dropping the last guard removes the lane.
#[derive(Debug)]
struct Guard {
    turns: Turns,
    name: MachineName,
    lane: Arc<Lane>,
}

impl Turns {
    /// Waits for the turn of an instance.
    pub(crate) async fn take(&self, name: &MachineName) -> Turn {
        let lane = self.guard(name);
        let turn = Arc::clone(&lane.lane.turn).lock_owned().await;
        Turn { lane, _turn: turn }
    }

    /// Whether an operation has the turn of an instance, or waits for it.
    pub(crate) fn is_taken(&self, name: &MachineName) -> bool {
        self.lock()
            .get(name)
            .is_some_and(|lane| lane.turn.try_lock().is_err())
    }

    /// Announces that an instance is to be removed.
    pub(crate) fn announce_removal(&self, name: &MachineName) -> Removal {
        let lane = self.guard(name);
        lane.lane.removals.fetch_add(1, Ordering::SeqCst);
        Removal(lane)
    }

    fn guard(&self, name: &MachineName) -> Guard {
        let lane = Arc::clone(self.lock().entry(name.clone()).or_default());
        Guard {
            turns: self.clone(),
            name: name.clone(),
            lane,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MachineName, Arc<Lane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The instance whose turn this is.
    pub(crate) fn name(&self) -> &MachineName {
        &self.lane.name
    }

    /// Whether a removal waits. The operation that is under way then need not succeed.
    pub(crate) fn is_to_be_removed(&self) -> bool {
        self.lane.lane.removals.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.0.lane.removals.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut lanes = self.turns.lock();
        // The map's, and this one.
        if Arc::strong_count(&self.lane) == 2 {
            lanes.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MachineName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn turns_of_one_instance_follow_each_other_and_those_of_others_do_not_wait() {
        let turns = Turns::default();
        let first = turns.take(&name("a")).await;
        assert!(turns.is_taken(&name("a")) && !turns.is_taken(&name("b")));
        drop(turns.take(&name("b")).await);
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(&name("a")).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        let second = waiting.await.unwrap();
        assert_eq!(second.name(), &name("a"));
        drop(second);
        assert!(turns.lock().is_empty(), "nothing is kept of idle instances");
    }

    #[tokio::test]
    async fn a_removal_is_seen_by_the_operation_whose_turn_it_is() {
        let turns = Turns::default();
        let turn = turns.take(&name("a")).await;
        assert!(!turn.is_to_be_removed());
        let removal = turns.announce_removal(&name("a"));
        assert!(turn.is_to_be_removed());
        drop(removal);
        assert!(!turn.is_to_be_removed());
        drop(turn);
        assert!(turns.lock().is_empty());
    }
}
