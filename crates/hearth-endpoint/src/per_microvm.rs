//! What the endpoint keeps for one microVM while it has traffic: rates, connection count, connections into the guest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hearth_rate::RateLimiter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::{Backend, Microvm};
use crate::id::MicrovmId;
use crate::lock::lock;
use crate::pool::Pool;
use crate::reason::LimitReached;
use crate::reply::Refusal;
use crate::traffic::Traffic;

/// How far ahead of the rate requests may run: a page requests all its parts at once.
const REQUESTS_BURST: Duration = Duration::from_secs(5);

/// CORS preflights per second of one microVM, which need no token. Browsers keep their answers, so a page needs one for
/// each path, and a flood of them costs the application little.
const PREFLIGHTS_PER_SECOND: u32 = 10;

/// Client connections that may wait for each place of a microVM: enough for a tool with dozens of parallel connections, and
/// a small part of the connections that the endpoint has for all.
const WAITING_FOR_ONE_PLACE: u32 = 4;

/// How often failures of one microVM are logged at most: its clients decide how many there are.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// An entry that was unused for this long is dropped. Its debts are paid by then.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What the endpoint keeps for one microVM while it has traffic.
pub(crate) struct PerMicrovm {
    pub(crate) id: MicrovmId,
    pub(crate) pool: Pool,
    pub(crate) traffic: Arc<Traffic>,
    requests: Option<Requests>,
    preflights: Mutex<RateLimiter>,
    logged_at: Mutex<Option<Instant>>,
    max_connections: u32,
    connections: Arc<Semaphore>,
    /// Client connections that wait for their place.
    waiting_connections: Semaphore,
    /// How long requests and connections may wait.
    longest_wait: Duration,
    used_at: Mutex<Instant>,
}

/// The rate of requests.
struct Requests {
    limiter: Mutex<RateLimiter>,
    per_second: u32,
}

impl PerMicrovm {
    fn new(
        backend: Arc<dyn Backend>,
        microvm: &Microvm,
        request_wait: Duration,
        now: Instant,
    ) -> Self {
        let limits = &microvm.limits;
        let limiter =
            |per_second: u32| Mutex::new(RateLimiter::new(per_second.into(), REQUESTS_BURST));
        let requests = limits.requests_per_second.map(|per_second| Requests {
            limiter: limiter(per_second),
            per_second,
        });
        let max_connections = limits.connections.unwrap_or(u32::MAX);
        let places = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let max_waiting = max_connections.saturating_mul(WAITING_FOR_ONE_PLACE);
        Self {
            id: microvm.id,
            pool: Pool::default(),
            traffic: Arc::new(Traffic::new(backend, microvm)),
            requests,
            preflights: limiter(PREFLIGHTS_PER_SECOND),
            logged_at: Mutex::new(None),
            max_connections,
            connections: Arc::new(Semaphore::new(places(max_connections))),
            waiting_connections: Semaphore::new(places(max_waiting)),
            longest_wait: request_wait,
            used_at: Mutex::new(now),
        }
    }

    /// Waits until one more request keeps within the rate. Fails at once if that would take too long. So the number
    /// of requests that wait for one microVM is limited to its rate times that wait.
    pub(crate) async fn admit_request(&self) -> Result<(), Refusal> {
        let Some(requests) = &self.requests else {
            return Ok(());
        };
        let longest_wait = self.longest_wait;
        let taken = lock(&requests.limiter).take_within(1.0, longest_wait, Instant::now());
        let wait = taken.map_err(|retry_after| {
            Refusal::TooMany(LimitReached::Requests {
                per_second: requests.per_second,
                longest_wait,
                retry_after,
            })
        })?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Counts a CORS preflight. It has no token, so it never waits and takes nothing from requests that have one.
    pub(crate) fn admit_preflight(&self) -> Result<(), Refusal> {
        match lock(&self.preflights).try_take(1.0, Instant::now()) {
            true => Ok(()),
            false => Err(Refusal::TooMany(LimitReached::Preflights)),
        }
    }

    /// Whether a failure is to be logged now.
    pub(crate) fn may_log(&self) -> bool {
        let now = Instant::now();
        let mut logged_at = lock(&self.logged_at);
        let is_due = logged_at.is_none_or(|then| now.duration_since(then) >= LOG_INTERVAL);
        if is_due {
            *logged_at = Some(now);
        }
        is_due
    }

    /// Until when a request that comes now may wait for its connection's place.
    pub(crate) fn wait_deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.longest_wait
    }

    /// Takes a place for one more client connection. Waits for it until `deadline`, in turn, if the limit is reached.
    pub(crate) async fn admit_connection(
        self: &Arc<Self>,
        deadline: tokio::time::Instant,
    ) -> Result<ConnectionSlot, Refusal> {
        let slot = |place| ConnectionSlot {
            microvm: self.id,
            _place: place,
        };
        if let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() {
            return Ok(slot(place));
        }
        let waiting = self.waiting_connections.try_acquire();
        let _waiting = waiting.map_err(|_| self.too_many_connections())?;
        let place = Arc::clone(&self.connections).acquire_owned();
        match tokio::time::timeout_at(deadline, place).await {
            Ok(Ok(place)) => Ok(slot(place)),
            // The places are never closed.
            Ok(Err(_)) | Err(_) => Err(self.too_many_connections()),
        }
    }

    pub(crate) fn too_many_connections(&self) -> Refusal {
        Refusal::TooMany(LimitReached::Connections(self.max_connections))
    }

    fn is_forgotten(self: &Arc<Self>, now: Instant) -> bool {
        let idle = now.saturating_duration_since(*lock(&self.used_at));
        // Each connection with a place holds the semaphore.
        let is_alone = Arc::strong_count(self) == 1
            && Arc::strong_count(&self.traffic) == 1
            && Arc::strong_count(&self.connections) == 1;
        is_alone && idle > FORGET_AFTER
    }
}

/// A client connection that counts against its microVM's limit. Dropping it frees the place.
pub(crate) struct ConnectionSlot {
    microvm: MicrovmId,
    _place: OwnedSemaphorePermit,
}

impl ConnectionSlot {
    pub(crate) fn is_of(&self, microvm: MicrovmId) -> bool {
        self.microvm == microvm
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
