//! What `s3s` found out about a request: the operation and whether the signature is valid. Metrics and the audit log
//! need it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use http::Request;

/// Notes about a request, taken while it is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Found(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    name: OnceLock<&'static str>,
    is_verified: AtomicBool,
    tags: AtomicUsize,
}

impl Found {
    /// Creates the notes of a request and adds them to its extensions.
    pub(super) fn of<B>(request: &mut Request<B>) -> Self {
        let found = Self::default();
        request.extensions_mut().insert(found.clone());
        found
    }

    /// Notes the operation. Each request has one.
    pub(super) fn set_operation(&self, name: &'static str) {
        let _ = self.0.name.set(name);
    }

    /// The operation. `None` if it is unknown, or the request was refused before it was determined.
    pub(super) fn operation(&self) -> Option<&'static str> {
        self.0.name.get().copied()
    }

    /// Notes how many tags an object has, where the answer of `s3s` has no member for it.
    pub(super) fn set_tags(&self, count: usize) {
        self.0.tags.store(count, Ordering::Relaxed);
    }

    /// The noted number of tags.
    pub(super) fn tags(&self) -> usize {
        self.0.tags.load(Ordering::Relaxed)
    }

    /// Notes that the signature matches the access key that the request names.
    pub(super) fn set_verified(&self) {
        self.0.is_verified.store(true, Ordering::Relaxed);
    }

    /// Whether the signature was verified.
    pub(super) fn is_verified(&self) -> bool {
        self.0.is_verified.load(Ordering::Relaxed)
    }
}
