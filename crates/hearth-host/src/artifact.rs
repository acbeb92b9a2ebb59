//! Fetches the code artifact of an image: a zip in this service's S3 or in another one.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hearth_control::arn::Scope;
use hearth_control::host::ArtifactRefusal;
use hearth_control::image::ArtifactUri;
use hearth_image::{Artifact, ArtifactLimits};
use hearth_objects::{ObjectError, ObjectStore};

use crate::external_s3::ExternalS3;
use crate::fetch_error::FetchError;

/// How long another S3 may take to say whether it has an object: a caller of the API waits.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Where artifacts are.
#[derive(Debug, Clone)]
pub enum Artifacts {
    /// In this service's S3.
    Own(Arc<ObjectStore>),
    /// In another S3.
    External(ExternalS3),
}

impl Artifacts {
    /// Opens and checks an artifact of this account. An artifact of another S3 is copied into the directory `place`
    /// first. Objects of other accounts do not exist for this account: accounts share nothing.
    pub(crate) async fn fetch(
        &self,
        scope: &Scope,
        uri: &ArtifactUri,
        place: &Path,
        limits: &ArtifactLimits,
    ) -> Result<Artifact, FetchError> {
        let limits = limits.clone();
        match self {
            Self::Own(objects) => {
                let (objects, uri) = (Arc::clone(objects), uri.clone());
                let account = scope.account.to_string();
                run_blocking(move || judge(find(&objects, &account, &uri)?, &limits)).await
            }
            Self::External(other) => {
                let limit_bytes = limits.archive_bytes;
                let copy = place.join("artifact.zip");
                let fetched = other.fetch(scope.account, uri, limit_bytes, &copy).await;
                let opened = match fetched {
                    Ok(()) => {
                        let copy = copy.clone();
                        run_blocking(move || open(&copy, &limits)).await
                    }
                    Err(error) => Err(error),
                };
                // The open file stays readable after this; its space is freed when the build closes it.
                let _ = std::fs::remove_file(&copy);
                opened
            }
        }
    }
}

impl Artifacts {
    /// Looks whether an artifact can be read. An S3 that does not answer says nothing about it: the build asks again.
    pub(crate) async fn look_for(
        &self,
        scope: &Scope,
        uri: &ArtifactUri,
    ) -> Result<(), ArtifactRefusal> {
        let found = match self {
            Self::Own(objects) => {
                let (objects, uri) = (Arc::clone(objects), uri.clone());
                let account = scope.account.to_string();
                run_blocking(move || find(&objects, &account, &uri).map(drop)).await
            }
            Self::External(other) => {
                let looking = other.look_for(scope.account, uri);
                let looked = tokio::time::timeout(LOOK_LIMIT, looking).await;
                looked.unwrap_or(Err(FetchError::Ended))
            }
        };
        match found {
            Err(FetchError::NoBucket(_)) => Err(ArtifactRefusal::NoBucket),
            Err(FetchError::NoKey(_)) => Err(ArtifactRefusal::NoKey),
            Err(FetchError::Forbidden(_) | FetchError::Denied { .. }) => {
                Err(ArtifactRefusal::Denied)
            }
            _ => Ok(()),
        }
    }
}

/// Runs a function that blocks, off the runtime's threads.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(FetchError::Ended))
}

fn open(path: &Path, limits: &ArtifactLimits) -> Result<Artifact, FetchError> {
    Ok(Artifact::open(path, limits)?)
}

fn judge(archive: File, limits: &ArtifactLimits) -> Result<Artifact, FetchError> {
    Ok(Artifact::of_file(archive, limits)?)
}

/// The open archive: the object may be replaced or deleted meanwhile.
fn find(objects: &ObjectStore, account: &str, uri: &ArtifactUri) -> Result<File, FetchError> {
    match objects.open_object(account, &uri.bucket, &uri.key) {
        Ok((_, file)) => Ok(file),
        Err(ObjectError::NoBucket) => Err(FetchError::NoBucket(uri.bucket.clone())),
        Err(ObjectError::NoObject) => Err(FetchError::NoKey(uri.to_string())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
