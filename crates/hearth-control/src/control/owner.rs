//! The task that owns one living microVM.
//!
//! It alone changes the microVM. Callers, the host and the clock reach it as commands, outcomes and
//! deadlines; each becomes an event for the pure machine. What the machine says is written to the store
//! first and done after, so a crash in between repeats an operation and never forgets one.

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
    Denial, Event, Step, Terms, Timer, adopt, deadline, may_give_way, step,
};
use crate::microvm::{Activity, LaunchTerms, Microvm, RunInput};
use crate::refusal::{ControlError, Refusal};
use crate::start_times::{StartKind, StartRecorder};
use crate::store::{Batch, Change, Intent, StoreError, Subject};
use crate::time::{Clock, Timestamp};

mod counts;
mod work;

pub(super) use work::REASON_FORK_FAILED;
use work::Work;

/// What others may ask of an owner.
pub(super) enum Command {
    /// A caller's wish, answered once it is durable.
    Ask(Ask, Reply<()>),
    /// A child's wish to begin where it is, answered once what it begins from is durable.
    Seal(Loan),
    /// Memory is short: to be suspended if it may be. Answers whether it is on its way.
    GiveWay(Reply<bool>),
    /// What shall count as activity, answered once it is durable.
    SetActivity(Activity, Reply<()>),
    /// The host says that it ended.
    Ended(String),
    /// The host had this of it at that moment.
    Observed(Option<Presence>, Timestamp),
}

/// What a caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Suspend,
    Resume,
    Terminate,
}

/// A layer that a child waits for.
pub(super) struct Loan {
    child: MicrovmId,
    reply: Reply<()>,
}

/// How others reach an owner.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: Mailbox<Command>,
    view: watch::Receiver<Microvm>,
    activity: Arc<AtomicI64>,
    start: Arc<StartRecorder>,
}

impl Handle {
    /// Asks for something; `None` when the owner has ended meanwhile.
    pub(super) async fn ask(&self, ask: Ask) -> Option<Result<(), ControlError>> {
        let command = |reply| Command::Ask(ask, reply);
        self.mailbox.ask(command).await
    }

    /// Has the microVM sealed for a child; `None` when it ended before that was done.
    pub(super) async fn seal(&self, child: MicrovmId) -> Option<Result<(), ControlError>> {
        let command = |reply| Command::Seal(Loan { child, reply });
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

    /// Tells the owner something, waiting for room in its mailbox.
    pub(super) async fn tell(&self, command: Command) {
        self.mailbox.tell(command).await;
    }

    /// Tells the owner what the host had of it, unless it has other things to do: it will be told again.
    pub(super) fn observe(&self, found: Option<Presence>, at: Timestamp) {
        self.mailbox.try_tell(Command::Observed(found, at));
    }

    /// The microVM as it was last written.
    pub(super) fn view(&self) -> watch::Receiver<Microvm> {
        self.view.clone()
    }

    /// The times of its last start.
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

/// What a microVM holds while it lives. Each share goes back when it is dropped; that is all they are for.
pub(super) struct Holdings {
    pub(super) _allocation: Allocation,
    pub(super) residency: Option<Residency>,
    pub(super) _endpoint: EndpointLease,
}

/// Where an owner begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With a record that was just written.
    Launch,
    /// With a record from before a restart, and what the host has of it.
    Restart(Option<Presence>),
}

/// The owner.
struct Owner {
    shared: Arc<Shared>,
    microvm: Microvm,
    holdings: Option<Holdings>,
    mailbox: mpsc::Receiver<Command>,
    view: watch::Sender<Microvm>,
    /// When it was last active: by a byte through the endpoint, by what else counts of it, or as it began to run. That its child was
    /// made meanwhile is no beginning.
    activity: Arc<AtomicI64>,
    /// The times of its last start.
    start: Arc<StartRecorder>,
    /// When the present phase began. After a restart that is now: traffic could not pass before.
    moved_at: Timestamp,
    /// What is due to a child while it is sealed.
    loan: Option<Loan>,
    /// Somebody else has moved the record: this owner must not act on it any more.
    is_superseded: bool,
}

/// Starts the owner of a microVM and makes it known.
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
        loan: None,
        is_superseded: false,
    };
    shared.tasks.spawn(owner.run(beginning));
}

