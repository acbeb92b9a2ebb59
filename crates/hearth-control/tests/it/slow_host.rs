//! A host that takes its time: nothing is lost, nobody is told otherwise, and a restart of either side finds what is under way.

use std::time::Duration;

use hearth_control::Control;
use hearth_control::host::Presence;
use hearth_control::id::MicrovmId;
use hearth_control::life::MicrovmState;

use crate::support::{Fault, World, scope, spec, state_of, suspended_reason, terminated_reason};

const TEN_MINUTES: Duration = Duration::from_secs(600);

async fn suspending(world: &World, control: &Control) -> MicrovmId {
    let image = world.image(control, spec(true)).await;
    let id = world.running(control, world.run(&image)).await;
    world.host.stick("suspend");
    control.suspend_microvm(&scope(), id).await.unwrap();
    while world.host.calls("suspend") == 0 {
        tokio::task::yield_now().await;
    }
    id
}

async fn state(control: &Control, id: MicrovmId) -> MicrovmState {
    control.microvm(&scope(), id).await.unwrap().state()
}

#[tokio::test]
async fn a_suspend_of_ten_minutes_is_a_suspend() {
    let world = World::new();
    let control = world.start().await;
    let id = suspending(&world, &control).await;
    for _ in 0..60 {
        world.clock.advance(TEN_MINUTES / 60);
        control.reconcile().await.unwrap();
        assert_eq!(state(&control, id).await, MicrovmState::Suspending);
    }
    // A second caller joins.
    control.suspend_microvm(&scope(), id).await.unwrap();
    assert_eq!(state(&control, id).await, MicrovmState::Suspending);
    world.host.unstick("suspend");
    state_of(&control, id, MicrovmState::Suspended).await;
    assert_eq!(world.host.calls("suspend"), 1);
    assert_eq!(
        world.host.calls("/resume"),
        0,
        "it was never taken for failed"
    );
    control.resume_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Running).await;
}

#[tokio::test]
async fn a_service_that_is_killed_meanwhile_takes_it_up() {
    let world = World::new();
    let control = world.start().await;
    let id = suspending(&world, &control).await;
    for _ in 0..3 {
        control.stop().await;
        let control = world.start().await;
        control.reconcile().await.unwrap();
        assert_eq!(state(&control, id).await, MicrovmState::Suspending);
        control.stop().await;
    }
    let control = world.start().await;
    world.host.unstick("suspend");
    state_of(&control, id, MicrovmState::Suspended).await;
    assert_eq!(world.host.calls("suspend"), 1, "each start has joined it");
}

/// The VMM goes on sealing when its node is killed; the node that comes back finds it busy.
#[tokio::test]
async fn a_host_that_is_killed_too_is_asked_again() {
    let world = World::new();
    let control = world.start().await;
    let id = suspending(&world, &control).await;
    control.stop().await;
    world.host.crash();
    world.host.set_presence(id, Some(Presence::Busy));
    let control = world.start().await;
    while world.host.calls("suspend") < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(state(&control, id).await, MicrovmState::Suspending);
    world.host.unstick("suspend");
    state_of(&control, id, MicrovmState::Suspended).await;
}

/// The host is started anew under a control plane that goes on.
#[tokio::test]
async fn an_operation_that_the_host_forgot_is_submitted_again() {
    let world = World::new();
    let control = world.start().await;
    let id = suspending(&world, &control).await;
    world.host.crash();
    world.host.unstick("suspend");
    state_of(&control, id, MicrovmState::Suspended).await;
    assert_eq!(world.host.calls("suspend"), 2);
}

#[tokio::test]
async fn a_wish_made_meanwhile_is_done_next() {
    let world = World::new();
    let control = world.start().await;
    let id = suspending(&world, &control).await;
    control.resume_microvm(&scope(), id).await.unwrap();
    control.stop().await;
    // The wish has raised the generation; what is under way is joined all the same.
    let control = world.start().await;
    world.host.unstick("suspend");
    state_of(&control, id, MicrovmState::Running).await;
    assert_eq!(
        (world.host.calls("suspend"), world.host.calls("resume")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_damaged_snapshot_is_told_with_the_file() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let id = world.running(&control, world.run(&image)).await;
    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    world.host.fail_once(Fault::Damaged);
    control.resume_microvm(&scope(), id).await.unwrap();
    let told = "The MicroVM cannot be brought back: its snapshot is damaged (snapshots/x/memory).";
    assert_eq!(suspended_reason(&control, id).await, told);
    // Somebody repairs it.
    control.resume_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Running).await;
}

#[tokio::test]
async fn a_resume_that_fails_says_why_and_the_next_one_may_do() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let id = world.running(&control, world.run(&image)).await;
    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    world.host.fail_once(Fault::Resume);
    control.resume_microvm(&scope(), id).await.unwrap();
    let told = "The MicroVM could not be resumed and stays suspended.";
    assert_eq!(suspended_reason(&control, id).await, told);
    control.resume_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Running).await;
}

#[tokio::test]
async fn what_the_host_set_aside_is_told_after_a_restart() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let id = world.running(&control, world.run(&image)).await;
    let other = world.running(&control, world.run(&image)).await;
    let asleep = world.running(&control, world.run(&image)).await;
    control.suspend_microvm(&scope(), asleep).await.unwrap();
    state_of(&control, asleep, MicrovmState::Suspended).await;
    control.stop().await;
    let damaged = Presence::Damaged("machines/x/machine.json: torn".to_owned());
    world.host.set_presence(id, Some(damaged.clone()));
    world.host.set_presence(asleep, Some(damaged));
    let control = world.start().await;
    let told = "The MicroVM cannot be brought back: its snapshot is damaged (machines/x/machine.json: torn).";
    assert_eq!(terminated_reason(&control, id).await, told);
    assert_eq!(suspended_reason(&control, asleep).await, told);
    assert_eq!(state(&control, other).await, MicrovmState::Running);
    // The next start finds the one that sleeps repaired.
    control.stop().await;
    world.host.set_presence(asleep, Some(Presence::Suspended));
    let control = world.start().await;
    control.resume_microvm(&scope(), asleep).await.unwrap();
    state_of(&control, asleep, MicrovmState::Running).await;
}
