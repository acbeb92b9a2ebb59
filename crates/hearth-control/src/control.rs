//! The control plane: every operation that callers may ask for, and the tasks that carry them out.
//!
//! Callers' methods stand in one file per kind of resource. What lives has an owner ([`owner`] for microVMs,
//! [`image_owner`] for images); everything else is a read or a guarded batch.

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

mod accounts;
mod connectors;
mod fork;
mod housekeeping;
mod image_owner;
mod images;
mod instances;
mod ledger;
mod mailbox;
mod microvms;
mod owner;
mod pressure;
mod reconcile;
mod registry;
mod retry;
mod roles;
mod run;
mod settle;
mod tags;
mod tasks;
mod tokens;
mod turns;
mod versions;

use ledger::Ledger;
use registry::{Images, Microvms};
use tasks::Tasks;

/// What the control plane is made of.
pub struct ControlConfig {
    /// What remembers.
    pub store: Arc<dyn Store>,
    /// What runs microVMs.
    pub host: Arc<dyn Host>,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Limits and durations.
    pub policy: Policy,
    /// Rates of calls.
    pub rates: Rates,
    /// How endpoints are named.
    pub endpoints: EndpointScheme,
    /// The way out of images that name none.
    pub default_egress: ManagedConnector,
    /// The rule sets that connectors may name.
    pub rules: RuleBook,
    /// The base images that builds may stand on.
    pub managed_images: Vec<ManagedImage>,
    /// The processor feature level of this host, as builds tell it: "v3".
    pub chipset_generation: String,
}

/// The control plane. Clones are handles on the same one.
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
    /// Commits a batch and notes how long the journal took.
    async fn commit(&self, batch: Batch) -> Result<Verdict, StoreError> {
        let begun = Instant::now();
        let verdict = self.store.commit(batch).await;
        self.metrics.commit.observe(begun.elapsed());
        verdict
    }
}

impl Control {
    /// Finishes or undoes what was half done, and begins to work. At the very first start it makes the
    /// account [`AccountId::FIRST`] with one access key.
    ///
    /// # Errors
    ///
    /// A store or a host that does not answer.
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

    /// Stops every task where it stands. MicroVMs run on; the next start takes them up again.
    pub async fn stop(&self) {
        self.shared.tasks.stop().await;
    }

    /// Takes one call of an account, before anything else is looked at.
    ///
    /// # Errors
    ///
    /// [`Refusal::Throttled`] alone.
    pub fn throttle(&self, account: AccountId, rate: Rate) -> Result<(), Refusal> {
        let Shared {
            throttle,
            clock,
            policy,
            ..
        } = &*self.shared;
        let quotas = policy.quotas_of(account);
        let taken = throttle.take(account, rate, quotas, clock.now());
        taken.map_err(|retry_after| Refusal::Throttled { retry_after })
    }

    /// What an account may have.
    #[must_use]
    pub fn quotas(&self, account: AccountId) -> &Quotas {
        self.shared.policy.quotas_of(account)
    }

    /// Notes that a microVM is active: bytes passed through its endpoint, or what else counts of it is going on. Cheap: meant for
    /// every read and write.
    pub fn touch(&self, id: MicrovmId) {
        if let Some(owner) = self.shared.microvms.get(id) {
            owner.touch(self.shared.clock.now());
        }
    }

    /// Notes that a request which waited for a microVM to wake got the first byte of its answer.
    pub fn first_byte(&self, id: MicrovmId) {
        if let Some(owner) = self.shared.microvms.get(id) {
            owner.start().first_byte();
        }
    }

    /// Where the time of a microVM's last start went; `None` of one that has not started since the service has, or has ended.
    #[must_use]
    pub fn start_times(&self, id: MicrovmId) -> Option<StartTimes> {
        self.shared.microvms.get(id)?.start().times()
    }

    /// Holds host, journal and records against each other now, beside doing so by timer.
    ///
    /// # Errors
    ///
    /// A store or a host that does not answer.
    pub async fn reconcile(&self) -> Result<(), ControlError> {
        reconcile::pass(&self.shared).await
    }

    /// What has happened so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The clock that everything goes by.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Runs to its end what must not be cut short because a client hangs up.
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

/// Refuses what belongs to somebody else.
fn own(scope: &Scope, owner: &Scope) -> Result<(), Refusal> {
    if scope == owner {
        Ok(())
    } else {
        Err(Refusal::ForeignScope)
    }
}
