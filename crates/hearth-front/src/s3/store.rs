//! The buckets of one account in the object store.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hearth_control::id::AccountId;
use hearth_objects::{ObjectError, ObjectStore};
use s3s::S3Result;
use s3s::dto::Timestamp;

use super::fault::{internal, refused};
use crate::blocking_calls::BlockingCalls;

/// Longest key (S3's own bound).
const MAX_KEY_BYTES: usize = 1024;

/// The buckets of one account.
#[derive(Clone)]
pub(super) struct AccountBuckets {
    store: Arc<ObjectStore>,
    account: Arc<str>,
    places: Arc<BlockingCalls>,
    joins: Arc<BlockingCalls>,
}

impl AccountBuckets {
    /// `places` are for short calls, `joins` for calls that copy the bytes of objects.
    pub(super) fn new(
        store: Arc<ObjectStore>,
        account: AccountId,
        places: Arc<BlockingCalls>,
        joins: Arc<BlockingCalls>,
    ) -> Self {
        Self {
            store,
            account: account.to_string().into(),
            places,
            joins,
        }
    }

    /// Calls the store on a thread that may block on the disk.
    pub(super) async fn with_store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&ObjectStore, &str) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<T> {
        self.run(&self.places, call).await
    }

    /// Calls the store for work that takes as long as copying the bytes of objects.
    pub(super) async fn with_store_for_long<T: Send + 'static>(
        &self,
        call: impl FnOnce(&ObjectStore, &str) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<T> {
        self.run(&self.joins, call).await
    }

    async fn run<T: Send + 'static>(
        &self,
        places: &BlockingCalls,
        call: impl FnOnce(&ObjectStore, &str) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<T> {
        let (store, account) = (Arc::clone(&self.store), Arc::clone(&self.account));
        places
            .run(&self.account, move || call(&store, &account))
            .await
            .map_err(|error| internal(&error))?
            .map_err(refused)
    }

    pub(super) async fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        let bucket = bucket.to_owned();
        self.with_store(move |store, account| store.bucket(account, &bucket).map(drop))
            .await
    }
}

pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.len() > MAX_KEY_BYTES {
        return Err(s3s::s3_error!(KeyTooLongError, "Your key is too long"));
    }
    Ok(())
}

pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// S3 has times of objects in whole seconds.
pub(super) fn timestamp(epoch_ms: i64) -> Timestamp {
    let seconds = u64::try_from(epoch_ms / 1000).unwrap_or_default();
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
