//! Reading a request body that has to be whole before it can be believed.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

/// Lambda's own request limit.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// A body that is not complete by then is taken for a slow-body attack.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Memory for bodies that are being read, all connections together: forty of the largest.
const BUDGET_BYTES: usize = 40 * MAX_BODY_BYTES;

/// The budget is counted in blocks, since a semaphore counts 32 bits at a time.
const BLOCK_BYTES: usize = 4096;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body exceeds {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body did not arrive within {} seconds", BODY_TIME.as_secs())]
    TooSlow,
    #[error("the connection ended inside the body")]
    Broken,
}

/// Reads bodies within limits of size, time, and memory over all connections.
#[derive(Clone, Debug)]
pub(crate) struct BodyReader {
    budget: Arc<Semaphore>,
}

impl BodyReader {
    pub(crate) fn new() -> Self {
        Self {
            budget: Arc::new(Semaphore::new(BUDGET_BYTES / BLOCK_BYTES)),
        }
    }

    /// Reads the whole body.
    ///
    /// # Errors
    ///
    /// [`BodyError`], with nothing kept.
    pub(crate) async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let stated = stated_length(headers);
        if stated.is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(BodyError::TooLarge);
        }
        let reserved = stated.unwrap_or(MAX_BODY_BYTES);
        let blocks = u32::try_from(reserved.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX);
        let reading = async {
            // The semaphore is never closed, so a failure cannot happen; it would mean no memory.
            let _permit = self
                .budget
                .acquire_many(blocks)
                .await
                .map_err(|_| BodyError::TooSlow)?;
            collect(body, stated.unwrap_or(0)).await
        };
        tokio::time::timeout(BODY_TIME, reading)
            .await
            .unwrap_or(Err(BodyError::TooSlow))
    }
}

async fn collect<B>(mut body: B, capacity: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = BytesMut::with_capacity(capacity);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if whole.len() + data.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.freeze())
}

fn stated_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read() {
        let body = Full::new(Bytes::from(vec![7; MAX_BODY_BYTES]));
        let read = BodyReader::new()
            .read(&HeaderMap::new(), body)
            .await
            .unwrap();
        assert_eq!(read.len(), MAX_BODY_BYTES);
    }

    #[tokio::test]
    async fn one_byte_more_is_refused_whether_stated_or_not() {
        let body = || Full::new(Bytes::from(vec![7; MAX_BODY_BYTES + 1]));
        let reader = BodyReader::new();
        assert_eq!(
            reader.read(&HeaderMap::new(), body()).await,
            Err(BodyError::TooLarge)
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, (MAX_BODY_BYTES + 1).into());
        assert_eq!(
            reader.read(&headers, body()).await,
            Err(BodyError::TooLarge)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let pending =
            futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
        let body = StreamBody::new(pending);
        assert_eq!(
            BodyReader::new().read(&HeaderMap::new(), body).await,
            Err(BodyError::TooSlow)
        );
    }
}
