//! Deadlines on a clock that is moved by hand, also across restarts.

use std::sync::Arc;
use std::time::Duration;

use hearth_control::Control;
use hearth_control::Refusal;
use hearth_control::id::MicrovmId;
use hearth_control::life::MicrovmState;
use hearth_control::microvm::{Activity, ForkMicrovm, IdlePolicy, RunMicrovm};
use hearth_control::time::{Clock, ClockReading, ManualClock, Timestamp, go_on};

use crate::support::{World, refusal, scope, spec, state_of, terminated_reason};

const SECOND: Duration = Duration::from_secs(1);

fn policy(max_idle_s: u32, suspended_s: u32) -> Option<IdlePolicy> {
    Some(IdlePolicy {
        max_idle: max_idle_s * SECOND,
        suspended: suspended_s * SECOND,
        auto_resume: true,
    })
}

async fn idle_world(max_idle_s: u32, suspended_s: u32) -> (World, Control, MicrovmId) {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    let request = RunMicrovm {
        idle_policy: policy(max_idle_s, suspended_s),
        ..world.run(&image)
    };
    let id = world.running(&control, request).await;
    (world, control, id)
}

/// Lets everything that is due happen, by asking the owner something that changes nothing.
async fn settle(control: &Control, id: MicrovmId) -> MicrovmState {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    control.microvm(&scope(), id).await.unwrap().state()
}

#[tokio::test]
async fn the_idle_timer_suspends_and_the_suspended_timer_terminates() {
    let (world, control, id) = idle_world(60, 600).await;
    world.clock.advance(59 * SECOND);
    assert_eq!(settle(&control, id).await, MicrovmState::Running);
    world.clock.advance(SECOND);
    state_of(&control, id, MicrovmState::Suspended).await;
    world.clock.advance(599 * SECOND);
    assert_eq!(settle(&control, id).await, MicrovmState::Suspended);
    world.clock.advance(SECOND);
    let reason = terminated_reason(&control, id).await;
    assert_eq!(
        reason,
        "The MicroVM reached its maximum suspended duration."
    );
    assert_eq!(
        (world.host.calls("/suspend"), world.host.calls("suspend")),
        (1, 1)
    );
}

#[tokio::test]
async fn traffic_puts_the_idle_timer_off() {
    let (world, control, id) = idle_world(60, 600).await;
    for _ in 0..5 {
        world.clock.advance(45 * SECOND);
        control.touch(id);
        assert_eq!(settle(&control, id).await, MicrovmState::Running);
    }
    world.clock.advance(60 * SECOND);
    state_of(&control, id, MicrovmState::Suspended).await;
    // Waking begins a new idle time.
    assert_eq!(
        control.wake_microvm(id).await.unwrap().state(),
        MicrovmState::Running
    );
    world.clock.advance(59 * SECOND);
    assert_eq!(settle(&control, id).await, MicrovmState::Running);
}

#[tokio::test]
async fn what_counts_as_activity_is_kept() {
    let (world, control, id) = idle_world(60, 600).await;
    let activity = async |control: &Control, id| {
        let microvm = control.microvm(&scope(), id).await.unwrap();
        microvm.activity
    };
    assert_eq!(activity(&control, id).await, Activity::default());
    let execs = Activity {
        execs: true,
        guest_cpu: false,
    };
    control.set_activity(&scope(), id, execs).await.unwrap();
    assert_eq!(activity(&control, id).await, execs);

    // Over a restart, over a suspend, and for forks.
    control.stop().await;
    let control = world.start().await;
    assert_eq!(activity(&control, id).await, execs);
    let fork = ForkMicrovm::default();
    let child = control.fork_microvm(&scope(), id, fork).await.unwrap();
    assert_eq!(child.activity, execs);
    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    let both = Activity {
        guest_cpu: true,
        ..execs
    };
    control.set_activity(&scope(), id, both).await.unwrap();
    assert_eq!(activity(&control, id).await, both);
    assert_eq!(activity(&control, child.id).await, execs);

    control.terminate_microvm(&scope(), id).await.unwrap();
    terminated_reason(&control, id).await;
    let refused = refusal(control.set_activity(&scope(), id, execs).await);
    assert_eq!(refused, Refusal::MicrovmTerminated(id));
    assert_eq!(activity(&control, id).await, both);
}

#[tokio::test]
async fn no_suspended_time_means_termination_with_the_hook() {
    let (world, control, id) = idle_world(60, 0).await;
    world.clock.advance(60 * SECOND);
    let reason = terminated_reason(&control, id).await;
    assert_eq!(reason, "The MicroVM reached its maximum idle duration.");
    assert_eq!(
        (world.host.calls("suspend"), world.host.calls("/terminate")),
        (0, 1)
    );
}

#[tokio::test]
async fn the_maximum_duration_counts_running_and_suspended_together() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let request = RunMicrovm {
        max_duration: Some(100 * SECOND),
        ..world.run(&image)
    };
    let id = world.running(&control, request).await;
    world.clock.advance(50 * SECOND);
    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    world.clock.advance(49 * SECOND);
    assert_eq!(settle(&control, id).await, MicrovmState::Suspended);
    world.clock.advance(SECOND);
    let reason = terminated_reason(&control, id).await;
    assert_eq!(reason, "The MicroVM reached its maximum duration.");
}

