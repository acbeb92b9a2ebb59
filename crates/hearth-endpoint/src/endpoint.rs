//! The endpoint, assembled from its parts, and its listeners.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hearth_http::Places;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::authority::AuthorityError;
use crate::backend::Backend;
use crate::certificates::Certificates;
use crate::connection;
use crate::per_microvm::PerMicrovmTable;
use crate::resume::Resumes;
use crate::routing::ListenerRoute;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::token::TokenKeys;
use crate::upstream::Dialer;

/// Pause after a failed accept (usually for lack of file descriptors), to avoid a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Silence after which TCP keep-alive checks that the client's host still exists. Streams may be silent for hours,
/// but a host that is gone must not hold a place that long.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);

/// Why the endpoint cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The certificates cannot be used.
    #[error("no certificates")]
    Certificates(#[from] AuthorityError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The endpoint of all microVMs. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
    tls: Arc<rustls::ServerConfig>,
    unauthenticated: Places,
}

impl Endpoint {
    /// Builds the endpoint.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn new(
        settings: Settings,
        backend: Arc<dyn Backend>,
        keys: Arc<TokenKeys>,
        certificates: &Arc<Certificates>,
    ) -> Result<Self, EndpointError> {
        let tls = Arc::new(certificates.endpoint_tls()?);
        let dialer = Arc::new(Dialer::new(Arc::clone(&backend), &settings)?);
        let resumes = Resumes::new(
            Arc::clone(&backend),
            settings.max_waiters,
            settings.resume_time,
        );
        Ok(Self {
            tls,
            unauthenticated: settings.sources.places(settings.max_unproven_connections),
            shared: Arc::new(Shared {
                microvms: PerMicrovmTable::new(Arc::clone(&backend), settings.request_wait),
                resumes: Arc::new(resumes),
                dialer,
                certificates: Arc::clone(certificates),
                backend,
                keys,
                settings,
            }),
        })
    }

    /// Serves one listener until `stop` is set or its sender is dropped. Then lets requests in flight finish.
    pub async fn serve(
        &self,
        listener: TcpListener,
        route: ListenerRoute,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|&stop| stop) => break,
                // Removes finished connections from the set.
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Above the limit an unauthenticated connection is closed without an answer: TLS would cost more than the
            // connection.
            let Some(place) = self.unauthenticated.take(peer.ip()) else {
                continue;
            };
            if let Err(error) = prepare(&stream) {
                tracing::debug!(%peer, %error, "connection was gone before it began");
                continue;
            }
            let connection = connection::AcceptedConnection {
                shared: Arc::clone(&self.shared),
                route,
                place,
            };
            let stop = stop.clone();
            let tls = Arc::clone(&self.tls);
            connections.spawn(async move {
                let end = connection.run(stream, tls, stop).await;
                if let Err(error) = end {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection ended");
                }
            });
        }
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.shared.settings.drain_time, drained).await;
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_TIME / 4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
