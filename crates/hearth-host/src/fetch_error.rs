//! Why an artifact could not be fetched.

use hearth_client::ClientError;
use hearth_control::image::ArtifactUri;
use hearth_image::ArtifactError;
use hearth_objects::ObjectError;

/// Why there is no artifact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("there is no bucket {0} in this account")]
    NoBucket(String),
    #[error("there is no object {0}")]
    NoKey(String),
    #[error("the configuration (table s3.accounts) lets this account read no bucket {0}")]
    Forbidden(String),
    #[error("the other S3 does not let this service read {uri}")]
    Denied {
        uri: String,
        #[source]
        source: ClientError,
    },
    #[error("the other S3 does not answer")]
    Unreachable(#[source] ClientError),
    #[error("the object cannot be found")]
    Store(#[from] ObjectError),
    #[error("the object is no usable artifact")]
    Artifact(#[from] ArtifactError),
    #[error("reading the object ended early")]
    Ended,
    #[error("the object cannot be written to this host's disk")]
    Write(#[source] std::io::Error),
}

impl FetchError {
    /// The error for a failed request to the other S3.
    pub(crate) fn of_client(error: ClientError, uri: &ArtifactUri) -> Self {
        if let ClientError::TooLarge { limit_bytes, .. } = error {
            return ArtifactError::ArchiveTooLarge {
                bytes: limit_bytes.saturating_add(1),
                limit: limit_bytes,
            }
            .into();
        }
        let Some(refusal) = error.refusal() else {
            return Self::Unreachable(error);
        };
        match (refusal.status, refusal.code.as_str()) {
            (_, "NoSuchBucket") => Self::NoBucket(uri.bucket.clone()),
            (404, _) => Self::NoKey(uri.to_string()),
            (401 | 403, _) => Self::Denied {
                uri: uri.to_string(),
                source: error,
            },
            _ => Self::Unreachable(error),
        }
    }
}