#[tokio::test]
async fn deadlines_survive_a_restart_and_fire_once() {
    let (world, control, id) = idle_world(60, 600).await;
    world.clock.advance(60 * SECOND);
    state_of(&control, id, MicrovmState::Suspended).await;
    control.stop().await;

    // Half of the time passes while nobody is there to see it.
    world.clock.advance(300 * SECOND);
    let control = world.start().await;
    assert_eq!(settle(&control, id).await, MicrovmState::Suspended);
    control.stop().await;
    world.clock.advance(299 * SECOND);
    let control = world.start().await;
    assert_eq!(settle(&control, id).await, MicrovmState::Suspended);
    world.clock.advance(SECOND);
    terminated_reason(&control, id).await;
    assert_eq!(world.host.calls("terminate"), 1);
    control.stop().await;
    let control = world.start().await;
    world.clock.advance(600 * SECOND);
    assert_eq!(settle(&control, id).await, MicrovmState::Terminated);
    assert_eq!(world.host.calls("terminate"), 1);
}

#[tokio::test]
async fn a_deadline_that_passed_during_a_restart_is_kept_at_once() {
    let (world, control, id) = idle_world(60, 600).await;
    control.stop().await;
    world.clock.advance(28_800 * SECOND);
    let control = world.start().await;
    let reason = terminated_reason(&control, id).await;
    assert_eq!(reason, "The MicroVM reached its maximum duration.");
}

/// A host whose wall clock may jump, and whose boot clock counts.
struct Host {
    boot: u32,
    boot_ms: i64,
    wall_ms: i64,
}

impl Host {
    fn reading(&self, shown_ms: i64) -> ClockReading {
        ClockReading {
            boot_id: self.boot.to_string(),
            boot_ms: self.boot_ms,
            shown_ms,
        }
    }
}

/// A microVM that is suspended, for 600 s at most, when the service stops; 300 s later it starts again on the host that `change` has made.
async fn started_again(change: impl FnOnce(&mut Host)) -> (World, Control, MicrovmId) {
    let (mut world, control, id) = idle_world(60, 600).await;
    world.clock.advance(60 * SECOND);
    state_of(&control, id, MicrovmState::Suspended).await;
    control.stop().await;

    let shown_ms = world.clock.now().unix_ms();
    let mut host = Host {
        boot: 1,
        boot_ms: 1000,
        wall_ms: shown_ms,
    };
    let before = host.reading(shown_ms);
    host.boot_ms += 300_000;
    host.wall_ms += 300_000;
    change(&mut host);
    let now = go_on(Some(&before), &host.reading(host.wall_ms)).shown_ms;
    world.clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(now)));
    let control = world.start().await;
    (world, control, id)
}

#[tokio::test]
async fn a_wall_clock_that_jumps_ends_nothing_early_and_nothing_late() {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    for jump_ms in [YEAR_MS, 3_600_000, -3_600_000, -YEAR_MS] {
        let (world, control, id) = started_again(|host| host.wall_ms += jump_ms).await;
        world.clock.advance(299 * SECOND);
        assert_eq!(settle(&control, id).await, MicrovmState::Suspended);
        world.clock.advance(SECOND);
        terminated_reason(&control, id).await;
        assert_eq!(world.host.calls("terminate"), 1);
    }
}

#[tokio::test]
async fn a_host_that_was_off_for_a_day_keeps_what_is_due() {
    let (_world, control, id) = started_again(|host| {
        host.boot += 1;
        host.boot_ms = 5;
        host.wall_ms += 24 * 3_600_000;
    })
    .await;
    terminated_reason(&control, id).await;
}

/// One whose own clock has lost its battery: what passed while it was off is not known, and not counted.
#[tokio::test]
async fn a_host_that_wakes_in_the_past_ends_nothing_late() {
    let (world, control, id) = started_again(|host| {
        host.boot += 1;
        (host.boot_ms, host.wall_ms) = (5, 0);
    })
    .await;
    world.clock.advance(599 * SECOND);
    assert_eq!(settle(&control, id).await, MicrovmState::Suspended);
    world.clock.advance(SECOND);
    terminated_reason(&control, id).await;
}

#[tokio::test]
async fn a_hook_that_never_answers_times_out() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    world.host.stick("/run");
    let id = control
        .run_microvm(&scope(), world.run(&image))
        .await
        .unwrap()
        .id;
    while world.host.calls("/run") == 0 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(10 * SECOND);
    let reason = terminated_reason(&control, id).await;
    assert!(
        reason.starts_with("Run lifecycle hook timed out"),
        "{reason}"
    );
}

#[tokio::test]
async fn terminated_microvms_stay_for_a_day() {
    let (world, control, id) = idle_world(60, 600).await;
    control.terminate_microvm(&scope(), id).await.unwrap();
    terminated_reason(&control, id).await;
    world.clock.advance(24 * 60 * 60 * SECOND - SECOND);
    assert_eq!(settle(&control, id).await, MicrovmState::Terminated);
    world.clock.advance(60 * SECOND);
    loop {
        match control.microvm(&scope(), id).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => {
                assert!(error.to_string().contains("MicrovmNotFound"));
                break;
            }
        }
        world.clock.advance(60 * SECOND);
    }
}
