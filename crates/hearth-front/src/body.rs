//! Reads request bodies that have to be complete before they can be verified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hearth_control::id::AccountId;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory_shares::MemoryShares;

/// Lambda's own request limit.
pub(crate) const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// Largest request with code of a function or a layer: 50 MiB in base64, and some more (facts on functions, section 1.2).
pub(crate) const MAX_CODE_BODY_BYTES: usize = 70_167_211;

/// How long a body with code may take, its wait for others included.
const CODE_BODY_TIME: Duration = Duration::from_secs(60);

/// Bodies with code beyond the usual size at a time, from their first byte beyond it until they are answered. What
/// remains of them while they are answered is bounded by this too: twice their size at most.
const CODE_BODIES: usize = 1;

/// A body that takes longer is taken for a slow-body attack.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The first bytes of each body have memory of their own: nearly all requests are no larger, and those pass however
/// many large bodies wait for each other.
const SMALL_BYTES: usize = 16 * 1024;

/// One in so many parts of a budget is what one account may hold with heads that are verified: by default five of the
/// largest bodies, so that it takes four busy accounts to make others wait.
const ACCOUNT_PARTS: usize = 4;

/// The same for requests that only name a key of the account. Ids of keys are no secrets, so anybody may hold this
/// much in anybody's name: by default two of the largest bodies.
const CLAIMED_ACCOUNT_PARTS: usize = 8;

/// What all requests with unverified heads may hold together: half, so that the others always find room.
const CLAIMED_PARTS: usize = 2;

/// The budgets are counted in blocks, since a semaphore counts 32 bits at a time.
const BLOCK_BYTES: usize = 4096;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body did not arrive within {} seconds", BODY_TIME.as_secs())]
    TooSlow,
    #[error("the connection ended inside the body")]
    Broken,
}

/// The sender of a body, as far as known before the body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    /// The account of the access key that the request names.
    pub(crate) account: AccountId,
    /// Whether the signature of the head is verified. If not, the account is a claim only.
    pub(crate) is_verified: bool,
}

/// Reads bodies within limits of size, time, and memory over all connections.
///
/// A body takes memory from the budgets when its bytes arrive, so a client that only announces a body takes nothing.
#[derive(Clone, Debug)]
pub(crate) struct BodyReader {
    small: Arc<Budget>,
    large: Arc<Budget>,
    code: Arc<Semaphore>,
}

/// A body that is read, and what it holds until its request is answered.
#[derive(Debug)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    /// The place of a body with code beyond the usual size.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

impl BodyReader {
    pub(crate) fn new(shares: &MemoryShares) -> Self {
        Self {
            small: Arc::new(Budget::new(shares.small_body_bytes)),
            large: Arc::new(Budget::new(shares.large_body_bytes)),
            code: Arc::new(Semaphore::new(CODE_BODIES)),
        }
    }

