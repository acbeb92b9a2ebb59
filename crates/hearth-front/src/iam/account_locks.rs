//! A lock for each account: what one account changes, it changes in order, and no account waits for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use hearth_control::id::AccountId;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The lock of each account that ever changed something. There are as many as the operator has made accounts.
#[derive(Default)]
pub(crate) struct AccountLocks(SyncMutex<HashMap<AccountId, Arc<Mutex<()>>>>);

impl AccountLocks {
    /// Waits for the lock of the account.
    pub(super) async fn lock(&self, account: AccountId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(account).or_default())
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn an_account_waits_for_itself_alone() {
        let locks = AccountLocks::default();
        let other = AccountId::from_number(7).unwrap();
        let held = locks.lock(AccountId::FIRST).now_or_never();
        assert!(held.is_some());
        assert!(locks.lock(AccountId::FIRST).now_or_never().is_none());
        assert!(locks.lock(other).now_or_never().is_some());
        drop(held);
        assert!(locks.lock(AccountId::FIRST).now_or_never().is_some());
    }
}
