//! Limits the bytes of an account.
//!
//! | bytes | counted |
//! |---|---|
//! | of objects, uploads and parts | by the index, in the transaction that changes them (`schema.rs`); a change that exceeds the quota is undone |
//! | on their way | in memory, as they come ([`NewBlob::take`](crate::NewBlob::take)): an upload ends where they would exceed what was left of the quota when it began |
//!
//! So while uploads run, an account takes at most twice its quota, and its quota once they have ended. The bytes of a
//! join of parts are not counted while they are written: they are those of its parts, which are removed when it is
//! done.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::ObjectError;

/// Limits of the accounts.
#[derive(Clone, Debug)]
pub struct ObjectLimits {
    /// Bytes on disk of objects, uploads and their parts.
    pub max_account_bytes: u64,
    /// Accounts with another number of bytes than `max_account_bytes`.
    pub accounts: Arc<BTreeMap<String, u64>>,
    /// Buckets of one account.
    pub max_buckets: u32,
}

impl Default for ObjectLimits {
    fn default() -> Self {
        Self {
            // Enough for artifacts of hundreds of images, and a part of a small server's disk.
            max_account_bytes: 64 << 30,
            accounts: Arc::default(),
            // Ten times the default of AWS for many years.
            max_buckets: 1000,
        }
    }
}

impl ObjectLimits {
    /// The byte limit of an account.
    pub(crate) fn bytes_of(&self, account: &str) -> u64 {
        let own = self.accounts.get(account).copied();
        own.unwrap_or(self.max_account_bytes)
    }
}

/// The bytes that an account takes.
pub(crate) fn kept_bytes(index: &Connection, account: &str) -> Result<u64, ObjectError> {
    let mut query = index
        .prepare_cached("SELECT coalesce(sum(kept_bytes), 0) FROM account WHERE account = ?")?;
    let kept_bytes: i64 = query.query_row([account], |row| row.get(0))?;
    Ok(u64::try_from(kept_bytes).unwrap_or_default())
}

/// Runs a change of the index. Undoes it if the account takes more than before and more than its limit.
pub(crate) fn within<T>(
    index: &Connection,
    account: &str,
    limits: &ObjectLimits,
    change: impl FnOnce() -> Result<T, ObjectError>,
) -> Result<T, ObjectError> {
    let before_bytes = kept_bytes(index, account)?;
    let changed = change()?;
    let after_bytes = kept_bytes(index, account)?;
    if after_bytes > limits.bytes_of(account) && after_bytes > before_bytes {
        return Err(ObjectError::AccountFull);
    }
    Ok(changed)
}

/// Bytes that are being received into blobs, by account.
#[derive(Debug, Default)]
pub(crate) struct Arriving(Mutex<HashMap<String, u64>>);

/// The bytes of one blob.
#[derive(Debug)]
pub(crate) struct ArrivingShare {
    arriving: Arc<Arriving>,
    account: String,
    taken_bytes: u64,
    /// The bytes that the account had left when the blob was created.
    room_bytes: u64,
}

impl Arriving {
    pub(crate) fn share(self: &Arc<Self>, account: &str, room_bytes: u64) -> ArrivingShare {
        ArrivingShare {
            arriving: Arc::clone(self),
            account: account.to_owned(),
            taken_bytes: 0,
            room_bytes,
        }
    }
}

impl ArrivingShare {
    /// Reserves bytes before they are written.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), ObjectError> {
        let mut accounts = self
            .arriving
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let of_account = accounts.entry(self.account.clone()).or_default();
        let sum = of_account.saturating_add(bytes);
        if sum > self.room_bytes {
            return Err(ObjectError::AccountFull);
        }
        *of_account = sum;
        self.taken_bytes += bytes;
        Ok(())
    }
}

impl Drop for ArrivingShare {
    fn drop(&mut self) {
        let mut accounts = self
            .arriving
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let left = accounts.get(&self.account).copied().unwrap_or_default();
        match left.saturating_sub(self.taken_bytes) {
            0 => drop(accounts.remove(&self.account)),
            left => drop(accounts.insert(self.account.clone(), left)),
        }
    }
}

#[cfg(test)]
mod tests;
