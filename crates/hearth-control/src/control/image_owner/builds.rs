//! How a build begins and ends.

use super::Owner;
use crate::control::ledger::BuildPlace;
use crate::host::{BuildFailure, Built};
use crate::image::{Build, BuildState, Image};
use crate::machine::build::{self, Progress};
use crate::machine::image::{self as machine, Event};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change};

impl Owner {
    /// Counts the attempt before the build begins: a build that crashes the service must not be retried without end.
    pub(super) async fn begin_build(&mut self, place: BuildPlace) {
        let Some(machine::Operation::Build(number)) = machine::operation(&self.life()) else {
            return;
        };
        let Some(mut build) = self.open_build(number).await else {
            // Without an open build the version can only have failed.
            return self.apply(Event::BuildFailed, Batch::new()).await;
        };
        let max_attempts = self.shared.policy.max_build_attempts;
        let progress = Progress {
            state: build.state,
            attempts: build.attempts,
        };
        let Some(next) = progress.step(build::Event::Begin { max_attempts }) else {
            return;
        };
        (build.state, build.attempts) = (next.state, next.attempts);
        if next.state == BuildState::Failed {
            build.reason = Some(build::REASON_INTERRUPTED.to_owned());
            return self
                .apply(
                    Event::BuildFailed,
                    Batch::new().change(Change::PutBuild(build)),
                )
                .await;
        }
        self.place = Some(place);
        self.apply(Event::Began, Batch::new().change(Change::PutBuild(build)))
            .await;
    }

    /// Ends the build that waits or works. Its version has failed then. After this the owner drops the build's work, since
    /// the state no longer asks for it, and a task removes what the build made.
    pub(super) async fn cancel_build(&mut self) -> Result<Image, ControlError> {
        let none = || Refusal::NoBuildUnderWay(self.image.arn.clone(), self.image.state);
        let Some(machine::Operation::Build(number)) = machine::operation(&self.life()) else {
            return Err(none().into());
        };
        let mut build = self.open_build(number).await.ok_or_else(none)?;
        let progress = Progress {
            state: build.state,
            attempts: build.attempts,
        };
        let ended = progress.step(build::Event::Failed).ok_or_else(none)?;
        build.state = ended.state;
        build.reason = Some(build::REASON_CANCELLED.to_owned());
        let id = build.id;
        let batch = Batch::new().change(Change::PutBuild(build));
        self.ask(Event::BuildFailed, batch).await?;
        self.cancelled = Some(id);
        Ok(self.image.clone())
    }

    pub(super) async fn end_build(
        &mut self,
        mut build: Build,
        result: Result<Built, BuildFailure>,
    ) {
        self.place = None;
        let progress = Progress {
            state: build.state,
            attempts: build.attempts,
        };
        let metrics = &self.shared.metrics;
        let (event, sizes) = match result {
            Ok(built) => {
                metrics
                    .build
                    .observe(self.shared.clock.now().since(build.created_at));
                if let Some(version) = self.versions.get_mut(&build.version) {
                    version.template = Some(built.template);
                }
                (build::Event::Built, built.sizes)
            }
            Err(failure) => {
                metrics.build_failures.increment();
                build.reason = Some(failure.reason);
                (build::Event::Failed, failure.sizes)
            }
        };
        if let Some(next) = progress.step(event) {
            build.state = next.state;
        }
        build.sizes = sizes;
        let event = if event == build::Event::Built {
            Event::Built
        } else {
            Event::BuildFailed
        };
        self.apply(event, Batch::new().change(Change::PutBuild(build)))
            .await;
    }
}
