//! The state machine of an image and its versions.
//!
//! ```text
//!                built                        update / delete a version
//!   Creating ───────────> Created ─────────────────────┐
//!      │                                               v     built / removed
//!      └──> CreateFailed ──────────── update ──────> Updating ────────────> Updated
//!            build failed                              │ ^                     │
//!                                         build failed v └──── update ─────────┤
//!                                                  UpdateFailed ───────────────┘
//!
//!   Created | CreateFailed | Updated | UpdateFailed | DeleteFailed ── delete ──> Deleting ──> gone
//!                                                                                   └──> DeleteFailed
//! ```
//!
//! While one of its versions is built or removed, an image accepts no other change. So at most one piece of work is
//! under way for an image, and [`operation`] derives it from the state.

use std::collections::BTreeMap;

use super::version::{self, Version};
use crate::id::VersionNumber;
use crate::image::{ImageState, VersionState, VersionStatus};

/// The part of an image that its state machine changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The state of the image.
    pub state: ImageState,
    /// The highest version number used so far.
    pub last: VersionNumber,
    /// The versions.
    pub versions: BTreeMap<VersionNumber, Version>,
}

/// The events of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A caller asks for another version.
    Update,
    /// The build of the version under way begins.
    Began,
    /// The build sealed a snapshot.
    Built,
    /// The build failed.
    BuildFailed,
    /// A caller sets the status of a version.
    SetStatus(VersionNumber, VersionStatus),
    /// A caller deletes a version.
    DeleteVersion(VersionNumber),
    /// The snapshot of the version under way was removed.
    VersionFreed,
    /// The snapshot could not be removed.
    VersionNotFreed,
    /// A caller deletes the image.
    Delete,
    /// The snapshots of the image could not be removed.
    DeleteFailed,
}

/// The result of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The image changes.
    Moved(Life),
    /// The image stays as it is: the event is stale.
    Kept,
    /// A caller may not ask for this now.
    Refused(Denial),
}

/// Why a caller may not ask for something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// A build or removal is under way.
    Busy,
    /// The image cannot be deleted in its state.
    NotDeletable,
    /// The version does not exist.
    NoVersion,
    /// The build of the version did not succeed.
    NotReady,
    /// The version is the only one.
    LastVersion,
}

/// The work that must be under way for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Build this version.
    Build(VersionNumber),
    /// Remove the snapshot of this version.
    Free(VersionNumber),
    /// Remove every snapshot.
    FreeAll,
}

