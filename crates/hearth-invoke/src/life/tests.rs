use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(3);

/// A life, and a clock.
struct World {
    life: Life,
    now: Duration,
    calls: u64,
    programs: u64,
}

impl World {
    fn new() -> Self {
        Self {
            life: Life::new(),
            now: Duration::ZERO,
            calls: 0,
            programs: 0,
        }
    }

    /// An environment whose runtime waits for its first invocation.
    fn idle() -> Self {
        let mut world = Self::new();
        world.step(Input::Begin(Vec::new()));
        let effects = world.call(Call::Next).1;
        assert_eq!(effects, [Effect::Ready]);
        world
    }

    /// Takes a step, and starts the programs that it asks for.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.now += Duration::from_millis(1);
        let mut all = Vec::new();
        let mut effects = std::collections::VecDeque::from(self.life.step(self.now, input));
        while let Some(effect) = effects.pop_front() {
            if let Effect::Spawn(kind) = &effect {
                self.programs += 1;
                let spawned = Input::Spawned(kind.clone(), ProgramId(self.programs));
                effects.extend(self.life.step(self.now, spawned));
            }
            all.push(effect);
        }
        all
    }

    fn call(&mut self, call: Call) -> (CallId, Vec<Effect>) {
        self.calls += 1;
        let id = CallId(self.calls);
        let effects = self.step(Input::Call(id, call));
        (id, effects)
    }

    fn invoke(&mut self, id: &str) -> Vec<Effect> {
        self.step(Input::Invoke(job(id)))
    }

    fn respond(&mut self, id: &str) -> Vec<Effect> {
        self.call(response(id)).1
    }

    fn runtime(&self) -> ProgramId {
        ProgramId(self.programs)
    }
}

fn job(id: &str) -> Job {
    Job {
        request_id: id.to_owned(),
        timeout: TIMEOUT,
    }
}

fn response(id: &str) -> Call {
    Call::Response {
        request_id: id.to_owned(),
        body: ResponseBody::Whole("1".into(), None),
    }
}

fn verdicts(effects: &[Effect]) -> Vec<&Verdict> {
    let verdicts = effects.iter().filter_map(|effect| match effect {
        Effect::Verdict(verdict) => Some(verdict),
        _ => None,
    });
    verdicts.collect()
}

fn refusals(effects: &[Effect]) -> Vec<(u16, String)> {
    let refusals = effects.iter().filter_map(|effect| match effect {
        Effect::Reply(_, Reply::Refused(refusal)) => {
            let (status, error_type, _) = refusal.parts();
            Some((status, error_type.to_owned()))
        }
        _ => None,
    });
    refusals.collect()
}

fn report(effects: &[Effect]) -> Option<&Report> {
    effects.iter().find_map(|effect| match effect {
        Effect::Log(Record::Report(report)) => Some(report),
        _ => None,
    })
}

