//! `RunMicrovm`: from a request to a record with an owner.

use std::sync::Arc;

use super::client_tokens::Repeatable;
use super::images::{check_ingress, default_ingress};
use super::owner::{self, Beginning, Holdings};
use super::{Control, Shared, own};
use crate::arn::{ConnectorRef, Scope};
use crate::hooks::Hook;
use crate::id::{AccountId, EndpointId, MicrovmId};
use crate::image::{ImageVersion, MemoryTier};
use crate::life::{Life, Origin};
use crate::machine::version::Version;
use crate::microvm::{Activity, LaunchTerms, Microvm, RunMicrovm};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, Intent, IntentSubject, Verdict};

impl Control {
    /// Launches a microVM. It is PENDING when this returns. A repeated request returns the microVM of the first one.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn run_microvm(
        &self,
        scope: &Scope,
        request: RunMicrovm,
    ) -> Result<Microvm, ControlError> {
        own(scope, &request.image.scope)?;
        let token = request.client_token.clone();
        let repeatable = Repeatable::new(scope, "RunMicrovm", token);
        if let Some(earlier) = self.earlier(scope, &repeatable).await? {
            return Ok(earlier);
        }
        let version = self.launchable(&request).await?;
        let hooks = version.spec.hooks.as_ref();
        let takes_payload = hooks.is_some_and(|hooks| hooks.is_enabled(Hook::Run));
        if request.run_input.payload.is_some() && !takes_payload {
            return Err(Refusal::PayloadWithoutRunHook.into());
        }
        check_ingress(&request.ingress)?;
        self.check_egress(scope, &request.egress).await?;

        let shared = Arc::clone(&self.shared);
        let noted = repeatable.clone();
        let begin = async move { begin(&shared, request, version, &noted).await };
        self.make_once(scope, &repeatable, begin).await
    }

    /// Creates a microVM, or returns the one that a concurrent request with the same token created.
    pub(super) async fn make_once(
        &self,
        scope: &Scope,
        repeatable: &Repeatable,
        make: impl Future<Output = Result<Microvm, ControlError>> + Send + 'static,
    ) -> Result<Microvm, ControlError> {
        match self.uncut(make).await {
            // A concurrent request with the same token was faster: the result is its microVM, or a token conflict.
            Err(ControlError::Refused(Refusal::TokenConflict)) => {
                let earlier = self.earlier(scope, repeatable).await?;
                earlier.ok_or_else(|| Refusal::TokenConflict.into())
            }
            outcome => outcome,
        }
    }

    /// The microVM that an earlier request with the same token created.
    pub(super) async fn earlier(
        &self,
        scope: &Scope,
        repeatable: &Repeatable,
    ) -> Result<Option<Microvm>, ControlError> {
        let Some(resource) = repeatable.made_before(&self.shared).await? else {
            return Ok(None);
        };
        let id = resource.parse().map_err(|_| Refusal::TokenConflict)?;
        self.microvm(scope, id).await.map(Some)
    }

    /// The version that a request names, or else the newest ACTIVE one.
    async fn launchable(&self, request: &RunMicrovm) -> Result<ImageVersion, ControlError> {
        let none = || Refusal::NoActiveVersion {
            image: request.image.clone(),
            version: request.version,
        };
        let number = match request.version {
            Some(number) => number,
            None => {
                let image = self.shared.store.image(&request.image).await?;
                image
                    .and_then(|image| image.latest_active_version)
                    .ok_or_else(none)?
            }
        };
        let version = self.shared.store.version(&request.image, number).await?;
        let is_launchable = |version: &ImageVersion| {
            Version {
                state: version.state,
                status: version.status,
            }
            .is_launchable()
        };
        Ok(version.filter(is_launchable).ok_or_else(none)?)
    }
}

