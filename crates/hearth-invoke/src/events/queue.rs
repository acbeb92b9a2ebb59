//! The queue of events: stores them, and runs those that are due.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::request::{EventRequest, EventTarget};
use super::schedule::{Attempt, Delays, Next, Tried, after, may_begin};
use super::store::{EventStore, StoreError, StoredEvent};
use crate::invocation::{Invocation, InvokeError, Throttle};
use crate::invoker::Invoker;
use crate::version::{EventRetries, FunctionVersion};

/// Events that run at one time. Further ones wait in the store. Concurrency is limited by the functions' own limits.
const MAX_RUNNING: usize = 64;

/// How long the queue sleeps when nothing is due. New events wake it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The pause after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Looks up versions of functions.
#[async_trait]
pub trait EventSource: Send + Sync + 'static {
    /// The version behind a target now.
    ///
    /// # Errors
    ///
    /// [`ResolveError`] says whether it is worth to ask again.
    async fn resolve(&self, target: &EventTarget) -> Result<Arc<FunctionVersion>, ResolveError>;
}

/// Why there is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The function, version or alias does not exist any more.
    #[error("the function is gone")]
    Gone,
    /// Not now: it is pending, or the store failed.
    #[error("{0}")]
    NotNow(String),
}

/// Why an event was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The account has too many events that wait.
    #[error("too many events wait")]
    Full,
    /// The store failed.
    #[error("the event was not stored: {0}")]
    Store(String),
}

/// What a queue is made of.
pub struct EventQueueConfig {
    /// The file that events are stored in.
    pub path: PathBuf,
    /// The delays before further attempts.
    pub delays: Delays,
    /// What runs events.
    pub invoker: Invoker,
    /// What looks up versions.
    pub source: Arc<dyn EventSource>,
}

/// The queue.
#[derive(Clone)]
pub struct EventQueue(Arc<Inner>);

struct Inner {
    store: EventStore,
    delays: Delays,
    invoker: Invoker,
    source: Arc<dyn EventSource>,
    submitted: Notify,
}

impl EventQueue {
    /// Opens the queue and takes up the events of earlier runs.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Store`] if the file cannot be used.
    pub fn start(config: EventQueueConfig) -> Result<Self, SubmitError> {
        let store = EventStore::open(&config.path);
        let store = store.map_err(|error| SubmitError::Store(error.to_string()))?;
        let inner = Arc::new(Inner {
            store,
            delays: config.delays,
            invoker: config.invoker,
            source: config.source,
            submitted: Notify::new(),
        });
        tokio::spawn(Arc::clone(&inner).run());
        Ok(Self(inner))
    }

    /// Stores an event. When this returns, it will be tried, even if the service is killed.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] says whether the account has too many, or the store failed.
    pub async fn submit(&self, request: EventRequest) -> Result<(), SubmitError> {
        match self.0.store.add(request, now_ms()).await {
            Ok(()) => {
                self.0.submitted.notify_one();
                Ok(())
            }
            Err(StoreError::Full) => Err(SubmitError::Full),
            Err(error) => Err(SubmitError::Store(format!("{error:?}"))),
        }
    }
}

