//! The task that owns one image with its versions and builds.
//!
//! Like the owner of a microVM it writes first and acts after. At most one piece of work is under way for an image:
//! the build of a version, or a removal. The state of the image says which one, also after a restart.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{debug, info};

use super::Shared;
use super::ledger::BuildPlace;
use super::mailbox::{Mailbox, Reply};
use super::retry::until_done;
use crate::host::{BuildFailure, Built};
use crate::id::{BuildId, VersionNumber};
use crate::image::{
    Build, BuildState, Image, ImageSpec, ImageState, ImageVersion, ImageWithVersion, VersionStatus,
};
use crate::machine::image::{self as machine, Event, Life, Transition};
use crate::machine::version::Version;
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, TokenKey, TokenUse, Verdict};

mod builds;
mod records;
mod work;

use records::allowed;
pub(super) use records::new_version;
use work::Work;

/// What others may ask of an image's owner.
pub(super) enum Command {
    Update(Box<Update>, Reply<ImageWithVersion>),
    SetStatus(VersionNumber, VersionStatus, Reply<ImageVersion>),
    DeleteVersion(VersionNumber, Reply<ImageVersion>),
    CancelBuild(Reply<Image>),
    Delete(Reply<Image>),
}

/// A request for another version.
pub(super) struct Update {
    pub(super) spec: ImageSpec,
    pub(super) token: Option<(TokenKey, [u8; 32])>,
}

/// Sends commands to the owner of an image.
pub(super) type Handle = Mailbox<Command>;

/// The task that owns one image.
struct Owner {
    shared: Arc<Shared>,
    image: Image,
    versions: BTreeMap<VersionNumber, ImageVersion>,
    mailbox: mpsc::Receiver<Command>,
    /// The reserved share of the host, while a build works.
    place: Option<BuildPlace>,
    /// A build that was cancelled and whose work is dropped next.
    cancelled: Option<BuildId>,
}

/// Starts the owner of an image and registers it.
pub(super) fn spawn(shared: &Arc<Shared>, image: Image, versions: Vec<ImageVersion>) {
    let (handle, mailbox) = Handle::new();
    shared.images.insert(image.arn.clone(), handle);
    let versions = versions
        .into_iter()
        .map(|version| (version.number, version))
        .collect();
    let shared = Arc::clone(shared);
    let owner = Owner {
        shared: Arc::clone(&shared),
        image,
        versions,
        mailbox,
        place: None,
        cancelled: None,
    };
    shared.tasks.spawn(owner.run());
}

/// How a piece of work ended.
enum Outcome {
    /// The host has a place for the build.
    Place(BuildPlace),
    /// The build ended.
    Built(Box<Build>, Result<Built, BuildFailure>),
    /// The snapshots were removed.
    Freed,
    /// The snapshots could not be removed.
    NotFreed,
}

impl Owner {
    async fn run(mut self) {
        let mut work = self.begin().await;
        loop {
            let operation = machine::operation(&self.life());
            let placed = self.place.is_some();
            tokio::select! {
                biased;
                outcome = finish(&mut work) => {
                    work = None;
                    if self.handle_outcome(outcome).await.is_gone() {
                        break;
                    }
                }
                Some(command) = self.mailbox.recv() => self.handle_command(command).await,
            }
            if work.is_none()
                || operation != machine::operation(&self.life())
                || placed != self.place.is_some()
            {
                work = self.begin().await;
            }
            if let Some(build) = self.cancelled.take() {
                let shared = Arc::clone(&self.shared);
                let abandoning = async move { work::abandon(&shared, build).await };
                self.shared.tasks.spawn(abandoning);
            }
        }
        self.shared.images.remove(&self.image.arn);
    }

    fn life(&self) -> Life {
        let versions = self.versions.iter().map(|(number, version)| {
            (
                *number,
                Version {
                    state: version.state,
                    status: version.status,
                },
            )
        });
        Life {
            state: self.image.state,
            last: self.image.last_version,
            versions: versions.collect(),
        }
    }

