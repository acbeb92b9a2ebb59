//! The task that alone owns one environment: it steps [`Life`] and does what that says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::{ApiCalls, Asked, Delivery, ExtensionDelivery, Replied, serve};
use crate::environment::{
    Environment, EnvironmentId, Program, ProgramEnd, ProgramId, ProgramKind, Signal, SpawnError,
};
use crate::invocation::{Answer, AnswerSink, BeforeDelivery, Invocation, InvokeError};
use crate::keys::Keys;
use crate::life::{ApiRefusal, CallId, Effect, Input, Job, Life, Reply, ShutdownReason, Verdict};
use crate::logs::{LogQueue, Pump};
use crate::records::{Record, render};
use crate::variables::{self, Surroundings};
use crate::version::FunctionVersion;

/// Calls of an environment that wait for its task. Its programs wait beyond.
const CALL_QUEUE: usize = 16;

/// How long the host may take for one step. A guest that takes longer is lost: nothing else would ever end the wait.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// How long the report of an invocation waits for figures and output.
const REPORT_LIMIT: Duration = Duration::from_millis(200);

/// What an environment's owner hears of it.
pub(crate) trait Listener: Send + Sync + 'static {
    /// The caller has the answer; the invocation is not over.
    fn answered(&self, id: EnvironmentId);
    /// It can take an invocation.
    fn ready(&self, id: EnvironmentId);
    /// Nothing of it is left.
    fn finished(&self, id: EnvironmentId);
}

/// What the owner asks of an environment.
pub(crate) enum Command {
    /// Run this. Only while nothing else runs.
    Invoke(Box<Assignment>),
    /// End as soon as nothing runs.
    Retire,
}

/// An invocation and where its answer goes.
pub(crate) struct Assignment {
    pub(crate) invocation: Invocation,
    /// What is to be done before the runtime gets the event.
    pub(crate) before_delivery: Option<BeforeDelivery>,
    pub(crate) sink: AnswerSink,
}

/// What a keeper begins with.
pub(crate) struct Beginning {
    pub(crate) id: EnvironmentId,
    pub(crate) version: Arc<FunctionVersion>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) keys: Keys,
    pub(crate) log: LogQueue,
    pub(crate) log_stream: String,
}

struct Keeper {
    begun: Beginning,
    listener: Arc<dyn Listener>,
    life: Life,
    born: Instant,
    born_ms: i64,
    replies: HashMap<CallId, oneshot::Sender<Replied>>,
    next_call: u64,
    drops: mpsc::Sender<()>,
    pumps: Vec<Pump>,
    ends: FuturesUnordered<ProgramEnding>,
    assignment: Option<Assignment>,
    /// The verdict of an invocation whose caller waits for the end of the log.
    verdict: Option<Verdict>,
    rest: Rest,
}

type ProgramEnding = std::pin::Pin<Box<dyn Future<Output = (ProgramId, ProgramEnd)> + Send>>;

/// Whether the vCPUs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// They run.
    Awake,
    /// They run, and there is nothing to do.
    Tired,
    /// They stand still.
    Paused,
    /// There is nothing left.
    Over,
}

/// Owns an environment until it has ended.
pub(crate) async fn keep(
    begun: Beginning,
    listener: Arc<dyn Listener>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let (asked_sender, mut asked) = mpsc::channel(CALL_QUEUE);
    let (drops, dropped) = mpsc::channel(1);
    let api = tokio::spawn(serve(
        Arc::clone(&begun.environment),
        ApiCalls::new(asked_sender),
        dropped,
    ));
    let mut keeper = Keeper::new(begun, listener, drops);
    keeper.begin().await;
    keeper.run(&mut commands, &mut asked).await;
    api.abort();
    keeper.end(&mut commands).await;
}

impl Keeper {
    fn new(begun: Beginning, listener: Arc<dyn Listener>, drops: mpsc::Sender<()>) -> Self {
        Self {
            begun,
            listener,
            life: Life::new(),
            born: Instant::now(),
            born_ms: jiff::Timestamp::now().as_millisecond(),
            replies: HashMap::new(),
            next_call: 0,
            drops,
            pumps: Vec::new(),
            ends: FuturesUnordered::new(),
            assignment: None,
            verdict: None,
            rest: Rest::Awake,
        }
    }

