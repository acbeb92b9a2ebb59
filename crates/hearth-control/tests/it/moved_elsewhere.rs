//! A record that is not where its owner left it: its own write, whose answer was lost, or somebody else's.

use hearth_control::id::MicrovmId;
use hearth_control::life::MicrovmState;
use hearth_control::life::{Life, Phase};
use hearth_control::microvm::Microvm;
use hearth_control::store::{Batch, Change, Store as _, StoreError};
use hearth_control::{Control, ControlError};

use crate::support::{World, scope, spec, state_of};

async fn running(world: &World, control: &Control) -> MicrovmId {
    let image = world.image(control, spec(false)).await;
    world.running(control, world.run(&image)).await
}

/// Moves the record as another owner would.
async fn move_elsewhere(world: &World, microvm: &Microvm) {
    let life = Life {
        reason: Some("somebody else was here".to_owned()),
        ..microvm.life.clone()
    };
    let change = Change::MoveMicrovm {
        id: microvm.id,
        from_generation: microvm.generation,
        life,
        terminated_at: None,
    };
    let batch = Batch::new().change(change);
    world.open().commit(batch).await.unwrap();
}

/// Asserts that the owner ends, and that the record stays as somebody else wrote it.
async fn assert_left_alone(world: &World, control: &Control, before: &Microvm) {
    let mut changes = control.microvm_changes();
    while !control.living_microvms().is_empty() {
        changes.changed().await.unwrap();
    }
    // What belongs to a living record is no orphan.
    control.reconcile().await.unwrap();
    assert!(world.host.presence(before.id).is_some());
    let found = control.microvm(&scope(), before.id).await.unwrap();
    assert_eq!(found.generation, before.generation + 1);
    assert_eq!(found.life.reason.as_deref(), Some("somebody else was here"));
}

#[tokio::test]
async fn an_outcome_whose_answer_was_lost_is_written_once() {
    let world = World::new();
    let (store, control) = world.start_doomed(None).await;
    let control = control.unwrap();
    let id = running(&world, &control).await;
    world.host.stick("suspend");
    control.suspend_microvm(&scope(), id).await.unwrap();
    let before = control.microvm(&scope(), id).await.unwrap();
    store.lose_next_answer();
    world.host.unstick("suspend");
    let asleep = state_of(&control, id, MicrovmState::Suspended).await;
    assert_eq!(asleep.generation, before.generation + 1);
    control.resume_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Running).await;
}

#[tokio::test]
async fn a_wish_whose_answer_was_lost_is_done() {
    let world = World::new();
    let (store, control) = world.start_doomed(None).await;
    let control = control.unwrap();
    let id = running(&world, &control).await;
    store.lose_next_answer();
    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    assert_eq!(world.host.calls("suspend"), 1);
}

#[tokio::test]
async fn an_owner_whose_record_was_moved_stops_at_a_wish() {
    let world = World::new();
    let control = world.start().await;
    let id = running(&world, &control).await;
    let before = control.microvm(&scope(), id).await.unwrap();
    move_elsewhere(&world, &before).await;
    let refused = control.suspend_microvm(&scope(), id).await;
    assert!(
        matches!(
            refused,
            Err(ControlError::Store(StoreError::MovedElsewhere { .. }))
        ),
        "{refused:?}"
    );
    assert_left_alone(&world, &control, &before).await;
    assert_eq!(world.host.calls("suspend"), 0);
}

#[tokio::test]
async fn an_owner_whose_record_was_moved_stops_at_an_outcome() {
    let world = World::new();
    let control = world.start().await;
    let id = running(&world, &control).await;
    world.host.stick("suspend");
    control.suspend_microvm(&scope(), id).await.unwrap();
    let before = control.microvm(&scope(), id).await.unwrap();
    assert_eq!(before.life.phase, Phase::Saving);
    move_elsewhere(&world, &before).await;
    world.host.unstick("suspend");
    assert_left_alone(&world, &control, &before).await;
}