/// Takes the shares that the microVM needs, writes its record and starts its owner.
async fn begin(
    shared: &Arc<Shared>,
    request: RunMicrovm,
    version: ImageVersion,
    repeatable: &Repeatable,
) -> Result<Microvm, ControlError> {
    let account = request.image.scope.account;
    let endpoint_id = EndpointId::generate();
    let (holdings, endpoint) = admit(shared, account, version.spec.tier, endpoint_id)?;
    let named = request.version;
    let microvm = record(shared, request, version, (endpoint_id, endpoint));
    let mut batch = Batch::new()
        .guard(Guard::Launchable(microvm.image.clone(), microvm.version))
        .change(Change::AddMicrovm(microvm.clone()))
        .change(Change::Intend(Intent {
            subject: IntentSubject::Microvm(microvm.id),
            what: "Launch".to_owned(),
            at: microvm.started_at,
        }));
    for connector in &microvm.terms.egress {
        if let ConnectorRef::Own(arn) = connector {
            batch.guards.push(Guard::ConnectorActive(arn.id));
        }
    }
    let batch = repeatable.note(shared, batch, microvm.id.to_string());
    match shared.commit(batch).await? {
        Verdict::Committed => {}
        Verdict::Blocked(Guard::TokenFree(_)) => return Err(Refusal::TokenConflict.into()),
        Verdict::Blocked(Guard::ConnectorActive(id)) => {
            let of_id = |connector: &&ConnectorRef| matches!(connector, ConnectorRef::Own(arn) if arn.id == id);
            let connector = microvm
                .terms
                .egress
                .iter()
                .find(of_id)
                .cloned()
                .ok_or(ControlError::Closed)?;
            return Err(Refusal::ConnectorUnusable(connector).into());
        }
        Verdict::Blocked(_) => {
            return Err(Refusal::NoActiveVersion {
                image: microvm.image,
                version: named,
            }
            .into());
        }
    }
    owner::spawn(shared, microvm.clone(), holdings, Beginning::Launch);
    Ok(microvm)
}

/// Takes the shares of a new microVM, and its endpoint name.
pub(super) fn admit(
    shared: &Arc<Shared>,
    account: AccountId,
    tier: MemoryTier,
    endpoint_id: EndpointId,
) -> Result<(Holdings, String), Refusal> {
    let quotas = shared.policy.quotas_of(account);
    let allocation = shared.ledger.allocate(account, tier, quotas)?;
    let residency = shared.ledger.reside(account, tier);
    let residency = residency.ok_or(Refusal::InsufficientCapacity)?;
    let accounts = shared.ledger.accounts();
    let endpoint = shared.endpoints.assign(account, endpoint_id, accounts);
    let endpoint = endpoint.ok_or(Refusal::InsufficientCapacity)?;
    let name = endpoint.to_string();
    let holdings = Holdings {
        _allocation: allocation,
        residency: Some(residency),
        _endpoint: endpoint,
    };
    Ok((holdings, name))
}

fn record(
    shared: &Shared,
    request: RunMicrovm,
    version: ImageVersion,
    (endpoint_id, endpoint): (EndpointId, String),
) -> Microvm {
    let or = |given: Vec<ConnectorRef>, default: Vec<ConnectorRef>| {
        if given.is_empty() { default } else { given }
    };
    let scope = request.image.scope.clone();
    let longest = shared.policy.max_duration;
    let terms = LaunchTerms {
        endpoint,
        ingress: or(request.ingress, vec![default_ingress(&scope)]),
        egress: or(request.egress, version.spec.egress),
        tier: version.spec.tier,
        hooks: version.spec.hooks,
        execution_role_arn: request.execution_role_arn,
        idle_policy: request.idle_policy,
        max_duration: request
            .max_duration
            .map_or(longest, |asked| asked.min(longest)),
        logging: request.logging,
        run_input: request.run_input,
    };
    Microvm {
        id: MicrovmId::generate(),
        scope,
        image: request.image,
        version: version.number,
        endpoint_id,
        origin: Origin::Version,
        terms: Arc::new(terms),
        started_at: shared.clock.now(),
        life: Life::NEW,
        generation: 0,
        activity: Activity::default(),
        terminated_at: None,
    }
}
