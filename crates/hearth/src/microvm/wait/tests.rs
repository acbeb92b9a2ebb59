use std::cell::{Cell, RefCell};

use serde_json::json;

use super::*;

/// A service that answers these states in order, and then the last one for ever.
struct Script {
    states: RefCell<Vec<(&'static str, &'static str)>>,
    asked: Cell<u32>,
}

impl Script {
    /// States with their stateReason, in order.
    fn of(states: &[(&'static str, &'static str)]) -> Self {
        let states = states.iter().rev().copied().collect();
        Self {
            states: RefCell::new(states),
            asked: Cell::default(),
        }
    }

    fn look(&self) -> Value {
        let mut states = self.states.borrow_mut();
        let (state, reason) = match states.len() {
            1 => states[0],
            _ => states.pop().unwrap(),
        };
        json!({"microvmId": "vm", "state": state, "stateReason": reason})
    }

    async fn wait(&self, wish: Wish, seconds: u64) -> Result<String, WaitError> {
        let followed = follow(
            "vm",
            wish,
            Patience::seconds(seconds),
            async || Ok(self.look()),
            async || {
                self.asked.set(self.asked.get() + 1);
                Ok(())
            },
        );
        match followed.await {
            Ok(microvm) => Ok(text(&microvm, "state").to_owned()),
            Err(error) => Err(error.downcast().unwrap()),
        }
    }
}

fn failed(state: &str, wanted: &'static str, reason: &str) -> WaitError {
    WaitError::Failed {
        id: "vm".to_owned(),
        state: state.to_owned(),
        wanted,
        reason: reason.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn each_wish_comes_true_by_its_usual_way() {
    let ways: [(Wish, &[&str]); 6] = [
        (Wish::Launched, &["PENDING", "PENDING", "RUNNING"]),
        (Wish::Suspended, &["SUSPENDING", "SUSPENDED"]),
        // While a fork is made of it, it is RUNNING still.
        (
            Wish::Suspended,
            &["RUNNING", "RUNNING", "SUSPENDING", "SUSPENDED"],
        ),
        (Wish::Resumed, &["SUSPENDED", "RUNNING"]),
        (Wish::Resumed, &["SUSPENDING", "SUSPENDED", "RUNNING"]),
        (Wish::Terminated, &["RUNNING", "TERMINATING", "TERMINATED"]),
    ];
    for (wish, states) in ways {
        let states: Vec<_> = states.iter().map(|state| (*state, "")).collect();
        let reached = Script::of(&states).wait(wish, 60).await;
        assert_eq!(reached.as_deref(), Ok(wish.state()), "{states:?}");
    }
}

/// The fault that this module handles: the microVM runs again and will never be SUSPENDED.
#[tokio::test(start_paused = true)]
async fn a_suspend_that_did_not_work_is_told() {
    let without = [("SUSPENDING", ""), ("RUNNING", "")];
    let outcome = Script::of(&without).wait(Wish::Suspended, 0).await;
    assert_eq!(outcome, Err(failed("RUNNING", "SUSPENDED", "")));
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "vm is RUNNING, not SUSPENDED; the service gave no reason"
    );
    // Too fast to be seen SUSPENDING, but the service says why.
    let with = [("RUNNING", "The disk is full.")];
    let outcome = Script::of(&with).wait(Wish::Suspended, 0).await;
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "vm is RUNNING, not SUSPENDED: The disk is full."
    );
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_did_not_work_is_told() {
    let states = [("SUSPENDED", ""), ("SUSPENDED", "There is no room.")];
    let outcome = Script::of(&states).wait(Wish::Resumed, 0).await;
    assert_eq!(
        outcome,
        Err(failed("SUSPENDED", "RUNNING", "There is no room."))
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_is_waited_for_an_end_ends_it() {
    for wish in [Wish::Launched, Wish::Suspended, Wish::Resumed] {
        let states = [("TERMINATING", ""), ("TERMINATED", "The run hook failed.")];
        let outcome = Script::of(&states).wait(wish, 0).await;
        let reason = "The run hook failed.".to_owned();
        let id = "vm".to_owned();
        assert_eq!(outcome, Err(WaitError::Ended { id, reason }), "{wish:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_somebody_suspends_is_told() {
    for state in ["SUSPENDING", "SUSPENDED"] {
        let states = [("PENDING", ""), (state, "")];
        let outcome = Script::of(&states).wait(Wish::Launched, 0).await;
        assert_eq!(outcome, Err(failed(state, "RUNNING", "")));
    }
}

/// Whatever state it stays in: the wait ends when it was told to.
#[tokio::test(start_paused = true)]
async fn no_state_is_waited_in_for_longer_than_the_limit() {
    let states = [
        "PENDING",
        "RUNNING",
        "SUSPENDING",
        "SUSPENDED",
        "TERMINATING",
        "NEW",
    ];
    for wish in [
        Wish::Launched,
        Wish::Suspended,
        Wish::Resumed,
        Wish::Terminated,
    ] {
        for state in states {
            let begun = Instant::now();
            let outcome = Script::of(&[(state, "")]).wait(wish, 60).await;
            let waited = begun.elapsed().as_secs();
            match outcome {
                Err(WaitError::Late { limit, .. }) => {
                    assert_eq!((limit.as_secs(), waited), (60, 60), "{wish:?} in {state}");
                }
                _ => assert_eq!(waited, 0, "{wish:?} in {state}: {outcome:?}"),
            }
        }
    }
}

/// Only where it has not begun; asking again would disturb nothing else, but is not needed.
#[tokio::test(start_paused = true)]
async fn what_does_not_begin_is_asked_for_again() {
    for (wish, state, again) in [
        (Wish::Suspended, "RUNNING", 5),
        (Wish::Resumed, "SUSPENDED", 5),
        (Wish::Suspended, "SUSPENDING", 0),
        (Wish::Launched, "PENDING", 0),
        (Wish::Terminated, "TERMINATING", 0),
    ] {
        let script = Script::of(&[(state, "")]);
        assert!(script.wait(wish, 58).await.is_err());
        assert_eq!(script.asked.get(), again, "{wish:?} in {state}");
    }
}

/// 0 stands for no limit: a day passes, and it is waited still.
#[tokio::test(start_paused = true)]
async fn without_a_limit_it_is_waited_on() {
    let script = Script::of(&[("SUSPENDING", "")]);
    let day = Duration::from_secs(86_400);
    let waited = tokio::time::timeout(day, script.wait(Wish::Suspended, 0)).await;
    assert!(waited.is_err());
}
