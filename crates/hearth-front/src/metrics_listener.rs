//! A listener for metrics only, for Prometheus to scrape. It shows all metrics to everybody who can reach it, so the
//! operator has to choose where it listens.

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

/// Connections at one time: enough for some scrapers and a person. Others wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16;

/// Longest time of a connection, so that sixteen forgotten ones do not block all others.
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// Pause after a failed accept (usually for lack of file descriptors), to avoid a busy loop.
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
            // A client that is cut off connects again.
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
