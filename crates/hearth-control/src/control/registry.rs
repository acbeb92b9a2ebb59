//! The owners of everything that lives, by id, endpoint and name.
//!
//! Followers (the endpoint opens and closes addresses) watch a number that changes, then read the whole: there is no
//! event to miss.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::image_owner;
use super::owner;
use crate::arn::ImageArn;
use crate::id::{EndpointId, MicrovmId};
use crate::microvm::Microvm;

/// The owners of living microVMs.
pub(super) struct Microvms {
    maps: Mutex<MicrovmMaps>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct MicrovmMaps {
    owners: HashMap<MicrovmId, owner::Handle>,
    endpoints: HashMap<EndpointId, MicrovmId>,
    names: HashMap<String, MicrovmId>,
}

impl Default for Microvms {
    fn default() -> Self {
        Self {
            maps: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Microvms {
    pub(super) fn insert(&self, microvm: &Microvm, handle: owner::Handle) {
        let mut maps = self.lock();
        maps.owners.insert(microvm.id, handle);
        maps.endpoints.insert(microvm.endpoint_id, microvm.id);
        maps.names
            .insert(microvm.terms.endpoint.clone(), microvm.id);
        drop(maps);
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn remove(&self, microvm: &Microvm) {
        let mut maps = self.lock();
        maps.owners.remove(&microvm.id);
        maps.endpoints.remove(&microvm.endpoint_id);
        // The name, a port, may belong to another microVM already.
        if maps.names.get(&microvm.terms.endpoint) == Some(&microvm.id) {
            maps.names.remove(&microvm.terms.endpoint);
        }
        drop(maps);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// A number that changes whenever a microVM is added or removed.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn named(&self, endpoint: &str) -> Option<owner::Handle> {
        let maps = self.lock();
        maps.names
            .get(endpoint)
            .and_then(|id| maps.owners.get(id))
            .cloned()
    }

    pub(super) fn get(&self, id: MicrovmId) -> Option<owner::Handle> {
        self.lock().owners.get(&id).cloned()
    }

    pub(super) fn at(&self, endpoint: EndpointId) -> Option<owner::Handle> {
        let maps = self.lock();
        maps.endpoints
            .get(&endpoint)
            .and_then(|id| maps.owners.get(id))
            .cloned()
    }

    pub(super) fn all(&self) -> Vec<(MicrovmId, owner::Handle)> {
        self.lock()
            .owners
            .iter()
            .map(|(id, handle)| (*id, handle.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, MicrovmMaps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owners of images.
#[derive(Default)]
pub(super) struct Images(Mutex<HashMap<ImageArn, image_owner::Handle>>);

impl Images {
    pub(super) fn insert(&self, arn: ImageArn, handle: image_owner::Handle) {
        self.lock().insert(arn, handle);
    }

    pub(super) fn remove(&self, arn: &ImageArn) {
        self.lock().remove(arn);
    }

    pub(super) fn get(&self, arn: &ImageArn) -> Option<image_owner::Handle> {
        self.lock().get(arn).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ImageArn, image_owner::Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
