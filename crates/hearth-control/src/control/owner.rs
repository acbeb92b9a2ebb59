//! The task that owns one living microVM.
//!
//! Only this task changes the microVM. Callers, the host and the clock reach it as commands, outcomes and deadlines.
//! Each becomes an event of the pure state machine. The result is written to the store before it is acted on, so a
//! crash in between repeats an operation and never loses one.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::Shared;
use super::ledger::{Allocation, Residency};
use super::mailbox::{Mailbox, Reply};
use super::retry::until_done;
use crate::endpoint::EndpointLease;
use crate::host::Presence;
use crate::id::MicrovmId;
use crate::life::{Life, Phase, Wish};
use crate::machine::microvm::{
    Denial, Event, Terms, Timer, Transition, adopt, deadline, may_give_way, step,
};
use crate::microvm::{Activity, LaunchTerms, Microvm, RunInput};
use crate::refusal::{ControlError, Refusal};
use crate::start_times::{StartKind, StartRecorder};
use crate::store::{Batch, Change, Intent, IntentSubject, StoreError};
use crate::time::{Clock, Timestamp};

mod counts;
mod work;

pub(super) use work::REASON_FORK_FAILED;
use work::Work;

/// The commands of an owner.
pub(super) enum Command {
    /// A caller asks for a change. Answered once the change is durable.
    Ask(Ask, Reply<()>),
    /// A child's wish to begin where it is, answered once what it begins from is durable.
    Seal(SealRequest),
    /// Memory is short: to be suspended if it may be. Answers whether it is on its way.
    GiveWay(Reply<bool>),
    /// What shall count as activity, answered once it is durable.
    SetActivity(Activity, Reply<()>),
    /// The host reports that the instance ended, with the reason.
    Ended(String),
    /// What the host had of the instance at that moment.
    Observed(Option<Presence>, Timestamp),
}

/// The changes that a caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Suspend,
    Resume,
    Terminate,
}

/// A child's request for a layer.
pub(super) struct SealRequest {
    child: MicrovmId,
    reply: Reply<()>,
}

/// Sends commands to an owner, and reads its microVM.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: Mailbox<Command>,
    view: watch::Receiver<Microvm>,
    activity: Arc<AtomicI64>,
    start: Arc<StartRecorder>,
}

impl Handle {
    /// Asks for a change. `None` if the owner has ended.
    pub(super) async fn ask(&self, ask: Ask) -> Option<Result<(), ControlError>> {
        let command = |reply| Command::Ask(ask, reply);
        self.mailbox.ask(command).await
    }

    /// Has the microVM sealed for a child. `None` if the owner ended before that was done.
    pub(super) async fn seal(&self, child: MicrovmId) -> Option<Result<(), ControlError>> {
        let command = |reply| Command::Seal(SealRequest { child, reply });
        self.mailbox.ask(command).await
    }

    /// Has the microVM suspended because memory is short, if it may be; `None` when the owner has ended meanwhile.
    pub(super) async fn give_way(&self) -> Option<Result<bool, ControlError>> {
        self.mailbox.ask(Command::GiveWay).await
    }

    /// Says what counts as activity; `None` when the owner has ended meanwhile.
    pub(super) async fn set_activity(
        &self,
        activity: Activity,
    ) -> Option<Result<(), ControlError>> {
        let command = |reply| Command::SetActivity(activity, reply);
        self.mailbox.ask(command).await
    }

    /// Sends a command, waiting for room in the mailbox.
    pub(super) async fn tell(&self, command: Command) {
        self.mailbox.tell(command).await;
    }

    /// Reports what the host has of the instance. Best effort: dropped if the owner is busy, as the next pass reports
    /// it again.
    pub(super) fn observe(&self, found: Option<Presence>, at: Timestamp) {
        self.mailbox.try_tell(Command::Observed(found, at));
    }

    /// The microVM as it was last written.
    pub(super) fn view(&self) -> watch::Receiver<Microvm> {
        self.view.clone()
    }

