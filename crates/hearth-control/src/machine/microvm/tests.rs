use proptest::prelude::*;

use super::*;
use crate::guest_call::CallOutcome;
use crate::hooks::{HookSetting, MicrovmHooks};
use crate::host::Presence;
use crate::life::MicrovmState;

const NOON: Timestamp = Timestamp::from_unix_ms(1_795_000_000_000);

fn hooks() -> Hooks {
    let on = HookSetting {
        enabled: Some(true),
        timeout_s: None,
    };
    let microvm = MicrovmHooks {
        run: on,
        resume: on,
        suspend: on,
        terminate: on,
    };
    Hooks {
        port: Some(9000),
        microvm: Some(microvm),
        image: None,
    }
}

fn terms(hooks: Option<&Hooks>) -> Terms<'_> {
    let idle_policy = Some(IdlePolicy {
        max_idle: Duration::from_secs(60),
        suspended: Duration::from_secs(600),
        auto_resume: true,
    });
    Terms {
        hooks,
        idle_policy,
        expires_at: NOON.after(Duration::from_secs(28_800)),
        origin: Origin::Version,
    }
}

fn fork_terms(hooks: Option<&Hooks>) -> Terms<'_> {
    let parent = crate::id::MicrovmId::generate();
    Terms {
        origin: Origin::Fork { parent },
        ..terms(hooks)
    }
}

fn walk(terms: &Terms<'_>, events: &[Event]) -> Life {
    walk_from(Life::NEW, terms, events)
}

fn walk_from(mut life: Life, terms: &Terms<'_>, events: &[Event]) -> Life {
    for event in events {
        match step(&life, terms, event, NOON) {
            Transition::Moved(next) => life = next,
            other => panic!("{event:?} in {life:?}: {other:?}"),
        }
    }
    life
}

#[test]
fn a_whole_life_with_every_hook() {
    let hooks = hooks();
    let terms = terms(Some(&hooks));
    let mut events = vec![Event::Launched, Event::HookDone];
    assert_eq!(walk(&terms, &events), Life::at(Phase::Running));
    events.extend([Event::Suspend, Event::HookDone, Event::Saved]);
    assert_eq!(
        walk(&terms, &events),
        Life::at(Phase::Suspended { since: NOON })
    );
    events.extend([Event::Resume, Event::Restored, Event::HookDone]);
    assert_eq!(walk(&terms, &events), Life::at(Phase::Running));
    events.extend([Event::Terminate, Event::HookDone, Event::Removed]);
    let end = walk(&terms, &events);
    assert_eq!(
        (end.phase, end.reason.as_deref()),
        (Phase::Terminated, Some("Success."))
    );
}

#[test]
fn failing_hooks_end_the_microvm_in_the_words_of_aws() {
    let hooks = hooks();
    let terms = terms(Some(&hooks));
    let failed = |hook, outcome| Event::HookFailed(HookFailure { hook, outcome });
    let reason = |events: &[Event]| {
        let life = walk(&terms, events);
        assert_eq!(life.phase, Phase::Removing);
        life.reason.unwrap()
    };
    assert_eq!(
        reason(&[Event::Launched, failed(Hook::Run, CallOutcome::Status(400))]),
        "Run lifecycle hook returned HTTP status 400. Please check your hook endpoint and application \
         logs for more details."
    );
    let running = [Event::Launched, Event::HookDone];
    let suspend = [
        &running[..],
        &[Event::Suspend, failed(Hook::Suspend, CallOutcome::TimedOut)],
    ]
    .concat();
    assert!(reason(&suspend).starts_with("Suspend lifecycle hook timed out"));
    let terminate = [
        &running[..],
        &[
            Event::Terminate,
            failed(Hook::Terminate, CallOutcome::Refused),
        ],
    ]
    .concat();
    assert!(reason(&terminate).starts_with("Terminate lifecycle hook connection was refused."));
}

#[test]
fn the_last_word_of_the_caller_holds() {
    let terms = terms(None);
    let resumed = [Event::Launched, Event::Suspend, Event::Resume, Event::Saved];
    assert_eq!(
        walk(&terms, &resumed),
        Life::at(Phase::Restoring { since: NOON })
    );
    let again = [&resumed[..], &[Event::Suspend, Event::Restored]].concat();
    assert_eq!(walk(&terms, &again), Life::at(Phase::Saving));
}

