//! What the endpoint adds to a request. Not a test: `cargo test -p hearth-endpoint --release -- --ignored added`.

use std::time::{Duration, Instant};

use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::application::{self, Speech};
use crate::client;
use crate::rig::Rig;

const REQUESTS: usize = 3000;

/// Median and 99th percentile of requests one after the other.
async fn times(sender: &mut http1::SendRequest<String>, token: &str) -> (Duration, Duration) {
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let request = Request::get("/status/200")
            .header("host", "a")
            .header("x-aws-proxy-auth", token)
            .body(String::new())
            .unwrap();
        let begun = Instant::now();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(client::Answer::read(answer).await.status, 200);
        times.push(begun.elapsed());
        sender.ready().await.unwrap();
    }
    times.sort();
    (times[REQUESTS / 2], times[REQUESTS * 99 / 100])
}

#[tokio::test]
#[ignore = "a measurement"]
async fn added_per_request() {
    let rig = Rig::new().await;
    let application = application::start(Speech::Http1).await;
    rig.put(8080, application);
    let token = rig.token();

    let stream = TcpStream::connect(application).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut direct, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (direct, direct_p99) = times(&mut direct, &token).await;
    let mut through = client::http1(&rig).await;
    let (through, through_p99) = times(&mut through, &token).await;
    println!("direct {direct:?} (p99 {direct_p99:?}), through {through:?} (p99 {through_p99:?})");
}
