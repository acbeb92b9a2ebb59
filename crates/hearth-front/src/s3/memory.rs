//! Memory for what `s3s` holds as a whole: lists of keys, of parts, and whatever else is XML; and, in a memory of their own, large
//! chunks of uploads (chunk_limit.rs).
//!
//! Bodies of objects stream through and are not counted. A request takes its memory when its signature has been verified, which `s3s`
//! does before it reads the body, and gives it back when it is answered: whoever only knows a key's id takes nothing of its account.
//! Who finds none is told to slow down, which the SDKs do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MAX_XML_BYTES;
use crate::uri::query_pairs;

/// For one account: four of the largest, or a hundred of the usual.
pub(crate) const OF_ACCOUNT_BYTES: usize = 4 * MAX_XML_BYTES;

/// What is counted at once: a semaphore counts 32 bits.
const BLOCK_BYTES: usize = 4096;

/// Parameters of requests whose body is an object or a part. What is not here takes memory, which is at worst too careful.
const STREAMED: &[&str] = &[
    "partNumber",
    "uploadId",
    "x-id",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
];

/// The memory.
pub(super) struct Memory {
    all: Arc<Semaphore>,
    accounts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// What one request has of it.
#[derive(Debug)]
pub(super) struct Taken {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// What one request will hold, until its answer is made. A clone travels with it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    bytes: usize,
    taken: Arc<OnceLock<Taken>>,
}

impl Held {
    /// Nothing is taken yet.
    pub(super) fn of<B>(request: &mut Request<B>, bytes: usize) -> Self {
        let held = Self {
            bytes,
            taken: Arc::default(),
        };
        request.extensions_mut().insert(held.clone());
        held
    }
}

impl Memory {
    /// For all accounts together.
    pub(super) fn new(of_all_bytes: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(of_all_bytes / BLOCK_BYTES)),
            accounts: Mutex::default(),
        }
    }

    /// Gives a request of the account what it will hold, once. Answers whether there was enough.
    pub(super) fn give(&self, account: &str, held: &Held) -> bool {
        let Some(taken) = self.take(account, held.bytes) else {
            return false;
        };
        // A second one, if there ever is, goes back.
        let _ = held.taken.set(taken);
        true
    }

    /// Waits for memory: in the account's own share first, so that who has used that up is in nobody's way. `None` of more than there
    /// ever is.
    pub(super) async fn wait(&self, account: &str, bytes: usize) -> Option<Taken> {
        let blocks = blocks_of(bytes)?;
        Some(Taken {
            _own: self.of(account).acquire_many_owned(blocks).await.ok()?,
            _all: Arc::clone(&self.all)
                .acquire_many_owned(blocks)
                .await
                .ok()?,
        })
    }

    /// Takes memory for a request; `None` when there is none.
    fn take(&self, account: &str, bytes: usize) -> Option<Taken> {
        let blocks = blocks_of(bytes)?;
        Some(Taken {
            _own: self.of(account).try_acquire_many_owned(blocks).ok()?,
            _all: Arc::clone(&self.all).try_acquire_many_owned(blocks).ok()?,
        })
    }

    fn of(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Semaphore::new(OF_ACCOUNT_BYTES / BLOCK_BYTES));
        Arc::clone(accounts.entry(account.to_owned()).or_insert_with(made))
    }
}

fn blocks_of(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(BLOCK_BYTES)).ok()
}

/// What a request may have `s3s` hold: nothing of one that streams or has no body, and never more than it lets pass.
pub(super) fn held_bytes(head: &Parts) -> usize {
    if streams(head) {
        return 0;
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        return MAX_XML_BYTES;
    }
    let stated = head.headers.get(CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok());
    let length = stated.map_or(Some(0), |length| length.parse().ok());
    length.map_or(MAX_XML_BYTES, |length: usize| length.min(MAX_XML_BYTES))
}

/// Whether a request is `PutObject` or `UploadPart`.
fn streams(head: &Parts) -> bool {
    let path = head.uri.path().trim_start_matches('/');
    let has_key = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let is_known = |name: &str| {
        STREAMED.contains(&name)
            || name
                .get(..6)
                .is_some_and(|begin| begin.eq_ignore_ascii_case("x-amz-"))
    };
    head.method == Method::PUT
        && has_key
        && query_pairs(head.uri.query().unwrap_or_default()).all(|(name, _)| is_known(&name))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn held(method: &str, target: &str, length: Option<&str>) -> usize {
        let request = Request::builder().method(method).uri(target);
        let request = match length {
            Some("chunked") => request.header(TRANSFER_ENCODING, "chunked"),
            Some(length) => request.header(CONTENT_LENGTH, length),
            None => request,
        };
        held_bytes(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_is_held_is_counted_and_what_streams_is_not() {
        for target in [
            "/b/k",
            "/b/k?partNumber=1&uploadId=u",
            "/b/k?X-Amz-Signature=s&x-id=PutObject",
        ] {
            assert_eq!(held("PUT", target, Some("5000000000")), 0, "{target}");
        }
        assert_eq!(held("POST", "/b?delete", Some("1000")), 1000);
        assert_eq!(
            held("POST", "/b/k?uploadId=u", Some("5000000000")),
            MAX_XML_BYTES
        );
        assert_eq!(held("POST", "/b?delete", Some("chunked")), MAX_XML_BYTES);
        assert_eq!(held("PUT", "/b", Some("200")), 200);
        assert_eq!(held("PUT", "/b/", Some("200")), 200);
        assert_eq!(held("PUT", "/b/k?tagging", Some("200")), 200);
        assert_eq!(held("GET", "/b", None), 0);
    }

    /// Finding M1: an account holds no more than its share, and leaves the others theirs.
    #[test]
    fn an_account_holds_no_more_than_its_share() {
        let memory = Memory::new(32 * MAX_XML_BYTES);
        let mut taken: Vec<_> = (0..100)
            .map_while(|_| memory.take("greedy", MAX_XML_BYTES))
            .collect();
        assert_eq!(taken.len(), OF_ACCOUNT_BYTES / MAX_XML_BYTES);
        assert!(memory.take("greedy", 1).is_none());
        assert!(memory.take("greedy", 0).is_some());
        assert!(memory.take("other", MAX_XML_BYTES).is_some());
        taken.pop();
        assert!(memory.take("greedy", MAX_XML_BYTES).is_some());
    }

    /// The memory is a request's for as long as somebody answers it, and no longer.
    #[test]
    fn what_a_request_holds_goes_back_with_its_answer() {
        let memory = Memory::new(32 * MAX_XML_BYTES);
        let free = || memory.all.available_permits();
        let all = free();
        let mut request = Request::new(());
        let held = Held::of(&mut request, MAX_XML_BYTES);
        assert_eq!(free(), all, "a request takes nothing as it comes");
        let travelling = request.extensions().get::<Held>().unwrap();
        assert!(memory.give("a", travelling));
        assert_eq!(free(), all - MAX_XML_BYTES / BLOCK_BYTES);
        drop(request);
        assert_eq!(free(), all - MAX_XML_BYTES / BLOCK_BYTES);
        drop(held);
        assert_eq!(free(), all);
    }
}