impl Life {
    /// An image that was just requested.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: ImageState::Creating,
            last: VersionNumber::FIRST,
            versions: BTreeMap::from([(VersionNumber::FIRST, Version::NEW)]),
        }
    }

    /// The newest version that may be launched.
    #[must_use]
    pub fn latest_active(&self) -> Option<VersionNumber> {
        let mut newest_first = self.versions.iter().rev();
        newest_first
            .find(|(_, version)| version.is_launchable())
            .map(|(number, _)| *number)
    }

    /// The newest version whose build failed.
    #[must_use]
    pub fn latest_failed(&self) -> Option<VersionNumber> {
        let mut newest_first = self.versions.iter().rev();
        newest_first
            .find(|(_, version)| version.state == VersionState::Failed)
            .map(|(number, _)| *number)
    }

    fn in_state(&self, wanted: VersionState) -> Option<VersionNumber> {
        self.versions
            .iter()
            .find(|(_, version)| version.state == wanted)
            .map(|(number, _)| *number)
    }

    fn with(&self, state: ImageState, number: VersionNumber, version: Version) -> Self {
        let mut next = Self {
            state,
            ..self.clone()
        };
        next.versions.insert(number, version);
        next
    }

    fn without(&self, state: ImageState, number: VersionNumber) -> Self {
        let mut next = Self {
            state,
            ..self.clone()
        };
        next.versions.remove(&number);
        next
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

/// The work that must be under way.
#[must_use]
pub fn operation(life: &Life) -> Option<Operation> {
    match life.state {
        ImageState::Deleting => Some(Operation::FreeAll),
        ImageState::Creating | ImageState::Updating => building(life)
            .map(Operation::Build)
            .or_else(|| life.in_state(VersionState::Deleting).map(Operation::Free)),
        _ => None,
    }
}

fn building(life: &Life) -> Option<VersionNumber> {
    life.in_state(VersionState::InProgress)
        .or_else(|| life.in_state(VersionState::Pending))
}

/// The state after an event.
#[must_use]
pub fn step(life: &Life, event: Event) -> Transition {
    match event {
        Event::Update => update(life),
        Event::Began => build_step(life, version::Event::Began),
        Event::Built => build_step(life, version::Event::Built),
        Event::BuildFailed => build_step(life, version::Event::BuildFailed),
        Event::SetStatus(number, status) => set_status(life, number, status),
        Event::DeleteVersion(number) => delete_version(life, number),
        Event::VersionFreed => freed(life),
        Event::VersionNotFreed => not_freed(life),
        Event::Delete => delete(life),
        Event::DeleteFailed if life.state == ImageState::Deleting => Transition::Moved(Life {
            state: ImageState::DeleteFailed,
            ..life.clone()
        }),
        Event::DeleteFailed => Transition::Kept,
    }
}

/// Whether the image accepts changes. One whose deletion failed has lost snapshots, so it can only be deleted again.
fn takes_changes(life: &Life) -> bool {
    !life.state.is_transient() && life.state != ImageState::DeleteFailed
}

fn update(life: &Life) -> Transition {
    if !takes_changes(life) {
        return Transition::Refused(Denial::Busy);
    }
    let number = life.last.next();
    let mut next = life.with(ImageState::Updating, number, Version::NEW);
    next.last = number;
    Transition::Moved(next)
}

fn build_step(life: &Life, event: version::Event) -> Transition {
    let Some(Operation::Build(number)) = operation(life) else {
        return Transition::Kept;
    };
    let Some(next) = life
        .versions
        .get(&number)
        .and_then(|version| version.step(event))
    else {
        return Transition::Kept;
    };
    let state = match (next.state, life.state) {
        (VersionState::Successful, ImageState::Creating) => ImageState::Created,
        (VersionState::Successful, _) => ImageState::Updated,
        (VersionState::Failed, ImageState::Creating) => ImageState::CreateFailed,
        (VersionState::Failed, _) => ImageState::UpdateFailed,
        (_, state) => state,
    };
    Transition::Moved(life.with(state, number, next))
}

fn set_status(life: &Life, number: VersionNumber, status: VersionStatus) -> Transition {
    let Some(version) = life.versions.get(&number) else {
        return Transition::Refused(Denial::NoVersion);
    };
    if !takes_changes(life) {
        return Transition::Refused(Denial::Busy);
    }
    match version.step(version::Event::SetStatus(status)) {
        Some(next) if next == *version => Transition::Kept,
        Some(next) => Transition::Moved(life.with(life.state, number, next)),
        None => Transition::Refused(Denial::NotReady),
    }
}

fn delete_version(life: &Life, number: VersionNumber) -> Transition {
    let Some(version) = life.versions.get(&number) else {
        return Transition::Refused(Denial::NoVersion);
    };
    if !takes_changes(life) {
        return Transition::Refused(Denial::Busy);
    }
    if life.versions.len() == 1 {
        return Transition::Refused(Denial::LastVersion);
    }
    match version.step(version::Event::Delete) {
        Some(next) => Transition::Moved(life.with(ImageState::Updating, number, next)),
        None => Transition::Refused(Denial::NotReady),
    }
}

fn freed(life: &Life) -> Transition {
    match operation(life) {
        Some(Operation::Free(number)) => {
            Transition::Moved(life.without(ImageState::Updated, number))
        }
        _ => Transition::Kept,
    }
}

fn not_freed(life: &Life) -> Transition {
    let Some(Operation::Free(number)) = operation(life) else {
        return Transition::Kept;
    };
    let version = life.versions.get(&number);
    match version.and_then(|version| version.step(version::Event::DeleteFailed)) {
        Some(next) => Transition::Moved(life.with(ImageState::UpdateFailed, number, next)),
        None => Transition::Kept,
    }
}

fn delete(life: &Life) -> Transition {
    if life.state.is_transient() {
        return Transition::Refused(Denial::NotDeletable);
    }
    Transition::Moved(Life {
        state: ImageState::Deleting,
        ..life.clone()
    })
}

#[cfg(test)]
mod tests;
