//! `ForkMicrovm`: a second microVM that begins as a copy of a running or suspended one.
//!
//! ```text
//! record of the child ──> its owner asks the parent's ──> the parent is sealed ──> answer
//!                                                               └──> the child is launched from the layer
//! ```
//!
//! The child's record, its shares and its intent are written before the parent is touched. A restart undoes an
//! interrupted fork: the parent is as before, and the child is removed, because the parent has moved on since.

use std::sync::Arc;

use super::client_tokens::Repeatable;
use super::owner::{self, Beginning, REASON_FORK_FAILED};
use super::run::admit;
use super::{Control, Shared};
use crate::arn::Scope;
use crate::id::{EndpointId, MicrovmId};
use crate::life::{Life, Origin, Phase};
use crate::machine::microvm::{Denial, Event, Terms, Transition, step};
use crate::microvm::{ForkMicrovm, LaunchTerms, Microvm, RunInput};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, Intent, IntentSubject, Verdict};

impl Control {
    /// Forks a running or suspended microVM. When this returns, the layer that the child begins from is durable, and
    /// nothing that happens to the parent afterwards is in it. The child is PENDING or further. A repeated request
    /// returns the microVM of the first one.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn fork_microvm(
        &self,
        scope: &Scope,
        parent: MicrovmId,
        request: ForkMicrovm,
    ) -> Result<Microvm, ControlError> {
        let token = request.client_token.clone();
        let repeatable = Repeatable::new(scope, "ForkMicrovm", token);
        let child = match self.earlier(scope, &repeatable).await? {
            Some(earlier) => earlier,
            None => self.make_fork(scope, parent, request, repeatable).await?,
        };
        self.begun_fork(scope, parent, child).await
    }

    async fn make_fork(
        &self,
        scope: &Scope,
        parent: MicrovmId,
        request: ForkMicrovm,
        repeatable: Repeatable,
    ) -> Result<Microvm, ControlError> {
        let parent = self.microvm(scope, parent).await?;
        self.check_forkable(&parent)?;
        let shared = Arc::clone(&self.shared);
        let noted = repeatable.clone();
        let begin = async move { begin(&shared, &parent, &request, &noted).await };
        self.make_once(scope, &repeatable, begin).await
    }

    /// Refuses what the parent's state machine would refuse. A parent that is being sealed for another child is no
    /// refusal: the child waits.
    fn check_forkable(&self, parent: &Microvm) -> Result<(), Refusal> {
        let now = self.shared.clock.now();
        match step(&parent.life, &Terms::of(parent), &Event::Fork, now) {
            Transition::Refused(Denial::Ended) => Err(Refusal::MicrovmTerminated(parent.id)),
            Transition::Refused(Denial::Busy)
                if !matches!(parent.life.phase, Phase::Sealing { .. }) =>
            {
                Err(Refusal::MicrovmBusy(parent.id, parent.state()))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the layer of the child is durable, or the fork has failed.
    async fn begun_fork(
        &self,
        scope: &Scope,
        parent: MicrovmId,
        child: Microvm,
    ) -> Result<Microvm, ControlError> {
        let child = match self.shared.microvms.get(child.id) {
            None => self.microvm(scope, child.id).await?,
            Some(owner) => {
                let mut view = owner.view();
                let begun = view.wait_for(|child| child.life.phase != Phase::Forking);
                begun.await.map_err(|_| ControlError::Closed)?.clone()
            }
        };
        if child.reason() == Some(REASON_FORK_FAILED) {
            return Err(Refusal::ForkFailed(parent).into());
        }
        Ok(child)
    }
}

/// Takes the shares that the child needs, writes its record and starts its owner.
async fn begin(
    shared: &Arc<Shared>,
    parent: &Microvm,
    request: &ForkMicrovm,
    repeatable: &Repeatable,
) -> Result<Microvm, ControlError> {
    let endpoint_id = EndpointId::generate();
    let (holdings, endpoint) = admit(shared, parent.scope.account, parent.terms.tier, endpoint_id)?;
    let child = record(shared, parent, request, (endpoint_id, endpoint));
    // A living parent keeps its version and connectors in use. Once the child lives, it does the same.
    let batch = Batch::new()
        .guard(Guard::MicrovmLiving(parent.id))
        .change(Change::AddMicrovm(child.clone()))
        .change(Change::Intend(Intent {
            subject: IntentSubject::Microvm(child.id),
            what: "Fork".to_owned(),
            at: child.started_at,
        }));
    let batch = repeatable.note(shared, batch, child.id.to_string());
    match shared.commit(batch).await? {
        Verdict::Committed => {}
        Verdict::Blocked(Guard::TokenFree(_)) => return Err(Refusal::TokenConflict.into()),
        Verdict::Blocked(_) => return Err(Refusal::MicrovmTerminated(parent.id).into()),
    }
    owner::spawn(shared, child.clone(), holdings, Beginning::Launch);
    Ok(child)
}

/// The record of the child: a copy of the parent's but for id, endpoint and times. `/run` is not called on a child,
/// so it has no payload.
fn record(
    shared: &Shared,
    parent: &Microvm,
    request: &ForkMicrovm,
    (endpoint_id, endpoint): (EndpointId, String),
) -> Microvm {
    let (asked, longest) = (request.max_duration, shared.policy.max_duration);
    Microvm {
        id: MicrovmId::generate(),
        endpoint_id,
        origin: Origin::Fork { parent: parent.id },
        terms: Arc::new(LaunchTerms {
            endpoint,
            max_duration: asked.unwrap_or(parent.terms.max_duration).min(longest),
            run_input: RunInput::default(),
            ..(*parent.terms).clone()
        }),
        started_at: shared.clock.now(),
        life: Life::NEW_FORK,
        generation: 0,
        terminated_at: None,
        ..parent.clone()
    }
}
