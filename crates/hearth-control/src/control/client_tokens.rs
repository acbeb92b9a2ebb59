//! Client tokens: idempotency of requests.

use super::Shared;
use crate::arn::Scope;
use crate::refusal::{ControlError, Refusal};
use crate::request::RequestToken;
use crate::store::{Batch, Change, Guard, TokenKey, TokenUse};

/// A request that an earlier one with the same token may have made already.
#[derive(Debug, Clone)]
pub(super) struct Repeatable {
    used: Option<(TokenKey, [u8; 32])>,
}

impl Repeatable {
    pub(super) fn new(scope: &Scope, operation: &'static str, token: Option<RequestToken>) -> Self {
        let used = token.map(|RequestToken { token, digest }| {
            let key = TokenKey {
                scope: scope.clone(),
                operation,
                token,
            };
            (key, digest.to_bytes())
        });
        Self { used }
    }

    /// What an earlier request with the same token made.
    pub(super) async fn made_before(
        &self,
        shared: &Shared,
    ) -> Result<Option<String>, ControlError> {
        let Some((key, digest)) = &self.used else {
            return Ok(None);
        };
        match shared.store.token(key).await? {
            None => Ok(None),
            Some(used) if used.digest == *digest => Ok(Some(used.resource)),
            Some(_) => Err(Refusal::TokenConflict.into()),
        }
    }

    /// Adds to a batch the note that this request made `resource`, with the guard that no other request with the
    /// token did.
    pub(super) fn note(&self, shared: &Shared, batch: Batch, resource: String) -> Batch {
        let Some((key, digest)) = &self.used else {
            return batch;
        };
        let at = shared.clock.now();
        let used = TokenUse {
            digest: *digest,
            resource,
            at,
        };
        // The guard comes first: a repeated request is answered as one, before any quota is checked.
        let mut batch = batch.change(Change::UseToken(key.clone(), used));
        batch.guards.insert(0, Guard::TokenFree(key.clone()));
        batch
    }

    /// The token and digest, for an owner that writes the note itself.
    pub(super) fn into_parts(self) -> Option<(TokenKey, [u8; 32])> {
        self.used
    }
}
