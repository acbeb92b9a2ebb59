//! What a request turned out to be: `s3s` finds out, metrics and the audit log want to know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::Request;

use super::account::INPUTS;

/// Where it is noted while a request is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Found(Arc<Notes>);

#[derive(Debug, Default)]
struct Notes {
    name: OnceLock<&'static str>,
    is_verified: AtomicBool,
}

impl Found {
    /// The place of a request, which travels with it.
    pub(super) fn of<B>(request: &mut Request<B>) -> Self {
        let found = Self::default();
        request.extensions_mut().insert(found.clone());
        found
    }

    /// Notes the name of an operation. A request has one.
    pub(super) fn set_operation(&self, name: &str) {
        if let Some(name) = known(name) {
            let _ = self.0.name.set(name);
        }
    }

    /// The name; `None` of what is no operation of ours, or was refused before it was looked at.
    pub(super) fn operation(&self) -> Option<&'static str> {
        self.0.name.get().copied()
    }

    /// Notes that the signature is that of the key that the request names.
    pub(super) fn set_verified(&self) {
        self.0.is_verified.store(true, Ordering::Relaxed);
    }

    /// Whether the signature was verified.
    pub(super) fn is_verified(&self) -> bool {
        self.0.is_verified.load(Ordering::Relaxed)
    }
}

/// The same name for ever: labels of metrics must be ones that we have written.
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