    /// The step times of the last start.
    pub(super) fn start(&self) -> &StartRecorder {
        &self.start
    }

    /// When it was last active, or began to run.
    pub(super) fn idle_since(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.activity.load(Ordering::Relaxed))
    }

    /// Notes that it is active now.
    pub(super) fn touch(&self, now: Timestamp) {
        self.activity.fetch_max(now.unix_ms(), Ordering::Relaxed);
    }
}

/// The shares that a living microVM holds. Each is returned by dropping it.
pub(super) struct Holdings {
    pub(super) _allocation: Allocation,
    pub(super) residency: Option<Residency>,
    pub(super) _endpoint: EndpointLease,
}

/// How an owner begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With a record that was just written.
    Launch,
    /// With a record from before a restart, and what the host has of the instance.
    Restart(Option<Presence>),
}

/// The task that owns one microVM.
struct Owner {
    shared: Arc<Shared>,
    microvm: Microvm,
    holdings: Option<Holdings>,
    mailbox: mpsc::Receiver<Command>,
    view: watch::Sender<Microvm>,
    /// When it was last active: by a byte through the endpoint, by what else counts of it, or as it began to run. That its child was
    /// made meanwhile is no beginning.
    activity: Arc<AtomicI64>,
    /// The step times of the last start.
    start: Arc<StartRecorder>,
    /// When the present phase began. After a restart that is now, as no traffic passed before.
    moved_at: Timestamp,
    /// What is due to a child while it is sealed.
    seal_request: Option<SealRequest>,
    /// Somebody else has moved the record: this owner must not act on it any more.
    is_superseded: bool,
}

/// Starts the owner of a microVM and registers it.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    microvm: Microvm,
    holdings: Holdings,
    beginning: Beginning,
) {
    let (sender, mailbox) = Mailbox::new();
    let now = shared.clock.now();
    let activity = Arc::new(AtomicI64::new(now.unix_ms()));
    let view = watch::Sender::new(microvm.clone());
    let start = Arc::new(StartRecorder::default());
    match microvm.life.phase {
        Phase::Launching => start.begin(StartKind::Launch, now),
        Phase::Forking => start.begin(StartKind::Fork, now),
        _ => {}
    }
    let handle = Handle {
        mailbox: sender,
        view: view.subscribe(),
        activity: Arc::clone(&activity),
        start: Arc::clone(&start),
    };
    shared.microvms.insert(&microvm, handle);
    let owner = Owner {
        shared: Arc::clone(shared),
        microvm,
        holdings: Some(holdings),
        mailbox,
        view,
        activity,
        start,
        moved_at: now,
        seal_request: None,
        is_superseded: false,
    };
    shared.tasks.spawn(owner.run(beginning));
}

/// The next thing that an owner handles.
enum Next {
    Command(Command),
    Event(Event),
}

impl Owner {
    async fn run(mut self, beginning: Beginning) {
        if let Beginning::Restart(found) = beginning {
            self.adopt(found).await;
        }
        let mut work = self.begin();
        while self.microvm.life.phase != Phase::Terminated && !self.is_superseded {
            let phase = self.microvm.life.phase;
            match self.next(&mut work).await {
                Next::Event(event) => self.apply(event).await,
                Next::Command(Command::Ask(ask, reply)) => {
                    // A caller that has disconnected does not need the answer.
                    let _ = reply.send(self.answer(ask).await);
                }
                Next::Command(Command::Seal(request)) => self.begin_seal(request).await,
                Next::Command(Command::GiveWay(reply)) => {
                    let _ = reply.send(self.give_way().await);
                }
                Next::Command(Command::SetActivity(activity, reply)) => {
                    let _ = reply.send(self.set_activity(activity).await);
                }
                Next::Command(Command::Ended(reason)) => self.apply(Event::Ended(reason)).await,
                Next::Command(Command::Observed(found, at)) => self.observe(found, at).await,
            }
            if self.microvm.life.phase != phase {
                work = self.begin();
                self.drop_seal_request();
            }
        }
        self.shared.microvms.remove(&self.microvm);
    }

