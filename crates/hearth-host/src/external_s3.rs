//! An S3 other than this service's own: which account may read which bucket, and reading an artifact there.
//!
//! The operator's key may read the buckets of all accounts. So the configuration says which buckets an account may
//! name, and requests for other buckets are never sent: an account cannot learn whether a bucket of
//! another account exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use hearth_client::{Client, ClientError, Settings};
use hearth_control::id::AccountId;
use hearth_control::image::ArtifactUri;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::fetch_error::FetchError;

/// Longest wait for the next piece of an object. A slower transfer fails.
const PIECE_LIMIT: Duration = Duration::from_secs(60);

/// Another S3, and which account may read which bucket.
#[derive(Clone)]
pub struct ExternalS3 {
    client: Client,
    accounts: BTreeMap<AccountId, BTreeSet<String>>,
}

impl std::fmt::Debug for ExternalS3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalS3")
            .field("settings", self.client.settings())
            .field("accounts", &self.accounts)
            .finish()
    }
}

impl ExternalS3 {
    /// Opens no connection yet. `accounts` are the buckets that each account may read.
    ///
    /// # Errors
    ///
    /// When the address or the certificates cannot be read.
    pub fn new(
        settings: Settings,
        accounts: BTreeMap<AccountId, BTreeSet<String>>,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(settings)?,
            accounts,
        })
    }

    /// Address of the S3.
    pub fn endpoint(&self) -> &str {
        &self.client.settings().endpoint_url
    }

    /// Looks whether an account can read an artifact. Reads nothing of it but the head of the answer.
    pub(crate) async fn look_for(
        &self,
        account: AccountId,
        uri: &ArtifactUri,
    ) -> Result<(), FetchError> {
        self.check(account, uri)?;
        let asked = self.client.get_object(&uri.bucket, &uri.key, 0).await;
        asked
            .map(drop)
            .map_err(|error| FetchError::of_client(error, uri))
    }

    fn check(&self, account: AccountId, uri: &ArtifactUri) -> Result<(), FetchError> {
        let is_its_own = |buckets: &BTreeSet<String>| buckets.contains(&uri.bucket);
        match self.accounts.get(&account).is_some_and(is_its_own) {
            true => Ok(()),
            false => Err(FetchError::Forbidden(uri.bucket.clone())),
        }
    }

    /// Reads an artifact of an account into the file at `to`.
    pub(crate) async fn fetch(
        &self,
        account: AccountId,
        uri: &ArtifactUri,
        limit_bytes: u64,
        to: &Path,
    ) -> Result<(), FetchError> {
        self.check(account, uri)?;
        let failed = |error| FetchError::of_client(error, uri);
        let object = self.client.get_object(&uri.bucket, &uri.key, limit_bytes);
        let mut object = object.await.map_err(failed)?;
        let mut file = File::create(to).await.map_err(FetchError::Write)?;
        loop {
            let next = tokio::time::timeout(PIECE_LIMIT, object.next());
            let next = next.await.map_err(|_| FetchError::Ended)?;
            let Some(piece) = next.map_err(failed)? else {
                break;
            };
            file.write_all(&piece).await.map_err(FetchError::Write)?;
        }
        file.flush().await.map_err(FetchError::Write)
    }
}
