//! A listener for the metrics alone: what a Prometheus scrapes. It shows everything to whoever reaches it, so where it
//! listens is the operator's to choose.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::known_hosts::KnownHosts;
use crate::metrics_page::MetricsPage;
use crate::operator::misdirected;
use crate::server::http;
use crate::wire::{Reply, gateway_not_found};

/// Connections at one time: some scrapers, and somebody who looks. Others wait in the kernel.
const MAX_CONNECTIONS: usize = 16;

/// How long a connection may last, so that sixteen forgotten ones do not keep all others out.
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// Pause after an accept that failed (usually no more descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `GET /metrics` on `listener` until `stop` completes.
pub async fn serve_metrics(
    page: Arc<MetricsPage>,
    hosts: KnownHosts,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) {
    let hosts = Arc::new(hosts);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let accepting = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            io::Result::Ok((stream, place))
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            () = &mut stop => return,
        };
        let Ok((stream, place)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (page, hosts) = (Arc::clone(&page), Arc::clone(&hosts));
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                Ok::<_, Infallible>(answer(&page, &hosts, request).await)
            });
            let connection = http().serve_connection(TokioIo::new(stream), service);
            // Whoever is cut off comes back.
            let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
            drop(place);
        });
    }
}

async fn answer(page: &Arc<MetricsPage>, hosts: &KnownHosts, request: Request<Incoming>) -> Reply {
    let (head, _) = request.into_parts();
    if !hosts.have(&head) {
        return misdirected();
    }
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/metrics") => page.answer_all().await,
        _ => gateway_not_found(),
    }
}
