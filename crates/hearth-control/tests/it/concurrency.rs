//! Many at once.

use std::sync::Arc;

use hearth_control::life::MicrovmState;
use hearth_control::microvm::{MicrovmFilter, RunMicrovm};
use hearth_control::page::PageRequest;
use hearth_control::{ControlError, Refusal};
use tokio::task::JoinSet;

use crate::support::{self, World, refusal, scope, spec, state_of, terminated_reason};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_runs_with_one_token_make_one_microvm() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let token = |request| Some(support::token("once", request));
    let request = RunMicrovm {
        client_token: token("newest"),
        ..world.run(&image)
    };
    let mut runs = JoinSet::new();
    for _ in 0..50 {
        let (control, request) = (control.clone(), request.clone());
        runs.spawn(async move { control.run_microvm(&scope(), request).await.unwrap().id });
    }
    let mut ids = runs.join_all().await;
    ids.dedup();
    assert_eq!(ids.len(), 1);
    state_of(&control, ids[0], MicrovmState::Running).await;
    let living = control.living_microvms();
    assert_eq!(living.len(), 1);
    let named = control.microvm_by_endpoint_name(&living[0].terms.endpoint);
    assert_eq!(named.map(|microvm| microvm.id), Some(ids[0]));
    let all = control
        .microvms(&scope(), &MicrovmFilter::default(), PageRequest::first(50))
        .await;
    assert_eq!(all.unwrap().items.len(), 1);
    assert_eq!((world.host.counts().0, world.host.calls("launch")), (1, 1));

    // The same token for something else.
    let other = RunMicrovm {
        version: "1.0".parse().ok(),
        client_token: token("1.0"),
        ..request.clone()
    };
    assert_eq!(
        refusal(control.run_microvm(&scope(), other).await),
        Refusal::TokenConflict
    );
    // It still answers after the end.
    control.terminate_microvm(&scope(), ids[0]).await.unwrap();
    terminated_reason(&control, ids[0]).await;
    assert_eq!(
        control.run_microvm(&scope(), request).await.unwrap().id,
        ids[0]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_waiters_cause_one_resume() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let id = world.running(&control, world.run(&image)).await;
    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    let mut waiters = JoinSet::new();
    for _ in 0..100 {
        let control = control.clone();
        waiters.spawn(async move { control.wake_microvm(id).await.unwrap().state() });
    }
    let states = waiters.join_all().await;
    assert!(states.iter().all(|state| *state == MicrovmState::Running));
    assert_eq!(world.host.calls("resume"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hammering_ends_in_a_legal_state() {
    let world = Arc::new(World::new());
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    for round in 0..5 {
        let id = world.running(&control, world.run(&image)).await;
        let mut clients = JoinSet::new();
        for client in 0..20 {
            let control = control.clone();
            clients.spawn(async move {
                for call in 0..20 {
                    let outcome = match (client + call) % 3 {
                        0 => control.suspend_microvm(&scope(), id).await,
                        1 => control.resume_microvm(&scope(), id).await,
                        _ if round > 2 && call == 19 => {
                            control.terminate_microvm(&scope(), id).await
                        }
                        _ => control.wake_microvm(id).await.map(|_| ()),
                    };
                    match outcome {
                        Ok(()) | Err(ControlError::Refused(Refusal::MicrovmTerminated(_))) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        clients.join_all().await;
        control.terminate_microvm(&scope(), id).await.unwrap();
        assert_eq!(terminated_reason(&control, id).await, "Success.");
    }
    assert_eq!(world.host.counts().0, 0);
}

/// Clients that hang up in the middle leave nothing half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_leaves_leaves_nothing_wedged() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    for _ in 0..50 {
        let (control, request) = (control.clone(), world.run(&image));
        let run = tokio::spawn(async move { control.run_microvm(&scope(), request).await });
        tokio::task::yield_now().await;
        run.abort();
    }
    let all = control
        .microvms(&scope(), &MicrovmFilter::default(), PageRequest::first(100))
        .await;
    for microvm in all.unwrap().items {
        state_of(&control, microvm.id, MicrovmState::Running).await;
    }
}
