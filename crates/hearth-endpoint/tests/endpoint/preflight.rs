//! CORS preflights, which have no token, and what a page of another origin may read.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hearth_endpoint::State;
use http_body_util::Full;
use hyper::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::client::{Answer, get, get_in, http1, http2};
use crate::rig::Rig;

const ALLOWED: &str = "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://app.example\r\n\
                       Access-Control-Allow-Headers: x-aws-proxy-auth\r\n\r\n";

/// An application that gives each request the same answer and keeps the heads.
#[derive(Default, Clone)]
struct HeadKeeper(Arc<Mutex<Vec<String>>>);

impl HeadKeeper {
    async fn start(&self, answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let heads = Arc::clone(&heads);
                tokio::spawn(async move {
                    let mut bytes = [0; 8192];
                    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                        let head = String::from_utf8_lossy(&bytes[..count]).into_owned();
                        heads.lock().unwrap().push(head);
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }

    fn heads(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// An endpoint whose microVM takes preflights, with that application.
async fn open(answer: &'static str) -> (Rig, HeadKeeper) {
    let rig = Rig::new().await;
    let keeper = HeadKeeper::default();
    rig.put(8080, keeper.start(answer).await);
    rig.guest.set(|microvm| microvm.ingress.preflights = true);
    (rig, keeper)
}

fn preflight(target: String, more: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(Method::OPTIONS)
        .uri(target)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-aws-proxy-auth");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

async fn ask(rig: &Rig, more: &[(&str, &str)]) -> Answer {
    let mut request = preflight("/api?x=1".to_owned(), more);
    let host = rig.own.to_string().parse().unwrap();
    request.headers_mut().insert("host", host);
    Answer::read(http1(rig).await.send_request(request).await.unwrap()).await
}

#[tokio::test]
async fn the_application_answers_where_the_connector_says_so() {
    let (rig, keeper) = open(ALLOWED).await;
    let answer = ask(&rig, &[]).await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://app.example"
    );
    assert_eq!(
        answer.headers["access-control-allow-headers"],
        "x-aws-proxy-auth"
    );
    assert!(answer.headers.contains_key("x-amzn-requestid"));
    let head = keeper.heads().concat().to_lowercase();
    assert!(head.starts_with("options /api?x=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("origin: https://app.example"), "{head}");
    // It is no traffic: it must not keep the microVM awake.
    assert_eq!(rig.guest.touched.load(Ordering::SeqCst), 0);

    let mut client = http2::<Full<Bytes>>(&rig).await;
    let request = preflight(format!("https://{}/api", rig.own), &[]);
    let answer = Answer::read(client.send_request(request).await.unwrap()).await;
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn its_body_is_left_out() {
    let (rig, _) = open("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    for _ in 0..2 {
        let answer = ask(&rig, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    }
}

#[tokio::test]
async fn without_the_connector_it_is_a_request_without_a_token() {
    let (rig, keeper) = open(ALLOWED).await;
    rig.guest.set(|microvm| microvm.ingress.preflights = false);
    let answer = ask(&rig, &[]).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.body, "Request missing authentication");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert!(keeper.heads().is_empty());
}

#[tokio::test]
async fn a_token_that_is_wrong_is_not_overlooked() {
    let (rig, keeper) = open(ALLOWED).await;
    for (name, value) in [("x-aws-proxy-auth", "garbage"), ("x-aws-proxy-port", "80")] {
        assert_eq!(ask(&rig, &[(name, value)]).await.status, 403, "{name}");
    }
    assert!(keeper.heads().is_empty());
    let token = rig.token();
    let answer = ask(&rig, &[("x-aws-proxy-auth", &token)]).await;
    assert_eq!(answer.status, 204);
    assert!(rig.guest.touched.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn nobody_without_a_token_wakes_a_microvm() {
    let (rig, _) = open(ALLOWED).await;
    for state in [State::Suspended, State::Pending, State::Ended] {
        rig.guest.set(|microvm| microvm.state = state);
        let answer = ask(&rig, &[]).await;
        assert_eq!(answer.status, 403, "{state:?}");
        assert_eq!(answer.body, "Request missing authentication");
    }
    assert_eq!(rig.guest.resumes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn strangers_have_a_rate_of_their_own_and_are_told_nothing() {
    let (rig, _) = open(ALLOWED).await;
    let mut client = http2::<Full<Bytes>>(&rig).await;
    let mut statuses = Vec::new();
    let mut last = None;
    // More than the burst of five seconds and what is earned meanwhile.
    for _ in 0..200 {
        let request = preflight(format!("https://{}/", rig.own), &[]);
        let answer = Answer::read(client.send_request(request).await.unwrap()).await;
        statuses.push(answer.status.as_u16());
        if answer.status == 429 {
            last = Some(answer);
            break;
        }
    }
    assert!(statuses.len() > 50, "{}", statuses.len());
    let refused = last.expect("the rate has no end");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.body, "");
    assert_eq!(get_in(&rig, "/").await.status, 204);
}

#[tokio::test]
async fn only_the_owner_of_the_token_learns_why_there_is_no_answer() {
    let rig = Rig::new().await;
    rig.guest.set(|microvm| microvm.ingress.preflights = true);
    let answer = ask(&rig, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (502, ""));
    assert!(!answer.headers.contains_key("x-hearth-reason"));
    let answer = get_in(&rig, "/").await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("port 8080"), "{}", answer.body);
}

#[tokio::test]
async fn a_page_can_read_why_it_was_refused() {
    let rig = Rig::new().await;
    let origin = ("origin", "https://app.example");
    let token = rig.token();
    for (more, status) in [
        (None, 403),
        (Some(("x-aws-proxy-auth", token.as_str())), 502),
    ] {
        let headers: Vec<_> = more.into_iter().chain([origin]).collect();
        let answer = get(&rig, "/", &headers).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert!(!answer.body.is_empty());
    }
    // Nobody asked from another origin.
    let answer = get(&rig, "/", &[]).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}
