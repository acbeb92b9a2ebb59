//! Connections, rates and accounting.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hearth_endpoint::{EndpointLimits, Settings};
use hyper::Request;

use crate::application::{self, Speech};
use crate::client::{Answer, get_in, http1, http2};
use crate::rig::Rig;

fn two_a_second() -> EndpointLimits {
    EndpointLimits {
        requests_per_second: Some(2),
        ..EndpointLimits::NONE
    }
}

fn two_connections() -> EndpointLimits {
    EndpointLimits {
        connections: Some(2),
        ..EndpointLimits::NONE
    }
}

async fn rig(limits: EndpointLimits) -> Rig {
    limited(Rig::new().await, limits).await
}

async fn limited(rig: Rig, limits: EndpointLimits) -> Rig {
    rig.put(8080, application::start(Speech::Http1).await);
    rig.guest.set(|microvm| microvm.limits = limits);
    rig
}

fn request(rig: &Rig, path: &str) -> Request<String> {
    Request::get(path)
        .header("host", "a")
        .header("x-aws-proxy-auth", rig.token())
        .body(String::new())
        .unwrap()
}

#[tokio::test]
async fn connections_are_limited_and_given_back() {
    let rig = Rig::with(Settings {
        request_wait: Duration::from_millis(100),
        ..Settings::default()
    })
    .await;
    let rig = limited(rig, two_connections()).await;
    let (mut first, mut second) = (http1(&rig).await, http1(&rig).await);
    for client in [&mut first, &mut second] {
        let answer = client.send_request(request(&rig, "/seen")).await.unwrap();
        assert_eq!(Answer::read(answer).await.status, 200);
    }
    let refused = get_in(&rig, "/seen").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(refused.body.contains("2 connections"), "{}", refused.body);
    drop(first);
    let begun = Instant::now();
    while get_in(&rig, "/seen").await.status != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the place was not given back"
        );
    }
}

/// A tool that opens forty connections at once, each for one request: beyond the limit they wait for each other.
#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let rig = rig(two_connections()).await;
    let (mut first, mut second) = (http1(&rig).await, http1(&rig).await);
    for client in [&mut first, &mut second] {
        let answer = client.send_request(request(&rig, "/seen")).await.unwrap();
        assert_eq!(Answer::read(answer).await.status, 200);
    }
    let patient = async {
        let gets = (0..6).map(|_| get_in(&rig, "/seen"));
        futures_util::future::join_all(gets).await
    };
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop((first, second));
    };
    let (answers, ()) = tokio::join!(patient, leaving);
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// So many that not even all may wait: the rest is refused at once, with a reason.
#[tokio::test]
async fn connections_that_wait_are_limited() {
    let rig = Rig::with(Settings {
        request_wait: Duration::from_secs(1),
        ..Settings::default()
    })
    .await;
    let rig = limited(rig, two_connections()).await;
    let (mut first, mut second) = (http1(&rig).await, http1(&rig).await);
    for client in [&mut first, &mut second] {
        let answer = client.send_request(request(&rig, "/seen")).await.unwrap();
        assert_eq!(Answer::read(answer).await.status, 200);
    }
    let begun = Instant::now();
    let timed = async || (get_in(&rig, "/seen").await, begun.elapsed());
    let answers = futures_util::future::join_all((0..12).map(|_| timed())).await;
    assert!(answers.iter().all(|(answer, _)| answer.status == 429));
    let at_once = answers
        .iter()
        .filter(|(_, after)| *after < Duration::from_millis(900));
    assert_eq!(at_once.count(), 4, "eight of twelve may wait");
}

/// The streams of one HTTP/2 connection take one place.
#[tokio::test]
async fn a_connection_with_many_streams_is_one() {
    let rig = rig(two_connections()).await;
    let rig = &rig;
    let clients = [http2(rig).await, http2(rig).await];
    let requests = clients.iter().flat_map(move |client| {
        (0..10).map(move |_| {
            let mut client = client.clone();
            let request = Request::get(format!("https://{}/seen", rig.own))
                .header("x-aws-proxy-auth", rig.token())
                .body(String::new())
                .unwrap();
            async move { client.send_request(request).await.unwrap().status() }
        })
    });
    for status in futures_util::future::join_all(requests).await {
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn requests_are_limited() {
    let rig = Rig::with(Settings {
        request_wait: Duration::from_millis(100),
        ..Settings::default()
    })
    .await;
    let rig = limited(rig, two_a_second()).await;
    let mut statuses = Vec::new();
    let mut refused = None;
    for _ in 0..15 {
        let answer = get_in(&rig, "/seen").await;
        statuses.push(answer.status.as_u16());
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    assert!(statuses.starts_with(&[200; 10]), "{statuses:?}");
    let refused = refused.unwrap_or_else(|| panic!("{statuses:?}"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(
        refused.body.contains("2 requests per second"),
        "{}",
        refused.body
    );
}

/// A page whose parts are more than the burst: the last ones wait and are not refused.
#[tokio::test]
async fn requests_over_the_rate_wait_for_their_turn() {
    let rig = rig(two_a_second()).await;
    let begun = Instant::now();
    let gets = (0..15).map(|_| get_in(&rig, "/seen"));
    for answer in futures_util::future::join_all(gets).await {
        assert_eq!(answer.status, 200);
    }
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(1500), "{taken:?}");
}

#[tokio::test]
async fn bandwidth_is_held_back() {
    let rig = rig(EndpointLimits {
        bytes_per_second: Some(1_000_000),
        ..EndpointLimits::NONE
    })
    .await;
    let begun = Instant::now();
    let answer = get_in(&rig, "/source/2000000").await;
    assert_eq!(answer.status, 200);
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(1500), "{taken:?}");
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let rig = rig(EndpointLimits::NONE).await;
    let before = rig.guest.touched.load(Ordering::Relaxed);
    let answer = get_in(&rig, "/source/80000").await;
    assert_eq!(answer.status, 200);
    let touched = rig.guest.touched.load(Ordering::Relaxed) - before;
    assert!((80_000..82_000).contains(&touched), "{touched}");
}
