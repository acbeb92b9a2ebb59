//! The guest door: how a microVM reaches services of the front without a network.
//!
//! ```text
//! guest  http://169.254.169.254   --+                     +-- guest/metadata.rs  instance metadata, version 2
//!        http://169.254.170.8     --+-- agent -- vsock ---+-- Front        S3, logs and STS, signed like everywhere
//! ```
//!
//! The service that runs the guests passes each stream in and says which microVM it is from, so a guest cannot claim
//! to be another. A guest may ask for less than the listener answers: data of its own account, and no administration.
//! A guest that has a key of another account is refused, because the door would otherwise lead out of a microVM that
//! has no network.

use std::sync::Arc;
use std::time::Duration;

use hearth_control::id::{AccountId, MicrovmId};
use hearth_control::throttle::Rate;
use hearth_http::{LingerLimits, Lingering};
use http::HeaderValue;
use http::header::RETRY_AFTER;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::call::CallOrigin;
use crate::front::Front;
use crate::guest::Guest;
use crate::server;
use crate::wire::{Reply, reply};

/// Of a refused request only the bytes are read that are on their way when the answer is sent.
const PATIENCE: LingerLimits = LingerLimits {
    time: Duration::from_secs(2),
    silence: Duration::from_secs(2),
    bytes: 1 << 20,
    bytes_per_second: 1 << 20,
};

/// What a stream of a guest is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestService {
    /// S3, CloudWatch Logs, STS.
    Aws,
    /// Instance metadata.
    Metadata,
}

/// The door of one microVM.
#[derive(Clone)]
pub struct GuestDoor {
    front: Arc<Front>,
    guest: Guest,
}

impl GuestDoor {
    /// The door of a microVM of an account.
    #[must_use]
    pub fn new(front: Arc<Front>, microvm: MicrovmId, account: AccountId) -> Self {
        let guest = Guest { microvm, account };
        Self { front, guest }
    }

    /// Serves one stream to its end. A failure ends that stream only.
    pub async fn serve<S>(&self, service: GuestService, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer = service_fn(|request| {
            let (front, guest) = (Arc::clone(&self.front), self.guest);
            async move {
                let taken = front
                    .identities
                    .control
                    .throttle(guest.account, Rate::FromGuest);
                Ok::<_, std::convert::Infallible>(match service {
                    _ if taken.is_err() => slow_down(),
                    GuestService::Aws => front.handle(CallOrigin::Guest(guest), request).await,
                    GuestService::Metadata => front.metadata.answer(guest, &request).await,
                })
            }
        });
        let stream = TokioIo::new(Lingering::new(stream, PATIENCE));
        if let Err(error) = server::http().serve_connection(stream, answer).await {
            tracing::debug!(microvm = %self.guest.microvm, %error, "a guest's stream ended");
        }
    }
}

/// The answer while the service is not known yet: all AWS clients retry later when they see this status.
fn slow_down() -> Reply {
    let mut answer = reply(503, "text/plain", "Slow Down");
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
