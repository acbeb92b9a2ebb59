//! Much data, byte for byte, in little memory.

use std::time::Instant;

use http_body_util::BodyExt;
use hyper::Request;

use crate::application::{self, Checksum, Pattern, Speech};
use crate::client::{Answer, http1, http2};
use crate::rig::Rig;

const BYTES: u64 = 256 * 1024 * 1024;

/// Client, endpoint and application together; a body kept whole would be eight times as much.
const MAX_GROWTH_KIB: u64 = 32 * 1024;

/// Peak resident memory of this process so far.
pub(crate) fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn expected() -> (u64, u64) {
    let mut sum = Checksum::default();
    let mut pattern = Pattern::new(BYTES);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while let std::task::Poll::Ready(Some(Ok(frame))) =
        http_body::Body::poll_frame(std::pin::Pin::new(&mut pattern), &mut context)
    {
        sum.add(frame.data_ref().unwrap());
    }
    (sum.bytes, sum.hash)
}

async fn rig(speech: Speech) -> Rig {
    let rig = Rig::new().await;
    rig.put(8080, application::start(speech).await);
    rig
}

async fn drain(body: hyper::body::Incoming) -> (u64, u64) {
    let mut sum = Checksum::default();
    let mut body = body;
    while let Some(frame) = body.frame().await {
        sum.add(frame.unwrap().data_ref().unwrap());
    }
    (sum.bytes, sum.hash)
}

/// Runs one transfer and checks what it cost.
async fn measured<T>(what: &str, transfer: impl Future<Output = T>) -> T {
    let before = peak_kib();
    let begun = Instant::now();
    let result = transfer.await;
    let seconds = begun.elapsed().as_secs_f64();
    let growth = peak_kib() - before;
    println!(
        "{what}: {:.0} MiB/s, {growth} KiB",
        BYTES as f64 / seconds / 1_048_576.0
    );
    assert!(growth < MAX_GROWTH_KIB, "{what} took {growth} KiB");
    result
}

macro_rules! transfers {
    ($down:ident, $up:ident, $client:ident, $speech:expr, $headers:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $down() {
            let rig = rig($speech).await;
            let mut client = $client::<Pattern>(&rig).await;
            let request = request(&rig, &format!("/source/{BYTES}"), $headers);
            let answer = measured(stringify!($down), async {
                drain(
                    client
                        .send_request(request.body(Pattern::new(0)).unwrap())
                        .await
                        .unwrap()
                        .into_body(),
                )
                .await
            });
            assert_eq!(answer.await, expected());
            assert!(rig.guest.touched.load(std::sync::atomic::Ordering::Relaxed) > BYTES);
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $up() {
            let rig = rig($speech).await;
            let mut client = $client::<Pattern>(&rig).await;
            let request = request(&rig, "/sink", $headers).method("POST");
            let answer = measured(stringify!($up), async {
                Answer::read(
                    client
                        .send_request(request.body(Pattern::new(BYTES)).unwrap())
                        .await
                        .unwrap(),
                )
                .await
            });
            let (bytes, hash) = expected();
            assert_eq!(answer.await.body, format!("{bytes} {hash:016x}"));
        }
    };
}

fn request(rig: &Rig, path: &str, force_h2: &str) -> hyper::http::request::Builder {
    Request::get(format!("https://{}{path}", rig.own))
        .header("host", rig.own.to_string())
        .header("x-aws-proxy-auth", rig.token())
        .header("x-aws-proxy-force-h2", force_h2)
}

transfers!(down_h1_to_h1, up_h1_to_h1, http1, Speech::Http1, "false");
transfers!(down_h2_to_h1, up_h2_to_h1, http2, Speech::Http1, "false");
transfers!(down_h2_to_h2, up_h2_to_h2, http2, Speech::Http2, "true");

/// The application does not read: the endpoint must not read on for it.
#[tokio::test]
async fn an_application_that_does_not_read_holds_the_client_back() {
    let rig = Rig::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.put(8080, listener.local_addr().unwrap());
    let mut client = http2::<Pattern>(&rig).await;
    let request = request(&rig, "/sink", "false").method("POST");
    let sending = client.send_request(request.body(Pattern::new(BYTES)).unwrap());
    let sending = tokio::time::timeout(std::time::Duration::from_secs(3), sending);
    assert!(sending.await.is_err());
    let passed = rig.guest.touched.load(std::sync::atomic::Ordering::Relaxed);
    // Socket buffers of the kernel and what hyper buffers of the request.
    assert!(passed < 16 * 1024 * 1024, "{passed} bytes were read ahead");
}