#[test]
fn repeating_a_call_is_a_success_and_a_dead_microvm_refuses() {
    let terms = terms(None);
    let at = |phase, event| step(&Life::at(phase), &terms, &event, NOON);
    assert_eq!(
        at(Phase::Suspended { since: NOON }, Event::Suspend),
        Transition::Kept
    );
    assert_eq!(at(Phase::Running, Event::Resume), Transition::Kept);
    assert_eq!(at(Phase::Terminated, Event::Terminate), Transition::Kept);
    assert_eq!(
        at(Phase::Terminated, Event::Suspend),
        Transition::Refused(Denial::Ended)
    );
    assert_eq!(
        at(Phase::Removing, Event::Resume),
        Transition::Refused(Denial::Ended)
    );
    assert_eq!(
        at(Phase::Launching, Event::Suspend),
        Transition::Refused(Denial::Busy)
    );
}

#[test]
fn a_torn_suspend_runs_on_and_a_torn_resume_stays() {
    let terms = terms(None);
    assert_eq!(
        walk(
            &terms,
            &[Event::Launched, Event::Suspend, Event::SaveFailed]
        )
        .phase,
        Phase::Running
    );
    let resume = [
        Event::Launched,
        Event::Suspend,
        Event::Saved,
        Event::Resume,
        Event::RestoreFailed("no room".to_owned()),
    ];
    let asleep = walk(&terms, &resume);
    assert_eq!(asleep.phase, Phase::Suspended { since: NOON });
    assert_eq!(asleep.reason.as_deref(), Some("no room"));
    // The next attempt begins without it, and it is not why the microVM ends.
    let again = walk_from(asleep.clone(), &terms, &[Event::Resume]);
    assert_eq!(again, Life::at(Phase::Restoring { since: NOON }));
    let gone = walk_from(asleep, &terms, &[Event::Terminate]);
    assert_eq!(gone.reason.as_deref(), Some(REASON_TERMINATED));
}

#[test]
fn what_is_damaged_sleeps_until_it_is_repaired() {
    let terms = terms(None);
    let since = NOON;
    let damaged = Life {
        reason: Some(format!("{REASON_DAMAGED} (x/state: torn).")),
        ..Life::at(Phase::Suspended { since })
    };
    let found = Presence::Damaged("x/state: torn".to_owned());
    for phase in [
        Phase::Saving,
        Phase::Restoring { since },
        Phase::Sealing { since: Some(since) },
    ] {
        let told = Event::Damaged("x/state: torn".to_owned());
        let after = walk_from(Life::at(phase), &terms, &[told]);
        assert_eq!(after, damaged, "{phase:?}");
        assert_eq!(
            adopt(&Life::at(phase), &terms, Some(&found), NOON),
            damaged,
            "{phase:?}"
        );
    }
    assert_eq!(adopt(&damaged, &terms, Some(&found), NOON), damaged);
    let repaired = adopt(&damaged, &terms, Some(&Presence::Suspended), NOON);
    assert_eq!(repaired, Life::at(Phase::Suspended { since }));
    // A running one has nothing to wait for.
    let lost = adopt(&Life::at(Phase::Running), &terms, Some(&found), NOON);
    assert_eq!(lost.phase, Phase::Removing);
    assert_eq!(lost.reason, damaged.reason);
}

#[test]
fn a_fork_hears_that_it_is_back_and_not_who_it_is() {
    let hooks = hooks();
    let terms = fork_terms(Some(&hooks));
    let launched = [Event::Sealed, Event::Launched];
    let life = walk_from(Life::NEW_FORK, &terms, &launched);
    assert_eq!(life, Life::at(Phase::ForkHook));
    assert_eq!(life.phase.operation(), Some(Operation::Call(Hook::Resume)));
    assert_eq!(life.phase.state(), MicrovmState::Pending);
    let running = walk_from(life, &terms, &[Event::HookDone]);
    assert_eq!(running, Life::at(Phase::Running));
    let plain = walk_from(Life::NEW_FORK, &fork_terms(None), &launched);
    assert_eq!(plain, Life::at(Phase::Running));
}

#[test]
fn a_parent_goes_on_where_it_was_or_where_it_is_wanted() {
    let terms = terms(None);
    let since = NOON;
    for (before, wish, after) in [
        (Phase::Running, None, Phase::Running),
        (Phase::Running, Some(Event::Suspend), Phase::Saving),
        (Phase::Suspended { since }, None, Phase::Suspended { since }),
        (
            Phase::Suspended { since },
            Some(Event::Resume),
            Phase::Restoring { since },
        ),
    ] {
        let forked = walk_from(Life::at(before), &terms, &[Event::Fork]);
        assert_eq!(forked.phase.state(), before.state(), "nobody sees it");
        let events: Vec<_> = wish.into_iter().chain([Event::Sealed]).collect();
        assert_eq!(walk_from(forked, &terms, &events), Life::at(after));
    }
    let at = |phase| step(&Life::at(phase), &terms, &Event::Fork, NOON);
    for busy in [
        Phase::Launching,
        Phase::Saving,
        Phase::Restoring { since },
        Phase::Sealing { since: None },
    ] {
        assert_eq!(at(busy), Transition::Refused(Denial::Busy));
    }
    assert_eq!(at(Phase::Removing), Transition::Refused(Denial::Ended));
}

