//! Reading a request body that has to be whole before it can be believed.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Lambda's own request limit.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// A body that is not complete by then is taken for a slow-body attack.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Memory for bodies that are being read, all connections together: forty of the largest.
const BUDGET_BYTES: usize = 40 * MAX_BODY_BYTES;

/// The first bytes of each body have memory of their own: nearly all requests are no larger, and those pass however
/// many large bodies wait for each other.
const SMALL_BYTES: usize = 16 * 1024;

/// Memory for the first bytes of bodies: of four thousand at a time.
const SMALL_BUDGET_BYTES: usize = 4096 * SMALL_BYTES;

/// The budgets are counted in blocks, since a semaphore counts 32 bits at a time.
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
///
/// A body takes memory from the budget as its bytes come. Its sender is not known yet: whoever only announces a body
/// takes nothing from others.
#[derive(Clone, Debug)]
pub(crate) struct BodyReader {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl BodyReader {
    pub(crate) fn new() -> Self {
        Self {
            small: Arc::new(Semaphore::new(SMALL_BUDGET_BYTES / BLOCK_BYTES)),
            large: Arc::new(Semaphore::new(BUDGET_BYTES / BLOCK_BYTES)),
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
        if stated_length(headers).is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(BodyError::TooLarge);
        }
        tokio::time::timeout(BODY_TIME, self.collect(body))
            .await
            .unwrap_or(Err(BodyError::TooSlow))
    }

    async fn collect<B>(&self, mut body: B) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (mut whole, mut reserved) = (BytesMut::new(), 0);
        // What is held of the budgets, until the body is read: then its sender is asked for.
        let mut held = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let length = whole.len() + data.len();
            if length > MAX_BODY_BYTES {
                return Err(BodyError::TooLarge);
            }
            if length > reserved {
                let wanted = grown(reserved, length);
                held.extend(self.reserve(reserved, wanted).await?);
                reserved = wanted;
                whole.reserve(reserved - whole.len());
            }
            whole.extend_from_slice(data);
        }
        Ok(whole.freeze())
    }

    /// Takes from the budgets what a body needs to grow.
    async fn reserve(
        &self,
        from_bytes: usize,
        to_bytes: usize,
    ) -> Result<Vec<SemaphorePermit<'_>>, BodyError> {
        let blocks = |of: fn(usize) -> usize| {
            of(to_bytes).div_ceil(BLOCK_BYTES) - of(from_bytes).div_ceil(BLOCK_BYTES)
        };
        let small = blocks(|bytes| bytes.min(SMALL_BYTES));
        let large = blocks(|bytes| bytes.saturating_sub(SMALL_BYTES));
        let mut permits = Vec::new();
        for (budget, blocks) in [(&self.small, small), (&self.large, large)] {
            let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
            // The semaphores are never closed, so a failure cannot happen; it would mean no memory.
            let permit = budget.acquire_many(blocks).await;
            permits.push(permit.map_err(|_| BodyError::TooSlow)?);
        }
        Ok(permits)
    }
}

/// The room for a body that has outgrown its own: doubled, so that bytes are not moved too often.
fn grown(reserved: usize, length: usize) -> usize {
    length
        .max(2 * reserved)
        .next_multiple_of(BLOCK_BYTES)
        .min(MAX_BODY_BYTES)
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

    fn silent() -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, Infallible>,
        >())
    }

    /// Some bytes and then silence.
    fn stuck(bytes: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        use futures_util::{StreamExt as _, stream};
        let data = http_body::Frame::data(Bytes::from(vec![7; bytes]));
        StreamBody::new(Box::pin(stream::iter([Ok(data)]).chain(stream::pending())))
    }

    /// Bodies that are announced, with their length or without, and do not come: however many, nobody waits for them.
    #[tokio::test(start_paused = true)]
    async fn silent_bodies_take_nothing_from_others() {
        let reader = BodyReader::new();
        let mut stated = HeaderMap::new();
        stated.insert(CONTENT_LENGTH, MAX_BODY_BYTES.into());
        for headers in [HeaderMap::new(), stated] {
            for _ in 0..1000 {
                let (reader, headers) = (reader.clone(), headers.clone());
                tokio::spawn(async move { reader.read(&headers, silent()).await });
            }
        }
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        let body = Full::new(Bytes::from(vec![7; MAX_BODY_BYTES]));
        let read = reader.read(&HeaderMap::new(), body).await.unwrap();
        assert_eq!(read.len(), MAX_BODY_BYTES);
        assert!(begun.elapsed().is_zero(), "{:?}", begun.elapsed());
    }

    /// Large bodies that are stuck hold all of their budget: requests of the usual size still pass, and memory is bounded.
    #[tokio::test(start_paused = true)]
    async fn small_bodies_pass_large_ones_that_are_stuck() {
        let reader = BodyReader::new();
        for _ in 0..60 {
            let reader = reader.clone();
            tokio::spawn(
                async move { reader.read(&HeaderMap::new(), stuck(MAX_BODY_BYTES)).await },
            );
        }
        tokio::task::yield_now().await;
        assert_eq!(reader.large.available_permits(), 0);
        let begun = tokio::time::Instant::now();
        let body = Full::new(Bytes::from(vec![7; SMALL_BYTES]));
        assert!(reader.read(&HeaderMap::new(), body).await.is_ok());
        assert!(begun.elapsed().is_zero(), "{:?}", begun.elapsed());
        // Those that wait for the budget are given up like those that hold it, and all of it comes back.
        tokio::time::sleep(2 * BODY_TIME).await;
        assert_eq!(reader.large.available_permits(), BUDGET_BYTES / BLOCK_BYTES);
        assert_eq!(
            reader.small.available_permits(),
            SMALL_BUDGET_BYTES / BLOCK_BYTES
        );
    }

    #[tokio::test]
    async fn what_comes_in_pieces_is_put_together() {
        let pieces: Vec<Vec<u8>> = (0..200_u8)
            .map(|n| vec![n; 1 + usize::from(n) * 37])
            .collect();
        let whole = pieces.concat();
        let frames = pieces
            .into_iter()
            .map(|piece| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let reader = BodyReader::new();
        assert_eq!(reader.read(&HeaderMap::new(), body).await.unwrap(), whole);
        assert_eq!(reader.large.available_permits(), BUDGET_BYTES / BLOCK_BYTES);
    }
}
