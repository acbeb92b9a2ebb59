//! The life of one environment, as a state machine without effects.
//!
//! ```text
//!            begin                init is good                    invoke
//!  (started) ─────> Initializing ─────────────────────> Idle <─────────────> Invoking
//!                        │ fails, or 10 s                                       │ timeout, exit, out of memory
//!                        v                                                      v
//!                    Resetting <────────────────────────────────────────────────┘
//!                        │ all programs are gone; /tmp stays
//!                        v           invoke: the init is repeated, on the invocation's time
//!                      Fresh ─────────────────────────────────────────────> Invoking
//!
//!  Idle, Fresh ── retire ──> ShuttingDown ──> Over          any ── lost ──> Over
//! ```
//!
//! - At most one invocation is in an environment at any time. It gets exactly one verdict.
//! - An invocation that arrives during the first init waits for it. The limit of that init is not its own time.
//! - An invocation is over when the runtime and every extension that wants `INVOKE` have asked for the next event.
//! - Times are durations since the environment began.

use std::time::Duration;

use bytes::Bytes;

use crate::environment::{ProgramEnd, ProgramId, ProgramKind, Signal, SpawnError};
use crate::failure::{Failure, Status};
use crate::limits::{EXTERNAL_SHUTDOWN, INIT_LIMIT, INTERNAL_SHUTDOWN};
use crate::records::{InitPhase, Record, Report};

mod calls;
mod extensions;
mod messages;
mod refusal;
mod runtime;

use extensions::Extensions;
use runtime::{Runtime, RuntimeState};

pub(crate) use messages::{
    Call, CallId, ExtensionEvents, Reply, ResponseBody, ShutdownReason, StreamEnd,
};
pub(crate) use refusal::ApiRefusal;

/// What happens to an environment.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Programs can be started. The names of the external extensions.
    Begin(Vec<String>),
    /// An invocation. Only allowed if none is there.
    Invoke(Job),
    /// A program was started.
    Spawned(ProgramKind, ProgramId),
    /// A program was not started.
    NotSpawned(ProgramKind, SpawnError),
    /// A program ended.
    Ended(ProgramId, ProgramEnd),
    /// A program asks.
    Call(CallId, Call),
    /// Whoever waited for the answer to a call is gone.
    CallGone(CallId),
    /// A streamed response has ended.
    StreamEnded(CallId, StreamEnd),
    /// Time has passed.
    Time,
    /// No further invocation will come.
    Retire,
    /// The environment is gone.
    Lost,
}

/// An invocation, as far as this machine has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) request_id: String,
    pub(crate) timeout: Duration,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start a program and report that.
    Spawn(ProgramKind),
    /// Send a signal.
    Signal(ProgramId, Signal),
    /// Answer a call.
    Reply(CallId, Reply),
    /// Close all connections: their programs are gone.
    DropCalls,
    /// Write a record.
    Log(Record),
    /// The invocation has this result. It may not be over yet.
    Verdict(Verdict),
    /// The invocation is over: everything that belongs to it is in the log.
    InvocationOver,
    /// The environment can take an invocation.
    Ready,
    /// Nothing will happen any more. End the environment.
    Finished,
}

/// The result of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The function's answer.
    Response {
        body: Bytes,
        /// The type that the runtime gave.
        content_type: Option<String>,
    },
    /// All of the streamed answer has been passed on.
    Streamed,
    /// A function error.
    Failed(Failure),
    /// The environment is gone without the function's doing.
    Lost,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Life {
    phase: Phase,
    external_names: Vec<String>,
    runtime: Option<Runtime>,
    extensions: Extensions,
    /// The invocation that waits for the first init or a reset.
    waiting: Option<Job>,
    current: Option<Current>,
    /// The init that the next report tells.
    good_init: Option<Duration>,
    init_begun: Duration,
    /// A retirement that came while it could not be done.
    is_retiring: bool,
    effects: Vec<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not begun.
    New,
    /// The first init, which ends at the deadline.
    Initializing(Duration),
    Idle,
    /// Nothing runs.
    Fresh,
    /// An init within an invocation, or the invocation itself.
    Invoking {
        is_init: bool,
    },
    /// Extensions may shut down until the deadline.
    Resetting(Duration),
    ShuttingDown {
        runtime_until: Duration,
        until: Duration,
    },
    Over,
}

