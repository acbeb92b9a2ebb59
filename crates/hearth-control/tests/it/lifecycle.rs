//! The life of one microVM, from outside.

use hearth_control::Refusal;
use hearth_control::arn::{ConnectorRef, ManagedConnector};
use hearth_control::guest_call::CallOutcome;
use hearth_control::hooks::Hook;
use hearth_control::host::HostEvent;
use hearth_control::life::MicrovmState;
use hearth_control::metrics::End;
use hearth_control::microvm::{MicrovmFilter, RunHookPayload, RunMicrovm};
use hearth_control::page::PageRequest;

use crate::support::{Fault, World, refusal, scope, spec, state_of, terminated_reason};

#[tokio::test]
async fn run_suspend_resume_terminate() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;
    let id = world.running(&control, world.run(&image)).await;

    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    control.suspend_microvm(&scope(), id).await.unwrap();
    control.resume_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Running).await;
    control.resume_microvm(&scope(), id).await.unwrap();

    control.terminate_microvm(&scope(), id).await.unwrap();
    assert_eq!(terminated_reason(&control, id).await, "Success.");
    control.terminate_microvm(&scope(), id).await.unwrap();
    let ends = End::ALL.map(|end| control.metrics().ends.get(end));
    assert_eq!(
        (ends[0], ends.iter().sum::<u64>()),
        (1, 1),
        "asked for twice, ended once"
    );
    let refused = refusal(control.suspend_microvm(&scope(), id).await);
    assert_eq!(refused, Refusal::MicrovmTerminated(id));

    for hook in ["/run", "/suspend", "/resume", "/terminate"] {
        assert_eq!(world.host.calls(hook), 1, "{hook}");
    }
    assert_eq!(world.host.presence(id), None);
}

#[tokio::test]
async fn a_launch_takes_its_defaults_from_the_version() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let microvm = control
        .run_microvm(&scope(), world.run(&image))
        .await
        .unwrap();
    let managed = |connector| ConnectorRef::Managed {
        region: scope().region,
        connector,
    };
    assert_eq!(
        microvm.terms.ingress,
        [managed(ManagedConnector::HttpIngress)]
    );
    assert_eq!(
        microvm.terms.egress,
        [managed(ManagedConnector::InternetEgress)]
    );
    assert_eq!(microvm.terms.max_duration.as_secs(), 28_800);
    assert_eq!(microvm.terms.endpoint, "127.0.0.1:20000");
    assert_eq!(microvm.version.to_string(), "1.0");
}

#[tokio::test]
async fn a_failing_hook_ends_the_microvm_with_its_reason() {
    for (hook, state) in [
        (Hook::Run, MicrovmState::Pending),
        (Hook::Suspend, MicrovmState::Running),
        (Hook::Resume, MicrovmState::Suspended),
    ] {
        let world = World::new();
        world.host.answer(hook, CallOutcome::Status(500));
        let control = world.start().await;
        let image = world.image(&control, spec(true)).await;
        let id = control
            .run_microvm(&scope(), world.run(&image))
            .await
            .unwrap()
            .id;
        if state != MicrovmState::Pending {
            state_of(&control, id, MicrovmState::Running).await;
            control.suspend_microvm(&scope(), id).await.unwrap();
        }
        if state == MicrovmState::Suspended {
            state_of(&control, id, MicrovmState::Suspended).await;
            control.resume_microvm(&scope(), id).await.unwrap();
        }
        let title = hook.title();
        let expected = format!("{title} lifecycle hook returned HTTP status 500. ");
        assert!(terminated_reason(&control, id).await.starts_with(&expected));
        assert_eq!(world.host.presence(id), None);
        assert_eq!(world.host.calls("/terminate"), 0);
    }
}

#[tokio::test]
async fn what_ends_by_itself_says_why() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let id = world.running(&control, world.run(&image)).await;
    let reason = "Container Stopped with Exit Code: 3".to_owned();
    world.host.emit(HostEvent::Ended {
        id: id.into(),
        reason: reason.clone(),
    });
    assert_eq!(terminated_reason(&control, id).await, reason);
    assert_eq!(control.metrics().ends.get(End::Exited), 1);
}

#[tokio::test]
async fn failures_of_the_node_are_survived_or_told() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(true)).await;

    world.host.fail_once(Fault::Launch);
    let id = control
        .run_microvm(&scope(), world.run(&image))
        .await
        .unwrap()
        .id;
    assert_eq!(
        terminated_reason(&control, id).await,
        "The MicroVM could not be launched."
    );
    world.host.fail_once(Fault::NoCapacity);
    let id = control
        .run_microvm(&scope(), world.run(&image))
        .await
        .unwrap()
        .id;
    assert!(terminated_reason(&control, id).await.contains("capacity"));

    let id = world.running(&control, world.run(&image)).await;
    world.host.fail_once(Fault::Suspend);
    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Running).await;
    assert_eq!(
        world.host.calls("/resume"),
        1,
        "the application hears that it goes on"
    );

    control.suspend_microvm(&scope(), id).await.unwrap();
    state_of(&control, id, MicrovmState::Suspended).await;
    world.host.fail_once(Fault::Resume);
    let woken = control.wake_microvm(id).await.unwrap();
    assert_eq!(woken.state(), MicrovmState::Suspended);
    assert_eq!(
        control.wake_microvm(id).await.unwrap().state(),
        MicrovmState::Running
    );

    world.host.fail_once(Fault::LostInSuspend);
    world.host.fail_once(Fault::Terminate);
    control.suspend_microvm(&scope(), id).await.unwrap();
    assert_eq!(
        terminated_reason(&control, id).await,
        "The MicroVM was lost on its host."
    );
    assert_eq!(world.host.presence(id), None);
}

