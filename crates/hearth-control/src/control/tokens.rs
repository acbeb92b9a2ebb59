//! Client tokens: the same token with the same request is the same request.

use super::Shared;
use crate::arn::Scope;
use crate::refusal::{ControlError, Refusal};
use crate::request::RequestToken;
use crate::store::{Batch, Change, Guard, TokenKey, TokenUse};

/// A request that may have been made before.
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

    /// What the request made when it was made before.
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

    /// The batch with the note that the request made `resource`, if nobody else noted one meanwhile.
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
        // The guard stands first: a repeated request is a repeated request before it is anything else.
        let mut batch = batch.change(Change::UseToken(key.clone(), used));
        batch.guards.insert(0, Guard::TokenFree(key.clone()));
        batch
    }

    /// Token and digest, for an owner that notes them itself.
    pub(super) fn into_parts(self) -> Option<(TokenKey, [u8; 32])> {
        self.used
    }
}