/// The invocation under way.
#[derive(Debug)]
struct Current {
    job: Job,
    begun: Duration,
    deadline: Duration,
    /// How it ended for the caller, once that is known.
    status: Option<Status>,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::New,
            external_names: Vec::new(),
            runtime: None,
            extensions: Extensions::default(),
            waiting: None,
            current: None,
            good_init: None,
            init_begun: Duration::ZERO,
            is_retiring: false,
            effects: Vec::new(),
        }
    }

    /// Takes one step. Returns what is to be done.
    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        if self.phase == Phase::Over {
            return self.after_the_end(&input);
        }
        match input {
            Input::Begin(names) => self.begin(now, names),
            Input::Invoke(job) => self.invoke(now, job),
            Input::Spawned(kind, program) => self.spawned(&kind, program),
            Input::NotSpawned(kind, error) => self.not_spawned(now, &kind, error),
            Input::Ended(program, end) => self.ended(now, program, end),
            Input::Call(id, call) => self.call(now, id, call),
            Input::CallGone(id) => self.call_gone(id),
            Input::StreamEnded(id, end) => self.stream_ended(now, id, end),
            Input::Time => self.time(now),
            Input::Retire => self.retire(now),
            Input::Lost => self.lost(),
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Time`] is due.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Initializing(deadline) | Phase::Resetting(deadline) => Some(deadline),
            Phase::Invoking { .. } => self.current.as_ref().map(|current| current.deadline),
            Phase::ShuttingDown {
                runtime_until,
                until,
            } => Some(if self.runtime.is_some() {
                runtime_until
            } else {
                until
            }),
            Phase::New | Phase::Idle | Phase::Fresh | Phase::Over => None,
        }
    }

    /// When the present invocation must be done.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.current.as_ref().map(|current| current.deadline)
    }

    /// Whether somebody has to be told of the end.
    pub(crate) fn has_extensions(&self) -> bool {
        !self.extensions.is_empty()
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn after_the_end(&mut self, input: &Input) -> Vec<Effect> {
        match input {
            Input::Invoke(_) => {
                self.push(Effect::Verdict(Verdict::Lost));
                self.push(Effect::InvocationOver);
            }
            Input::Call(id, _) => self.push(Effect::Reply(*id, Reply::Refused(ApiRefusal::Over))),
            _ => {}
        }
        std::mem::take(&mut self.effects)
    }

    // Init.

    fn begin(&mut self, now: Duration, names: Vec<String>) {
        if self.phase != Phase::New {
            return;
        }
        self.external_names = names;
        self.phase = Phase::Initializing(now + INIT_LIMIT);
        self.push(Effect::Log(Record::InitStart));
        self.start_programs(now);
    }

    /// External extensions first. The runtime starts when all of them have registered.
    fn start_programs(&mut self, now: Duration) {
        self.init_begun = now;
        self.extensions = Extensions::of_external(&self.external_names);
        for name in self.external_names.clone() {
            self.push(Effect::Spawn(ProgramKind::Extension(name)));
        }
        self.start_runtime_in_turn();
    }

    fn start_runtime_in_turn(&mut self) {
        if self.is_initializing() && self.runtime.is_none() && self.extensions.all_registered() {
            self.runtime = Some(Runtime::new());
            self.push(Effect::Spawn(ProgramKind::Bootstrap));
        }
    }

    fn is_initializing(&self) -> bool {
        matches!(
            self.phase,
            Phase::Initializing(_) | Phase::Invoking { is_init: true }
        )
    }

    fn spawned(&mut self, kind: &ProgramKind, program: ProgramId) {
        let is_expected = match kind {
            ProgramKind::Bootstrap => match &mut self.runtime {
                Some(runtime) if runtime.program.is_none() => {
                    runtime.program = Some(program);
                    true
                }
                _ => false,
            },
            ProgramKind::Extension(name) => self.extensions.spawned(name, program),
        };
        // It was started for a life that is over.
        if !is_expected {
            self.push(Effect::Signal(program, Signal::Kill));
        }
    }

    fn not_spawned(&mut self, now: Duration, kind: &ProgramKind, error: SpawnError) {
        if let SpawnError::Lost(_) = error {
            self.lost();
        } else if self.is_initializing() {
            let failure = match kind {
                ProgramKind::Bootstrap => Failure::NotStarted(error),
                ProgramKind::Extension(name) => {
                    self.push(Effect::Log(Record::Extension {
                        name: name.clone(),
                        state: "LaunchError",
                        events: Vec::new(),
                        error_type: Some("Extension.LaunchError".to_owned()),
                    }));
                    Failure::ExtensionNotStarted(error.to_string())
                }
            };
            self.fail(now, failure);
        }
    }

    /// Ends the init if runtime and extensions are ready.
    fn end_init_in_turn(&mut self, now: Duration) {
        let is_runtime_ready = self.runtime.as_ref().is_some_and(Runtime::is_ready);
        if !self.is_initializing() || !is_runtime_ready || !self.extensions.all_ready() {
            return;
        }
        for record in self.extensions.ready_records() {
            self.push(Effect::Log(record));
        }
        match self.phase {
            Phase::Initializing(_) => {
                self.good_init = Some(now.saturating_sub(self.init_begun));
                self.rest(now, Phase::Idle);
            }
            _ => {
                self.phase = Phase::Invoking { is_init: false };
                self.deliver();
            }
        }
    }

    /// Waits for an invocation, or takes the one that waits.
    fn rest(&mut self, now: Duration, phase: Phase) {
        self.phase = phase;
        match self.waiting.take() {
            Some(job) => self.invoke(now, job),
            None if self.is_retiring => self.retire(now),
            None => self.push(Effect::Ready),
        }
    }

    // Invocations.

    fn invoke(&mut self, now: Duration, job: Job) {
        match self.phase {
            Phase::Idle | Phase::Fresh => {}
            Phase::New | Phase::Initializing(_) | Phase::Resetting(_) if self.waiting.is_none() => {
                self.waiting = Some(job);
                return;
            }
            // It crossed the end of the environment.
            Phase::ShuttingDown { .. } => {
                self.push(Effect::Verdict(Verdict::Lost));
                self.push(Effect::InvocationOver);
                return;
            }
            // The pool gives no invocation to an environment that has one.
            _ => return,
        }
        self.push(Effect::Log(Record::Start(job.request_id.clone())));
        self.current = Some(Current {
            begun: now,
            deadline: now + job.timeout,
            job,
            status: None,
        });
        let is_init = self.phase == Phase::Fresh;
        self.phase = Phase::Invoking { is_init };
        if is_init {
            self.start_programs(now);
        } else {
            self.deliver();
        }
    }

    /// Gives the event to the runtime and the extensions, which all wait for one.
    fn deliver(&mut self) {
        if let Some(call) = self.runtime.as_mut().and_then(Runtime::deliver) {
            self.push(Effect::Reply(call, Reply::Event));
        }
        for call in self.extensions.deliver_invoke() {
            self.push(Effect::Reply(call, Reply::ExtensionInvoke));
        }
    }

    /// Tells the caller. Only the first verdict counts.
    fn conclude(&mut self, verdict: Verdict) {
        let Some(current) = &mut self.current else {
            return;
        };
        if current.status.is_none() {
            current.status = Some(match &verdict {
                Verdict::Failed(failure) => failure.status(),
                _ => Status::Success,
            });
            self.push(Effect::Verdict(verdict));
        }
    }

    /// Ends the invocation if runtime and extensions have asked for the next event.
    fn end_invocation_in_turn(&mut self, now: Duration) {
        let is_concluded = self
            .current
            .as_ref()
            .is_some_and(|current| current.status.is_some());
        let is_runtime_ready = self.runtime.as_ref().is_some_and(Runtime::is_ready);
        let is_invoking = self.phase == Phase::Invoking { is_init: false };
        if is_invoking && is_concluded && is_runtime_ready && self.extensions.all_ready() {
            self.finish_invocation(now, None);
            self.rest(now, Phase::Idle);
        }
    }

    /// Writes the report. `failure` is what happened after the verdict, or made it.
    fn finish_invocation(&mut self, now: Duration, failure: Option<Status>) {
        let Some(current) = self.current.take() else {
            return;
        };
        let status = failure.or(current.status).unwrap_or(Status::Success);
        let id = current.job.request_id;
        self.push(Effect::Log(Record::End(id.clone())));
        let took = now.saturating_sub(current.begun);
        let init = self.good_init.take();
        self.push(Effect::Log(Record::Report(Report {
            request_id: id,
            took: took.min(current.job.timeout),
            init,
            status,
        })));
        self.push(Effect::InvocationOver);
    }

    // Failures.

    /// What runs has failed: the init, or the invocation. Everything is killed.
    fn fail(&mut self, now: Duration, failure: Failure) {
        let status = failure.status();
        let reason = match status {
            Status::Timeout => ShutdownReason::Timeout,
            _ => ShutdownReason::Failure,
        };
        match self.phase {
            Phase::Initializing(_) => self.report_init(now, InitPhase::Init, status),
            Phase::Invoking { is_init } => {
                if is_init {
                    self.report_init(now, InitPhase::Invoke, status.clone());
                }
                self.conclude(Verdict::Failed(failure));
                self.finish_invocation(now, Some(status));
            }
            _ => {}
        }
        self.good_init = None;
        self.reset(now, reason);
    }

    fn report_init(&mut self, now: Duration, phase: InitPhase, status: Status) {
        self.push(Effect::Log(Record::InitReport {
            took: now.saturating_sub(self.init_begun),
            phase,
            status,
        }));
    }

    /// Kills the runtime at once. External extensions that want to know of it have some time.
    fn reset(&mut self, now: Duration, reason: ShutdownReason) {
        self.kill_runtime();
        let until = now + EXTERNAL_SHUTDOWN;
        let effects = self.extensions.shut_down(reason, until);
        self.effects.extend(effects);
        self.phase = Phase::Resetting(until);
        self.end_reset_in_turn(now);
    }

    fn kill_runtime(&mut self) {
        if let Some(program) = self.runtime.take().and_then(|runtime| runtime.program) {
            self.push(Effect::Signal(program, Signal::Kill));
        }
    }

    fn end_reset_in_turn(&mut self, now: Duration) {
        let Phase::Resetting(until) = self.phase else {
            return;
        };
        if self.extensions.any_running() && now < until {
            return;
        }
        let killed = self.extensions.kill_all();
        self.effects.extend(killed);
        self.push(Effect::DropCalls);
        self.rest(now, Phase::Fresh);
    }

    fn ended(&mut self, now: Duration, program: ProgramId, end: ProgramEnd) {
        let is_runtime = self
            .runtime
            .as_ref()
            .is_some_and(|runtime| runtime.program == Some(program));
        let is_extension = !is_runtime && self.extensions.ended(program);
        // Programs that were killed in a reset are not known any more.
        if !is_runtime && !is_extension {
            return;
        }
        if is_runtime {
            // What it has forked may still run.
            self.push(Effect::Signal(program, Signal::Kill));
            self.runtime = None;
        }
        match self.phase {
            _ if end == ProgramEnd::Lost => self.lost(),
            Phase::Initializing(_) | Phase::Invoking { .. } => {
                let failure = if is_runtime {
                    Failure::RuntimeEnded(end)
                } else {
                    Failure::ExtensionEnded(end)
                };
                self.fail(now, failure);
            }
            // The next invocation begins with an init.
            Phase::Idle => self.reset(now, ShutdownReason::Failure),
            Phase::Resetting(_) => self.end_reset_in_turn(now),
            Phase::ShuttingDown { .. } => self.end_shutdown_in_turn(now),
            Phase::New | Phase::Fresh | Phase::Over => {}
        }
    }

    fn time(&mut self, now: Duration) {
        if self.wake_at().is_none_or(|at| now < at) {
            return;
        }
        match self.phase {
            Phase::Initializing(_) => self.fail(now, Failure::Timeout(INIT_LIMIT)),
            Phase::Invoking { .. } => {
                let timeout = self.current.as_ref().map(|current| current.job.timeout);
                self.fail(now, Failure::Timeout(timeout.unwrap_or_default()));
            }
            Phase::Resetting(_) => self.end_reset_in_turn(now),
            Phase::ShuttingDown { until, .. } => {
                self.kill_runtime();
                if now >= until {
                    self.finish();
                } else {
                    self.end_shutdown_in_turn(now);
                }
            }
            Phase::New | Phase::Idle | Phase::Fresh | Phase::Over => {}
        }
    }

    // The end.

    fn retire(&mut self, now: Duration) {
        self.is_retiring = true;
        if !matches!(self.phase, Phase::New | Phase::Idle | Phase::Fresh) {
            return;
        }
        if self.extensions.is_empty() {
            self.finish();
            return;
        }
        let time = if self.extensions.any_external() {
            EXTERNAL_SHUTDOWN
        } else {
            INTERNAL_SHUTDOWN
        };
        let until = now + time;
        let effects = self.extensions.shut_down(ShutdownReason::Spindown, until);
        self.effects.extend(effects);
        if let Some(program) = self.runtime.as_ref().and_then(|runtime| runtime.program) {
            self.push(Effect::Signal(program, Signal::Terminate));
        }
        self.phase = Phase::ShuttingDown {
            // The runtime has 30 % of the time (facts section 3.6).
            runtime_until: now + time.mul_f64(0.3),
            until,
        };
        self.end_shutdown_in_turn(now);
    }

    fn end_shutdown_in_turn(&mut self, _now: Duration) {
        if self.runtime.is_none() && !self.extensions.any_running() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.phase = Phase::Over;
        self.push(Effect::Finished);
    }

    fn lost(&mut self) {
        if self.waiting.take().is_some() {
            self.push(Effect::Verdict(Verdict::Lost));
            self.push(Effect::InvocationOver);
        }
        if let Some(current) = self.current.take() {
            if current.status.is_none() {
                self.push(Effect::Verdict(Verdict::Lost));
            }
            self.push(Effect::InvocationOver);
        }
        self.finish();
    }
}

#[cfg(test)]
mod tests;
