//! Limits the calls that block on the disk.
//!
//! Such a call takes a thread of the runtime's blocking pool, which all blocking work shares. So an account may make
//! a few calls at a time, and all accounts together may take a part of the pool. Further calls wait without a thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};

/// Calls of one account at a time: one disk serves no more at once.
const OF_ACCOUNT: usize = 4;

/// Calls of all accounts at a time: an eighth of the runtime's 512 blocking threads.
const OF_ALL: usize = 64;

/// Joins of parts take as long as copying their bytes, so they have places of their own.
const JOINS_OF_ACCOUNT: usize = 1;
const JOINS_OF_ALL: usize = 8;

/// The places for one kind of call.
#[derive(Debug)]
pub(crate) struct BlockingCalls {
    of_account: usize,
    all: Arc<Semaphore>,
    /// One entry for each account that ever called, a hundred bytes each.
    accounts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A place of the account's share, then one of all. A call that waits for the first holds none of the second.
struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl BlockingCalls {
    /// Places for short calls.
    pub(crate) fn for_calls() -> Self {
        Self::new(OF_ACCOUNT, OF_ALL)
    }

    /// Places for joins of the parts of an upload.
    pub(crate) fn for_joins() -> Self {
        Self::new(JOINS_OF_ACCOUNT, JOINS_OF_ALL)
    }

    fn new(of_account: usize, of_all: usize) -> Self {
        Self {
            of_account,
            all: Arc::new(Semaphore::new(of_all)),
            accounts: Mutex::default(),
        }
    }

    /// Waits for a place, then runs `work` on a thread that may block. The place stays taken until `work` has ended,
    /// even if the future is dropped.
    ///
    /// # Errors
    ///
    /// `work` panicked, or the runtime is shutting down.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        account: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let place = self.take(account).await;
        spawn_blocking(move || {
            let _place = place;
            work()
        })
        .await
    }

    async fn take(&self, account: &str) -> Place {
        let own = self.of(account);
        // Neither semaphore is ever closed.
        Place {
            _own: own.acquire_owned().await.ok(),
            _all: Arc::clone(&self.all).acquire_owned().await.ok(),
        }
    }

    fn of(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = accounts.get(account) {
            return Arc::clone(own);
        }
        let own = Arc::new(Semaphore::new(self.of_account));
        accounts.insert(account.to_owned(), Arc::clone(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Findings H6 and M4: an account whose calls never end takes its own places and no others.
    #[tokio::test]
    async fn an_account_takes_no_place_of_another() {
        let places = Arc::new(BlockingCalls::for_calls());
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let mut callers = Vec::new();
        for _ in 0..100 {
            let (places, held) = (Arc::clone(&places), Arc::clone(&held));
            callers.push(tokio::spawn(async move {
                let work = move || held.lock().unwrap().recv();
                let _ = places.run("busy", work).await;
            }));
        }
        let other = places.run("other", || 7);
        let answered = tokio::time::timeout(Duration::from_secs(60), other).await;
        assert_eq!(answered.unwrap().unwrap(), 7);
        assert_eq!(places.all.available_permits(), OF_ALL - OF_ACCOUNT);
        // Clients that leave give no place back: their work goes on.
        for caller in &callers {
            caller.abort();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(places.all.available_permits(), OF_ALL - OF_ACCOUNT);
        drop(release);
    }
}
