//! Looks up the versions of functions for events.

use std::sync::Arc;

use async_trait::async_trait;
use hearth_functions::{FunctionError, Functions, Owner, Qualifier, State};
use hearth_invoke::{EventSource, EventTarget, FunctionVersion, ResolveError};

use super::named::look_up;
use super::version::function_version;
use crate::blocking_calls::BlockingCalls;

/// The store of functions, for the queue of events.
pub struct FunctionSource {
    store: Arc<Functions>,
    places: BlockingCalls,
}

impl FunctionSource {
    /// The functions of this store.
    #[must_use]
    pub fn new(store: Arc<Functions>) -> Self {
        Self {
            store,
            places: BlockingCalls::for_calls(),
        }
    }
}

#[async_trait]
impl EventSource for FunctionSource {
    async fn resolve(&self, target: &EventTarget) -> Result<Arc<FunctionVersion>, ResolveError> {
        let owner = Owner {
            account: target.account.clone(),
            region: target.region.clone(),
        };
        let qualifier = target.qualifier.as_deref().map(str::parse::<Qualifier>);
        let qualifier = qualifier.transpose().map_err(|_| ResolveError::Gone)?;
        let (store, name) = (Arc::clone(&self.store), target.function_name.clone());
        let found = self.places.run(&target.account, move || {
            look_up(&store, &owner, &name, qualifier.as_ref())
        });
        let not_now = |error: &dyn std::fmt::Display| ResolveError::NotNow(error.to_string());
        let found = found.await.map_err(|error| not_now(&error))?;
        let (resolved, account) = found.map_err(|error| match error {
            FunctionError::NoFunction(_) | FunctionError::NoAlias(_) => ResolveError::Gone,
            other => not_now(&other),
        })?;
        if resolved.state != State::Active {
            return Err(ResolveError::NotNow("the function is pending".to_owned()));
        }
        let limit = self.store.limits().concurrency;
        let version = function_version(&resolved, account, limit, target.tenant.clone());
        version.map(Arc::new).map_err(|error| not_now(&error))
    }
}