    async fn begin(&mut self) -> Option<Work> {
        let shared = Arc::clone(&self.shared);
        let operation = machine::operation(&self.life());
        if !matches!(operation, Some(machine::Operation::Build(_))) {
            self.place = None;
        }
        match operation? {
            machine::Operation::Build(number) if self.place.is_none() => {
                let (build, spec) = self.to_build(number).await?;
                Some(work::wait_for_place(shared, build, spec))
            }
            machine::Operation::Build(number) => {
                let (build, spec) = self.to_build(number).await?;
                Some(work::build(shared, build, spec))
            }
            machine::Operation::Free(number) => {
                let template = self.versions.get(&number)?.template.clone();
                Some(work::free(shared, template.into_iter().collect()))
            }
            machine::Operation::FreeAll => {
                let templates = self
                    .versions
                    .values()
                    .filter_map(|version| version.template.clone());
                Some(work::free(shared, templates.collect()))
            }
        }
    }

    /// What is to be built, if it has not been.
    async fn to_build(&self, number: VersionNumber) -> Option<(Build, ImageSpec)> {
        let build = self.open_build(number).await?;
        Some((build, self.versions.get(&number)?.spec.clone()))
    }

    /// The build of a version, if it has not ended.
    async fn open_build(&self, number: VersionNumber) -> Option<Build> {
        let store = &self.shared.store;
        let read = || store.builds(&self.image.arn, number, None, u32::MAX);
        let builds = until_done("reading builds", read).await;
        builds
            .into_iter()
            .find(|build| matches!(build.state, BuildState::Pending | BuildState::InProgress))
    }

    async fn handle_outcome(&mut self, outcome: Outcome) -> Existence {
        match outcome {
            Outcome::Place(place) => self.begin_build(place).await,
            Outcome::Built(build, result) => self.end_build(*build, result).await,
            Outcome::Freed if self.image.state == ImageState::Deleting => {
                let gone = Batch::new().change(Change::RemoveImage(self.image.arn.clone()));
                self.write_surely(self.concluded(gone, "deleted")).await;
                return Existence::Gone;
            }
            Outcome::Freed => self.apply(Event::VersionFreed, Batch::new()).await,
            Outcome::NotFreed if self.image.state == ImageState::Deleting => {
                self.apply(Event::DeleteFailed, Batch::new()).await;
            }
            Outcome::NotFreed => self.apply(Event::VersionNotFreed, Batch::new()).await,
        }
        Existence::Stays
    }

    /// Applies an event that has happened. It is written together with `batch`; the write is retried until it
    /// succeeds.
    async fn apply(&mut self, event: Event, batch: Batch) {
        if let Transition::Moved(life) = machine::step(&self.life(), event) {
            let (image, versions) = self.after(&life);
            let batch = self.written(batch, &life, &image, &versions);
            self.write_surely(batch).await;
            self.adjust(image, versions);
        }
    }

    async fn write_surely(&self, batch: Batch) {
        until_done("writing an image", || self.shared.commit(batch.clone())).await;
    }

    async fn handle_command(&mut self, command: Command) {
        // A caller that has disconnected does not need the answer.
        match command {
            Command::Update(update, reply) => {
                let _ = reply.send(self.update(*update).await);
            }
            Command::SetStatus(number, status, reply) => {
                let event = Event::SetStatus(number, status);
                let _ = reply.send(self.change_version(event, number, Batch::new()).await);
            }
            Command::DeleteVersion(number, reply) => {
                let unused = Guard::NoLivingMicrovms(self.image.arn.clone(), Some(number));
                let event = Event::DeleteVersion(number);
                let _ = reply.send(
                    self.change_version(event, number, Batch::new().guard(unused))
                        .await,
                );
            }
            Command::CancelBuild(reply) => {
                let _ = reply.send(self.cancel_build().await);
            }
            Command::Delete(reply) => {
                let unused = Guard::NoLivingMicrovms(self.image.arn.clone(), None);
                let deleted = self.ask(Event::Delete, Batch::new().guard(unused)).await;
                let _ = reply.send(deleted.map(|()| self.image.clone()));
            }
        }
    }

