//! What microVMs reach of this service: a door for each that runs, through which its guest's streams go to the front.
//!
//! A door is open while its microVM runs and this process knows it: from its launch, its resume, or its being taken up after a restart,
//! to its suspension or end. In between the guest's agent waits; what was under way breaks, as connections over a suspend do.
//!
//! What a guest can take is bounded here: streams at one time, and bytes.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hearth_control::id::AccountId;
use hearth_control::instance::InstanceId;
use hearth_endpoint::Bucket;
use hearth_front::{Front, GuestDoor, GuestService};
use hearth_host::{GuestDoors, OpenDoor};
use hearth_node::{ServiceListener, service_of};
use hearth_wire::service::Service;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::rate_limited_stream::RateLimited;

/// Streams of one microVM at one time; more wait in the backlog. An SDK opens ten by default, and each upload may fill a
/// buffer here.
const MAX_STREAMS: usize = 64;

/// Bytes a second of one microVM, both ways together: what AWS gives at best (facts section 8), and a small part of what
/// a host's memory moves.
const BYTES_PER_SECOND: f64 = 100e6;

/// How much may come at once before the rate holds.
const BURST: Duration = Duration::from_millis(500);

/// The front, once it is there. MicroVMs are taken up before.
#[derive(Clone, Default)]
pub(crate) struct GuestServices {
    front: Arc<OnceLock<Arc<Front>>>,
}

impl GuestServices {
    /// From here on guests are served.
    pub(crate) fn begin(&self, front: Arc<Front>) {
        // There is one front.
        let _ = self.front.set(front);
    }
}

impl GuestDoors for GuestServices {
    fn open(
        &self,
        listener: ServiceListener,
        instance: InstanceId,
        account: AccountId,
    ) -> OpenDoor {
        let InstanceId::Microvm(microvm) = instance;
        let services = self.clone();
        let task = tokio::spawn(async move {
            let streams = Arc::new(Semaphore::new(MAX_STREAMS));
            let bucket = Bucket::new(BYTES_PER_SECOND, BURST, Instant::now());
            let bucket = Arc::new(Mutex::new(bucket));
            // Dropped with this task, and what runs in it.
            let mut served = JoinSet::new();
            loop {
                let Ok(slot) = Arc::clone(&streams).acquire_owned().await else {
                    return;
                };
                let stream = listener.accept().await;
                while served.try_join_next().is_some() {}
                let Some(front) = services.front.get().cloned() else {
                    // The guest's agent asks again.
                    continue;
                };
                let door = GuestDoor::new(front, microvm, account);
                let bucket = Arc::clone(&bucket);
                served.spawn(async move {
                    serve(&door, stream, bucket).await;
                    drop(slot);
                });
            }
        });
        OpenDoor::new(task)
    }
}

async fn serve(door: &GuestDoor, mut stream: UnixStream, bucket: Arc<Mutex<Bucket>>) {
    let service = match service_of(&mut stream).await {
        Some(Service::Aws) => GuestService::Aws,
        Some(Service::Metadata) => GuestService::Metadata,
        // Builders alone are served those, by their builds.
        Some(Service::Registries) | None => return,
    };
    let take = move |bytes: usize| {
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        // Exact up to petabytes.
        #[expect(clippy::cast_precision_loss, reason = "pieces are KiB")]
        bucket.take(bytes as f64, Instant::now())
    };
    door.serve(service, RateLimited::new(stream, take)).await;
}
