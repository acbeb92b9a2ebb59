//! Forks: the child, its parent, and what becomes of either when something goes wrong.

use std::time::Duration;

use hearth_control::arn::ImageArn;
use hearth_control::guest_call::CallOutcome;
use hearth_control::hooks::Hook;
use hearth_control::host::Presence;
use hearth_control::id::MicrovmId;
use hearth_control::image::Logging;
use hearth_control::life::{MicrovmState, Origin};
use hearth_control::metrics::End;
use hearth_control::microvm::{ForkMicrovm, IdlePolicy, Microvm, RunMicrovm};
use hearth_control::{Control, Refusal};
use tokio::task::JoinSet;

use crate::support::{
    Fault, PAUSE, World, refusal, scope, spec, state_of, terminated_reason, token,
};

async fn parent(world: &World, control: &Control, with_hooks: bool) -> (ImageArn, MicrovmId) {
    let image = world.image(control, spec(with_hooks)).await;
    let id = world.running(control, world.run(&image)).await;
    (image, id)
}

async fn fork(control: &Control, parent: MicrovmId) -> MicrovmId {
    let request = ForkMicrovm::default();
    let child = control.fork_microvm(&scope(), parent, request).await;
    child.unwrap().id
}

#[tokio::test]
async fn a_child_is_what_its_parent_is_under_another_name() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    let run = RunMicrovm {
        execution_role_arn: Some("arn:aws:iam::000000000000:role/app".to_owned()),
        idle_policy: Some(IdlePolicy {
            max_idle: Duration::from_secs(600),
            suspended: Duration::from_secs(600),
            auto_resume: true,
        }),
        max_duration: Some(Duration::from_secs(1000)),
        logging: Some(Logging::Disabled),
        ..world.run(&image)
    };
    let id = world.running(&control, run).await;
    let parent = control.microvm(&scope(), id).await.unwrap();
    world.clock.advance(Duration::from_secs(100));

    let answered = control
        .fork_microvm(&scope(), id, ForkMicrovm::default())
        .await
        .unwrap();
    assert_eq!(answered.state(), MicrovmState::Pending);
    let child = state_of(&control, answered.id, MicrovmState::Running).await;
    assert_eq!(child.origin, Origin::Fork { parent: id });
    assert_ne!(
        (child.id, &child.terms.endpoint),
        (parent.id, &parent.terms.endpoint)
    );
    assert_eq!(
        child.started_at,
        parent.started_at.after(Duration::from_secs(100))
    );
    assert_eq!(
        (
            &child.image,
            child.version,
            child.terms.tier,
            &child.terms.hooks,
            &child.terms.execution_role_arn
        ),
        (
            &parent.image,
            parent.version,
            parent.terms.tier,
            &parent.terms.hooks,
            &parent.terms.execution_role_arn
        )
    );
    assert_eq!(
        (
            child.terms.idle_policy,
            child.terms.max_duration,
            &child.terms.logging,
            &child.terms.ingress,
            &child.terms.egress
        ),
        (
            parent.terms.idle_policy,
            parent.terms.max_duration,
            &parent.terms.logging,
            &parent.terms.ingress,
            &parent.terms.egress
        )
    );
    // The application is not introduced a second time: it is told that it is back.
    assert_eq!(
        (world.host.calls("/run"), world.host.calls("/resume")),
        (1, 1)
    );
    let after = control.microvm(&scope(), id).await.unwrap();
    assert!(after.generation > parent.generation, "it was sealed");
    let generation = parent.generation;
    assert_eq!(
        Microvm {
            generation,
            ..after
        },
        parent,
        "the parent is as it was"
    );

    let shorter = ForkMicrovm {
        max_duration: Some(Duration::from_secs(60)),
        client_token: None,
    };
    let second = control.fork_microvm(&scope(), id, shorter).await.unwrap();
    assert_eq!(second.terms.max_duration, Duration::from_secs(60));
    let metrics = control.metrics();
    assert_eq!(metrics.seal.counts().iter().sum::<u64>(), 2);
    assert_eq!(metrics.fork_pause.sum(), 2 * PAUSE);
}

#[tokio::test]
async fn parent_and_child_live_and_end_without_each_other() {
    let world = World::new();
    let control = world.start().await;
    let (_, first) = parent(&world, &control, true).await;
    let child = fork(&control, first).await;
    control.terminate_microvm(&scope(), first).await.unwrap();
    assert_eq!(terminated_reason(&control, first).await, "Success.");
    state_of(&control, child, MicrovmState::Running).await;
    for id in [child, fork(&control, child).await] {
        state_of(&control, id, MicrovmState::Running).await;
        control.suspend_microvm(&scope(), id).await.unwrap();
        state_of(&control, id, MicrovmState::Suspended).await;
        control.resume_microvm(&scope(), id).await.unwrap();
        state_of(&control, id, MicrovmState::Running).await;
    }
    control.terminate_all().await.unwrap();
    assert_eq!(world.host.counts().0, 0);
}

