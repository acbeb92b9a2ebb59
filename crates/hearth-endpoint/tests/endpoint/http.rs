//! What the application sees, and what comes back.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::application::{self, Speech};
use crate::client::{Answer, get, get_in, http1, http2, raw, tls};
use crate::rig::Rig;

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.put(8080, application::start(Speech::Http1).await);
    rig
}

#[tokio::test]
async fn the_application_sees_the_request_and_nothing_of_ours() {
    let rig = rig().await;
    let token = rig.token();
    let answer = get(
        &rig,
        "/seen?a=%20b",
        &[
            ("x-aws-proxy-auth", &token),
            ("x-aws-proxy-other", "1"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("x-amzn-requestid", "forged"),
            ("accept", "text/plain"),
        ],
    )
    .await;
    assert!(
        answer.body.starts_with("GET /seen?a=%20b HTTP/1.1\n"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("accept: text/plain"));
    assert!(answer.body.contains(&format!("host: {}", rig.own)));
    for absent in ["x-aws-proxy", "x-forwarded", "x-hop", "forged", "via"] {
        assert!(!answer.body.contains(absent), "{absent}: {}", answer.body);
    }
    let id = answer.headers["x-amzn-requestid"].to_str().unwrap();
    assert!(answer.body.contains(&format!("x-amzn-requestid: {id}")));
}

#[tokio::test]
async fn http2_becomes_http11_for_the_application() {
    let rig = rig().await;
    let mut client = http2::<Full<Bytes>>(&rig).await;
    let request = Request::get(format!("https://{}/seen", rig.own))
        .header("x-aws-proxy-auth", rig.token())
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::default())
        .unwrap();
    let answer = Answer::read(client.send_request(request).await.unwrap()).await;
    assert!(
        answer.body.starts_with("GET /seen HTTP/1.1\n"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains(&format!("host: {}", rig.own)));
    assert!(answer.body.contains("cookie: a=1; b=2"));
    assert!(!answer.body.contains("transfer-encoding"));
}

#[tokio::test]
async fn forced_http2_reaches_the_application_as_such() {
    let rig = Rig::new().await;
    rig.put(8080, application::start(Speech::Http2).await);
    let token = rig.token();
    let forced = [
        ("x-aws-proxy-auth", token.as_str()),
        ("x-aws-proxy-force-h2", "true"),
    ];
    for _ in 0..3 {
        let answer = get(&rig, "/seen", &forced).await;
        assert!(answer.body.contains("HTTP/2.0"), "{}", answer.body);
    }
    // All share one connection.
    assert_eq!(rig.guest.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_application_with_tls_is_found_out() {
    let rig = Rig::new().await;
    rig.put(8080, application::start(application::self_signed()).await);
    let mut client = http1::<Full<Bytes>>(&rig).await;
    for _ in 0..2 {
        let request = Request::post("/mirror")
            .header("host", "a")
            .header("x-aws-proxy-auth", rig.token())
            .body(Full::from("hello"))
            .unwrap();
        let answer = Answer::read(client.send_request(request).await.unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (200, "hello")
        );
    }
}

#[tokio::test]
async fn a_400_of_an_application_without_tls_stays_one() {
    let rig = rig().await;
    assert_eq!(get_in(&rig, "/status/400").await.status, 400);
    let opened = rig.guest.opened.load(Ordering::SeqCst);
    assert_eq!(opened, 2, "one exchange and one probe");
    assert_eq!(get_in(&rig, "/status/400").await.status, 400);
    assert!(
        rig.guest.opened.load(Ordering::SeqCst) <= opened + 1,
        "no second probe"
    );
}

#[tokio::test]
async fn statuses_of_the_application_pass() {
    let rig = rig().await;
    for code in [200, 204, 304, 401, 404, 418, 500, 503] {
        let answer = get_in(&rig, &format!("/status/{code}")).await;
        assert_eq!(answer.status, code);
        assert!(!answer.headers.contains_key("cache-control"));
    }
}

#[tokio::test]
async fn where_nobody_listens_is_a_502_that_says_so() {
    let rig = Rig::new().await;
    let answer = get_in(&rig, "/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.body,
        "Nothing listens on port 8080 of the microVM. X-aws-proxy-port names another port."
    );
    assert_eq!(answer.headers["content-type"], "text/plain");
    assert_eq!(answer.headers["cache-control"], "private,no-store");
}

#[tokio::test]
async fn an_application_that_hangs_up_is_a_502() {
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.put(8080, listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let answer = get_in(&rig, "/").await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.body.contains("closed the connection"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn connections_into_the_guest_are_used_again() {
    let rig = rig().await;
    let mut client = http1::<Full<Bytes>>(&rig).await;
    for _ in 0..20 {
        let request = Request::get("/seen")
            .header("host", "a")
            .header("x-aws-proxy-auth", rig.token())
            .body(Full::default())
            .unwrap();
        let answer = Answer::read(client.send_request(request).await.unwrap()).await;
        assert_eq!(answer.status, 200);
        client.ready().await.unwrap();
    }
    let opened = rig.guest.opened.load(Ordering::SeqCst);
    assert!(opened <= 5, "{opened} connections for 20 requests");
    // None of them survives a resume.
    rig.guest.set(|microvm| microvm.epoch += 1);
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
    assert_eq!(rig.guest.opened.load(Ordering::SeqCst), opened + 1);
}

#[tokio::test]
async fn an_early_answer_arrives() {
    let rig = rig().await;
    let mut client = http2::<Full<Bytes>>(&rig).await;
    let request = Request::post(format!("https://{}/early", rig.own))
        .header("x-aws-proxy-auth", rig.token())
        .body(Full::from(vec![0; 8 * 1024 * 1024]))
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn heads_have_no_body() {
    let rig = rig().await;
    let mut client = http1::<Full<Bytes>>(&rig).await;
    let head = Request::head("/source/4096")
        .header("host", "a")
        .header("x-aws-proxy-auth", rig.token())
        .body(Full::default())
        .unwrap();
    let answer = Answer::read(client.send_request(head).await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
}

/// The client only sends its body once the application wants it.
#[tokio::test]
async fn consent_is_the_applications() {
    let rig = rig().await;
    let mut stream = tls(&rig, rig.own, "127.0.0.1", "http/1.1").await;
    let request = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {}\r\nContent-Length: 5\r\n\
             Expect: 100-continue\r\n\r\n",
            rig.token()
        )
    };
    stream.write_all(request("/sink").as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = vec![0; 1024];
    let count = stream.read(&mut answer).await.unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 200 OK"));

    // An application that says no is heard before any body is sent.
    let answer = raw(&rig, request("/early").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn http10_clients_are_served() {
    let rig = rig().await;
    let request = format!(
        "GET /source/64 HTTP/1.0\r\nX-aws-proxy-auth: {}\r\n\r\n",
        rig.token()
    );
    let answer = raw(&rig, request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
        "{answer}"
    );
    assert!(!answer.contains("chunked"));
}

/// Server-sent events: each piece must arrive when it is sent, not when a buffer is full.
#[tokio::test]
async fn pieces_arrive_one_by_one() {
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.put(8080, listener.local_addr().unwrap());
    let (next, mut told) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Closing with anything unread would be a reset.
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut number = 0;
        while told.recv().await.is_some() {
            stream
                .write_all(format!("data: {number}\n\n").as_bytes())
                .await
                .unwrap();
            number += 1;
        }
    });
    let mut client = http2::<Full<Bytes>>(&rig).await;
    let request = Request::get(format!("https://{}/", rig.own))
        .header("x-aws-proxy-auth", rig.token())
        .body(Full::default())
        .unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    for number in 0..5 {
        next.send(()).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(*frame.data_ref().unwrap(), format!("data: {number}\n\n"));
    }
    drop(next);
    assert!(body.collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn trailers_pass_in_http11_as_well() {
    let rig = rig().await;
    let request = format!(
        "POST /trailers HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {}\r\nTE: trailers\r\n\
         Connection: TE, close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        rig.token()
    );
    let answer = raw(&rig, request.as_bytes()).await;
    assert!(
        answer.contains("\r\n0\r\ngrpc-status: 0\r\n\r\n"),
        "{answer}"
    );
}