    async fn update(&mut self, update: Update) -> Result<ImageWithVersion, ControlError> {
        let quotas = self.shared.policy.quotas_of(self.image.arn.scope.account);
        let max = quotas.versions_per_image;
        if self.versions.len() >= max as usize {
            return Err(Refusal::VersionQuota {
                image: self.image.arn.clone(),
                max,
            }
            .into());
        }
        let number = self.image.last_version.next();
        let (version, build) = new_version(&self.shared, &self.image, number, update.spec);
        let scope = self.image.arn.scope.clone();
        let mut batch = Batch::new().guard(Guard::OpenBuildsBelow(scope, quotas.concurrent_builds));
        if let Some((key, digest)) = update.token {
            let at = self.shared.clock.now();
            let used = TokenUse {
                digest,
                resource: self.image.arn.to_string(),
                at,
            };
            batch = batch
                .guard(Guard::TokenFree(key.clone()))
                .change(Change::UseToken(key, used));
        }
        // The state machine knows only the state of a version. The record is added before, and removed if the machine
        // refuses.
        self.versions.insert(number, version);
        let asked = self.ask_new(number, batch, build).await;
        if asked.is_err() {
            self.versions.remove(&number);
        }
        asked?;
        let version = self
            .versions
            .get(&number)
            .cloned()
            .ok_or(ControlError::Closed)?;
        Ok(ImageWithVersion {
            image: self.image.clone(),
            version,
        })
    }

    async fn ask_new(
        &mut self,
        number: VersionNumber,
        batch: Batch,
        build: Build,
    ) -> Result<(), ControlError> {
        let mut life = self.life();
        life.versions.remove(&number);
        let life = allowed(machine::step(&life, Event::Update), &self.image, number)?;
        let Some(life) = life else { return Ok(()) };
        let (image, versions) = self.after(&life);
        let mut batch = self.written(batch, &life, &image, &versions);
        batch.changes.push(Change::PutBuild(build));
        self.write(batch).await?;
        self.adjust(image, versions);
        Ok(())
    }

    async fn change_version(
        &mut self,
        event: Event,
        number: VersionNumber,
        batch: Batch,
    ) -> Result<ImageVersion, ControlError> {
        self.ask(event, batch).await?;
        self.versions
            .get(&number)
            .cloned()
            .ok_or(ControlError::Closed)
    }

    /// Applies an event that a caller asks for. If it cannot be written, nothing happens.
    async fn ask(&mut self, event: Event, batch: Batch) -> Result<(), ControlError> {
        let number = match event {
            Event::SetStatus(number, _) | Event::DeleteVersion(number) => number,
            _ => self.image.last_version,
        };
        let Some(life) = allowed(machine::step(&self.life(), event), &self.image, number)? else {
            return Ok(());
        };
        let (image, versions) = self.after(&life);
        let batch = self.written(batch, &life, &image, &versions);
        self.write(batch).await?;
        self.adjust(image, versions);
        Ok(())
    }

    async fn write(&self, batch: Batch) -> Result<(), ControlError> {
        match self.shared.commit(batch).await? {
            Verdict::Committed => Ok(()),
            Verdict::Blocked(Guard::OpenBuildsBelow(scope, _)) => {
                Err(Refusal::BuildQuota(scope.account).into())
            }
            Verdict::Blocked(Guard::TokenFree(_)) => Err(Refusal::TokenConflict.into()),
            Verdict::Blocked(_) => Err(Refusal::LiveMicrovms(self.image.arn.clone()).into()),
        }
    }

    fn adjust(&mut self, image: Image, versions: BTreeMap<VersionNumber, ImageVersion>) {
        if self.image.state == image.state {
            debug!(arn = %image.arn, state = ?image.state, "one of its versions moved");
        } else {
            info!(arn = %image.arn, from = ?self.image.state, to = ?image.state, "moved");
        }
        self.image = image;
        self.versions = versions;
    }
}

/// Whether the image still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    Stays,
    Gone,
}

impl Existence {
    fn is_gone(self) -> bool {
        self == Self::Gone
    }
}

async fn finish(work: &mut Option<Work>) -> Outcome {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}
