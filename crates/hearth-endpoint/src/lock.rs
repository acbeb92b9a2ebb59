//! Taking a lock.

use std::sync::{Mutex, PoisonError};

/// Nothing that is done under these locks can panic half-way, so a poisoned one is still sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
