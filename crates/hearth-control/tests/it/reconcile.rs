//! Node and records that disagree.

use std::time::Duration;

use hearth_control::host::Presence;
use hearth_control::id::{BuildId, MicrovmId};
use hearth_control::image::{BuildFilter, CreateImage, ImageState, Tags};
use hearth_control::life::MicrovmState;
use hearth_control::page::PageRequest;

use crate::support::{World, image_state, scope, spec, state_of, terminated_reason};

#[tokio::test]
async fn what_runs_is_adopted() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    let running = world.running(&control, world.run(&image)).await;
    let asleep = world.running(&control, world.run(&image)).await;
    control.suspend_microvm(&scope(), asleep).await.unwrap();
    state_of(&control, asleep, MicrovmState::Suspended).await;
    let found = control.microvm(&scope(), running).await.unwrap();
    let endpoint = found.terms.endpoint.clone();
    control.stop().await;

    let control = world.start().await;
    assert_eq!(
        control.microvm(&scope(), running).await.unwrap().state(),
        MicrovmState::Running
    );
    assert_eq!(
        control.microvm(&scope(), asleep).await.unwrap().state(),
        MicrovmState::Suspended
    );
    assert_eq!(
        control.wake_microvm(asleep).await.unwrap().state(),
        MicrovmState::Running
    );
    let next = control
        .run_microvm(&scope(), world.run(&image))
        .await
        .unwrap();
    assert_ne!(
        next.terms.endpoint, endpoint,
        "a port in use is not given out again"
    );
    state_of(&control, next.id, MicrovmState::Running).await;
    assert_eq!(world.host.calls("launch"), 3);
}

#[tokio::test]
async fn what_belongs_to_nobody_is_removed() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let kept = world.running(&control, world.run(&image)).await;
    let orphan = MicrovmId::generate();
    for presence in [Presence::Running, Presence::Suspended, Presence::Debris] {
        world.host.set_presence(orphan, Some(presence));
        world.host.add_snapshot("left over", BuildId::generate());
        control.reconcile().await.unwrap();
        assert_eq!(world.host.presence(orphan), None);
        assert_eq!(world.host.counts(), (1, 1, 0));
    }
    assert_eq!(control.metrics().orphans_removed.get(), 6);
    assert_eq!(
        control.microvm(&scope(), kept).await.unwrap().state(),
        MicrovmState::Running
    );
}

#[tokio::test]
async fn a_vmm_that_vanished_ends_its_microvm() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    let noticed = world.running(&control, world.run(&image)).await;
    let found = world.running(&control, world.run(&image)).await;
    world.host.set_presence(noticed, None);
    // What the node had at the very moment of the last change proves nothing yet.
    world.clock.advance(Duration::from_secs(1));
    control.reconcile().await.unwrap();
    assert_eq!(
        terminated_reason(&control, noticed).await,
        "The MicroVM was lost on its host."
    );

    control.stop().await;
    world.host.set_presence(found, Some(Presence::Debris));
    let control = world.start().await;
    assert_eq!(
        terminated_reason(&control, found).await,
        "The MicroVM was lost on its host."
    );
    assert_eq!(world.host.counts().0, 0);
}

#[tokio::test]
async fn a_finished_snapshot_without_a_record_is_a_suspended_microvm() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let id = world.running(&control, world.run(&image)).await;
    world.host.stick("suspend");
    control.suspend_microvm(&scope(), id).await.unwrap();
    while world.host.calls("suspend") == 0 {
        tokio::task::yield_now().await;
    }
    control.stop().await;
    world.host.crash();
    world.host.set_presence(id, Some(Presence::Suspended));
    let control = world.start().await;
    state_of(&control, id, MicrovmState::Suspended).await;
    assert_eq!(world.host.calls("suspend"), 1, "it is not done twice");
}

#[tokio::test]
async fn an_interrupted_build_is_done_again_and_then_given_up() {
    let mut world = World::new();
    world.policy.max_build_attempts = 2;
    world.host.stick("build");
    let mut control = world.start().await;
    let name = "web".parse().unwrap();
    let request = CreateImage {
        name,
        spec: spec(false),
        tags: Tags::new(),
        client_token: None,
    };
    let arn = control
        .create_image(&scope(), request)
        .await
        .unwrap()
        .image
        .arn;
    for attempt in 1..=2 {
        while world.host.calls("build") < attempt {
            tokio::task::yield_now().await;
        }
        control.stop().await;
        control = world.start().await;
    }
    image_state(&control, &arn, ImageState::CreateFailed).await;
    let (first, page) = ("1.0".parse().unwrap(), PageRequest::first(1));
    let builds = control
        .builds(&scope(), &arn, first, &BuildFilter::default(), page)
        .await;
    let reason = builds.unwrap().items.remove(0).reason;
    assert_eq!(
        reason.as_deref(),
        Some("The build was interrupted by restarts of the service.")
    );
    assert_eq!(world.host.calls("build"), 2);
}

#[tokio::test]
async fn a_build_that_never_ends_is_ended() {
    let world = World::new();
    world.host.stick("build");
    let control = world.start().await;
    let name = "web".parse().unwrap();
    let request = CreateImage {
        name,
        spec: spec(false),
        tags: Tags::new(),
        client_token: None,
    };
    let arn = control
        .create_image(&scope(), request)
        .await
        .unwrap()
        .image
        .arn;
    while world.host.calls("build") == 0 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(world.policy.build_deadline);
    image_state(&control, &arn, ImageState::CreateFailed).await;
    assert_eq!(world.host.calls("discard_build"), 1);
}

#[tokio::test]
async fn the_end_of_everything_leaves_nothing() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    let asleep = world.running(&control, world.run(&image)).await;
    control.suspend_microvm(&scope(), asleep).await.unwrap();
    state_of(&control, asleep, MicrovmState::Suspended).await;
    world.running(&control, world.run(&image)).await;
    control
        .run_microvm(&scope(), world.run(&image))
        .await
        .unwrap();
    assert_eq!(control.census().microvms.values().sum::<u32>(), 3);
    control.terminate_all().await.unwrap();
    let census = control.census();
    assert_eq!(
        (
            census.microvms.len(),
            census.allocated_mib,
            census.resident_mib
        ),
        (0, 0, 0)
    );
    assert_eq!(world.host.counts().0, 0);
}