impl Inner {
    async fn run(self: Arc<Self>) {
        let mut running: JoinSet<i64> = JoinSet::new();
        let mut under_way: HashSet<i64> = HashSet::new();
        loop {
            let wait = match self.begin_due(&mut running, &mut under_way).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(?error, "events cannot be read");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.submitted.notified() => {}
                Some(ended) = running.join_next() => match ended {
                    Ok(id) => drop(under_way.remove(&id)),
                    // A panic: which one is not known, so all that do not run are looked at again.
                    Err(_) if running.is_empty() => under_way.clear(),
                    Err(_) => {}
                },
            }
        }
    }

    /// Begins what is due. Returns how long to wait.
    async fn begin_due(
        self: &Arc<Self>,
        running: &mut JoinSet<i64>,
        under_way: &mut HashSet<i64>,
    ) -> Result<Duration, StoreError> {
        let room = MAX_RUNNING.saturating_sub(running.len());
        if room == 0 {
            return Ok(LONGEST_SLEEP);
        }
        let known = under_way.iter().copied().collect();
        let due = self.store.due(now_ms(), known, room).await?;
        if due.is_empty() && under_way.is_empty() {
            let next = self.store.next_due_ms().await?;
            let wait_ms = next.map_or(i64::MAX, |due_ms| due_ms.saturating_sub(now_ms()).max(1));
            let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(1));
            return Ok(wait.min(LONGEST_SLEEP));
        }
        for event in due {
            under_way.insert(event.id);
            running.spawn(Arc::clone(self).attempt(event));
        }
        // What waits for later may become due while others run.
        Ok(STORE_PAUSE)
    }

    /// Tries an event once. Returns its id.
    async fn attempt(self: Arc<Self>, event: StoredEvent) -> i64 {
        let id = event.id;
        if let Err(error) = self.try_once(event).await {
            tracing::error!(?error, "an event cannot be written");
            // It stays as it is, and is tried again.
            tokio::time::sleep(STORE_PAUSE).await;
        }
        id
    }

    async fn try_once(self: &Arc<Self>, event: StoredEvent) -> Result<(), StoreError> {
        let version = match self.source.resolve(&event.request.target).await {
            Ok(version) => version,
            Err(ResolveError::Gone) => return self.give_up(&event, "FunctionGone").await,
            Err(ResolveError::NotNow(text)) => {
                tracing::info!(text, "an event waits for its function");
                let retries = EventRetries::default();
                return self.conclude(event, Attempt::Postponed, retries).await;
            }
        };
        if let Err(reason) = may_begin(event.attempts, age(&event), version.retries) {
            return self.give_up(&event, reason).await;
        }
        let invocation = Invocation {
            request_id: event.request.request_id.clone(),
            invoked_arn: event.request.invoked_arn.clone(),
            payload: event.request.payload.clone(),
            client_context: None,
            trace_id: event.request.trace_id.clone(),
            wants_log_tail: false,
        };
        let written = Arc::clone(self).write_attempt(event.id);
        let invoked = self
            .invoker
            .invoke_after(&version, invocation, Box::pin(written));
        let attempt = match invoked.await {
            Ok(answer) if answer.function_error.is_some() => Attempt::FunctionError,
            Ok(_) => Attempt::Good,
            Err(InvokeError::Throttled(Throttle::Reserved))
                if version.reserved_concurrency == Some(0) =>
            {
                Attempt::Hopeless
            }
            Err(error) => {
                tracing::info!(%error, "an event is tried again later");
                Attempt::Postponed
            }
        };
        self.conclude(event, attempt, version.retries).await
    }

    /// Writes down that the runtime gets the event: from then on the attempt counts.
    async fn write_attempt(self: Arc<Self>, id: i64) {
        if let Err(error) = self.store.begin_attempt(id).await {
            tracing::error!(
                ?error,
                "an attempt was not written down; a crash would repeat it"
            );
        }
    }

    async fn conclude(
        &self,
        event: StoredEvent,
        attempt: Attempt,
        retries: EventRetries,
    ) -> Result<(), StoreError> {
        let is_postponed = attempt == Attempt::Postponed;
        let tried = Tried {
            attempts: event.attempts + u32::from(!is_postponed),
            postponements: event.postponements + u32::from(is_postponed),
            age: age(&event),
        };
        match after(attempt, tried, retries, self.delays) {
            Next::Done => self.store.remove(event.id).await,
            Next::GiveUp(reason) => self.give_up(&event, reason).await,
            Next::Again(delay) => {
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                let due_ms = now_ms().saturating_add(delay_ms);
                let (attempts, postponements) = (tried.attempts, tried.postponements);
                let postponed = self
                    .store
                    .postpone(event.id, due_ms, attempts, postponements);
                postponed.await
            }
        }
    }

    /// Destinations would be told here.
    async fn give_up(&self, event: &StoredEvent, reason: &str) -> Result<(), StoreError> {
        let request = &event.request;
        tracing::warn!(
            reason,
            function = request.invoked_arn,
            request_id = request.request_id,
            "an event was given up"
        );
        self.store.remove(event.id).await
    }
}

fn age(event: &StoredEvent) -> Duration {
    let ms = now_ms().saturating_sub(event.received_ms);
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
