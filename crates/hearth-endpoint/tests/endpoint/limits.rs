//! Connections, rates and accounting.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hearth_endpoint::{EndpointLimits, Settings};
use hyper::Request;

use crate::application::{self, Speech};
use crate::client::{Answer, get_in, http1};
use crate::rig::Rig;

fn two_a_second() -> EndpointLimits {
    EndpointLimits {
        requests_per_second: Some(2),
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
    let rig = rig(EndpointLimits {
        connections: Some(2),
        ..EndpointLimits::NONE
    })
    .await;
    let (mut first, mut second) = (http1(&rig).await, http1(&rig).await);
    for client in [&mut first, &mut second] {
        let answer = client.send_request(request(&rig, "/seen")).await.unwrap();
        assert_eq!(Answer::read(answer).await.status, 200);
    }
    assert_eq!(get_in(&rig, "/seen").await.status, 429);
    drop(first);
    let begun = Instant::now();
    while get_in(&rig, "/seen").await.status != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the place was not given back"
        );
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
    for _ in 0..15 {
        statuses.push(get_in(&rig, "/seen").await.status.as_u16());
    }
    assert!(statuses.starts_with(&[200; 10]), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
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
