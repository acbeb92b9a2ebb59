//! The host's resources (control group, network slot, user) that processes of machines hold until they end.
//!
//! Two tasks notice that a process has ended: the one that waits for the child, and the one that ended the machine. By
//! then another process may have the machine's name, so resources are released by process, and only once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::layout::MachineName;
use crate::node::Node;
use crate::record::ProcessRecord;

/// The resources of a launch that has no process yet. Released on drop, unless they were passed to a process.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    node: &'a Node,
    /// The resources; `None` once they were passed to a process.
    held: Option<Held>,
}

impl<'a> Reserved<'a> {
    pub(crate) fn new(node: &'a Node, held: Held) -> Self {
        Self {
            node,
            held: Some(held),
        }
    }

    /// Passes the resources to this process, whose end releases them.
    pub(crate) fn pass_to(mut self, process: ProcessRecord) {
        if let Some(held) = self.held.take() {
            self.node.hold(process, held);
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.node.give_back(&held);
        }
    }
}

/// The resources of one process.
#[derive(Debug)]
pub(crate) struct Held {
    /// The machine of the process; the control group has its name.
    pub(crate) machine: MachineName,
    /// Number of the network slot.
    pub(crate) slot: Option<u16>,
    /// The leased user.
    pub(crate) user: Option<u32>,
}

/// The resources of all processes. An entry is `None` once it was released.
#[derive(Debug, Default)]
pub(crate) struct Holdings(Mutex<HashMap<ProcessRecord, Arc<Mutex<Option<Held>>>>>);

impl Holdings {
    /// Registers the resources of a process.
    pub(crate) fn add(&self, process: ProcessRecord, held: Held) {
        let held = Arc::new(Mutex::new(Some(held)));
        lock(&self.0).insert(process, held);
    }

    /// Calls `give` with the resources of this process, unless they were released before. Waits for another caller that
    /// is releasing them.
    pub(crate) fn give_back(&self, process: ProcessRecord, give: impl FnOnce(Held)) {
        let Some(holding) = lock(&self.0).get(&process).cloned() else {
            return;
        };
        if let Some(held) = lock(&holding).take() {
            give(held);
        }
        lock(&self.0).remove(&process);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_process_holds_is_given_back_once_and_whole_before_anyone_goes_on() {
        let holdings = Holdings::default();
        let process = ProcessRecord {
            pid: 7,
            start_ticks: 1,
        };
        let held = || Held {
            machine: "m".parse().unwrap(),
            slot: None,
            user: Some(1),
        };
        holdings.add(process, held());
        // A later process of the same machine.
        let later = ProcessRecord {
            start_ticks: 2,
            ..process
        };
        holdings.add(later, held());
        let given = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    holdings.give_back(process, |_| {
                        // The others come meanwhile; one that did not wait would find nothing given back below.
                        thread::sleep(Duration::from_millis(50));
                        given.fetch_add(1, Ordering::SeqCst);
                    });
                    assert_eq!(given.load(Ordering::SeqCst), 1);
                });
            }
        });
        holdings.give_back(process, |_| panic!("it was given back"));
        let mut has_own_part = false;
        holdings.give_back(later, |_| has_own_part = true);
        assert!(
            has_own_part,
            "a later process of the same machine has its own"
        );
    }
}