    async fn begin(&mut self) {
        let extensions = self.begun.environment.extensions();
        match timeout(STEP_LIMIT, extensions).await {
            Ok(Ok(names)) => self.step(Input::Begin(names)).await,
            Ok(Err(error)) => self.lost(&error).await,
            Err(error) => self.lost(&error).await,
        }
    }

    /// The host or the guest does not do its part: nothing else would ever end the environment.
    async fn lost(&mut self, reason: &(dyn std::fmt::Display + Sync)) {
        tracing::warn!(id = %self.begun.id, %reason, "an environment is lost");
        self.step(Input::Lost).await;
    }

    async fn run(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        asked: &mut mpsc::Receiver<Asked>,
    ) {
        while self.rest != Rest::Over {
            if self.rest == Rest::Tired {
                self.fall_asleep(commands).await;
                continue;
            }
            let wake_at = self.life.wake_at().map(|at| self.born + at);
            let due = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => self.step(Input::Time).await,
                command = commands.recv() => self.command(command).await,
                Some((program, end)) = self.ends.next() => {
                    self.step(Input::Ended(program, end)).await;
                }
                Some(asked) = asked.recv() => self.asked(asked).await,
            }
        }
    }

    /// Stops the vCPUs, unless the next invocation is there already.
    async fn fall_asleep(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) {
        tokio::task::yield_now().await;
        self.rest = Rest::Awake;
        match commands.try_recv() {
            Ok(command) => self.command(Some(command)).await,
            Err(mpsc::error::TryRecvError::Disconnected) => self.command(None).await,
            Err(mpsc::error::TryRecvError::Empty) => {
                let paused = timeout(STEP_LIMIT, self.begun.environment.pause()).await;
                self.rest = Rest::Paused;
                if let Err(error) = paused {
                    self.lost(&error).await;
                }
            }
        }
    }

    async fn wake(&mut self) {
        let was_paused = std::mem::replace(&mut self.rest, Rest::Awake) == Rest::Paused;
        if was_paused {
            let unpaused = timeout(STEP_LIMIT, self.begun.environment.unpause()).await;
            if let Err(error) = unpaused {
                self.lost(&error).await;
            }
        }
    }

    async fn command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Invoke(assignment)) => {
                self.wake().await;
                self.note_gone_calls().await;
                let job = Job {
                    request_id: assignment.invocation.request_id.clone(),
                    timeout: self.begun.version.timeout,
                };
                self.assignment = Some(*assignment);
                self.step(Input::Invoke(job)).await;
            }
            // The owner has gone: the service ends.
            Some(Command::Retire) | None => {
                if self.life.has_extensions() {
                    self.wake().await;
                }
                self.step(Input::Retire).await;
            }
        }
    }

    /// Programs whose connection has broken do not wait any more.
    async fn note_gone_calls(&mut self) {
        let gone = self.replies.iter().filter(|(_, reply)| reply.is_closed());
        let gone: Vec<CallId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.replies.remove(&id);
            self.step(Input::CallGone(id)).await;
        }
    }

    async fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Call(call, reply) => {
                self.next_call += 1;
                let id = CallId(self.next_call);
                self.replies.insert(id, reply);
                self.step(Input::Call(id, call)).await;
            }
            Asked::StreamEnded(number, end) => {
                self.step(Input::StreamEnded(CallId(number), end)).await;
            }
            Asked::Lost => self.step(Input::Lost).await,
        }
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    async fn step(&mut self, input: Input) {
        let mut effects = VecDeque::from(self.life.step(self.now(), input));
        while let Some(effect) = effects.pop_front() {
            if let Some(input) = self.perform(effect).await {
                effects.extend(self.life.step(self.now(), input));
            }
        }
    }

    /// Does one thing. Returns what came of it.
    async fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Spawn(kind) => return Some(self.spawn(kind).await),
            Effect::Signal(program, signal) => return self.signal(program, signal).await,
            Effect::Reply(id, reply) => {
                self.before(&reply).await;
                self.reply(id, reply);
            }
            Effect::DropCalls => {
                self.replies.clear();
                // If one is on its way already, no connection came between.
                let _ = self.drops.try_send(());
            }
            Effect::Log(record) => self.log(record).await,
            Effect::Verdict(verdict) => self.verdict(verdict),
            Effect::InvocationOver => self.invocation_over(),
            Effect::Ready => {
                self.rest = Rest::Tired;
                self.listener.ready(self.begun.id);
            }
            Effect::Finished => self.rest = Rest::Over,
        }
        None
    }

    async fn spawn(&mut self, kind: ProgramKind) -> Input {
        let runtime_api = self.begun.environment.runtime_api();
        let around = Surroundings {
            runtime_api: &runtime_api,
            log_stream: &self.begun.log_stream,
            keys: &self.begun.keys,
        };
        let variables = match &kind {
            ProgramKind::Bootstrap => variables::of_bootstrap(&self.begun.version, &around),
            ProgramKind::Extension(_) => variables::of_extension(&self.begun.version, &around),
        };
        let program = Program {
            kind: kind.clone(),
            variables,
        };
        match timeout(STEP_LIMIT, self.begun.environment.spawn(program)).await {
            Ok(Ok(running)) => {
                self.pumps.retain(|pump| !pump.is_over());
                self.pumps.push(self.begun.log.pump(running.output));
                let (id, end) = (running.id, running.end);
                self.ends.push(Box::pin(async move {
                    (id, end.await.unwrap_or(ProgramEnd::Lost))
                }));
                Input::Spawned(kind, id)
            }
            Ok(Err(error)) => Input::NotSpawned(kind, error),
            Err(_) => {
                let text = "it did not start a program in time".to_owned();
                Input::NotSpawned(kind, SpawnError::Lost(text))
            }
        }
    }

    async fn signal(&mut self, program: ProgramId, signal: Signal) -> Option<Input> {
        let sent = timeout(STEP_LIMIT, self.begun.environment.signal(program, signal)).await;
        sent.err().map(|_| Input::Lost)
    }

    // Replies.

    /// Does what the caller wants done before the runtime gets the event.
    async fn before(&mut self, reply: &Reply) {
        let assignment = self.assignment.as_mut();
        let before = assignment.and_then(|assignment| {
            assignment
                .before_delivery
                .take_if(|_| *reply == Reply::Event)
        });
        if let Some(before) = before {
            before.await;
        }
    }

    fn reply(&mut self, id: CallId, reply: Reply) {
        let replied = self.replied(id, reply);
        if let Some(waiting) = self.replies.remove(&id) {
            // Who does not wait any more has gone; its connection or its end says so.
            drop(waiting.send(replied));
        }
    }

    fn replied(&mut self, id: CallId, reply: Reply) -> Replied {
        let over = Replied::Refused(ApiRefusal::Over);
        match reply {
            Reply::Accepted => Replied::Accepted,
            Reply::Refused(refusal) => Replied::Refused(refusal),
            Reply::Registered(identifier) => {
                let spec = &self.begun.version.spec;
                Replied::Registered {
                    identifier,
                    function_name: spec.function_name.clone(),
                    function_version: spec.version.clone(),
                    handler: spec.handler.clone(),
                    account: spec.account.clone(),
                }
            }
            Reply::Event => self.delivery().map_or(over, Replied::Event),
            Reply::Stream => match self.assignment.as_mut() {
                Some(Assignment { sink, .. }) => match sink.chunks.take() {
                    Some(chunks) => Replied::Stream {
                        number: id.0,
                        head: sink.head.take(),
                        chunks,
                    },
                    None => over,
                },
                None => over,
            },
            Reply::ExtensionInvoke => self.invoke_event().map_or(over, Replied::Extension),
            Reply::ExtensionShutdown(reason, until) => {
                Replied::Extension(self.shutdown_event(reason, until))
            }
        }
    }

    fn deadline_ms(&self, at: Duration) -> i64 {
        self.born_ms
            .saturating_add(i64::try_from(at.as_millis()).unwrap_or(i64::MAX))
    }

    fn delivery(&self) -> Option<Delivery> {
        let invocation = &self.assignment.as_ref()?.invocation;
        Some(Delivery {
            request_id: invocation.request_id.clone(),
            deadline_ms: self.deadline_ms(self.life.deadline()?),
            invoked_arn: invocation.invoked_arn.clone(),
            trace_id: invocation.trace_id.clone(),
            client_context: invocation.client_context.clone(),
            tenant: self.begun.version.spec.tenant.clone(),
            payload: invocation.payload.clone(),
        })
    }

    fn invoke_event(&self) -> Option<ExtensionDelivery> {
        let invocation = &self.assignment.as_ref()?.invocation;
        let body = json!({
            "eventType": "INVOKE",
            "deadlineMs": self.deadline_ms(self.life.deadline()?),
            "requestId": invocation.request_id,
            "invokedFunctionArn": invocation.invoked_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
        });
        Some(ExtensionDelivery {
            event_id: uuid::Uuid::new_v4().to_string(),
            body,
        })
    }

    fn shutdown_event(&self, reason: ShutdownReason, until: Duration) -> ExtensionDelivery {
        ExtensionDelivery {
            event_id: uuid::Uuid::new_v4().to_string(),
            body: json!({
                "eventType": "SHUTDOWN",
                "shutdownReason": reason.name(),
                "deadlineMs": self.deadline_ms(until),
            }),
        }
    }

    // Log and answer.

    async fn log(&mut self, record: Record) {
        let mut peak = None;
        match &record {
            Record::Start(_) => self.begun.log.begin_tail(),
            // What the programs wrote comes before.
            Record::End(_) | Record::InitReport { .. } => {
                let flushed = self.begun.environment.flush_output();
                drop(timeout(REPORT_LIMIT, flushed).await);
                for pump in &self.pumps {
                    pump.flush().await;
                }
            }
            Record::Report(_) => {
                let used = self.begun.environment.peak_memory_bytes();
                peak = timeout(REPORT_LIMIT, used).await.ok().flatten();
            }
            _ => {}
        }
        let now = jiff::Timestamp::now();
        if let Some(text) = render(&record, &self.begun.version, peak, now) {
            self.begun.log.say(text);
        }
    }

    fn verdict(&mut self, verdict: Verdict) {
        let Some(assignment) = &mut self.assignment else {
            return;
        };
        if let Verdict::Response { content_type, .. } = &verdict
            && let Some(head) = assignment.sink.head.take()
        {
            drop(head.send(content_type.clone()));
        }
        // No chunk comes any more, except those under way.
        assignment.sink.chunks = None;
        if assignment.invocation.wants_log_tail {
            self.verdict = Some(verdict);
        } else {
            self.tell(verdict, None);
        }
        self.listener.answered(self.begun.id);
    }

    fn invocation_over(&mut self) {
        if let Some(verdict) = self.verdict.take() {
            let tail = self.begun.log.tail_bytes();
            self.tell(verdict, Some(tail));
        }
        self.assignment = None;
    }

    fn tell(&mut self, verdict: Verdict, log_tail: Option<Vec<u8>>) {
        let Some(assignment) = &mut self.assignment else {
            return;
        };
        let answer = |payload, function_error| {
            Ok(Answer {
                payload,
                function_error,
                log_tail,
            })
        };
        let told = match verdict {
            Verdict::Response { body, .. } => answer(body, None),
            Verdict::Streamed => answer(bytes::Bytes::new(), None),
            Verdict::Failed(failure) => answer(
                failure.payload(&assignment.invocation.request_id),
                Some(failure.error_type()),
            ),
            Verdict::Lost => Err(InvokeError::Broken("the environment was lost".to_owned())),
        };
        if let Some(end) = assignment.sink.end.take() {
            // The caller may have gone. The invocation counts all the same.
            drop(end.send(told));
        }
    }

    async fn end(mut self, commands: &mut mpsc::UnboundedReceiver<Command>) {
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let Command::Invoke(assignment) = command {
                self.assignment = Some(*assignment);
                self.tell(Verdict::Lost, None);
            }
        }
        let ended = timeout(STEP_LIMIT, self.begun.environment.end()).await;
        if ended.is_err() {
            tracing::error!(id = %self.begun.id, "an environment does not end");
        }
        self.listener.finished(self.begun.id);
    }
}
