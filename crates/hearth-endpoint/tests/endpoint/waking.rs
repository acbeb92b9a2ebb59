//! Traffic wakes a suspended microVM: many requests, one resume.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hearth_endpoint::{Settings, State};

use crate::application::{self, Speech};
use crate::client::{get_in, http1};
use crate::rig::Rig;

async fn asleep() -> Arc<Rig> {
    asleep_with(Settings::default()).await
}

async fn asleep_with(settings: Settings) -> Arc<Rig> {
    let rig = Rig::with(settings).await;
    rig.put(8080, application::start(Speech::Http1).await);
    rig.guest.set(|microvm| microvm.state = State::Suspended);
    Arc::new(rig)
}

/// Polls for a condition that another task is about to make true.
async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("never happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_make_one_resume() {
    let rig = asleep().await;
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { get_in(&rig, "/seen").await.status })
        })
        .collect();
    until(|| rig.guest.resumes.load(Ordering::SeqCst) == 1).await;
    rig.guest.may_resume.notify_one();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert_eq!(rig.guest.resumes.load(Ordering::SeqCst), 1);
    // Those that came while it slept.
    let waited = rig.guest.first_bytes.load(Ordering::SeqCst);
    assert!((1..=100).contains(&waited), "{waited}");
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
    assert_eq!(rig.guest.first_bytes.load(Ordering::SeqCst), waited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_that_fails_is_a_502_for_each() {
    let rig = asleep().await;
    *rig.guest.resume_fails.lock().unwrap() = true;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { get_in(&rig, "/seen").await })
        })
        .collect();
    until(|| rig.guest.resumes.load(Ordering::SeqCst) == 1).await;
    // All of them must be waiting before the resume fails; late ones would begin another. From the look-up on,
    // nothing but the scheduler is between a request and its wait.
    until(|| rig.guest.lookups.load(Ordering::SeqCst) == 20).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.guest.may_resume.notify_one();
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!(answer.status, 502);
        assert!(
            answer.body.contains("could not be resumed"),
            "{}",
            answer.body
        );
    }
    // The next request tries again.
    *rig.guest.resume_fails.lock().unwrap() = false;
    rig.guest.may_resume.notify_one();
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
    assert_eq!(rig.guest.resumes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_auto_resume_it_sleeps_on() {
    let rig = asleep().await;
    rig.guest.set(|microvm| microvm.auto_resume = false);
    let answer = get_in(&rig, "/seen").await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("autoResumeEnabled"), "{}", answer.body);
    assert_eq!(rig.guest.resumes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn before_and_after_its_life_there_is_nothing() {
    let rig = asleep().await;
    for (state, word) in [(State::Pending, "PENDING"), (State::Ended, "TERMINATED")] {
        rig.guest.set(|microvm| microvm.state = state);
        let answer = get_in(&rig, "/seen").await;
        assert_eq!(answer.status, 502);
        assert!(answer.body.contains(word), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let rig = asleep_with(Settings {
        max_waiters: 1,
        ..Settings::default()
    })
    .await;
    let mut first = http1::<String>(&rig).await;
    let request = hyper::Request::get("/seen")
        .header("host", "a")
        .header("x-aws-proxy-auth", rig.token())
        .body(String::new())
        .unwrap();
    let waiting = tokio::spawn(async move { first.send_request(request).await });
    until(|| rig.guest.resumes.load(Ordering::SeqCst) == 1).await;
    assert_eq!(get_in(&rig, "/seen").await.status, 429);
    waiting.abort();
    // Once the endpoint has seen the first client leave, there is room, and still the same resume.
    let patient = Arc::clone(&rig);
    let second = tokio::spawn(async move {
        loop {
            let answer = get_in(&patient, "/seen").await;
            if answer.status != 429 {
                return answer.status;
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.guest.may_resume.notify_one();
    assert_eq!(second.await.unwrap(), 200);
    assert_eq!(rig.guest.resumes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn waiting_ends() {
    let settings = Settings {
        resume_time: Duration::from_millis(200),
        ..Settings::default()
    };
    let rig = asleep_with(settings).await;
    let answer = get_in(&rig, "/seen").await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("within 0.2 s"), "{}", answer.body);
}

/// It was running when it was looked up, and asleep when the connection was to be opened.
#[tokio::test]
async fn falling_asleep_in_between_is_noticed() {
    let rig = asleep().await;
    rig.guest.set(|microvm| microvm.state = State::Running);
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
    rig.guest.may_resume.notify_one();
    rig.guest.set(|microvm| microvm.epoch += 1);
    rig.guest
        .falls_asleep_at_next_open
        .store(true, Ordering::SeqCst);
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
    assert_eq!(rig.guest.resumes.load(Ordering::SeqCst), 1);
}
