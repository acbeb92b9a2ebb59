//! Which operation a request turned out to be: `s3s` finds out, metrics and the audit log want to know.

use std::sync::{Arc, OnceLock};

use http::Request;

use super::account::INPUTS;

/// Where the name is put while a request is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Name(Arc<OnceLock<&'static str>>);

impl Name {
    /// The place of a request, which travels with it.
    pub(super) fn of<B>(request: &mut Request<B>) -> Self {
        let name = Self::default();
        request.extensions_mut().insert(name.clone());
        name
    }

    /// Notes the name of an operation. A request has one.
    pub(super) fn set(&self, name: &str) {
        if let Some(name) = known(name) {
            let _ = self.0.set(name);
        }
    }

    /// The name; `None` of what is no operation of ours, or was refused before it was looked at.
    pub(super) fn get(&self) -> Option<&'static str> {
        self.0.get().copied()
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