/// What an owner deals with next.
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
                Next::Event(event) => self.take(event).await,
                Next::Command(Command::Ask(ask, reply)) => {
                    // A caller who has left does not want the answer.
                    let _ = reply.send(self.answer(ask).await);
                }
                Next::Command(Command::Seal(loan)) => self.lend(loan).await,
                Next::Command(Command::GiveWay(reply)) => {
                    let _ = reply.send(self.give_way().await);
                }
                Next::Command(Command::SetActivity(activity, reply)) => {
                    let _ = reply.send(self.set_activity(activity).await);
                }
                Next::Command(Command::Ended(reason)) => self.take(Event::Ended(reason)).await,
                Next::Command(Command::Observed(found, at)) => self.observe(found, at).await,
            }
            if self.microvm.life.phase != phase {
                work = self.begin();
                self.call_off_loan();
            }
        }
        self.shared.microvms.remove(&self.microvm);
    }

    fn begin(&self) -> Option<Work> {
        let operation = self.microvm.life.phase.operation()?;
        let child = self.loan.as_ref().map(|loan| loan.child);
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
                // An outcome that is there decides before the caller who came after it.
                biased;
                event = finish(work) => {
                    *work = None;
                    return Next::Event(event);
                }
                Some(command) = self.mailbox.recv() => return Next::Command(command),
                () = wait_until(&*clock, due.map(|(at, _)| at)) => {}
            }
            // Traffic may have moved the deadline while it was waited for.
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

    /// What the host or the clock says. It has happened, so it is written however long that takes.
    async fn take(&mut self, event: Event) {
        self.count(&event);
        let now = self.shared.clock.now();
        let terms = Terms::of(&self.microvm);
        if let Step::Moved(life) = step(&self.microvm.life, &terms, &event, now) {
            self.count_end(&life, counts::end_of(&event));
            self.move_on(life).await;
        }
        if event == Event::Sealed
            && let Some(loan) = self.loan.take()
        {
            self.hand_over(loan);
        }
    }

    /// Begins to seal for a child.
    async fn lend(&mut self, loan: Loan) {
        match self.ask(&Event::Fork).await {
            Ok(()) => self.loan = Some(loan),
            // A child that has left does not want the answer.
            Err(error) => drop(loan.reply.send(Err(error))),
        }
    }

    /// The layer is durable and reserved for the child. When the child has ended meanwhile, what was reserved goes.
    fn hand_over(&self, loan: Loan) {
        if loan.reply.send(Ok(())).is_ok() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            let remove = || shared.host.discard(loan.child.into());
            until_done("removing what was reserved for a fork", remove).await;
        });
    }

    /// Whatever a loan was waiting for does not come once the phase is another one.
    fn call_off_loan(&mut self) {
        if !matches!(self.microvm.life.phase, Phase::Sealing { .. }) {
            self.loan = None;
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

    /// What a caller asks for. When it cannot be written, it does not happen and the caller is told.
    async fn ask(&mut self, event: &Event) -> Result<(), ControlError> {
        let now = self.shared.clock.now();
        let id = self.microvm.id;
        match step(&self.microvm.life, &Terms::of(&self.microvm), event, now) {
            Step::Kept => Ok(()),
            Step::Refused(Denial::Ended) => Err(Refusal::MicrovmTerminated(id).into()),
            Step::Refused(Denial::Busy) => {
                Err(Refusal::MicrovmBusy(id, self.microvm.state()).into())
            }
            Step::Moved(life) => {
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

    /// The share of the host that a resume needs beyond what is held.
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
            warn!(id = %self.microvm.id, ?found, from = ?self.microvm.life.phase, to = ?life.phase, "adopted otherwise");
            self.count_end(&life, Some(counts::end_found(&life)));
            self.move_on(life).await;
        }
    }

    /// Compares with what the host had. What was seen before the present phase began is old news, and
    /// while work is under way the host is in between.
    async fn observe(&mut self, found: Option<Presence>, at: Timestamp) {
        if at <= self.moved_at || self.microvm.life.phase.operation().is_some() {
            return;
        }
        self.adopt(found).await;
    }

    /// Repeats a write until the store takes it. A write whose answer was lost counts as taken.
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

    /// Writes what a caller asks for, once.
    async fn write_wish(&mut self, life: &Life) -> Result<(), StoreError> {
        let Err(error) = self.write(life).await else {
            return Ok(());
        };
        // A store that does not answer either leaves the first error as the one to tell.
        match self.is_written(life).await {
            Ok(true) => return Ok(()),
            Ok(false) if matches!(error, StoreError::MovedElsewhere { .. }) => {
                self.stop_as_superseded(life);
            }
            Ok(false) | Err(_) => {}
        }
        Err(error)
    }

    /// Whether the record is as this owner's last write wanted it, one generation on.
    async fn is_written(&self, life: &Life) -> Result<bool, StoreError> {
        let found = self.shared.store.microvm(self.microvm.id).await?;
        let next = self.microvm.generation + 1;
        Ok(found.is_some_and(|found| found.generation == next && found.life == *life))
    }

    /// Two owners of one microVM would undo each other's work. The next start of the service compares record and host anew.
    fn stop_as_superseded(&mut self, life: &Life) {
        let (id, generation) = (self.microvm.id, self.microvm.generation);
        let wanted = life.phase;
        error!(%id, generation, ?wanted, "somebody else has moved this microVM's record; its owner stops");
        self.is_superseded = true;
    }

    /// Writes a transition with its journal entry: the intent of what begins, or else the outcome of what ended.
    async fn write(&self, life: &Life) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let id = self.microvm.id;
        let terminated_at = (life.phase == Phase::Terminated).then_some(now);
        let subject = Subject::Microvm(id);
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
            // It may hold secrets, and nobody is told it any more.
            let terms = without_run_input(&self.microvm.terms);
            batch = batch.change(Change::SetTerms(id, terms));
        }
        self.shared.commit(batch).await.map(|_| ())
    }

    /// Takes the time of a step of its start.
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

    /// Takes a written transition as the truth.
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

/// The terms of a microVM that has ended.
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