#[tokio::test]
async fn a_suspended_parent_sleeps_on() {
    let world = World::new();
    let control = world.start().await;
    let (_, id) = parent(&world, &control, false).await;
    control.suspend_microvm(&scope(), id).await.unwrap();
    let asleep = state_of(&control, id, MicrovmState::Suspended).await;
    world.clock.advance(Duration::from_secs(5));
    let child = fork(&control, id).await;
    state_of(&control, child, MicrovmState::Running).await;
    let after = control.microvm(&scope(), id).await.unwrap();
    let generation = asleep.generation;
    assert_eq!(
        Microvm {
            generation,
            ..after
        },
        asleep
    );
    assert_eq!(
        (world.host.calls("resume"), world.host.presence(id)),
        (0, Some(Presence::Suspended))
    );
}

/// The idle time of a parent goes on, whatever is made of it.
#[tokio::test]
async fn a_fork_is_no_traffic() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let idle_policy = Some(IdlePolicy {
        max_idle: Duration::from_secs(60),
        suspended: Duration::from_secs(600),
        auto_resume: true,
    });
    let run = RunMicrovm {
        idle_policy,
        ..world.run(&image)
    };
    let id = world.running(&control, run).await;
    world.clock.advance(Duration::from_secs(40));
    let child = fork(&control, id).await;
    state_of(&control, child, MicrovmState::Running).await;
    world.clock.advance(Duration::from_secs(20));
    state_of(&control, id, MicrovmState::Suspended).await;
    assert_eq!(
        control.microvm(&scope(), child).await.unwrap().state(),
        MicrovmState::Running,
        "the child has been idle for its own time alone"
    );
}

#[tokio::test]
async fn what_is_wished_while_a_parent_is_sealed_comes_after() {
    let world = World::new();
    let control = world.start().await;
    let (_, id) = parent(&world, &control, false).await;
    for (ask_resume, before, after) in [
        (false, MicrovmState::Running, MicrovmState::Suspended),
        (true, MicrovmState::Suspended, MicrovmState::Running),
    ] {
        world.host.stick("fork");
        let calls = world.host.calls("fork");
        let forking = tokio::spawn({
            let control = control.clone();
            async move { fork(&control, id).await }
        });
        while world.host.calls("fork") == calls {
            tokio::task::yield_now().await;
        }
        if ask_resume {
            control.resume_microvm(&scope(), id).await.unwrap();
        } else {
            control.suspend_microvm(&scope(), id).await.unwrap();
        }
        assert_eq!(control.microvm(&scope(), id).await.unwrap().state(), before);
        world.host.unstick("fork");
        state_of(&control, id, after).await;
        state_of(&control, forking.await.unwrap(), MicrovmState::Running).await;
    }
}

#[tokio::test]
async fn many_children_of_one_parent_wait_for_each_other() {
    let world = World::new();
    let control = world.start().await;
    let (_, id) = parent(&world, &control, true).await;
    let mut forks = JoinSet::new();
    for _ in 0..10 {
        let control = control.clone();
        forks.spawn(async move { fork(&control, id).await });
    }
    for child in forks.join_all().await {
        state_of(&control, child, MicrovmState::Running).await;
    }
    assert_eq!((world.host.calls("fork"), world.host.counts().0), (10, 11));
}

#[tokio::test]
async fn one_token_makes_one_child() {
    let world = World::new();
    let control = world.start().await;
    let (image, id) = parent(&world, &control, false).await;
    let request = ForkMicrovm {
        max_duration: None,
        client_token: Some(token("once", "")),
    };
    let mut forks = JoinSet::new();
    for _ in 0..20 {
        let (control, request) = (control.clone(), request.clone());
        forks.spawn(async move {
            control
                .fork_microvm(&scope(), id, request)
                .await
                .unwrap()
                .id
        });
    }
    let mut ids = forks.join_all().await;
    ids.dedup();
    assert_eq!((ids.len(), world.host.calls("fork")), (1, 1));
    let other = ForkMicrovm {
        max_duration: Some(Duration::from_secs(1)),
        client_token: Some(token("once", "1")),
    };
    let conflict = control.fork_microvm(&scope(), id, other).await;
    assert_eq!(refusal(conflict), Refusal::TokenConflict);
    // Another operation's token is another token.
    let run = RunMicrovm {
        client_token: request.client_token.clone(),
        ..world.run(&image)
    };
    assert_ne!(control.run_microvm(&scope(), run).await.unwrap().id, ids[0]);
}

#[tokio::test]
async fn what_cannot_be_forked_is_refused() {
    let mut world = World::new();
    world.policy.capacity.resident_microvms = 2;
    world.policy.quotas.memory_mib = 3 * 512;
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    world.host.stick("launch");
    let id = control
        .run_microvm(&scope(), world.run(&image))
        .await
        .unwrap()
        .id;
    let attempt = async || {
        refusal(
            control
                .fork_microvm(&scope(), id, ForkMicrovm::default())
                .await,
        )
    };
    assert_eq!(
        attempt().await,
        Refusal::MicrovmBusy(id, MicrovmState::Pending)
    );
    world.host.unstick("launch");
    state_of(&control, id, MicrovmState::Running).await;
    let mut other = scope();
    other.account = "000000000009".parse().unwrap();
    let foreign = control
        .fork_microvm(&other, id, ForkMicrovm::default())
        .await;
    assert_eq!(refusal(foreign), Refusal::MicrovmNotFound(id));

    let child = fork(&control, id).await;
    state_of(&control, child, MicrovmState::Running).await;
    assert_eq!(attempt().await, Refusal::InsufficientCapacity);
    control.suspend_microvm(&scope(), child).await.unwrap();
    state_of(&control, child, MicrovmState::Suspended).await;
    fork(&control, id).await;
    assert!(matches!(attempt().await, Refusal::MemoryQuota(_)));
    control.terminate_all().await.unwrap();
    assert_eq!(attempt().await, Refusal::MicrovmTerminated(id));
    let census = control.census();
    assert_eq!((census.allocated_mib, census.resident_mib), (0, 0));
}

