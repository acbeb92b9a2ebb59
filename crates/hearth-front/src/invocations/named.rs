//! The function that a request wants to run.

use std::sync::Arc;

use hearth_functions::{
    AccountUsage, FunctionError, FunctionRef, Functions, Owner, Qualifier, ReferenceError,
    Resolved, State,
};
use hearth_invoke::FunctionVersion;

use super::invoking::{Invoking, invalid};
use super::version::function_version;
use crate::call::Call;
use crate::fault::Fault;
use crate::function_service::FunctionService;
use crate::policy::Facts;
use crate::uri::{decode, query_pairs};

/// A function as a request names it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) owner: Owner,
    pub(super) name: String,
    pub(super) qualifier: Option<Qualifier>,
}

impl Named {
    /// Reads name and qualifier of `/DATE/functions/NAME/...?Qualifier=`.
    pub(super) fn read(call: &Call) -> Result<Self, Fault> {
        let scope = &call.caller.scope;
        let owner = Owner {
            account: scope.account.to_string(),
            region: scope.region.to_string(),
        };
        let segment = call.head.uri.path().split('/').nth(3).unwrap_or_default();
        let text = decode(segment).unwrap_or_default();
        let query = call.head.uri.query().unwrap_or_default();
        let qualifier = query_pairs(query).find(|(name, _)| name == "Qualifier");
        let qualifier = qualifier.map(|(_, value)| value.to_string());
        let read = text.parse::<FunctionRef>();
        let read = read.and_then(|read| read.qualified(qualifier.as_deref()));
        let read = read.map_err(|error| match error {
            ReferenceError::Malformed => invalid(format!("Invalid function name: {text}")),
            ReferenceError::OtherQualifier => invalid(
                "The derived qualifier from the function name does not match the specified qualifier.",
            ),
        })?;
        if read.account.is_some_and(|account| account != owner.account) {
            return Err(Fault::silent(403, "AccessDeniedException"));
        }
        if let Some(region) = read.region.filter(|region| *region != owner.region) {
            return Err(not_found(format!(
                "Functions from '{region}' are not reachable in this region ('{}')",
                owner.region
            )));
        }
        Ok(Self {
            owner,
            name: read.name,
            qualifier: read.qualifier,
        })
    }

    /// The ARN as it was named.
    fn arn(&self) -> String {
        let arn = self.owner.function_arn(&self.name);
        match &self.qualifier {
            Some(qualifier) => format!("{arn}:{qualifier}"),
            None => arn,
        }
    }

    /// Whether the caller may run it.
    pub(super) fn authorize(&self, call: &Call, invoking: Invoking) -> Result<(), Fault> {
        let resources = [self.arn()];
        let allowed = call
            .caller
            .principal
            .may(invoking.action(), &resources, &Facts::new());
        allowed.map_err(|denied| Fault::access_denied(denied.to_string()))
    }

    /// The version that runs now.
    pub(super) async fn resolve(
        &self,
        functions: &FunctionService,
        tenant: Option<String>,
    ) -> Result<Runnable, Fault> {
        let store = Arc::clone(&functions.store);
        let named = self.clone();
        let found = functions.places.run(&self.owner.account, move || {
            look_up(&store, &named.owner, &named.name, named.qualifier.as_ref())
        });
        let found = found.await.map_err(|error| Fault::internal(&error))?;
        let (resolved, account) = found.map_err(refusal)?;
        check_tenant(&resolved, tenant.as_ref())?;
        if resolved.state != State::Active {
            return Err(Fault::new(
                409,
                "ResourceConflictException",
                "The operation cannot be performed at this time. The function is currently in the following state: \
                 Pending",
            ));
        }
        let limit = functions.store.limits().concurrency;
        let version = function_version(&resolved, account, limit, tenant);
        Ok(Runnable {
            version: Arc::new(version.map_err(|error| Fault::internal(&error))?),
            invoked_arn: resolved.invoked_arn,
        })
    }
}

/// A version that may run.
pub(super) struct Runnable {
    pub(super) version: Arc<FunctionVersion>,
    pub(super) invoked_arn: String,
}

/// Looks up a version, and what its account has reserved.
pub(super) fn look_up(
    store: &Functions,
    owner: &Owner,
    name: &str,
    qualifier: Option<&Qualifier>,
) -> Result<(Resolved, AccountUsage), FunctionError> {
    let resolved = store.resolve(owner, name, qualifier, chance())?;
    Ok((resolved, store.account_usage(owner)?))
}

/// A random number from 0 to below 1, for the weights of aliases.
fn chance() -> f64 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let number = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

fn check_tenant(resolved: &Resolved, tenant: Option<&String>) -> Result<(), Fault> {
    match (resolved.is_tenant_isolated, tenant) {
        (true, None) => Err(invalid(
            "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try \
             again.",
        )),
        (false, Some(_)) => Err(invalid(
            "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and \
             try again.",
        )),
        _ => Ok(()),
    }
}

fn refusal(error: FunctionError) -> Fault {
    match error {
        FunctionError::NoFunction(arn) => not_found(format!("Function not found: {arn}")),
        FunctionError::NoAlias(arn) => not_found(format!("Function not found: {arn}")),
        other => {
            tracing::error!(
                error = &other as &dyn std::error::Error,
                "the store of functions failed"
            );
            Fault::new(
                500,
                "ServiceException",
                "An internal error occurred. Please retry.",
            )
        }
    }
}

fn not_found(message: impl Into<String>) -> Fault {
    Fault::new(404, "ResourceNotFoundException", message)
}
