//! The body of an upload on its way into a guest: limited in size, hashed, and compared with the signed hash.
//!
//! The signature of the head is verified, and covers the hash that the signer stated. The hash of the body is known
//! only at its end. If they differ, the upload fails there, before the guest gives the file its name.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio_util::io::StreamReader;

use crate::call::Upload;
use crate::fault::{Fault, SignatureCodes};
use crate::sigv4::{BodyClaim, SignatureError};
use crate::upload_body::UploadBody;
use crate::wire::BodyError;

/// Largest file of one request. The disk of the guest has its own limit.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum UploadError {
    #[error("the file is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error("the body is not the one that was signed")]
    Mismatch,
    #[error("the body did not arrive")]
    Broken,
}

/// Tells why a body failed that another task reads.
pub(super) struct Received(Arc<OnceLock<UploadError>>);

type Content = StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>;

impl Received {
    /// The content to be read, and a handle that tells why it failed.
    pub(super) fn begin(upload: Upload) -> (Content, Self) {
        let body = UploadBody::new(upload.body).into_data_stream().boxed();
        checked(body, upload.claim)
    }

    /// Why the content failed, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        Some(match self.0.get()? {
            UploadError::TooLarge => Fault::new(
                413,
                "RequestEntityTooLargeException",
                format!("A file must not be larger than {MAX_FILE_BYTES} bytes"),
            ),
            UploadError::Mismatch => SignatureCodes::Json.fault(&SignatureError::Mismatch),
            UploadError::Broken => Fault::new(
                408,
                "RequestTimeoutException",
                "The request body did not arrive in time.",
            ),
        })
    }
}

/// The state of a body that is being read.
struct Progress {
    body: BoxStream<'static, Result<Bytes, BodyError>>,
    claim: BodyClaim,
    hash: Sha256,
    bytes: u64,
}

fn checked(
    body: BoxStream<'static, Result<Bytes, BodyError>>,
    claim: BodyClaim,
) -> (Content, Received) {
    let failure = Arc::new(OnceLock::new());
    let received = Received(Arc::clone(&failure));
    let begun = Progress {
        body,
        claim,
        hash: Sha256::new(),
        bytes: 0,
    };
    let pieces = try_unfold(begun, move |progress| {
        let failure = Arc::clone(&failure);
        async move {
            next(progress).await.map_err(|error| {
                // The first error counts: nothing is read after it.
                let _ = failure.set(error);
                io::Error::other(error)
            })
        }
    });
    (StreamReader::new(pieces.boxed()), received)
}

async fn next(mut progress: Progress) -> Result<Option<(Bytes, Progress)>, UploadError> {
    match progress.body.next().await {
        Some(Ok(piece)) => {
            progress.bytes += piece.len() as u64;
            if progress.bytes > MAX_FILE_BYTES {
                return Err(UploadError::TooLarge);
            }
            progress.hash.update(&piece);
            Ok(Some((piece, progress)))
        }
        Some(Err(_)) => Err(UploadError::Broken),
        None if progress.claim.holds(&progress.hash.finalize()) => Ok(None),
        None => Err(UploadError::Mismatch),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use tokio::io::AsyncReadExt;

    use super::*;

    async fn receive(body: &'static [u8], claim: BodyClaim) -> Result<Vec<u8>, Fault> {
        let pieces = body.chunks(3).map(|piece| Ok(Bytes::from_static(piece)));
        let (mut content, received) = checked(stream::iter(pieces).boxed(), claim);
        let mut read = Vec::new();
        match content.read_to_end(&mut read).await {
            Ok(_) => Ok(read),
            Err(_) => Err(received.fault().unwrap()),
        }
    }

    #[tokio::test]
    async fn a_body_is_the_one_that_was_signed_or_fails_at_its_end() {
        let of = |body: &[u8]| BodyClaim::Sha256(crate::sigv4::hex(&Sha256::digest(body)));
        assert_eq!(
            receive(b"content", of(b"content")).await.unwrap(),
            b"content"
        );
        let refused = receive(b"c0ntent", of(b"content")).await.unwrap_err();
        assert_eq!(
            (refused.status, refused.code),
            (403, "InvalidSignatureException")
        );
        let any = receive(b"anything", BodyClaim::Unsigned).await;
        assert_eq!(any.unwrap(), b"anything");
    }

    #[tokio::test]
    async fn what_is_too_large_is_cut_off() {
        let piece = Bytes::from(vec![0; 1 << 20]);
        let endless = stream::repeat_with(move || Ok(piece.clone())).boxed();
        let (mut content, received) = checked(endless, BodyClaim::Unsigned);
        let copied = tokio::io::copy(&mut content, &mut tokio::io::sink()).await;
        assert!(copied.is_err());
        assert_eq!(received.fault().unwrap().status, 413);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_is_no_end_of_file() {
        let pieces = [
            Ok(Bytes::from_static(b"half")),
            Err(BodyError::from("gone")),
        ];
        let (mut content, received) = checked(stream::iter(pieces).boxed(), BodyClaim::Unsigned);
        assert!(content.read_to_end(&mut Vec::new()).await.is_err());
        assert_eq!(received.fault().unwrap().status, 408);
    }
}
