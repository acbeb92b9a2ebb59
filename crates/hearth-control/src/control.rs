//! The control plane: every operation that callers may ask for, and the tasks that carry them out.
//!
//! The methods for callers stand in one file per kind of resource. Each living microVM and each image has an owner
//! task ([`owner`], [`image_owner`]). Everything else is a read, or a batch of changes with guards.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use crate::arn::{ManagedConnector, Scope};
use crate::connector::RuleBook;
use crate::endpoint::{EndpointNames, EndpointScheme};
use crate::host::Host;
use crate::id::{AccountId, MicrovmId};
use crate::image::ManagedImage;
use crate::metrics::Metrics;
use crate::policy::{Policy, Quotas};
use crate::refusal::{ControlError, Refusal};
use crate::start_times::StartTimes;
use crate::store::{Batch, Store, StoreError, Verdict};
use crate::throttle::{Rate, Rates, Throttle};
use crate::time::Clock;

mod account_queue;
mod accounts;
mod client_tokens;
mod connectors;
mod fork;
mod housekeeping;
mod image_owner;
mod images;
mod instances;
mod ledger;
mod mailbox;
mod managed_policies;
mod microvms;
mod owner;
mod pressure;
mod reconcile;
mod registry;
mod retry;
mod roles;
mod run;
mod settle_connector;
mod tags;
mod tasks;
mod versions;

use ledger::Ledger;
use registry::{Images, Microvms};
use tasks::Tasks;

/// What the control plane is built from.
pub struct ControlConfig {
    /// Stores the records.
    pub store: Arc<dyn Store>,
    /// Runs the instances.
    pub host: Arc<dyn Host>,
    /// Tells the time and runs the timers.
    pub clock: Arc<dyn Clock>,
    /// Quotas, limits and durations.
    pub policy: Policy,
    /// Request rates, per operation.
    pub rates: Rates,
    /// How endpoints of microVMs are named.
    pub endpoints: EndpointScheme,
    /// The egress connector of images that name none.
    pub default_egress: ManagedConnector,
    /// The rule sets that connectors may name.
    pub rules: RuleBook,
    /// The managed base images that builds may use.
    pub managed_images: Vec<ManagedImage>,
    /// The feature level of this host's processors, as builds report it: "v3".
    pub chipset_generation: String,
}

/// The control plane. A clone is a handle on the same control plane.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// What all operations and owners share.
struct Shared {
    store: Arc<dyn Store>,
    host: Arc<dyn Host>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    throttle: Throttle,
    endpoints: Arc<EndpointNames>,
    default_egress: ManagedConnector,
    rules: RuleBook,
    managed_images: Vec<ManagedImage>,
    chipset_generation: String,
    ledger: Arc<Ledger>,
    microvms: Microvms,
    images: Images,
    metrics: Metrics,
    /// Held while a microVM is suspended because memory is short.
    relief: Arc<Mutex<()>>,
    tasks: Tasks,
}

impl Shared {
    /// Commits a batch and records the latency of the store.
    async fn commit(&self, batch: Batch) -> Result<Verdict, StoreError> {
        let begun = Instant::now();
        let verdict = self.store.commit(batch).await;
        self.metrics.commit.observe(begun.elapsed());
        verdict
    }
}

impl Control {
    /// Starts the control plane: finishes or undoes every interrupted operation, then starts the owners. At the first
    /// start of all it creates the account [`AccountId::FIRST`] with one access key.
    ///
    /// # Errors
    ///
    /// The store or the host does not answer.
    pub async fn start(config: ControlConfig) -> Result<Self, ControlError> {
        let shared = Shared {
            throttle: Throttle::new(config.rates),
            endpoints: EndpointNames::new(config.endpoints),
            ledger: Ledger::new(config.policy.capacity),
            store: config.store,
            host: config.host,
            clock: config.clock,
            policy: config.policy,
            default_egress: config.default_egress,
            rules: config.rules,
            managed_images: config.managed_images,
            chipset_generation: config.chipset_generation,
            microvms: Microvms::default(),
            images: Images::default(),
            metrics: Metrics::default(),
            relief: Arc::default(),
            tasks: Tasks::default(),
        };
        let control = Self {
            shared: Arc::new(shared),
        };
        control.make_first_account().await?;
        let accounts = control.shared.store.accounts().await?;
        control.shared.ledger.add_accounts(accounts.len());
        reconcile::restart(&control.shared).await?;
        housekeeping::begin(&control.shared);
        Ok(control)
    }

    /// Stops every task where it stands. Instances run on. The next start takes them over.
    pub async fn stop(&self) {
        self.shared.tasks.stop().await;
    }

    /// Counts one call of an account against a rate. Called before anything else of the request is looked at.
    ///
    /// # Errors
    ///
    /// [`Refusal::Throttled`] if the account has used up the rate, nothing else.
    pub fn throttle(&self, account: AccountId, rate: Rate) -> Result<(), Refusal> {
        self.throttle_by(account, rate, 1)
    }

    /// Counts a call that is worth as much as `calls` small ones. Zero counts nothing, and tells whether a call would be
    /// accepted now.
    ///
    /// # Errors
    ///
    /// As [`Control::throttle`].
    pub fn throttle_by(&self, account: AccountId, rate: Rate, calls: u32) -> Result<(), Refusal> {
        let Shared {
            throttle,
            clock,
            policy,
            ..
        } = &*self.shared;
        let quotas = policy.quotas_of(account);
        let taken = throttle.take(account, rate, calls, quotas, clock.now());
        taken.map_err(|retry_after| Refusal::Throttled { retry_after })
    }

    /// The quotas of an account.
    #[must_use]
    pub fn quotas(&self, account: AccountId) -> &Quotas {
        self.shared.policy.quotas_of(account)
    }

    /// Records activity of a microVM now: bytes passed through its endpoint, or its
    /// [`Activity`](crate::microvm::Activity) was seen. Cheap enough for every read and write.
    pub fn touch(&self, id: MicrovmId) {
        if let Some(owner) = self.shared.microvms.get(id) {
            owner.touch(self.shared.clock.now());
        }
    }

    /// Records that a request which waited for a microVM to resume has got the first byte of its answer.
    pub fn first_byte(&self, id: MicrovmId) {
        if let Some(owner) = self.shared.microvms.get(id) {
            owner.start().first_byte();
        }
    }

    /// How long each step of the last start of a microVM took. `None` if the microVM has not started since the
    /// service did, or has ended.
    #[must_use]
    pub fn start_times(&self, id: MicrovmId) -> Option<StartTimes> {
        self.shared.microvms.get(id)?.start().times()
    }

    /// Reconciles host, journal and records now. A timer does the same at intervals.
    ///
    /// # Errors
    ///
    /// The store or the host does not answer.
    pub async fn reconcile(&self) -> Result<(), ControlError> {
        reconcile::pass(&self.shared).await
    }

    /// The counters and histograms of the control plane.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The clock of the control plane.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Runs `work` to its end in a task of its own: a client that disconnects does not cancel it.
    async fn uncut<T, F>(&self, work: F) -> Result<T, ControlError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ControlError>> + Send + 'static,
    {
        let (done, result) = tokio::sync::oneshot::channel();
        self.shared.tasks.spawn(async move {
            let _ = done.send(work.await);
        });
        result.await.map_err(|_| ControlError::Closed)?
    }
}

/// Refuses a resource of another scope.
fn own(scope: &Scope, owner: &Scope) -> Result<(), Refusal> {
    if scope == owner {
        Ok(())
    } else {
        Err(Refusal::ForeignScope)
    }
}