#[tokio::test]
async fn terminate_overtakes_whatever_is_stuck() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    for operation in ["launch", "suspend", "resume"] {
        if operation == "launch" {
            world.host.stick(operation);
        }
        let id = control
            .run_microvm(&scope(), world.run(&image))
            .await
            .unwrap()
            .id;
        if operation != "launch" {
            state_of(&control, id, MicrovmState::Running).await;
            if operation == "suspend" {
                world.host.stick(operation);
            }
            control.suspend_microvm(&scope(), id).await.unwrap();
        }
        if operation == "resume" {
            state_of(&control, id, MicrovmState::Suspended).await;
            world.host.stick(operation);
            control.resume_microvm(&scope(), id).await.unwrap();
        }
        control.terminate_microvm(&scope(), id).await.unwrap();
        assert_eq!(terminated_reason(&control, id).await, "Success.");
        world.host.unstick(operation);
    }
    assert_eq!(world.host.counts().0, 0);
}

#[tokio::test]
async fn what_cannot_be_launched_is_refused() {
    let mut world = World::new();
    world.policy.quotas.memory_mib = 1024;
    world.policy.capacity.resident_microvms = 1;
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let scope = scope();
    let run = |change: fn(&mut RunMicrovm)| {
        let mut request = world.run(&image);
        change(&mut request);
        control.run_microvm(&scope, request)
    };
    let other = run(|request| request.version = "7.0".parse().ok()).await;
    assert!(matches!(refusal(other), Refusal::NoActiveVersion { .. }));
    let payload =
        run(|request| request.run_input.payload = Some(RunHookPayload("x".to_owned()))).await;
    assert_eq!(refusal(payload), Refusal::PayloadWithoutRunHook);
    let foreign =
        run(|request| request.image.scope.account = "000000000009".parse().unwrap()).await;
    assert_eq!(refusal(foreign), Refusal::ForeignScope);

    let first = run(|_| {}).await.unwrap().id;
    state_of(&control, first, MicrovmState::Running).await;
    assert_eq!(refusal(run(|_| {}).await), Refusal::InsufficientCapacity);
    // Asleep it takes no room on the host, but still counts for the account.
    control.suspend_microvm(&scope, first).await.unwrap();
    state_of(&control, first, MicrovmState::Suspended).await;
    let second = run(|_| {}).await.unwrap().id;
    assert!(matches!(
        refusal(run(|_| {}).await),
        Refusal::MemoryQuota(_)
    ));
    let full = control.resume_microvm(&scope, first).await;
    assert_eq!(refusal(full), Refusal::InsufficientCapacity);
    control.terminate_microvm(&scope, second).await.unwrap();
    terminated_reason(&control, second).await;
    assert_eq!(
        control.wake_microvm(first).await.unwrap().state(),
        MicrovmState::Running
    );
}

#[tokio::test]
async fn lists_go_on_where_they_stopped() {
    let world = World::new();
    let control = world.start().await;
    let image = world.image(&control, spec(false)).await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        world.clock.advance(std::time::Duration::from_millis(1));
        let id = control
            .run_microvm(&scope(), world.run(&image))
            .await
            .unwrap()
            .id;
        ids.insert(0, id);
    }
    let filter = MicrovmFilter {
        image: Some(image),
        version: "1.0".parse().ok(),
    };
    for filter in [MicrovmFilter::default(), filter] {
        let (mut seen, mut page) = (Vec::new(), PageRequest::first(3));
        loop {
            let part = control.microvms(&scope(), &filter, page).await.unwrap();
            assert!(part.items.len() <= 3);
            seen.extend(part.items.iter().map(|microvm| microvm.id));
            // What is added while somebody reads shifts nothing.
            let Some(next) = part.next else { break };
            page = PageRequest {
                limit: 3,
                after: Some(next),
            };
        }
        assert_eq!(seen, ids);
    }
    let other = MicrovmFilter {
        image: None,
        version: "2.0".parse().ok(),
    };
    let none = control
        .microvms(&scope(), &other, PageRequest::first(3))
        .await
        .unwrap();
    assert_eq!((none.items.len(), none.next), (0, None));
    let bad = PageRequest {
        limit: 3,
        after: "nonsense".parse().ok(),
    };
    let bad = control
        .microvms(&scope(), &MicrovmFilter::default(), bad)
        .await;
    assert_eq!(refusal(bad), Refusal::BadCursor);
}
