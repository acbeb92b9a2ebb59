//! Locks a mutex.

use std::sync::{Mutex, PoisonError};

/// Ignores poisoning: nothing that is done under these locks can panic half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
