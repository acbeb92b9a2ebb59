//! How operations on functions reach the store.

use std::sync::Arc;

use hearth_functions::{FunctionError, Functions, Owner};

use super::refusal;
use crate::fault::Fault;
use crate::lambda::Context;

impl Context<'_> {
    /// The owner of the caller's functions.
    pub(crate) fn owner(&self) -> Owner {
        let scope = self.scope();
        Owner {
            account: scope.account.to_string(),
            region: scope.region.to_string(),
        }
    }

    /// Runs something on the store of functions that may block.
    ///
    /// # Errors
    ///
    /// Its refusal, in the words of AWS.
    pub(super) async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Functions, &Owner) -> Result<T, FunctionError> + Send + 'static,
    ) -> Result<T, Fault> {
        let (store, owner) = (Arc::clone(&self.functions.store), self.owner());
        let account = owner.account.clone();
        let ran = self
            .functions
            .places
            .run(&account, move || work(&store, &owner));
        let ran = ran.await.map_err(|error| Fault::internal(&error))?;
        ran.map_err(|error| refusal::fault(self, error))
    }
}

/// The time, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
