//! Runs invocations: finds or starts an environment for each, and gives back its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::environment::{EnvironmentId, Environments, StartError};
use crate::failure::Failure;
use crate::figures::Figures;
use crate::invocation::{
    Answer, AnswerSource, BeforeDelivery, Invocation, InvokeError, StreamedAnswer, Throttle,
    answer_channel,
};
use crate::keeper::{Assignment, Beginning, Command, Listener, keep};
use crate::keys::{NoKeys, RoleKeys};
use crate::limits::MAX_RESPONSE_BYTES;
use crate::logs::{LogPlace, LogQueue, Logs, stream_name};
use crate::memory::MemoryLedger;
use crate::pool::{Decision, Pool, PoolLimits};
use crate::version::FunctionVersion;

/// How long an invocation waits for an environment that has answered and is not over. Usually that takes a millisecond.
const FINISHING_LIMIT: Duration = Duration::from_millis(100);

/// How often environments whose time is over are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Environments that are ended to make room for one.
const MAX_EVICTIONS: usize = 8;

/// How long a start waits for an evicted environment to be gone.
const EVICTION_LIMIT: Duration = Duration::from_secs(5);

/// What an environment's credentials must outlive: the longest invocation.
const KEYS_MARGIN: Duration = Duration::from_secs(20 * 60);

/// What an invoker is made of.
pub struct InvokerConfig {
    /// What runs environments.
    pub environments: Arc<dyn Environments>,
    /// Where logs go.
    pub logs: Arc<dyn Logs>,
    /// What issues credentials.
    pub keys: Arc<dyn RoleKeys>,
    /// What counts memory.
    pub memory: Arc<dyn MemoryLedger>,
    /// How long environments are kept.
    pub limits: PoolLimits,
}

/// Runs invocations.
#[derive(Clone)]
pub struct Invoker(Arc<Inner>);

struct Inner {
    config: InvokerConfig,
    state: Mutex<State>,
    /// An environment has become free, or is gone.
    changed: Notify,
    figures: Figures,
}

struct State {
    pool: Pool,
    keepers: HashMap<EnvironmentId, Keeping>,
    is_closing: bool,
}

struct Keeping {
    commands: mpsc::UnboundedSender<Command>,
    /// What it has taken of the ledger.
    reserved_mb: u32,
}

