//! The application: it answers at once, sends as much as it is asked for, and reads all that it is sent.

use std::convert::Infallible;

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, stdin};
use tokio::net::TcpListener;

/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 64 * 1024;

type Reply = Response<BoxBody<Bytes, Infallible>>;

/// Says on which port, and serves until standard input ends.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let serving = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            // Without it, small answers would wait for more.
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = service_fn(|request| async { reply(request).await });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that leaves is none of our business.
                let _ = connection.await;
            });
        }
    };
    let ended = async {
        let mut nothing = Vec::new();
        stdin().read_to_end(&mut nothing).await
    };
    tokio::select! {
        never = serving => never,
        _ = ended => Ok(()),
    }
}

async fn reply(request: Request<Incoming>) -> Result<Reply, hyper::Error> {
    let path = request.uri().path().to_owned();
    let mut received = 0;
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        received += frame?.data_ref().map_or(0, Bytes::len);
    }
    let wanted = path.strip_prefix("/source/").map(str::parse);
    Ok(match wanted {
        Some(Ok(bytes)) => Response::new(source(bytes)),
        _ => Response::new(BoxBody::new(Full::from(received.to_string()))),
    })
}

fn source(bytes: u64) -> BoxBody<Bytes, Infallible> {
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let pieces = stream::unfold(bytes, move |left| {
        let now = piece.slice(..left.min(PIECE_BYTES as u64) as usize);
        let next = (left > 0).then(|| (Ok(Frame::data(now.clone())), left - now.len() as u64));
        std::future::ready(next)
    });
    BoxBody::new(StreamBody::new(pieces))
}
