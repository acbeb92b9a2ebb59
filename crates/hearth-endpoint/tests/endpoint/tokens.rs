//! Who gets in, and what the others are told.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use hearth_endpoint::{Access, Grant, Ingress, MicrovmId, State};
use uuid::Uuid;

use crate::application::{self, Speech};
use crate::client::{Answer, get, get_in, http1, tls};
use crate::rig::Rig;

const MISSING: &str = "Request missing authentication";
const FAILED: &str = "Token authentication failed";
const DENIED: &str = "Access to port denied";

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.put(8080, application::start(Speech::Http1).await);
    rig
}

fn refused(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 403);
    assert_eq!(answer.body, text);
    assert_eq!(answer.headers["cache-control"], "private,no-store");
    assert!(answer.headers.contains_key("x-amzn-requestid"));
}

async fn with(rig: &Rig, token: &str) -> Answer {
    get(rig, "/seen", &[("x-aws-proxy-auth", token)]).await
}

#[tokio::test]
async fn a_token_lets_in() {
    let rig = rig().await;
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
}

#[tokio::test]
async fn what_is_no_token_is_missing() {
    let rig = rig().await;
    let token = rig.token();
    refused(&get(&rig, "/seen", &[]).await, MISSING);
    let parts: Vec<&str> = token.split('.').collect();
    for bad in [
        "garbage".to_owned(),
        String::new(),
        parts[..4].join("."),
        format!("{token}.x"),
        token[..token.len() - 4].to_owned(),
        format!("Bearer {token}"),
        format!("{}.AAAA.{}.{}.{}", parts[0], parts[2], parts[3], parts[4]),
    ] {
        refused(&with(&rig, &bad).await, MISSING);
    }
    let twice = [
        ("x-aws-proxy-auth", token.as_str()),
        ("x-aws-proxy-auth", "x"),
    ];
    refused(&get(&rig, "/seen", &twice).await, MISSING);
}

#[tokio::test]
async fn what_is_no_longer_or_not_ours_fails() {
    let rig = rig().await;
    let grant = Grant {
        microvm: rig.guest.id(),
        access: Access::Ports(vec![8080..=8080]),
    };
    let now = SystemTime::now();
    let minute = Duration::from_secs(60);

    let expired = rig.keys.issue(&grant, minute, now - 2 * minute).unwrap();
    refused(&with(&rig, expired.reveal()).await, FAILED);

    let other = Grant {
        microvm: MicrovmId(Uuid::new_v4()),
        ..grant.clone()
    };
    let other = rig.keys.issue(&other, minute, now).unwrap();
    refused(&with(&rig, other.reveal()).await, FAILED);

    let token = rig.token();
    let dot = token.rfind('.').unwrap() - 3;
    let flipped = if &token[dot..=dot] == "A" { "B" } else { "A" };
    let altered = format!("{}{flipped}{}", &token[..dot], &token[dot + 1..]);
    refused(&with(&rig, &altered).await, FAILED);

    let stranger = Rig::new().await;
    let grant = Grant {
        microvm: rig.guest.id(),
        ..grant
    };
    let foreign = stranger.keys.issue(&grant, minute, now).unwrap();
    refused(&with(&rig, foreign.reveal()).await, FAILED);
}

#[tokio::test]
async fn a_shell_token_opens_no_port_and_a_port_token_no_shell() {
    let rig = rig().await;
    refused(&with(&rig, &rig.shell_token()).await, FAILED);
    rig.guest.set(|microvm| {
        microvm.ingress = Ingress {
            http: true,
            shell: true,
            preflights: false,
        }
    });
    assert_eq!(with(&rig, &rig.shell_token()).await.status, 502);
    let token = rig.token();
    let shell = [
        ("x-aws-proxy-auth", token.as_str()),
        ("x-aws-proxy-port", "8022"),
    ];
    refused(&get(&rig, "/shell", &shell).await, DENIED);
    let shell_token = rig.shell_token();
    let port = [
        ("x-aws-proxy-auth", shell_token.as_str()),
        ("x-aws-proxy-port", "8080"),
    ];
    refused(&get(&rig, "/shell", &port).await, DENIED);
}

#[tokio::test]
async fn ports_must_be_in_the_token() {
    let rig = rig().await;
    rig.put(9000, application::start(Speech::Http1).await);
    let token = rig.token_for(9000..=9001);
    refused(&with(&rig, &token).await, DENIED);
    let port = |port| {
        [
            ("x-aws-proxy-auth", token.as_str()),
            ("x-aws-proxy-port", port),
        ]
    };
    assert_eq!(get(&rig, "/seen", &port("9000")).await.status, 200);
    assert_eq!(get(&rig, "/seen", &port("9001")).await.status, 502);
    refused(&get(&rig, "/seen", &port("9002")).await, DENIED);
    let malformed = get(&rig, "/seen", &port("http")).await;
    assert_eq!(
        (malformed.status.as_u16(), malformed.body.as_str()),
        (400, "")
    );
}

#[tokio::test]
async fn without_http_ingress_no_token_opens() {
    let rig = rig().await;
    rig.guest
        .set(|microvm| microvm.ingress = Ingress::default());
    refused(&get_in(&rig, "/seen").await, FAILED);
    refused(&with(&rig, &rig.shell_token()).await, FAILED);
}

#[tokio::test]
async fn a_rotated_key_still_opens_and_a_dropped_one_not() {
    let rig = rig().await;
    let old = rig.token();
    rig.keys.rotate(SystemTime::now()).unwrap();
    assert_eq!(with(&rig, &old).await.status, 200);
    assert_eq!(with(&rig, &rig.token()).await.status, 200);
    let later = SystemTime::now() + Duration::from_secs(26 * 60 * 60);
    rig.keys.rotate(later).unwrap();
    refused(&with(&rig, &old).await, FAILED);
}

#[tokio::test]
async fn names_must_be_the_microvms_own() {
    let rig = rig().await;
    let own = format!("{}.hearth.test", rig.guest.endpoint);
    let other = format!("{}.hearth.test", Uuid::new_v4());
    for (route, sni, host, status) in [
        (rig.own, "127.0.0.1", "127.0.0.1:1", 200),
        (rig.own, "127.0.0.1", other.as_str(), 403),
        (rig.shared, own.as_str(), own.as_str(), 200),
        (rig.shared, "127.0.0.1", own.as_str(), 200),
        (rig.shared, own.as_str(), other.as_str(), 421),
        (rig.shared, own.as_str(), "example.org", 421),
        (rig.shared, other.as_str(), other.as_str(), 403),
        (rig.shared, "127.0.0.1", "127.0.0.1", 403),
    ] {
        let stream = tls(&rig, route, sni, "http/1.1").await;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get("/seen")
            .header("host", host)
            .header("x-aws-proxy-auth", rig.token())
            .body(String::new())
            .unwrap();
        let answer = Answer::read(sender.send_request(request).await.unwrap()).await;
        assert_eq!(answer.status, status, "{sni} {host}");
        if status == 403 {
            refused(&answer, FAILED);
        }
    }
}

#[tokio::test]
async fn strangers_touch_nothing() {
    let rig = rig().await;
    rig.guest.set(|microvm| microvm.state = State::Suspended);
    refused(&get(&rig, "/seen", &[]).await, MISSING);
    let mut connection = http1::<String>(&rig).await;
    let request = hyper::Request::post("/sink")
        .body("x".repeat(100_000))
        .unwrap();
    let _ = connection.send_request(request).await;
    assert_eq!(rig.guest.resumes.load(Ordering::SeqCst), 0);
    assert_eq!(rig.guest.touched.load(Ordering::SeqCst), 0);
}
