//! The zip of an image: where the account's object lies.

use std::path::PathBuf;
use std::sync::Arc;

use hearth_control::arn::Scope;
use hearth_control::image::ArtifactUri;
use hearth_image::{Artifact, ArtifactError, ArtifactLimits};
use hearth_objects::{ObjectError, ObjectStore};

/// Why there is no artifact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("there is no bucket {0} in this account")]
    NoBucket(String),
    #[error("there is no object {0}")]
    NoKey(String),
    #[error("the object cannot be found")]
    Store(#[from] ObjectError),
    #[error("the object is no usable artifact")]
    Artifact(#[from] ArtifactError),
    #[error("reading the object ended early")]
    Ended,
}

/// Opens and judges an artifact of this account. Another account's objects are not there: accounts share nothing.
pub(crate) async fn fetch(
    objects: &Arc<ObjectStore>,
    scope: &Scope,
    uri: &ArtifactUri,
) -> Result<Artifact, FetchError> {
    let (objects, account, uri) = (Arc::clone(objects), scope.account.to_string(), uri.clone());
    let open = move || {
        let path = find(&objects, &account, &uri)?;
        Ok(Artifact::open(&path, &ArtifactLimits::default())?)
    };
    tokio::task::spawn_blocking(open)
        .await
        .unwrap_or(Err(FetchError::Ended))
}

fn find(objects: &ObjectStore, account: &str, uri: &ArtifactUri) -> Result<PathBuf, FetchError> {
    match objects.object(account, &uri.bucket, &uri.key) {
        Ok(object) => Ok(object.path),
        Err(ObjectError::NoBucket) => Err(FetchError::NoBucket(uri.bucket.clone())),
        Err(ObjectError::NoObject) => Err(FetchError::NoKey(uri.to_string())),
        Err(error) => Err(error.into()),
    }
}
