//! The records of an image, derived from the state of its state machine.

use std::collections::BTreeMap;

use super::Owner;
use crate::control::Shared;
use crate::id::{BuildId, VersionNumber};
use crate::image::{Architecture, Build, BuildSizes, Image, ImageSpec, ImageVersion};
use crate::machine::build::Progress;
use crate::machine::image::{self as machine, Denial, Life, Transition};
use crate::machine::version::Version;
use crate::refusal::Refusal;
use crate::store::{Batch, Change, Intent, IntentSubject};

/// The records of a version that was just requested.
pub(in crate::control) fn new_version(
    shared: &Shared,
    image: &Image,
    number: VersionNumber,
    spec: ImageSpec,
) -> (ImageVersion, Build) {
    let now = shared.clock.now();
    let version = ImageVersion {
        image: image.arn.clone(),
        number,
        state: Version::NEW.state,
        status: Version::NEW.status,
        spec,
        template: None,
        created_at: now,
        updated_at: now,
    };
    let build = Build {
        id: BuildId::generate(),
        image: image.arn.clone(),
        version: number,
        state: Progress::NEW.state,
        architecture: Architecture::X86_64,
        chipset_generation: shared.chipset_generation.clone(),
        reason: None,
        sizes: BuildSizes::default(),
        attempts: Progress::NEW.attempts,
        created_at: now,
    };
    (version, build)
}

/// The state after an event that a caller asks for, or why the event is refused.
pub(super) fn allowed(
    step: Transition,
    image: &Image,
    number: VersionNumber,
) -> Result<Option<Life>, Refusal> {
    let arn = || image.arn.clone();
    match step {
        Transition::Moved(life) => Ok(Some(life)),
        Transition::Kept => Ok(None),
        Transition::Refused(Denial::Busy) => Err(Refusal::ImageBusy(arn(), image.state)),
        Transition::Refused(Denial::NotDeletable) => {
            Err(Refusal::ImageNotDeletable(arn(), image.state))
        }
        Transition::Refused(Denial::NoVersion) => Err(Refusal::VersionNotFound(arn(), number)),
        Transition::Refused(Denial::NotReady) => Err(Refusal::VersionNotReady(arn(), number)),
        Transition::Refused(Denial::LastVersion) => Err(Refusal::LastVersion(arn())),
    }
}

impl Owner {
    /// The records after a transition.
    pub(super) fn after(&self, life: &Life) -> (Image, BTreeMap<VersionNumber, ImageVersion>) {
        let now = self.shared.clock.now();
        let image = Image {
            state: life.state,
            latest_active_version: life.latest_active(),
            latest_failed_version: life.latest_failed(),
            last_version: life.last,
            updated_at: now,
            ..self.image.clone()
        };
        let mut versions = self.versions.clone();
        versions.retain(|number, _| life.versions.contains_key(number));
        for (number, next) in &life.versions {
            if let Some(version) = versions.get_mut(number)
                && (version.state, version.status) != (next.state, next.status)
            {
                (version.state, version.status) = (next.state, next.status);
                version.updated_at = now;
            }
        }
        (image, versions)
    }

    /// A batch with the records that differ, and the journal entry of what begins or has ended.
    pub(super) fn written(
        &self,
        mut batch: Batch,
        life: &Life,
        image: &Image,
        versions: &BTreeMap<VersionNumber, ImageVersion>,
    ) -> Batch {
        batch.changes.push(Change::PutImage(image.clone()));
        let life_before = self.life();
        for (number, version) in versions {
            let is_new = *number > self.image.last_version;
            if is_new || life_before.versions.get(number) != life.versions.get(number) {
                batch
                    .changes
                    .push(Change::PutVersion(Box::new(version.clone())));
            }
        }
        for number in self
            .versions
            .keys()
            .filter(|number| !versions.contains_key(number))
        {
            batch
                .changes
                .push(Change::RemoveVersion(self.image.arn.clone(), *number));
        }
        match machine::operation(life) {
            Some(operation) => {
                let subject = IntentSubject::Image(self.image.arn.clone());
                let (what, at) = (format!("{operation:?}"), self.shared.clock.now());
                batch.change(Change::Intend(Intent { subject, what, at }))
            }
            None => self.concluded(batch, &format!("{:?}", life.state)),
        }
    }

    pub(super) fn concluded(&self, batch: Batch, outcome: &str) -> Batch {
        let subject = IntentSubject::Image(self.image.arn.clone());
        batch.change(Change::Conclude(
            subject,
            outcome.to_owned(),
            self.shared.clock.now(),
        ))
    }
}
