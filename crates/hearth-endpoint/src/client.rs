//! One client connection, as long as a request or an upgraded stream of it lives.
//!
//! The connection begins unauthenticated and takes a place in a limit that all unauthenticated connections share.
//! With its first valid token it becomes a connection of one microVM and counts against that one's limit. So a flood
//! of unauthenticated connections cannot push out authenticated ones.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hearth_http::Place;
use http::uri::Authority;

use crate::id::EndpointId;
use crate::lock::lock;
use crate::per_microvm::{ConnectionSlot, PerMicrovm};
use crate::reply::Refusal;
use crate::routing::ListenerRoute;

pub(crate) struct Client {
    route: ListenerRoute,
    server_name: Option<String>,
    /// Set by the watcher of HTTP/1.1 framing.
    malformed: Arc<AtomicBool>,
    in_flight: AtomicU32,
    standing: Mutex<Standing>,
    /// Held by the request that waits for a place among the connections of its microVM.
    admission: tokio::sync::Mutex<()>,
}

struct Standing {
    /// The place among unauthenticated connections. Returned with the first valid token.
    unproven: Option<Place>,
    slot: Option<ConnectionSlot>,
    idle_since: Instant,
}

impl Client {
    pub(crate) fn new(
        route: ListenerRoute,
        server_name: Option<String>,
        malformed: Arc<AtomicBool>,
        place: Place,
    ) -> Self {
        let standing = Standing {
            unproven: Some(place),
            slot: None,
            idle_since: Instant::now(),
        };
        Self {
            route,
            server_name,
            malformed,
            in_flight: AtomicU32::new(0),
            standing: Mutex::new(standing),
            admission: tokio::sync::Mutex::default(),
        }
    }

    /// Whether the framing of the current request is ambiguous.
    pub(crate) fn is_malformed(&self) -> bool {
        self.malformed.load(Ordering::Acquire)
    }

    /// The endpoint that a request is for.
    pub(crate) fn endpoint(&self, authority: Option<&Authority>) -> Result<EndpointId, Refusal> {
        self.route.endpoint(self.server_name.as_deref(), authority)
    }

    /// Counts the connection as one of its microVM from the first valid token on. It stays with that microVM: a
    /// request to another one needs another connection, and the client is told so (RFC 9110 section 15.5.20).
    ///
    /// While the microVM has as many connections as it may, the requests of further ones wait for a while.
    pub(crate) async fn admit(&self, per_microvm: &Arc<PerMicrovm>) -> Result<(), Refusal> {
        if let Some(admitted) = self.admitted(per_microvm) {
            return admitted;
        }
        // One request of a connection waits for the place, the others for that one.
        let deadline = per_microvm.wait_deadline();
        let turn = tokio::time::timeout_at(deadline, self.admission.lock()).await;
        let _turn = turn.map_err(|_| per_microvm.too_many_connections())?;
        if let Some(admitted) = self.admitted(per_microvm) {
            return admitted;
        }
        let slot = per_microvm.admit_connection(deadline).await?;
        let mut standing = lock(&self.standing);
        standing.slot = Some(slot);
        standing.unproven = None;
        Ok(())
    }

    /// Whether the connection may serve this microVM; `None` as long as it is of none.
    fn admitted(&self, per_microvm: &PerMicrovm) -> Option<Result<(), Refusal>> {
        let standing = lock(&self.standing);
        let is_its = standing.slot.as_ref()?.is_of(per_microvm.id);
        Some(match is_its {
            true => Ok(()),
            false => Err(Refusal::Misdirected),
        })
    }

    /// Marks a request as under way until its answer has gone out.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Whether no request was under way for this long.
    pub(crate) fn is_idle(&self, limit: Duration) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
            && lock(&self.standing).idle_since.elapsed() >= limit
    }
}

/// A request under way.
pub(crate) struct InFlight(Arc<Client>);

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.0.standing).idle_since = Instant::now();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
