//! Operations on existing microVMs. [`super::run`] creates them.

use tokio::sync::watch;

use super::owner::Ask;
use super::{Control, own};
use crate::arn::Scope;
use crate::id::{EndpointId, MicrovmId};
use crate::life::Phase;
use crate::metrics::Census;
use crate::microvm::{Activity, Microvm, MicrovmFilter};
use crate::page::{Cursor, Page, PageRequest};
use crate::refusal::{ControlError, Refusal};
use crate::store::MicrovmPlace;
use crate::time::Timestamp;

impl Control {
    /// Returns one microVM.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn microvm(&self, scope: &Scope, id: MicrovmId) -> Result<Microvm, ControlError> {
        let microvm = self.any_microvm(id).await?;
        let owned = microvm.filter(|microvm| microvm.scope == *scope);
        owned.ok_or_else(|| Refusal::MicrovmNotFound(id).into())
    }

    /// Lists the microVMs of the scope, newest first, TERMINATED ones included.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn microvms(
        &self,
        scope: &Scope,
        filter: &MicrovmFilter,
        page: PageRequest,
    ) -> Result<Page<Microvm>, ControlError> {
        if let Some(image) = &filter.image {
            own(scope, &image.scope)?;
        }
        let limit = page.bounded_limit();
        let after = page
            .after
            .map(|cursor| place(&cursor).ok_or(Refusal::BadCursor))
            .transpose()?;
        let found = self
            .shared
            .store
            .microvms(scope, filter, after, limit + 1)
            .await?;
        Ok(Page::cut(found, limit, |microvm| {
            Cursor::new(&format!("{}/{}", microvm.started_at.unix_ms(), microvm.id))
        }))
    }

    /// Starts to suspend a microVM. Succeeds if it is suspended already.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn suspend_microvm(&self, scope: &Scope, id: MicrovmId) -> Result<(), ControlError> {
        self.ask(scope, id, Ask::Suspend).await
    }

    /// Starts to resume a microVM. Succeeds if it runs already.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn resume_microvm(&self, scope: &Scope, id: MicrovmId) -> Result<(), ControlError> {
        self.ask(scope, id, Ask::Resume).await
    }

    /// Starts to terminate a microVM. Succeeds if it is terminated already.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn terminate_microvm(
        &self,
        scope: &Scope,
        id: MicrovmId,
    ) -> Result<(), ControlError> {
        match self.ask(scope, id, Ask::Terminate).await {
            Err(ControlError::Refused(Refusal::MicrovmTerminated(_))) => Ok(()),
            outcome => outcome,
        }
    }

    /// Sets what counts as activity of a microVM besides traffic. It holds until it is set anew, and for forks made
    /// from then on.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn set_activity(
        &self,
        scope: &Scope,
        id: MicrovmId,
        activity: Activity,
    ) -> Result<(), ControlError> {
        self.microvm(scope, id).await?;
        let gone = || Err(Refusal::MicrovmTerminated(id).into());
        match self.shared.microvms.get(id) {
            Some(owner) => owner.set_activity(activity).await.unwrap_or_else(gone),
            None => gone(),
        }
    }

    /// Returns the microVM of an endpoint, of any account: the endpoint's token decides who may reach it.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn microvm_by_endpoint(
        &self,
        id: EndpointId,
    ) -> Result<Option<Microvm>, ControlError> {
        match self.shared.microvms.at(id) {
            Some(owner) => Ok(Some(owner.view().borrow().clone())),
            None => Ok(self.shared.store.microvm_at(id).await?),
        }
    }

    /// Waits until a microVM is RUNNING, and resumes it if need be. Many callers may wait for one resume. If the
    /// microVM cannot run, its state in the answer is another one.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn wake_microvm(&self, id: MicrovmId) -> Result<Microvm, ControlError> {
        let known = self
            .any_microvm(id)
            .await?
            .ok_or(Refusal::MicrovmNotFound(id))?;
        let Some(owner) = self.shared.microvms.get(id) else {
            return Ok(known);
        };
        let mut view = owner.view();
        match owner.ask(Ask::Resume).await {
            Some(Ok(())) => {}
            // The microVM is ending or has ended: its state says so.
            Some(Err(ControlError::Refused(Refusal::MicrovmTerminated(_)))) | None => {
                return Ok(view.borrow().clone());
            }
            Some(Err(error)) => return Err(error),
        }
        let settled = |microvm: &Microvm| {
            let phase = microvm.life.phase;
            phase.is_ending() || matches!(phase, Phase::Running | Phase::Suspended { .. })
        };
        let settled = view.wait_for(settled).await;
        settled
            .map(|microvm| microvm.clone())
            .map_err(|_| ControlError::Closed)
    }

    /// Watches a living microVM: every change from now on, once it is durable. `None` if the microVM does not live.
    #[must_use]
    pub fn watch_microvm(&self, id: MicrovmId) -> Option<watch::Receiver<Microvm>> {
        self.shared.microvms.get(id).map(|owner| owner.view())
    }

    /// Returns the living microVM of an endpoint as callers write it: `host:port` or a host name.
    #[must_use]
    pub fn microvm_by_endpoint_name(&self, endpoint: &str) -> Option<Microvm> {
        let owner = self.shared.microvms.named(endpoint)?;
        Some(owner.view().borrow().clone())
    }

    /// Lists the living microVMs of all accounts, in no order.
    #[must_use]
    pub fn living_microvms(&self) -> Vec<Microvm> {
        let owners = self.shared.microvms.all();
        owners
            .into_iter()
            .map(|(_, owner)| owner.view().borrow().clone())
            .collect()
    }

    /// A number that changes whenever a microVM is added or removed: a signal to read [`Control::living_microvms`]
    /// again.
    #[must_use]
    pub fn microvm_changes(&self) -> watch::Receiver<u64> {
        self.shared.microvms.changes()
    }

    /// Counts of what exists now, for metrics.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (_, owner) in self.shared.microvms.all() {
            *census
                .microvms
                .entry(owner.view().borrow().state())
                .or_default() += 1;
        }
        (census.allocated_mib, census.resident_mib) = self.shared.ledger.totals_mib();
        census
    }

    /// Terminates all microVMs of all accounts and waits until they are gone. For the operator, not for callers.
    ///
    /// # Errors
    ///
    /// A failure of the store.
    pub async fn terminate_all(&self) -> Result<(), ControlError> {
        let owners = self.shared.microvms.all();
        for (_, owner) in &owners {
            owner.ask(Ask::Terminate).await.unwrap_or(Ok(()))?;
        }
        let mut changes = self.microvm_changes();
        for (id, _) in owners {
            while self.shared.microvms.get(id).is_some() {
                changes.changed().await.map_err(|_| ControlError::Closed)?;
            }
        }
        Ok(())
    }

    /// The microVM from its owner if it lives, else from the store.
    async fn any_microvm(&self, id: MicrovmId) -> Result<Option<Microvm>, ControlError> {
        match self.shared.microvms.get(id) {
            Some(owner) => Ok(Some(owner.view().borrow().clone())),
            None => Ok(self.shared.store.microvm(id).await?),
        }
    }

    async fn ask(&self, scope: &Scope, id: MicrovmId, ask: Ask) -> Result<(), ControlError> {
        self.microvm(scope, id).await?;
        let gone = || Err(Refusal::MicrovmTerminated(id).into());
        match self.shared.microvms.get(id) {
            Some(owner) => owner.ask(ask).await.unwrap_or_else(gone),
            None => gone(),
        }
    }
}

fn place(cursor: &Cursor) -> Option<MicrovmPlace> {
    let (started, id) = cursor.key().split_once('/')?;
    Some((
        Timestamp::from_unix_ms(started.parse().ok()?),
        id.parse().ok()?,
    ))
}