    /// Reads the whole body.
    ///
    /// # Errors
    ///
    /// [`BodyError`]. No memory stays reserved.
    pub(crate) async fn read<B>(
        &self,
        sender: Sender,
        headers: &HeaderMap,
        body: B,
    ) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let usual = (MAX_BODY_BYTES, BODY_TIME);
        let read = self.read_within(sender, headers, body, usual).await;
        read.map(|read| read.bytes)
    }

    /// Reads the whole body of a request that may have code. Those beyond the usual size take turns.
    ///
    /// # Errors
    ///
    /// [`BodyError`]. No memory stays reserved.
    pub(crate) async fn read_code<B>(
        &self,
        sender: Sender,
        headers: &HeaderMap,
        body: B,
    ) -> Result<ReadBody, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let of_code = (MAX_CODE_BODY_BYTES, CODE_BODY_TIME);
        self.read_within(sender, headers, body, of_code).await
    }

    async fn read_within<B>(
        &self,
        sender: Sender,
        headers: &HeaderMap,
        body: B,
        (max_bytes, time): (usize, Duration),
    ) -> Result<ReadBody, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let stated = stated_length(headers).unwrap_or(0);
        if stated > max_bytes {
            return Err(BodyError::TooLarge);
        }
        tokio::time::timeout(time, self.collect(sender, stated, body, max_bytes))
            .await
            .unwrap_or(Err(BodyError::TooSlow))
    }

    async fn collect<B>(
        &self,
        sender: Sender,
        stated_bytes: usize,
        mut body: B,
        max_bytes: usize,
    ) -> Result<ReadBody, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (mut whole, mut reserved) = (BytesMut::new(), 0);
        // What is reserved from the budgets until the body is read. Afterwards the sender is verified.
        let (mut held, mut place) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let length = whole.len() + data.len();
            if length > max_bytes {
                return Err(BodyError::TooLarge);
            }
            if length > reserved {
                // Who has sent no more than others gets no more than they.
                let limit = match length {
                    0..=MAX_BODY_BYTES => MAX_BODY_BYTES,
                    _ => max_bytes,
                };
                let wanted = grown(reserved, length, stated_bytes, limit);
                if wanted > MAX_BODY_BYTES && place.is_none() {
                    let taken = Arc::clone(&self.code).acquire_owned().await;
                    place = Some(taken.map_err(|_| BodyError::TooSlow)?);
                }
                let usual = [reserved, wanted].map(|bytes| bytes.min(MAX_BODY_BYTES));
                held.extend(self.reserve(sender, usual[0], usual[1]).await?);
                reserved = wanted;
                whole.reserve(reserved - whole.len());
            }
            whole.extend_from_slice(data);
        }
        Ok(ReadBody {
            bytes: whole.freeze(),
            place,
        })
    }

    /// Reserves the memory that a body needs to grow.
    async fn reserve(
        &self,
        sender: Sender,
        from_bytes: usize,
        to_bytes: usize,
    ) -> Result<Vec<OwnedSemaphorePermit>, BodyError> {
        let blocks = |of: fn(usize) -> usize| {
            of(to_bytes).div_ceil(BLOCK_BYTES) - of(from_bytes).div_ceil(BLOCK_BYTES)
        };
        let small = blocks(|bytes| bytes.min(SMALL_BYTES));
        let large = blocks(|bytes| bytes.saturating_sub(SMALL_BYTES));
        let mut permits = self.small.take(sender, small).await?;
        permits.extend(self.large.take(sender, large).await?);
        Ok(permits)
    }
}

/// The least that anybody may hold of large bodies.
#[cfg(test)]
pub(crate) fn least_share(shares: &MemoryShares) -> usize {
    shares.large_body_bytes / CLAIMED_ACCOUNT_PARTS
}

/// Memory that all senders share, and the shares of it.
#[derive(Debug)]
struct Budget {
    blocks: usize,
    all: Arc<Semaphore>,
    /// The share of all senders that are not verified.
    claimed: Arc<Semaphore>,
    /// The share of each sender: at most two for each account.
    senders: Mutex<HashMap<Sender, Arc<Semaphore>>>,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        let blocks = bytes / BLOCK_BYTES;
        Self {
            blocks,
            all: Arc::new(Semaphore::new(blocks)),
            claimed: Arc::new(Semaphore::new(blocks / CLAIMED_PARTS)),
            senders: Mutex::default(),
        }
    }

    /// Reserves blocks: first from the sender's own share, so that a sender that has used it up blocks no others.
    async fn take(
        &self,
        sender: Sender,
        blocks: usize,
    ) -> Result<Vec<OwnedSemaphorePermit>, BodyError> {
        let mut permits = Vec::new();
        if blocks == 0 {
            return Ok(permits);
        }
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let claimed = (!sender.is_verified).then(|| Arc::clone(&self.claimed));
        let shares = [
            Some(self.share(sender)),
            claimed,
            Some(Arc::clone(&self.all)),
        ];
        for share in shares.into_iter().flatten() {
            // The semaphores are never closed. If one were, there would be no memory.
            let permit = share.acquire_many_owned(blocks).await;
            permits.push(permit.map_err(|_| BodyError::TooSlow)?);
        }
        Ok(permits)
    }

    fn share(&self, sender: Sender) -> Arc<Semaphore> {
        let parts = match sender.is_verified {
            true => ACCOUNT_PARTS,
            false => CLAIMED_ACCOUNT_PARTS,
        };
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let share = senders
            .entry(sender)
            .or_insert_with(|| Arc::new(Semaphore::new(self.blocks / parts)));
        Arc::clone(share)
    }
}

/// The new size of a buffer that is full: doubled, so that bytes are not moved too often. A body that is not small
/// reserves all that it stated at once: two that each hold half of a share would wait for each other.
fn grown(reserved: usize, length: usize, stated: usize, limit: usize) -> usize {
    let room = length.max(2 * reserved).next_multiple_of(BLOCK_BYTES);
    let room = if room > SMALL_BYTES {
        room.max(stated)
    } else {
        room
    };
    room.min(limit)
}

