//! What the endpoint keeps for one microVM while it has traffic: rates, connection count, connections into the guest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Microvm};
use crate::id::MicrovmId;
use crate::lock::lock;
use crate::pool::Pool;
use crate::rate_limiter::RateLimiter;
use crate::reply::Refusal;
use crate::traffic::Traffic;

/// How far ahead of the rate requests may run: a page requests all its parts at once.
const REQUESTS_BURST: Duration = Duration::from_secs(5);

/// An entry that was unused for this long is dropped. Its debts are paid by then.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What the endpoint keeps for one microVM while it has traffic.
pub(crate) struct PerMicrovm {
    pub(crate) id: MicrovmId,
    pub(crate) pool: Pool,
    pub(crate) traffic: Arc<Traffic>,
    requests: Option<Mutex<RateLimiter>>,
    request_wait: Duration,
    max_connections: u32,
    connections: AtomicU32,
    used_at: Mutex<Instant>,
}

impl PerMicrovm {
    fn new(
        backend: Arc<dyn Backend>,
        microvm: &Microvm,
        request_wait: Duration,
        now: Instant,
    ) -> Self {
        let limits = &microvm.limits;
        let requests = limits.requests_per_second;
        Self {
            id: microvm.id,
            pool: Pool::default(),
            traffic: Arc::new(Traffic::new(backend, microvm, now)),
            requests: requests
                .map(|rate| Mutex::new(RateLimiter::new(rate.into(), REQUESTS_BURST, now))),
            request_wait,
            max_connections: limits.connections.unwrap_or(u32::MAX),
            connections: AtomicU32::new(0),
            used_at: Mutex::new(now),
        }
    }

    /// Waits until one more request keeps within the rate. Fails at once if that would take too long. So the number
    /// of requests that wait for one microVM is limited to its rate times that wait.
    pub(crate) async fn admit_request(&self) -> Result<(), Refusal> {
        let Some(limiter) = &self.requests else {
            return Ok(());
        };
        let wait = lock(limiter).take_within(1.0, self.request_wait, Instant::now());
        let wait = wait.ok_or(Refusal::TooMany)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Takes a place for one more client connection. `None` if the limit is reached.
    pub(crate) fn admit_connection(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let admit = |count: u32| (count < self.max_connections).then(|| count + 1);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit)
            .ok()?;
        Some(ConnectionSlot(Arc::clone(self)))
    }

    fn is_forgotten(self: &Arc<Self>, now: Instant) -> bool {
        let idle = now.saturating_duration_since(*lock(&self.used_at));
        let is_alone = Arc::strong_count(self) == 1 && Arc::strong_count(&self.traffic) == 1;
        is_alone && idle > FORGET_AFTER
    }
}

/// A client connection that counts against its microVM's limit. Dropping it frees the place.
pub(crate) struct ConnectionSlot(Arc<PerMicrovm>);

impl ConnectionSlot {
    pub(crate) fn is_of(&self, microvm: MicrovmId) -> bool {
        self.0.id == microvm
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The entries of all microVMs with traffic.
pub(crate) struct PerMicrovmTable {
    backend: Arc<dyn Backend>,
    request_wait: Duration,
    microvms: Mutex<HashMap<MicrovmId, Arc<PerMicrovm>>>,
}

impl PerMicrovmTable {
    pub(crate) fn new(backend: Arc<dyn Backend>, request_wait: Duration) -> Self {
        Self {
            backend,
            request_wait,
            microvms: Mutex::default(),
        }
    }

    /// The entry of a microVM. Its limits are fixed at launch, so those of the first look-up hold.
    pub(crate) fn of(&self, microvm: &Microvm) -> Arc<PerMicrovm> {
        let now = Instant::now();
        let mut microvms = lock(&self.microvms);
        if let Some(per_microvm) = microvms.get(&microvm.id) {
            *lock(&per_microvm.used_at) = now;
            return Arc::clone(per_microvm);
        }
        microvms.retain(|_, per_microvm| !per_microvm.is_forgotten(now));
        let per_microvm = Arc::new(PerMicrovm::new(
            Arc::clone(&self.backend),
            microvm,
            self.request_wait,
            now,
        ));
        microvms.insert(microvm.id, Arc::clone(&per_microvm));
        per_microvm
    }
}
