//! The buckets of one account in the object store.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hearth_control::id::AccountId;
use hearth_objects::{Object, ObjectError, ObjectStore};
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
    region: Arc<str>,
    places: Arc<BlockingCalls>,
    joins: Arc<BlockingCalls>,
}

impl AccountBuckets {
    /// `places` are for short calls, `joins` for calls that copy the bytes of objects.
    pub(super) fn new(
        store: Arc<ObjectStore>,
        account: AccountId,
        region: Arc<str>,
        places: Arc<BlockingCalls>,
        joins: Arc<BlockingCalls>,
    ) -> Self {
        Self {
            store,
            account: account.to_string().into(),
            region,
            places,
            joins,
        }
    }

    /// The account's number.
    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// The region of the service, and so of every bucket.
    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Calls the store on a thread that may block on the disk. Its refusals are told apart from other failures.
    pub(super) async fn try_with_store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&ObjectStore, &str) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<Result<T, ObjectError>> {
        self.run(&self.places, call).await
    }

    /// Calls the store on a thread that may block on the disk.
    pub(super) async fn with_store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&ObjectStore, &str) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<T> {
        self.run(&self.places, call).await?.map_err(refused)
    }

    /// Calls the store for work that takes as long as copying the bytes of objects.
    pub(super) async fn with_store_for_long<T: Send + 'static>(
        &self,
        call: impl FnOnce(&ObjectStore, &str) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<T> {
        self.run(&self.joins, call).await?.map_err(refused)
    }

    async fn run<T: Send + 'static>(
        &self,
        places: &BlockingCalls,
        call: impl FnOnce(&ObjectStore, &str) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<Result<T, ObjectError>> {
        let (store, account) = (Arc::clone(&self.store), Arc::clone(&self.account));
        places
            .run(&self.account, move || call(&store, &account))
            .await
            .map_err(|error| internal(&error))
    }

    /// An object without its bytes.
    pub(super) async fn object(&self, bucket: &str, key: &str) -> S3Result<Object> {
        check_key(key)?;
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.with_store(move |store, account| store.object(account, &bucket, &key))
            .await
    }

    /// An object with its open file. The bytes stay readable even if the object is replaced or deleted.
    pub(super) async fn open(&self, bucket: &str, key: &str) -> S3Result<(Object, File)> {
        check_key(key)?;
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.with_store(move |store, account| store.open_object(account, &bucket, &key))
            .await
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