#[tokio::test]
async fn a_fork_that_fails_leaves_the_parent_as_it_was() {
    let world = World::new();
    let control = world.start().await;
    let (_, id) = parent(&world, &control, true).await;
    let attempt = async || {
        control
            .fork_microvm(&scope(), id, ForkMicrovm::default())
            .await
    };
    world.host.fail_once(Fault::Fork);
    assert_eq!(refusal(attempt().await), Refusal::ForkFailed(id));
    // The child could not be launched, or did not take it well.
    world.host.fail_once(Fault::Launch);
    let child = attempt().await.unwrap().id;
    assert_eq!(
        terminated_reason(&control, child).await,
        "The MicroVM could not be launched."
    );
    world.host.answer(Hook::Resume, CallOutcome::Status(500));
    let child = attempt().await.unwrap().id;
    let reason = terminated_reason(&control, child).await;
    assert!(
        reason.starts_with("Resume lifecycle hook returned HTTP status 500."),
        "{reason}"
    );
    let running = control.microvm(&scope(), id).await.unwrap();
    assert_eq!(
        (running.state(), world.host.counts().0),
        (MicrovmState::Running, 1)
    );

    world.host.fail_once(Fault::LostInFork);
    assert_eq!(refusal(attempt().await), Refusal::ForkFailed(id));
    assert_eq!(
        terminated_reason(&control, id).await,
        "The MicroVM was lost on its host."
    );
    assert_eq!(world.host.counts().0, 0);
}

/// The layer comes when nobody waits for it any more.
#[tokio::test]
async fn either_may_end_while_the_parent_is_sealed() {
    for end_child in [true, false] {
        let world = World::new();
        let control = world.start().await;
        let (_, id) = parent(&world, &control, false).await;
        world.host.stick("fork");
        let forking = tokio::spawn({
            let control = control.clone();
            async move {
                control
                    .fork_microvm(&scope(), id, ForkMicrovm::default())
                    .await
            }
        });
        while world.host.calls("fork") == 0 {
            tokio::task::yield_now().await;
        }
        let mut living = control
            .living_microvms()
            .into_iter()
            .map(|microvm| microvm.id);
        let child = living.find(|other| *other != id).unwrap();
        let ended = if end_child { child } else { id };
        control.terminate_microvm(&scope(), ended).await.unwrap();
        terminated_reason(&control, ended).await;
        world.host.unstick("fork");
        if end_child {
            assert_eq!(forking.await.unwrap().unwrap().id, child);
            state_of(&control, id, MicrovmState::Running).await;
            while world.host.presence(child).is_some() || world.host.calls("terminate") < 2 {
                tokio::task::yield_now().await;
            }
        } else {
            assert_eq!(refusal(forking.await.unwrap()), Refusal::ForkFailed(id));
            terminated_reason(&control, child).await;
        }
        assert_eq!(world.host.counts().0, usize::from(end_child));
    }
}

#[tokio::test]
async fn a_restart_undoes_a_fork_and_takes_up_its_parent() {
    for (stuck, is_launched) in [("fork", false), ("launch", false), ("/resume", true)] {
        let world = World::new();
        let control = world.start().await;
        let (_, id) = parent(&world, &control, true).await;
        world.host.stick(stuck);
        let calls = world.host.calls(stuck);
        let forking = tokio::spawn({
            let control = control.clone();
            async move {
                control
                    .fork_microvm(&scope(), id, ForkMicrovm::default())
                    .await
            }
        });
        while world.host.calls(stuck) == calls {
            tokio::task::yield_now().await;
        }
        let mut living = control
            .living_microvms()
            .into_iter()
            .map(|microvm| microvm.id);
        let child = living.find(|other| *other != id).unwrap();
        control.stop().await;
        forking.abort();
        world.host.unstick(stuck);

        let control = world.start().await;
        state_of(&control, id, MicrovmState::Running).await;
        if is_launched {
            state_of(&control, child, MicrovmState::Running).await;
        } else {
            let reason = terminated_reason(&control, child).await;
            assert_eq!(
                reason,
                "The fork was interrupted by a restart of the service."
            );
            assert_eq!(world.host.counts().0, 1);
            assert_eq!(control.metrics().ends.get(End::Interrupted), 1);
        }
        let again = fork(&control, id).await;
        state_of(&control, again, MicrovmState::Running).await;
    }
}