#[test]
fn a_restart_undoes_a_fork_that_was_not_launched() {
    let (fork, version) = (fork_terms(None), terms(None));
    for found in [None, Some(Presence::Debris), Some(Presence::Running)] {
        for phase in [Phase::Forking, Phase::Launching] {
            let life = adopt(&Life::at(phase), &fork, found.as_ref(), NOON);
            assert_eq!(life.phase, Phase::Removing);
            assert_eq!(life.reason.as_deref(), Some(REASON_FORK_INTERRUPTED));
        }
        let launching = Life::at(Phase::Launching);
        assert_eq!(adopt(&launching, &version, found.as_ref(), NOON), launching);
    }
    let parent = Life::at(Phase::Sealing { since: None });
    let found = Some(Presence::Running);
    assert_eq!(
        adopt(&parent, &version, found.as_ref(), NOON),
        Life::at(Phase::Running)
    );
}

#[test]
fn the_end_of_an_earlier_process_takes_no_suspended_microvm_away() {
    let ended = Event::Ended("gone".to_owned());
    let step = |phase| step(&Life::at(phase), &terms(None), &ended, NOON);
    for phase in [
        Phase::Launching,
        Phase::Saving,
        Phase::Suspended { since: NOON },
        Phase::Restoring { since: NOON },
    ] {
        assert_eq!(step(phase), Transition::Kept, "{phase:?}");
    }
    for phase in [
        Phase::RunHook,
        Phase::Running,
        Phase::ResumeHook,
        Phase::BackHook,
    ] {
        assert!(matches!(step(phase), Transition::Moved(_)), "{phase:?}");
    }
}

#[test]
fn what_could_not_be_saved_is_never_told_as_suspended() {
    let hooks = hooks();
    let terms = terms(Some(&hooks));
    let mut life = walk(&terms, &[Event::Launched, Event::HookDone, Event::Suspend]);
    for (event, state) in [
        (Event::HookDone, MicrovmState::Suspending),
        (Event::SaveFailed, MicrovmState::Suspending),
        (Event::HookDone, MicrovmState::Running),
    ] {
        let Transition::Moved(next) = step(&life, &terms, &event, NOON) else {
            panic!("{event:?} moves nothing in {:?}", life.phase);
        };
        assert_eq!(next.phase.state(), state, "{event:?}");
        life = next;
    }
}

#[test]
fn zero_suspended_duration_terminates_instead() {
    let mut terms = terms(None);
    terms.idle_policy = terms.idle_policy.map(|p| IdlePolicy {
        suspended: Duration::ZERO,
        ..p
    });
    let life = walk(&terms, &[Event::Launched, Event::Due(Timer::Idle)]);
    assert_eq!(
        (life.phase, life.reason.as_deref()),
        (Phase::Removing, Some(REASON_IDLE))
    );
}

fn any_phase() -> impl Strategy<Value = Phase> {
    prop::sample::select(vec![
        Phase::Forking,
        Phase::Launching,
        Phase::RunHook,
        Phase::ForkHook,
        Phase::Sealing { since: None },
        Phase::Sealing { since: Some(NOON) },
        Phase::Running,
        Phase::SuspendHook,
        Phase::Saving,
        Phase::Suspended { since: NOON },
        Phase::Restoring { since: NOON },
        Phase::ResumeHook,
        Phase::BackHook,
        Phase::TerminateHook,
        Phase::Removing,
        Phase::Terminated,
    ])
}

fn any_event() -> impl Strategy<Value = Event> {
    let hooks = prop::sample::select(vec![
        Hook::Run,
        Hook::Resume,
        Hook::Suspend,
        Hook::Terminate,
    ]);
    prop_oneof![
        Just(Event::Suspend),
        Just(Event::Resume),
        Just(Event::Terminate),
        Just(Event::Fork),
        Just(Event::Sealed),
        Just(Event::SealFailed),
        Just(Event::Launched),
        Just(Event::LaunchFailed("no".to_owned())),
        Just(Event::HookDone),
        hooks.prop_map(|hook| Event::HookFailed(HookFailure {
            hook,
            outcome: CallOutcome::Broken
        })),
        Just(Event::Saved),
        Just(Event::SaveFailed),
        Just(Event::Restored),
        Just(Event::RestoreFailed("no room".to_owned())),
        Just(Event::Damaged("torn".to_owned())),
        Just(Event::Lost),
        Just(Event::Ended("gone".to_owned())),
        Just(Event::Removed),
        prop::sample::select(vec![Timer::Idle, Timer::Suspended, Timer::Expiry])
            .prop_map(Event::Due),
    ]
}