fn stated_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Full, StreamBody};

    use super::*;

    fn reader() -> BodyReader {
        BodyReader::new(&MemoryShares::default())
    }

    fn claimed(account: u64) -> Sender {
        Sender {
            account: AccountId::from_number(account).unwrap(),
            is_verified: false,
        }
    }

    fn verified(account: u64) -> Sender {
        Sender {
            is_verified: true,
            ..claimed(account)
        }
    }

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read() {
        let body = Full::new(Bytes::from(vec![7; MAX_BODY_BYTES]));
        let read = reader()
            .read(claimed(1), &HeaderMap::new(), body)
            .await
            .unwrap();
        assert_eq!(read.len(), MAX_BODY_BYTES);
    }

    #[tokio::test]
    async fn one_byte_more_is_refused_whether_stated_or_not() {
        let body = || Full::new(Bytes::from(vec![7; MAX_BODY_BYTES + 1]));
        let reader = reader();
        assert_eq!(
            reader.read(claimed(1), &HeaderMap::new(), body()).await,
            Err(BodyError::TooLarge)
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, (MAX_BODY_BYTES + 1).into());
        assert_eq!(
            reader.read(claimed(1), &headers, body()).await,
            Err(BodyError::TooLarge)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let pending =
            futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
        let body = StreamBody::new(pending);
        assert_eq!(
            reader().read(claimed(1), &HeaderMap::new(), body).await,
            Err(BodyError::TooSlow)
        );
    }

    fn silent() -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, Infallible>,
        >())
    }

    /// Some bytes and then silence.
    fn stuck(bytes: Bytes) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        use futures_util::{StreamExt as _, stream};
        let data = http_body::Frame::data(bytes);
        StreamBody::new(Box::pin(stream::iter([Ok(data)]).chain(stream::pending())))
    }

    /// Bodies that are announced, with their length or without, and do not come: however many, nobody waits for them.
    #[tokio::test(start_paused = true)]
    async fn silent_bodies_take_nothing_from_others() {
        let reader = reader();
        let mut stated = HeaderMap::new();
        stated.insert(CONTENT_LENGTH, MAX_BODY_BYTES.into());
        for headers in [HeaderMap::new(), stated] {
            for _ in 0..1000 {
                let (reader, headers) = (reader.clone(), headers.clone());
                tokio::spawn(async move { reader.read(claimed(1), &headers, silent()).await });
            }
        }
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        let body = Full::new(Bytes::from(vec![7; MAX_BODY_BYTES]));
        let read = reader
            .read(claimed(1), &HeaderMap::new(), body)
            .await
            .unwrap();
        assert_eq!(read.len(), MAX_BODY_BYTES);
        assert!(begun.elapsed().is_zero(), "{:?}", begun.elapsed());
    }

    /// Sixty large bodies of each of these senders, none of which comes to its end.
    async fn stick(reader: &BodyReader, senders: impl IntoIterator<Item = Sender>) {
        let bytes = Bytes::from(vec![7; MAX_BODY_BYTES]);
        for sender in senders {
            for _ in 0..60 {
                let reader = reader.clone();
                let body = stuck(bytes.clone());
                tokio::spawn(async move { reader.read(sender, &HeaderMap::new(), body).await });
            }
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// Whether a body of this size is read at once.
    async fn passes(reader: &BodyReader, sender: Sender, bytes: usize) -> bool {
        let body = Full::new(Bytes::from(vec![7; bytes]));
        let headers = HeaderMap::new();
        let reading = reader.read(sender, &headers, body);
        let read = tokio::time::timeout(Duration::from_millis(1), reading);
        read.await.is_ok_and(|read| read.is_ok())
    }

    /// Large bodies that are stuck hold all of their budget: requests of the usual size still pass, and memory is bounded.
    #[tokio::test(start_paused = true)]
    async fn small_bodies_pass_large_ones_that_are_stuck() {
        let reader = reader();
        let shares = MemoryShares::default();
        stick(&reader, (1..=6).map(verified)).await;
        assert_eq!(reader.large.all.available_permits(), 0);
        assert!(!passes(&reader, verified(7), MAX_BODY_BYTES).await);
        assert!(passes(&reader, claimed(7), SMALL_BYTES).await);
        // Those that wait for the budget are given up like those that hold it, and all of it comes back.
        tokio::time::sleep(2 * BODY_TIME).await;
        for (budget, bytes) in [
            (&reader.large, shares.large_body_bytes),
            (&reader.small, shares.small_body_bytes),
        ] {
            assert_eq!(budget.all.available_permits(), bytes / BLOCK_BYTES);
            let claimed = bytes / BLOCK_BYTES / CLAIMED_PARTS;
            assert_eq!(budget.claimed.available_permits(), claimed);
        }
    }

    /// Finding M3: forty slow strangers who know the id of one key held all memory for bodies.
    #[tokio::test(start_paused = true)]
    async fn strangers_hold_the_share_of_the_account_that_they_name_and_no_more() {
        let reader = reader();
        stick(&reader, [claimed(1)]).await;
        assert!(!passes(&reader, claimed(1), MAX_BODY_BYTES).await);
        assert!(passes(&reader, claimed(2), MAX_BODY_BYTES).await);
        assert!(passes(&reader, verified(1), MAX_BODY_BYTES).await);
        // With the ids of many accounts they hold half, and those with a verified head have the other.
        stick(&reader, (1..=20).map(claimed)).await;
        assert!(!passes(&reader, claimed(21), MAX_BODY_BYTES).await);
        assert!(passes(&reader, verified(1), MAX_BODY_BYTES).await);
        assert!(passes(&reader, claimed(21), SMALL_BYTES).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_holds_no_more_than_its_share() {
        let reader = reader();
        stick(&reader, [verified(1)]).await;
        assert!(!passes(&reader, verified(1), MAX_BODY_BYTES).await);
        assert!(passes(&reader, verified(2), MAX_BODY_BYTES).await);
    }

    /// More large bodies at once than a share has room for, in small pieces: each takes its room at once, so none waits
    /// for another that waits for it.
    #[tokio::test(start_paused = true)]
    async fn large_bodies_with_a_length_do_not_wait_for_each_other() {
        let reader = reader();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, MAX_BODY_BYTES.into());
        let begun = tokio::time::Instant::now();
        let reads = (0..30).map(|_| {
            let (reader, headers) = (reader.clone(), headers.clone());
            let piece = Bytes::from(vec![7; 64 * 1024]);
            let frames = (0..MAX_BODY_BYTES / piece.len())
                .map(move |_| Ok::<_, Infallible>(http_body::Frame::data(piece.clone())));
            let body = StreamBody::new(futures_util::stream::iter(frames));
            tokio::spawn(async move { reader.read(claimed(1), &headers, body).await })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.unwrap().unwrap().len(), MAX_BODY_BYTES);
        }
        assert!(begun.elapsed() < BODY_TIME, "{:?}", begun.elapsed());
    }

    /// A body with code may be larger than others, one at a time; those of the usual size pass it.
    #[tokio::test(start_paused = true)]
    async fn bodies_with_code_take_turns_beyond_the_usual_size() {
        let reader = reader();
        let large = || Full::new(Bytes::from(vec![7; MAX_BODY_BYTES + 1]));
        let none = HeaderMap::new();
        let first = reader.read_code(claimed(1), &none, large()).await.unwrap();
        assert_eq!(first.bytes.len(), MAX_BODY_BYTES + 1);
        let usual = Full::new(Bytes::from(vec![7; MAX_BODY_BYTES]));
        let read = reader.read_code(claimed(1), &none, usual).await;
        assert!(read.unwrap().place.is_none());
        let second = reader.read_code(claimed(2), &none, large()).await;
        assert_eq!(second.unwrap_err(), BodyError::TooSlow);
        drop(first.place);
        let third = reader.read_code(claimed(2), &none, large()).await;
        assert!(third.is_ok());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, (MAX_CODE_BODY_BYTES + 1).into());
        let refused = reader.read_code(claimed(1), &headers, silent()).await;
        assert_eq!(refused.unwrap_err(), BodyError::TooLarge);
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
        let reader = reader();
        assert_eq!(
            reader
                .read(claimed(1), &HeaderMap::new(), body)
                .await
                .unwrap(),
            whole
        );
        assert_eq!(
            reader.large.all.available_permits(),
            MemoryShares::default().large_body_bytes / BLOCK_BYTES
        );
    }
}
