//! A host whose memory is short: those that may sleep unseen do, one after the other, and nobody else.

use std::time::Duration;

use hearth_control::Control;
use hearth_control::arn::ImageArn;
use hearth_control::host::HostEvent;
use hearth_control::id::MicrovmId;
use hearth_control::life::MicrovmState;
use hearth_control::microvm::{IdlePolicy, RunMicrovm};

use crate::support::{World, scope, spec, state_of};

const SECOND: Duration = Duration::from_secs(1);

/// As long as anything may take in real time.
const PATIENCE: Duration = Duration::from_secs(20);

fn policy() -> IdlePolicy {
    IdlePolicy {
        max_idle: 900 * SECOND,
        suspended: 3600 * SECOND,
        auto_resume: true,
    }
}

async fn with(
    world: &World,
    control: &Control,
    image: &ImageArn,
    idle_policy: Option<IdlePolicy>,
) -> MicrovmId {
    let request = RunMicrovm {
        idle_policy,
        ..world.run(image)
    };
    world.running(control, request).await
}

async fn state(control: &Control, id: MicrovmId) -> MicrovmState {
    control.microvm(&scope(), id).await.unwrap().state()
}

fn tell(world: &World, beyond: &[MicrovmId]) {
    let beyond = beyond.iter().map(|id| (*id).into()).collect();
    world.host.emit(HostEvent::MemoryShort { beyond });
}

/// Tells it again, as a host does, until a microVM does not run any more.
async fn tell_until_it_sleeps(
    world: &World,
    control: &Control,
    beyond: &[MicrovmId],
    id: MicrovmId,
) {
    let telling = async {
        while state(control, id).await == MicrovmState::Running {
            tell(world, beyond);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, telling).await;
    assert!(told.is_ok(), "{id} runs on");
}

#[tokio::test]
async fn the_longest_idle_one_sleeps_first_and_one_at_a_time() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(with(&world, &control, &image, Some(policy())).await);
    }
    let (last, first, second) = (all[0], all[1], all[2]);
    // In the order in which they were made the first would be the first to sleep.
    for id in [second, last] {
        world.clock.advance(10 * SECOND);
        control.touch(id);
    }
    world.clock.advance(60 * SECOND);

    world.host.stick("suspend");
    tell_until_it_sleeps(&world, &control, &all, first).await;
    while world.host.calls("suspend") == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tell(&world, &all);
        tokio::task::yield_now().await;
    }
    assert_eq!(state(&control, second).await, MicrovmState::Running);
    assert_eq!(state(&control, last).await, MicrovmState::Running);
    world.host.unstick("suspend");
    state_of(&control, first, MicrovmState::Suspended).await;

    // Still short: the next one.
    tell_until_it_sleeps(&world, &control, &all, second).await;
    state_of(&control, second, MicrovmState::Suspended).await;
    assert_eq!(state(&control, last).await, MicrovmState::Running);
    assert_eq!(
        (world.host.calls("/suspend"), world.host.calls("suspend")),
        (2, 2)
    );
    assert_eq!(control.metrics().pressure_suspends.get(), 2);

    // A request wakes it, and it is left alone for as long as one that was never asked.
    let woken = control.wake_microvm(first).await.unwrap();
    assert_eq!(woken.state(), MicrovmState::Running);
    tell_until_it_sleeps(&world, &control, &all, last).await;
    assert_eq!(state(&control, first).await, MicrovmState::Running);
}

#[tokio::test]
async fn whoever_would_notice_runs_on() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let without = with(&world, &control, &image, None).await;
    let asked_for = IdlePolicy {
        auto_resume: false,
        ..policy()
    };
    let asked_for = with(&world, &control, &image, Some(asked_for)).await;
    let ends = IdlePolicy {
        suspended: Duration::ZERO,
        ..policy()
    };
    let ends = with(&world, &control, &image, Some(ends)).await;
    let within = with(&world, &control, &image, Some(policy())).await;
    let busy = with(&world, &control, &image, Some(policy())).await;
    // The only one that may, and the last in every order.
    let idle = with(&world, &control, &image, Some(policy())).await;
    world.clock.advance(SECOND);
    control.touch(idle);
    world.clock.advance(60 * SECOND);
    control.touch(busy);
    let beyond = [without, asked_for, ends, busy, idle];
    tell_until_it_sleeps(&world, &control, &beyond, idle).await;
    state_of(&control, idle, MicrovmState::Suspended).await;
    // Nobody is left who may.
    for _ in 0..100 {
        tell(&world, &beyond);
        tokio::task::yield_now().await;
    }
    for id in [without, asked_for, ends, within, busy] {
        assert_eq!(state(&control, id).await, MicrovmState::Running);
    }
    assert_eq!(world.host.calls("suspend"), 1);
}

#[tokio::test]
async fn a_suspend_that_takes_long_holds_up_no_other_for_ever() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let slow = with(&world, &control, &image, Some(policy())).await;
    world.clock.advance(SECOND);
    let next = with(&world, &control, &image, Some(policy())).await;
    world.clock.advance(60 * SECOND);
    world.host.stick("suspend");
    let both = [slow, next];
    tell_until_it_sleeps(&world, &control, &both, slow).await;
    while world.host.calls("suspend") == 0 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(60 * SECOND);
    tell_until_it_sleeps(&world, &control, &both, next).await;
    assert_eq!(state(&control, slow).await, MicrovmState::Suspending);
    world.host.unstick("suspend");
    for id in both {
        state_of(&control, id, MicrovmState::Suspended).await;
    }
}