impl Invoker {
    /// An invoker without environments. Ends what an earlier run has left.
    pub async fn start(config: InvokerConfig) -> Self {
        config.environments.end_orphans().await;
        let config_idle = config.limits.idle;
        let state = State {
            pool: Pool::new(config.limits),
            keepers: HashMap::new(),
            is_closing: false,
        };
        let inner = Arc::new(Inner {
            config,
            state: Mutex::new(state),
            changed: Notify::new(),
            figures: Figures::default(),
        });
        let weak = Arc::downgrade(&inner);
        let period = SWEEP.min(config_idle / 2).max(Duration::from_millis(100));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(inner) = weak.upgrade() else {
                    return;
                };
                inner.sweep();
            }
        });
        Self(inner)
    }

    /// Runs an invocation and waits for the whole answer.
    ///
    /// # Errors
    ///
    /// [`InvokeError`] if it was not run, or the host failed.
    pub async fn invoke(
        &self,
        version: &Arc<FunctionVersion>,
        invocation: Invocation,
    ) -> Result<Answer, InvokeError> {
        let source = self.0.begin(version, invocation, None).await?;
        let answer = collect(source).await;
        self.0.note(version, answer.as_ref());
        answer
    }

    /// Runs an invocation as [`Invoker::invoke`] does. `before_delivery` is done before the runtime gets the event; if
    /// the invocation does not come so far, it is dropped.
    pub(crate) async fn invoke_after(
        &self,
        version: &Arc<FunctionVersion>,
        invocation: Invocation,
        before_delivery: BeforeDelivery,
    ) -> Result<Answer, InvokeError> {
        let begun = self.0.begin(version, invocation, Some(before_delivery));
        let answer = collect(begun.await?).await;
        self.0.note(version, answer.as_ref());
        answer
    }

    /// Runs an invocation and answers as soon as the function does.
    ///
    /// # Errors
    ///
    /// As [`Invoker::invoke`]. Failures of the function come at the end of the stream.
    pub async fn invoke_streaming(
        &self,
        version: &Arc<FunctionVersion>,
        invocation: Invocation,
    ) -> Result<StreamedAnswer, InvokeError> {
        let source = self.0.begin(version, invocation, None).await?;
        match source.head.await {
            Ok(content_type) => {
                self.0.figures.answered(version, false);
                Ok(StreamedAnswer {
                    content_type,
                    chunks: source.chunks,
                    end: source.end,
                })
            }
            // Without a head there is no answer but an error.
            Err(_) => {
                let answer = ended(source.end).await;
                self.0.note(version, answer.as_ref());
                let (end, source_end) = oneshot::channel();
                drop(end.send(Ok(answer?)));
                Ok(StreamedAnswer {
                    content_type: None,
                    chunks: source.chunks,
                    end: source_end,
                })
            }
        }
    }

    /// Ends all environments of a function that is gone, each when it is idle.
    pub fn forget(&self, function_arn: &str) {
        let retired = self.0.state().pool.retire_all(Some(function_arn));
        self.0.retire(&retired);
    }

    /// Ends all environments, each when it is idle, and takes no further invocation. Waits at most this long.
    pub async fn close(&self, limit: Duration) {
        let retired = {
            let mut state = self.0.state();
            state.is_closing = true;
            state.pool.retire_all(None)
        };
        self.0.retire(&retired);
        let gone = self.0.until(|state| state.keepers.is_empty());
        drop(tokio::time::timeout(limit, gone).await);
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// Environments that are there, those of them that are idle, and invocations that run.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, u32) {
        let state = self.0.state();
        let (all, idle) = state.pool.counts();
        (all, idle, state.pool.admission.running())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the pool as it was: each change is one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Places an invocation. Returns where its answer comes from.
    async fn begin(
        self: &Arc<Self>,
        version: &Arc<FunctionVersion>,
        invocation: Invocation,
        before_delivery: Option<BeforeDelivery>,
    ) -> Result<AnswerSource, InvokeError> {
        let decision = self.place(version).await;
        let throttled = |throttle| {
            self.figures.throttled(version, throttle);
            InvokeError::Throttled(throttle)
        };
        let (sink, source) = answer_channel();
        let assignment = Box::new(Assignment {
            invocation,
            before_delivery,
            sink,
        });
        match decision? {
            Decision::Reuse(id) => self.tell(id, Command::Invoke(assignment)),
            Decision::Start(id) => {
                let (commands, queue) = mpsc::unbounded_channel();
                // Before the start: whoever retires it meanwhile tells this queue.
                drop(commands.send(Command::Invoke(assignment)));
                let keeping = Keeping {
                    commands,
                    reserved_mb: 0,
                };
                self.state().keepers.insert(id, keeping);
                // A task of its own: it goes on if the caller has gone, as on AWS.
                tokio::spawn(Arc::clone(self).start(id, Arc::clone(version), queue));
            }
            Decision::Refuse(throttle) => return Err(throttled(throttle)),
            // Place answers this only while it waits.
            Decision::Wait => return Err(throttled(Throttle::Account)),
        }
        Ok(source)
    }

    async fn place(&self, version: &Arc<FunctionVersion>) -> Result<Decision, InvokeError> {
        let counted = {
            let mut state = self.state();
            if state.is_closing {
                return Err(InvokeError::Closing);
            }
            state.pool.admission.count(version, Instant::now())
        };
        if let Err(throttle) = counted {
            return Ok(Decision::Refuse(throttle));
        }
        let deadline = tokio::time::Instant::now() + FINISHING_LIMIT;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let may_wait = tokio::time::Instant::now() < deadline;
            let now = Instant::now();
            let id = EnvironmentId::random();
            let (decision, retired) = self.state().pool.place(version, id, may_wait, now);
            self.retire(&retired);
            if decision != Decision::Wait {
                return Ok(decision);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    fn tell(&self, id: EnvironmentId, command: Command) {
        let state = self.state();
        if let Some(keeping) = state.keepers.get(&id) {
            // One that has ended answers what is in its queue; dropping the command fails the caller.
            drop(keeping.commands.send(command));
        }
    }

    fn retire(&self, ids: &[EnvironmentId]) {
        for id in ids {
            self.tell(*id, Command::Retire);
        }
    }

    fn sweep(&self) {
        let retired = self.state().pool.sweep(Instant::now());
        self.retire(&retired);
    }

    // Environments.

    async fn start(
        self: Arc<Self>,
        id: EnvironmentId,
        version: Arc<FunctionVersion>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        match self.begin_environment(id, &version).await {
            Ok(beginning) => {
                let listener = Arc::clone(&self) as Arc<dyn Listener>;
                keep(beginning, listener, commands).await;
            }
            Err(error) => {
                commands.close();
                while let Ok(command) = commands.try_recv() {
                    if let Command::Invoke(mut assignment) = command
                        && let Some(end) = assignment.sink.end.take()
                    {
                        drop(end.send(Err(error.clone())));
                    }
                }
                self.finished(id);
            }
        }
    }

    async fn begin_environment(
        &self,
        id: EnvironmentId,
        version: &Arc<FunctionVersion>,
    ) -> Result<Beginning, InvokeError> {
        let keys = self.config.keys.issue(version).await;
        let keys = keys.map_err(|error| match error {
            NoKeys::NotAssumable => InvokeError::Role,
            NoKeys::Unavailable(text) => InvokeError::Broken(text),
        })?;
        let valid_for = keys.valid_for.saturating_sub(KEYS_MARGIN);
        let until = Instant::now() + valid_for;
        self.state().pool.end_by(id, until);
        let environment = self.start_with_room(id, version).await?;
        let spec = &version.spec;
        let log_stream = stream_name(
            &spec.function_name,
            &spec.version,
            &version.logging.group,
            &id.to_string(),
            jiff::Timestamp::now(),
        );
        let place = LogPlace {
            account: spec.account.clone(),
            region: spec.region.clone(),
            group: version.logging.group.clone(),
            stream: log_stream.clone(),
        };
        self.figures.started(version);
        Ok(Beginning {
            id,
            version: Arc::clone(version),
            environment,
            keys,
            log: LogQueue::start(Arc::clone(&self.config.logs), place),
            log_stream,
        })
    }

    /// Starts an environment. If there is no room, idle ones end for it.
    async fn start_with_room(
        &self,
        id: EnvironmentId,
        version: &FunctionVersion,
    ) -> Result<Arc<dyn crate::Environment>, InvokeError> {
        let spec = &version.spec;
        for _ in 0..=MAX_EVICTIONS {
            let started = if self.config.memory.reserve(spec.memory_mb) {
                let started = self.config.environments.start(id, Arc::clone(spec)).await;
                if started.is_err() {
                    self.config.memory.release(spec.memory_mb);
                }
                started
            } else {
                Err(StartError::NoRoom)
            };
            match started {
                Ok(environment) => {
                    if let Some(keeping) = self.state().keepers.get_mut(&id) {
                        keeping.reserved_mb = spec.memory_mb;
                    }
                    return Ok(environment);
                }
                Err(StartError::NoRoom) => {}
                Err(StartError::Broken(text)) => return Err(InvokeError::Broken(text)),
                Err(other) => return Err(InvokeError::Unusable(other.to_string())),
            }
            let Some(evicted) = self.state().pool.evict() else {
                break;
            };
            self.retire(&[evicted]);
            let gone = self.until(|state| !state.keepers.contains_key(&evicted));
            drop(tokio::time::timeout(EVICTION_LIMIT, gone).await);
        }
        self.figures.throttled(version, Throttle::Host);
        Err(InvokeError::Throttled(Throttle::Host))
    }

    fn note(&self, version: &FunctionVersion, answer: Result<&Answer, &InvokeError>) {
        let failed = answer.is_ok_and(|answer| answer.function_error.is_some());
        self.figures.answered(version, failed);
    }
}

impl Listener for Inner {
    fn answered(&self, id: EnvironmentId) {
        self.state().pool.answered(id);
    }

    fn ready(&self, id: EnvironmentId) {
        let is_over = self.state().pool.ready(id, Instant::now());
        if is_over {
            self.tell(id, Command::Retire);
        }
        self.changed.notify_waiters();
    }

    fn finished(&self, id: EnvironmentId) {
        let keeping = {
            let mut state = self.state();
            state.pool.finished(id);
            state.keepers.remove(&id)
        };
        if let Some(keeping) = keeping {
            self.config.memory.release(keeping.reserved_mb);
        }
        self.changed.notify_waiters();
    }
}

/// Waits for all of an answer.
async fn collect(mut source: AnswerSource) -> Result<Answer, InvokeError> {
    let mut streamed = BytesMut::new();
    let mut is_too_large = false;
    while let Some(chunk) = source.chunks.recv().await {
        if streamed.len() + chunk.len() > MAX_RESPONSE_BYTES {
            is_too_large = true;
            // The function goes on; nobody takes the rest.
            break;
        }
        streamed.extend_from_slice(&chunk);
    }
    drop(source.chunks);
    let mut answer = ended(source.end).await?;
    if is_too_large {
        answer.payload = Failure::TooLarge.payload("");
        answer.function_error = Some(Failure::TooLarge.error_type());
    } else if answer.function_error.is_none() && !streamed.is_empty() {
        answer.payload = streamed.freeze();
    }
    Ok(answer)
}

/// The end of an answer. If nobody tells it, the task of the environment has panicked.
async fn ended(end: oneshot::Receiver<Result<Answer, InvokeError>>) -> Result<Answer, InvokeError> {
    let lost = || InvokeError::Broken("the environment was lost".to_owned());
    end.await.unwrap_or_else(|_| Err(lost()))
}

/// The whole answer of a function that does not stream, as one chunk.
#[must_use]
pub fn whole_chunk(answer: &Answer) -> Option<Bytes> {
    let is_good = answer.function_error.is_none() && !answer.payload.is_empty();
    is_good.then(|| answer.payload.clone())
}
