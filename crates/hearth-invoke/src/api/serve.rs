//! Serves the connections of one environment's programs.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::handle::{ApiCalls, handle};
use crate::environment::{ByteStream, Environment};
use crate::limits::{MAX_CONNECTIONS, MAX_HEAD_BYTES};

/// Serves connections until the environment has ended. Each message on `drops` closes all connections.
pub(crate) async fn serve(
    environment: Arc<dyn Environment>,
    calls: ApiCalls,
    mut drops: mpsc::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            dropped = drops.recv() => match dropped {
                Some(()) => connections.shutdown().await,
                None => return,
            },
            Some(_) = connections.join_next() => {}
            stream = environment.accept() => {
                let Some(stream) = stream else {
                    calls.lost().await;
                    return;
                };
                // Too many: the program sees its connection closed.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    continue;
                };
                let calls = calls.clone();
                connections.spawn(async move {
                    serve_one(stream, calls).await;
                    drop(place);
                });
            }
        }
    }
}

async fn serve_one(stream: Box<dyn ByteStream>, calls: ApiCalls) {
    let service = service_fn(move |request| {
        let calls = calls.clone();
        async move { Ok::<_, Infallible>(handle(&calls, request).await) }
    });
    let served = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        // The interface clients half-close nothing; a closed connection is a client that is gone.
        .half_close(false)
        // Hand-written bootstraps look for names as AWS spells them.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // Programs may send anything, and end at any time.
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the Runtime API broke");
    }
}
