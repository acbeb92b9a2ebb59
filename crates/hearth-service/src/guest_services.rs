//! Serves the guests' streams: a task for each running microVM passes its guest's streams to the front.
//!
//! A microVM is served while it runs and this process follows it: from its launch, its resume, or its being taken up
//! after a restart, until its suspend or end. Otherwise the guest's agent waits. Open streams break, as all connections
//! over a suspend do.
//!
//! The streams and the byte rate of a guest are limited here.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hearth_control::id::AccountId;
use hearth_control::instance::InstanceId;
use hearth_front::{Front, GuestDoor, GuestService};
use hearth_host::{GuestServer, GuestServerTask};
use hearth_node::{ServiceListener, service_of};
use hearth_rate::RateLimiter;
use hearth_wire::service::Service;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::rate_limited_stream::RateLimited;

/// Streams of one microVM at one time; more wait in the backlog. An SDK opens ten by default. The limit is there
/// because each upload may fill a buffer in this process.
const MAX_STREAMS: usize = 64;

/// Bytes a second of one microVM, both directions together: the most that AWS gives (facts section 8), and a small
/// part of a host's memory bandwidth.
const BYTES_PER_SECOND: f64 = 100e6;

/// How much may pass at once before the rate is enforced.
const BURST: Duration = Duration::from_millis(500);

/// The front, after it was made. MicroVMs are taken up before that.
#[derive(Clone, Default)]
pub(crate) struct GuestServices {
    front: Arc<OnceLock<Arc<Front>>>,
}

impl GuestServices {
    /// Begins to serve guests.
    pub(crate) fn begin(&self, front: Arc<Front>) {
        // There is one front.
        let _ = self.front.set(front);
    }
}

impl GuestServer for GuestServices {
    fn serve(
        &self,
        listener: ServiceListener,
        instance: InstanceId,
        account: AccountId,
    ) -> GuestServerTask {
        let InstanceId::Microvm(microvm) = instance;
        let services = self.clone();
        let task = tokio::spawn(async move {
            let streams = Arc::new(Semaphore::new(MAX_STREAMS));
            let limiter = RateLimiter::new(BYTES_PER_SECOND, BURST);
            let limiter = Arc::new(Mutex::new(limiter));
            // Dropping this set with the task ends the guest's streams.
            let mut served = JoinSet::new();
            loop {
                let Ok(slot) = Arc::clone(&streams).acquire_owned().await else {
                    return;
                };
                let stream = listener.accept().await;
                while served.try_join_next().is_some() {}
                let Some(front) = services.front.get().cloned() else {
                    // The guest's agent retries.
                    continue;
                };
                let door = GuestDoor::new(front, microvm, account);
                let limiter = Arc::clone(&limiter);
                served.spawn(async move {
                    serve(&door, stream, limiter).await;
                    drop(slot);
                });
            }
        });
        GuestServerTask::new(task)
    }
}

async fn serve(door: &GuestDoor, mut stream: UnixStream, limiter: Arc<Mutex<RateLimiter>>) {
    let service = match service_of(&mut stream).await {
        Some(Service::Aws) => GuestService::Aws,
        Some(Service::Metadata) => GuestService::Metadata,
        // Builders alone are served the first, by their builds, and environments of functions the second.
        Some(Service::Registries | Service::RuntimeApi) | None => return,
    };
    let take = move |bytes: usize| {
        let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        // Exact up to petabytes.
        #[expect(clippy::cast_precision_loss, reason = "pieces are KiB")]
        limiter.take(bytes as f64, Instant::now())
    };
    door.serve(service, RateLimited::new(stream, take)).await;
}