    fn begin(&self) -> Option<Work> {
        let operation = self.microvm.life.phase.operation()?;
        let child = self.seal_request.as_ref().map(|request| request.child);
        Some(work::begin(
            Arc::clone(&self.shared),
            self.microvm.clone(),
            operation,
            child,
        ))
    }

    async fn next(&mut self, work: &mut Option<Work>) -> Next {
        loop {
            let due = self.due();
            let clock = Arc::clone(&self.shared.clock);
            tokio::select! {
                // An outcome that is there is handled before a command that came after it.
                biased;
                event = finish(work) => {
                    *work = None;
                    return Next::Event(event);
                }
                Some(command) = self.mailbox.recv() => return Next::Command(command),
                () = wait_until(&*clock, due.map(|(at, _)| at)) => {}
            }
            // Activity may have moved the deadline meanwhile.
            if let Some((at, timer)) = self.due()
                && at <= self.shared.clock.now()
            {
                return Next::Event(Event::Due(timer));
            }
        }
    }

    fn due(&self) -> Option<(Timestamp, Timer)> {
        let terms = Terms::of(&self.microvm);
        deadline(&self.microvm.life, &terms, self.idle_since())
    }

    fn idle_since(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.activity.load(Ordering::Relaxed))
    }

    /// Applies an event of the host or the clock. It has happened, so the write is retried until it succeeds.
    async fn apply(&mut self, event: Event) {
        self.count(&event);
        let now = self.shared.clock.now();
        let terms = Terms::of(&self.microvm);
        if let Transition::Moved(life) = step(&self.microvm.life, &terms, &event, now) {
            self.count_end(&life, counts::end_of(&event));
            self.move_on(life).await;
        }
        if event == Event::Sealed
            && let Some(request) = self.seal_request.take()
        {
            self.answer_seal_request(request);
        }
    }

    /// Starts to seal the microVM for a child.
    async fn begin_seal(&mut self, request: SealRequest) {
        match self.ask(&Event::Fork).await {
            Ok(()) => self.seal_request = Some(request),
            // A child that has gone does not need the answer.
            Err(error) => drop(request.reply.send(Err(error))),
        }
    }

    /// Answers the child: its layer is durable and reserved. If the child has ended meanwhile, removes the reserved
    /// layer.
    fn answer_seal_request(&self, request: SealRequest) {
        if request.reply.send(Ok(())).is_ok() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            let remove = || shared.host.discard(request.child.into());
            until_done("removing what was reserved for a fork", remove).await;
        });
    }

    /// Drops the child's request once the phase has changed: it will not be answered.
    fn drop_seal_request(&mut self) {
        if !matches!(self.microvm.life.phase, Phase::Sealing { .. }) {
            self.seal_request = None;
        }
    }

    async fn answer(&mut self, ask: Ask) -> Result<(), ControlError> {
        let event = match ask {
            Ask::Suspend => Event::Suspend,
            Ask::Resume => Event::Resume,
            Ask::Terminate => Event::Terminate,
        };
        self.ask(&event).await
    }

    /// Applies an event that a caller asks for. If it cannot be written, nothing happens and the caller gets the
    /// error.
    async fn ask(&mut self, event: &Event) -> Result<(), ControlError> {
        let now = self.shared.clock.now();
        let id = self.microvm.id;
        match step(&self.microvm.life, &Terms::of(&self.microvm), event, now) {
            Transition::Kept => Ok(()),
            Transition::Refused(Denial::Ended) => Err(Refusal::MicrovmTerminated(id).into()),
            Transition::Refused(Denial::Busy) => {
                Err(Refusal::MicrovmBusy(id, self.microvm.state()).into())
            }
            Transition::Moved(life) => {
                let residency = self.residency_for(&life)?;
                self.write_wish(&life).await?;
                if let Some(holdings) = &mut self.holdings {
                    holdings.residency = holdings.residency.take().or(residency);
                }
                self.count_end(&life, counts::end_of(event));
                self.adjust(life);
                Ok(())
            }
        }
    }

    /// Decided here and not by whoever asks: a request may have come since.
    async fn give_way(&mut self) -> Result<bool, ControlError> {
        let now = self.shared.clock.now();
        let (life, terms) = (&self.microvm.life, Terms::of(&self.microvm));
        if !may_give_way(life, &terms, self.idle_since(), now) {
            return Ok(false);
        }
        self.ask(&Event::Suspend).await.map(|()| true)
    }

    /// What a microVM is like is changed as long as it has a future.
    async fn set_activity(&mut self, activity: Activity) -> Result<(), ControlError> {
        let id = self.microvm.id;
        if self.microvm.life.phase.is_ending() {
            return Err(Refusal::MicrovmTerminated(id).into());
        }
        if self.microvm.activity == activity {
            return Ok(());
        }
        let change = Change::SetActivity(id, activity);
        self.shared.commit(Batch::new().change(change)).await?;
        self.microvm.activity = activity;
        self.view.send_replace(self.microvm.clone());
        Ok(())
    }

    /// The share of the host that a resume needs in addition to what is held.
    fn residency_for(&self, life: &Life) -> Result<Option<Residency>, Refusal> {
        let held = self
            .holdings
            .as_ref()
            .is_some_and(|holdings| holdings.residency.is_some());
        let is_wanted = match life.phase {
            Phase::Restoring { .. } => true,
            Phase::Sealing { since: Some(_) } => life.wish == Some(Wish::Run),
            _ => false,
        };
        if held || !is_wanted {
            return Ok(None);
        }
        let (account, tier) = (self.microvm.scope.account, self.microvm.terms.tier);
        let residency = self.shared.ledger.reside(account, tier);
        residency.map(Some).ok_or(Refusal::InsufficientCapacity)
    }

    async fn adopt(&mut self, found: Option<Presence>) {
        let terms = Terms::of(&self.microvm);
        let now = self.shared.clock.now();
        let life = adopt(&self.microvm.life, &terms, found.as_ref(), now);
        if life != self.microvm.life {
            warn!(id = %self.microvm.id, ?found, from = ?self.microvm.life.phase, to = ?life.phase, "record and host disagree: the microVM goes on in another phase");
            self.count_end(&life, Some(counts::end_found(&life)));
            self.move_on(life).await;
        }
    }

    /// Compares the record with what the host has. Ignored if it was seen before the present phase began, or while an
    /// operation is under way: then the host is in between.
    async fn observe(&mut self, found: Option<Presence>, at: Timestamp) {
        if at <= self.moved_at || self.microvm.life.phase.operation().is_some() {
            return;
        }
        self.adopt(found).await;
    }

    /// Writes a transition, and retries until the store takes it. A write whose answer was lost counts as done.
    async fn move_on(&mut self, life: Life) {
        let attempt = async || match self.write(&life).await {
            Ok(()) => Ok(true),
            Err(StoreError::MovedElsewhere { .. }) => self.is_written(&life).await,
            Err(error) => Err(error),
        };
        match until_done("writing a transition", attempt).await {
            true => self.adjust(life),
            false => self.stop_as_superseded(&life),
        }
    }

    /// Writes a change that a caller asks for, once.
    async fn write_wish(&mut self, life: &Life) -> Result<(), StoreError> {
        let Err(error) = self.write(life).await else {
            return Ok(());
        };
        // If the store does not answer this either, the first error is the one to return.
        match self.is_written(life).await {
            Ok(true) => return Ok(()),
            Ok(false) if matches!(error, StoreError::MovedElsewhere { .. }) => {
                self.stop_as_superseded(life);
            }
            Ok(false) | Err(_) => {}
        }
        Err(error)
    }

    /// Whether the record is as the last write of this owner wanted it: one generation further.
    async fn is_written(&self, life: &Life) -> Result<bool, StoreError> {
        let found = self.shared.store.microvm(self.microvm.id).await?;
        let next = self.microvm.generation + 1;
        Ok(found.is_some_and(|found| found.generation == next && found.life == *life))
    }

    /// Stops the owner: two owners of one microVM would undo each other's work. The next start of the service
    /// compares record and host.
    fn stop_as_superseded(&mut self, life: &Life) {
        let (id, generation) = (self.microvm.id, self.microvm.generation);
        let wanted = life.phase;
        error!(%id, generation, ?wanted, "another owner has moved the record of this microVM; this owner stops");
        self.is_superseded = true;
    }

    /// Writes a transition with its journal entry: the intent of what begins, or else the outcome of what ended.
    async fn write(&self, life: &Life) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let id = self.microvm.id;
        let terminated_at = (life.phase == Phase::Terminated).then_some(now);
        let subject = IntentSubject::Microvm(id);
        let entry = match life.phase.operation() {
            Some(operation) => Change::Intend(Intent {
                subject,
                what: format!("{operation:?}"),
                at: now,
            }),
            None => Change::Conclude(subject, format!("{:?}", life.phase), now),
        };
        let moved = Change::MoveMicrovm {
            id,
            from_generation: self.microvm.generation,
            life: life.clone(),
            terminated_at,
        };
        let mut batch = Batch::new().change(moved).change(entry);
        if terminated_at.is_some() && self.microvm.terms.run_input != RunInput::default() {
            // The payload may hold secrets, and nobody needs it any more.
            let terms = without_run_input(&self.microvm.terms);
            batch = batch.change(Change::SetTerms(id, terms));
        }
        self.shared.commit(batch).await.map(|_| ())
    }

    /// Records the time of one step of the start.
    fn time(&self, before: Phase, next: Phase) {
        let start = &self.start;
        match (before, next) {
            (_, Phase::Restoring { .. }) => {
                start.begin(StartKind::Resume, self.shared.clock.now());
                start.lap("written down");
            }
            (Phase::Forking, Phase::Launching) => start.lap("parent sealed"),
            (Phase::Launching, Phase::RunHook | Phase::ForkHook | Phase::Running)
            | (Phase::Restoring { .. }, Phase::ResumeHook | Phase::Running) => {
                start.lap("written down");
            }
            (Phase::RunHook | Phase::ForkHook | Phase::ResumeHook, Phase::Running) => {
                start.lap("hook");
            }
            _ => {}
        }
    }

    /// Takes over a transition that was written.
    fn adjust(&mut self, life: Life) {
        let now = self.shared.clock.now();
        let before = self.microvm.life.phase;
        info!(id = %self.microvm.id, from = ?before, to = ?life.phase, reason = life.reason, "moved");
        if life.phase != before {
            self.moved_at = now;
            self.time(before, life.phase);
        }
        if life.phase == Phase::Running && !matches!(before, Phase::Running | Phase::Sealing { .. })
        {
            self.activity.fetch_max(now.unix_ms(), Ordering::Relaxed);
        }
        match life.phase {
            Phase::Suspended { .. } => {
                if let Some(holdings) = &mut self.holdings {
                    holdings.residency = None;
                }
            }
            Phase::Terminated => {
                self.holdings = None;
                self.microvm.terms = without_run_input(&self.microvm.terms);
                self.microvm.terminated_at = Some(now);
            }
            _ => {}
        }
        self.microvm.life = life;
        self.microvm.generation += 1;
        self.view.send_replace(self.microvm.clone());
    }
}

/// The terms of an ended microVM: without the input of `/run`.
fn without_run_input(terms: &LaunchTerms) -> Arc<LaunchTerms> {
    Arc::new(LaunchTerms {
        run_input: RunInput::default(),
        ..terms.clone()
    })
}

async fn finish(work: &mut Option<Work>) -> Event {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

async fn wait_until(clock: &dyn Clock, at: Option<Timestamp>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => pending().await,
    }
}