/// The visible transitions that exist (facts section 3).
fn is_legal(from: MicrovmState, to: MicrovmState) -> bool {
    use MicrovmState::{Pending, Running, Suspended, Suspending, Terminated, Terminating};
    from == to
        || matches!(
            (from, to),
            (Pending, Running)
                | (Running, Suspending)
                | (Suspending, Suspended | Running)
                // A resume with a suspend wished for meanwhile passes through RUNNING too fast to be seen.
                | (Suspended, Running | Suspending)
                | (Pending | Running | Suspending | Suspended, Terminating)
                | (Terminating, Terminated)
        )
}

/// What ends says why; what sleeps may say why it could not be resumed; what runs has nothing to say.
fn is_told_why(life: &Life) -> bool {
    match life.phase {
        Phase::Suspended { .. } => true,
        phase => phase.is_ending() == life.reason.is_some(),
    }
}

proptest! {
    #[test]
    fn only_legal_transitions(
        events in prop::collection::vec(any_event(), 0..60), with_hooks: bool, is_fork: bool,
    ) {
        let hooks = hooks();
        let hooks = with_hooks.then_some(&hooks);
        let (terms, mut life) = if is_fork {
            (fork_terms(hooks), Life::NEW_FORK)
        } else {
            (terms(hooks), Life::NEW)
        };
        for event in events {
            let before = life.clone();
            if let Transition::Moved(next) = step(&life, &terms, &event, NOON) {
                prop_assert_ne!(&before, &next);
                prop_assert!(is_legal(before.phase.state(), next.phase.state()), "{:?} {:?}", before, event);
                life = next;
            }
            prop_assert!(before.phase != Phase::Terminated || life == before);
            prop_assert!(is_told_why(&life));
            prop_assert!(!life.phase.is_ending() || life.wish.is_none());
            prop_assert!(with_hooks || !matches!(life.phase.operation(), Some(Operation::Call(_))));
        }
    }

    /// From anywhere, `Terminate` and obedience of the host end the microVM in at most three steps.
    #[test]
    fn terminate_always_ends(phase in any_phase()) {
        let hooks = hooks();
        let terms = terms(Some(&hooks));
        let mut life = Life { reason: phase.is_ending().then(|| "x".to_owned()), ..Life::at(phase) };
        for event in [Event::Terminate, Event::HookDone, Event::Removed] {
            if let Transition::Moved(next) = step(&life, &terms, &event, NOON) {
                life = next;
            }
        }
        prop_assert_eq!(life.phase, Phase::Terminated);
    }

    /// A timer that was answered is not due again: it has gone, or the phase moved on.
    #[test]
    fn timers_fire_once(phase in any_phase(), idle_s in 0_u64..40_000, suspended_s in 0_u64..40_000) {
        let mut terms = terms(None);
        terms.idle_policy = Some(IdlePolicy {
            max_idle: Duration::from_secs(idle_s),
            suspended: Duration::from_secs(suspended_s),
            auto_resume: false,
        });
        let life = Life { reason: phase.is_ending().then(|| "x".to_owned()), ..Life::at(phase) };
        if let Some((at, timer)) = deadline(&life, &terms, NOON) {
            prop_assert!(at <= terms.expires_at);
            let Transition::Moved(next) = step(&life, &terms, &Event::Due(timer), at) else {
                panic!("a deadline in {phase:?} that does nothing");
            };
            prop_assert!(deadline(&next, &terms, NOON).is_none_or(|(_, next)| next != timer));
        }
    }

    /// Whatever record and host say, adoption twice is adoption once, and nothing asleep and whole is lost.
    #[test]
    fn adoption_settles(phase in any_phase(), found in prop::sample::select(vec![
        None, Some(Presence::Running), Some(Presence::Suspended), Some(Presence::Debris),
        Some(Presence::Damaged("torn".to_owned())),
    ]), wish in prop::sample::select(vec![None, Some(Wish::Run), Some(Wish::Sleep)]), is_fork: bool) {
        let terms = if is_fork { fork_terms(None) } else { terms(None) };
        let wish = wish.filter(|_| matches!(phase, Phase::Sealing { .. }));
        let life = Life { reason: phase.is_ending().then(|| "x".to_owned()), wish, ..Life::at(phase) };
        let once = adopt(&life, &terms, found.as_ref(), NOON);
        prop_assert_eq!(&adopt(&once, &terms, found.as_ref(), NOON), &once);
        prop_assert!(is_told_why(&once));
        let is_sealing = matches!(once.phase, Phase::Sealing { .. });
        prop_assert!(!is_sealing);
        let was_up = !matches!(
            phase, Phase::Forking | Phase::Launching | Phase::RunHook | Phase::ForkHook
        );
        if found == Some(Presence::Suspended) && !phase.is_ending() && was_up {
            prop_assert!(!once.phase.is_ending());
        }
    }
}