fn failure(effects: &[Effect]) -> Failure {
    match verdicts(effects)[..] {
        [Verdict::Failed(failure)] => failure.clone(),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn an_invocation_is_answered_and_is_over_with_the_next_call() {
    let mut world = World::idle();
    let effects = world.invoke("a");
    assert_eq!(effects[1], Effect::Reply(CallId(1), Reply::Event));
    let effects = world.respond("a");
    assert_eq!(verdicts(&effects).len(), 1);
    assert!(report(&effects).is_none());
    let effects = world.call(Call::Next).1;
    assert_eq!(report(&effects).unwrap().status, Status::Success);
    assert!(report(&effects).unwrap().init.is_some(), "the first one");
    assert_eq!(
        effects[2..],
        [Effect::InvocationOver, Effect::Ready],
        "{effects:?}"
    );
    world.invoke("b");
    world.respond("b");
    let effects = world.call(Call::Next).1;
    assert!(report(&effects).unwrap().init.is_none());
}

#[test]
fn an_invocation_waits_for_the_first_init_and_its_time_begins_later() {
    let mut world = World::new();
    assert!(world.invoke("a").is_empty());
    world.step(Input::Begin(Vec::new()));
    world.now = Duration::from_secs(9);
    let effects = world.call(Call::Next).1;
    assert!(effects.contains(&Effect::Reply(CallId(1), Reply::Event)));
    assert_eq!(world.life.wake_at(), Some(world.now + TIMEOUT));
}

#[test]
fn an_init_that_takes_too_long_is_repeated_on_the_invocations_time() {
    let mut world = World::new();
    world.invoke("a");
    world.step(Input::Begin(Vec::new()));
    let first = world.runtime();
    world.now += INIT_LIMIT;
    let effects = world.step(Input::Time);
    assert!(effects.contains(&Effect::Signal(first, Signal::Kill)));
    assert!(effects.contains(&Effect::Spawn(ProgramKind::Bootstrap)));
    assert!(verdicts(&effects).is_empty());
    world.now += TIMEOUT;
    let effects = world.step(Input::Time);
    assert_eq!(failure(&effects), Failure::Timeout(TIMEOUT));
    assert_eq!(report(&effects).unwrap().status, Status::Timeout);
    assert_eq!(effects.last(), Some(&Effect::Ready));
}

#[test]
fn an_init_error_is_answered_after_the_second_try_and_no_third_follows() {
    let mut world = World::new();
    world.invoke("a");
    world.step(Input::Begin(Vec::new()));
    let error = Call::InitError {
        error_type: "Runtime.ImportModuleError".to_owned(),
        payload: "{}".into(),
    };
    let effects = world.call(error.clone()).1;
    assert!(verdicts(&effects).is_empty());
    assert!(effects.contains(&Effect::Spawn(ProgramKind::Bootstrap)));
    let effects = world.call(error).1;
    let failure = failure(&effects);
    assert_eq!(failure.error_type(), "Runtime.ImportModuleError");
    assert_eq!(&failure.payload("a")[..], b"{}");
    assert!(!effects.contains(&Effect::Spawn(ProgramKind::Bootstrap)));
}

#[test]
fn a_timeout_kills_the_runtime_and_the_next_invocation_inits_again() {
    let mut world = World::idle();
    world.invoke("a");
    let runtime = world.runtime();
    world.now += TIMEOUT;
    let effects = world.step(Input::Time);
    assert_eq!(failure(&effects), Failure::Timeout(TIMEOUT));
    assert!(effects.contains(&Effect::Signal(runtime, Signal::Kill)));
    assert_eq!(effects.last(), Some(&Effect::Ready));
    // A late answer is for nobody.
    assert_eq!(
        refusals(&world.respond("a")),
        [(400, "InvalidRequestID".to_owned())]
    );
    let effects = world.invoke("b");
    assert!(effects.contains(&Effect::Spawn(ProgramKind::Bootstrap)));
    let effects = world.call(Call::Next).1;
    assert!(matches!(effects[..], [Effect::Reply(_, Reply::Event)]));
    world.respond("b");
    let effects = world.call(Call::Next).1;
    assert_eq!(report(&effects).unwrap().init, None, "a suppressed init");
}

#[test]
fn exits_are_told_with_their_reason() {
    for end in [ProgramEnd::Exited(1), ProgramEnd::OutOfMemory] {
        let mut world = World::idle();
        world.invoke("a");
        let effects = world.step(Input::Ended(world.runtime(), end));
        assert_eq!(failure(&effects), Failure::RuntimeEnded(end));
    }
}

#[test]
fn an_exit_after_the_answer_changes_no_answer() {
    let mut world = World::idle();
    world.invoke("a");
    world.respond("a");
    let effects = world.step(Input::Ended(world.runtime(), ProgramEnd::Exited(1)));
    assert!(verdicts(&effects).is_empty());
    let status = &report(&effects).unwrap().status;
    assert_eq!(*status, Status::Error("Runtime.ExitError".to_owned()));
}

#[test]
fn a_hostile_runtime_answers_neither_twice_nor_for_others() {
    let mut world = World::idle();
    let nobody = (400, "InvalidRequestID".to_owned());
    assert_eq!(refusals(&world.respond("a")), std::slice::from_ref(&nobody));
    world.invoke("a");
    assert_eq!(refusals(&world.respond("b")), [nobody]);
    world.respond("a");
    let effects = world.respond("a");
    let twice = (403, "InvalidStateTransition".to_owned());
    assert_eq!(refusals(&effects), std::slice::from_ref(&twice));
    assert!(verdicts(&effects).is_empty());
    // It never calls next: the environment is not free before the time is over.
    world.now += TIMEOUT;
    let effects = world.step(Input::Time);
    assert!(verdicts(&effects).is_empty());
    assert_eq!(report(&effects).unwrap().status, Status::Timeout);
    let mut world = World::idle();
    world.invoke("a");
    let effects = world.call(Call::Next).1;
    assert_eq!(refusals(&effects), [twice]);
}

#[test]
fn the_names_of_states_are_those_of_the_service() {
    let mut world = World::idle();
    world.invoke("a");
    world.respond("a");
    let effects = world.respond("a");
    let Effect::Reply(_, Reply::Refused(refusal)) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        refusal.parts().2,
        "State transition from ResponseSent to InvocationResponse failed for runtime. Error: State transition is not allowed"
    );
}

#[test]
fn the_newest_of_two_waiting_calls_gets_the_event() {
    let mut world = World::idle();
    let (newer, effects) = world.call(Call::Next);
    assert_eq!(refusals(&effects).len(), 1);
    let effects = world.invoke("a");
    assert!(effects.contains(&Effect::Reply(newer, Reply::Event)));
}

#[test]
fn extensions_come_first_and_hold_up_init_and_end() {
    let mut world = World::new();
    world.invoke("a");
    let effects = world.step(Input::Begin(vec!["ext".to_owned()]));
    assert!(!effects.contains(&Effect::Spawn(ProgramKind::Bootstrap)));
    let effects = world.call(register("ext", true, true)).1;
    assert!(effects.contains(&Effect::Spawn(ProgramKind::Bootstrap)));
    assert!(world.call(Call::Next).1.is_empty());
    let (wait, effects) = world.call(extension_next("ext"));
    assert!(effects.contains(&Effect::Reply(wait, Reply::ExtensionInvoke)));
    let closed = refusals(&world.call(register("late", true, false)).1);
    assert_eq!(closed, [(403, "Extension.RegistrationClosed".to_owned())]);
    assert_eq!(verdicts(&world.respond("a")).len(), 1);
    assert!(report(&world.call(Call::Next).1).is_none());
    let effects = world.call(extension_next("ext")).1;
    assert!(report(&effects).is_some());
}

#[test]
fn a_shutdown_tells_extensions_and_the_runtime() {
    let mut world = World::new();
    world.step(Input::Begin(vec!["ext".to_owned()]));
    let extension = ProgramId(1);
    world.call(register("ext", true, true));
    let runtime = world.runtime();
    world.call(Call::Next);
    let wait = world.call(extension_next("ext")).0;
    let effects = world.step(Input::Retire);
    let until = world.now + EXTERNAL_SHUTDOWN;
    let shutdown = Reply::ExtensionShutdown(ShutdownReason::Spindown, until);
    assert_eq!(
        effects,
        [
            Effect::Reply(wait, shutdown),
            Effect::Signal(runtime, Signal::Terminate)
        ]
    );
    world.step(Input::Ended(runtime, ProgramEnd::Signaled(15)));
    let effects = world.step(Input::Ended(extension, ProgramEnd::Exited(0)));
    assert_eq!(effects, [Effect::Finished]);
}

#[test]
fn without_extensions_the_end_is_at_once() {
    assert_eq!(World::idle().step(Input::Retire), [Effect::Finished]);
}

#[test]
fn a_failure_gives_extensions_time_and_then_kills_them() {
    let mut world = World::new();
    world.step(Input::Begin(vec!["ext".to_owned()]));
    world.call(register("ext", false, true));
    world.call(Call::Next);
    world.call(extension_next("ext"));
    world.invoke("a");
    world.now += TIMEOUT;
    let effects = world.step(Input::Time);
    assert_eq!(verdicts(&effects).len(), 1);
    assert!(!effects.contains(&Effect::Ready));
    assert!(world.invoke("b").is_empty(), "it waits for the reset");
    world.now += EXTERNAL_SHUTDOWN;
    let effects = world.step(Input::Time);
    assert!(effects.contains(&Effect::Signal(ProgramId(1), Signal::Kill)));
    assert!(effects.contains(&Effect::Spawn(ProgramKind::Extension("ext".to_owned()))));
}

#[test]
fn an_extension_that_dies_fails_the_invocation() {
    let mut world = World::new();
    world.step(Input::Begin(vec!["ext".to_owned()]));
    world.call(register("ext", true, false));
    world.call(Call::Next);
    world.call(extension_next("ext"));
    world.invoke("a");
    let effects = world.step(Input::Ended(ProgramId(1), ProgramEnd::Exited(1)));
    assert_eq!(failure(&effects).error_type(), "Extension.Crash");
}

#[test]
fn a_lost_environment_fails_what_it_runs_and_what_waits() {
    for mut world in [World::idle(), World::new()] {
        world.invoke("a");
        let effects = world.step(Input::Lost);
        assert_eq!(verdicts(&effects), [&Verdict::Lost]);
        assert_eq!(effects.last(), Some(&Effect::Finished));
        assert_eq!(verdicts(&world.invoke("b")), [&Verdict::Lost]);
    }
}

fn register(name: &str, invoke: bool, shutdown: bool) -> Call {
    Call::Register {
        name: name.to_owned(),
        events: ExtensionEvents { invoke, shutdown },
        identifier: name.to_owned(),
    }
}

fn extension_next(name: &str) -> Call {
    Call::ExtensionNext {
        identifier: name.to_owned(),
    }
}

#[derive(Debug, Clone)]
enum Act {
    Invoke,
    Call(Call),
    Gone,
    StreamEnd,
    End(u64, ProgramEnd),
    Pass(u64),
    Retire,
    Lost,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let id = prop_oneof!["0", "1", "2", "3"].boxed();
    let name = prop_oneof![Just("ext".to_owned()), Just("own".to_owned())].boxed();
    let call = prop_oneof![
        4 => Just(Call::Next),
        3 => id.clone().prop_map(|id| response(&id)),
        1 => id.clone().prop_map(|request_id| Call::Stream { request_id }),
        1 => id.prop_map(|request_id| Call::Error { request_id, error_type: "E".to_owned(), payload: Bytes::new() }),
        1 => Just(Call::InitError { error_type: "E".to_owned(), payload: Bytes::new() }),
        1 => (name.clone(), any::<bool>(), any::<bool>()).prop_map(|(name, a, b)| register(&name, a, b)),
        2 => name.clone().prop_map(|name| extension_next(&name)),
        1 => name.prop_map(|identifier| Call::ExtensionError { identifier, error_type: "E".to_owned() }),
    ];
    let act = prop_oneof![
        6 => Just(Act::Invoke),
        20 => call.prop_map(Act::Call),
        1 => Just(Act::Gone),
        2 => Just(Act::StreamEnd),
        2 => (1_u64..6, prop_oneof![Just(ProgramEnd::Exited(1)), Just(ProgramEnd::OutOfMemory)]).prop_map(|(id, end)| Act::End(id, end)),
        4 => (0_u64..4000).prop_map(Act::Pass),
        1 => Just(Act::Retire),
        1 => Just(Act::Lost),
    ];
    prop::collection::vec(act, 0..120)
}

/// What holds of any life.
#[derive(Default)]
struct Observer {
    /// Invocations begun, and those with a verdict.
    invoked: u64,
    judged: u64,
    is_busy: bool,
    is_over: bool,
    waiting: std::collections::HashSet<CallId>,
}

impl Observer {
    fn see(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Verdict(_) => {
                    self.judged += 1;
                    assert_eq!(self.judged, self.invoked, "one verdict each");
                }
                Effect::InvocationOver => {
                    assert!(std::mem::take(&mut self.is_busy));
                    assert_eq!(self.judged, self.invoked, "none without a verdict");
                }
                Effect::Ready => assert!(!self.is_busy && !self.is_over),
                Effect::Finished => {
                    assert!(!self.is_busy);
                    self.is_over = true;
                }
                Effect::Reply(call, _) => assert!(self.waiting.remove(call), "answered once"),
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn every_invocation_gets_one_verdict_whatever_programs_do(
        extensions in prop::collection::vec(Just("ext".to_owned()), 0..2),
        acts in acts(),
    ) {
        let mut world = World::new();
        let mut seen = Observer::default();
        seen.see(&world.step(Input::Begin(extensions)));
        for act in acts {
            let effects = match act {
                Act::Invoke if !seen.is_busy && !seen.is_over => {
                    seen.is_busy = true;
                    seen.invoked += 1;
                    world.invoke(&(seen.invoked % 4).to_string())
                }
                Act::Invoke => continue,
                Act::Call(call) => {
                    seen.waiting.insert(CallId(world.calls + 1));
                    world.call(call).1
                }
                Act::Gone => world.step(Input::CallGone(CallId(world.calls))),
                Act::StreamEnd => world.step(Input::StreamEnded(CallId(world.calls), StreamEnd::Whole)),
                Act::End(id, end) => world.step(Input::Ended(ProgramId(id), end)),
                Act::Pass(ms) => {
                    world.now += Duration::from_millis(ms);
                    world.step(Input::Time)
                }
                Act::Retire => world.step(Input::Retire),
                Act::Lost => world.step(Input::Lost),
            };
            seen.see(&effects);
        }
        // Whatever state it is in, time alone ends the invocation.
        for _ in 0..6 {
            world.now += Duration::from_secs(60);
            seen.see(&world.step(Input::Time));
        }
        prop_assert!(!seen.is_busy);
        prop_assert_eq!(seen.judged, seen.invoked);
    }
}
