//! What `s3s` found out about a request: the operation and whether the signature is valid. Metrics and the audit log
//! need it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::Request;

use super::account::INPUTS;

/// Notes about a request, taken while it is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Found(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    name: OnceLock<&'static str>,
    is_verified: AtomicBool,
}

impl Found {
    /// Creates the notes of a request and adds them to its extensions.
    pub(super) fn of<B>(request: &mut Request<B>) -> Self {
        let found = Self::default();
        request.extensions_mut().insert(found.clone());
        found
    }

    /// Notes the operation. Each request has one.
    pub(super) fn set_operation(&self, name: &str) {
        if let Some(name) = known(name) {
            let _ = self.0.name.set(name);
        }
    }

    /// The operation. `None` if it is unknown, or the request was refused before it was determined.
    pub(super) fn operation(&self) -> Option<&'static str> {
        self.0.name.get().copied()
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

/// The name as a constant: labels of metrics must be constants.
fn known(name: &str) -> Option<&'static str> {
    let names = INPUTS
        .iter()
        .filter_map(|input| input.strip_suffix("Input"));
    names.into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name() {
        let named = INPUTS.iter().filter(|input| input.ends_with("Input"));
        assert_eq!(named.count(), INPUTS.len());
        assert_eq!(known("PutObject"), Some("PutObject"));
        assert_eq!(known("PutBucketPolicy"), None);
    }
}
