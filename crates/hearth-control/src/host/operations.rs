//! Operations under way on the instances of a host: the part of [`super::Host`] that is the same for every host.
//!
//! Each operation is a task, which starts when the operation before it on the same instance has ended. A removal
//! starts at once and has to end what is under way.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Done, HostError, HostOperation, OperationFailure, OperationId, Outcome};
use crate::instance::InstanceId;

/// How long [`Operations::outcome`] waits before it answers that an operation is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Outcomes of removals that are kept for late callers.
const REMOVALS_KEPT: usize = 1024;

/// The outcome of an operation, once it has ended.
type Ending = Option<Result<Done, OperationFailure>>;

/// The newest operation of each instance.
#[derive(Debug, Default)]
pub struct Operations(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    newest: HashMap<InstanceId, Newest>,
    /// Instances whose newest operation is a removal, oldest first.
    removals: VecDeque<InstanceId>,
}

#[derive(Debug)]
struct Newest {
    id: OperationId,
    operation: HostOperation,
    ending: watch::Receiver<Ending>,
}

impl Operations {
    /// Accepts an operation. `perform` is called when its turn has come. Implements [`super::Host::submit`].
    ///
    /// # Errors
    ///
    /// The host has accepted a newer operation on the instance already.
    pub fn submit<F>(
        &self,
        id: OperationId,
        operation: HostOperation,
        perform: impl FnOnce(HostOperation) -> F + Send + 'static,
    ) -> Result<(), HostError>
    where
        F: Future<Output = Result<Done, OperationFailure>> + Send,
    {
        let mut table = self.lock();
        let mut before = None;
        if let Some(newest) = table.newest.get_mut(&id.instance) {
            let is_under_way = newest.ending.borrow().is_none();
            let is_same =
                newest.id == id || (is_under_way && newest.operation.is_same_as(&operation));
            if is_same {
                newest.id = newest.id.max_generation(id);
                return Ok(());
            }
            if id.generation < newest.id.generation {
                return Err(HostError(format!(
                    "{} has a newer operation than generation {}",
                    id.instance, id.generation
                )));
            }
            before = Some(newest.ending.clone());
        }
        let (tell, ending) = watch::channel(None);
        if operation == HostOperation::Remove {
            table.note_removal(id.instance);
            before = None;
        }
        let newest = Newest {
            id,
            operation: operation.clone(),
            ending,
        };
        table.newest.insert(id.instance, newest);
        drop(table);
        tokio::spawn(async move {
            if let Some(mut before) = before {
                // A sender that is gone has panicked. Its turn is over too.
                let _ = before.wait_for(Option::is_some).await;
            }
            tell.send_replace(Some(perform(operation).await));
        });
        Ok(())
    }

    /// Implements [`super::Host::outcome`].
    pub async fn outcome(&self, id: OperationId) -> Outcome {
        let ending = match self.lock().newest.get(&id.instance) {
            Some(newest) if newest.id == id => newest.ending.clone(),
            Some(newest) if newest.id.generation > id.generation => {
                return Outcome::Failed(OperationFailure::Overtaken);
            }
            _ => return Outcome::Unknown,
        };
        let mut waiting = ending;
        match tokio::time::timeout(PATIENCE, waiting.wait_for(Option::is_some)).await {
            Err(_) => Outcome::Busy,
            Ok(Ok(ending)) => match &*ending {
                Some(Ok(done)) => Outcome::Done(done.clone()),
                Some(Err(failure)) => Outcome::Failed(failure.clone()),
                None => Outcome::Busy,
            },
            // The task of the operation panicked.
            Ok(Err(_)) => {
                self.forget(id);
                Outcome::Unknown
            }
        }
    }

    /// Whether an operation is under way on an instance.
    pub fn is_busy(&self, instance: InstanceId) -> bool {
        let table = self.lock();
        let newest = table.newest.get(&instance);
        newest.is_some_and(|newest| newest.ending.borrow().is_none())
    }

    fn forget(&self, id: OperationId) {
        let mut table = self.lock();
        if table
            .newest
            .get(&id.instance)
            .is_some_and(|newest| newest.id == id)
        {
            table.newest.remove(&id.instance);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OperationId {
    fn max_generation(self, other: Self) -> Self {
        Self {
            generation: self.generation.max(other.generation),
            ..self
        }
    }
}

impl Table {
    /// Drops the oldest removals: nobody asks for them any more.
    fn note_removal(&mut self, instance: InstanceId) {
        self.removals.push_back(instance);
        while self.removals.len() > REMOVALS_KEPT {
            let Some(oldest) = self.removals.pop_front() else {
                return;
            };
            let has_ended = self.newest.get(&oldest).is_some_and(|newest| {
                newest.operation == HostOperation::Remove && newest.ending.borrow().is_some()
            });
            if has_ended {
                self.newest.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::id::MicrovmId;

    fn id(instance: InstanceId, generation: u64) -> OperationId {
        OperationId {
            instance,
            generation,
        }
    }

    async fn done(_: HostOperation) -> Result<Done, OperationFailure> {
        Ok(Done::default())
    }

    #[tokio::test]
    async fn a_second_submit_joins_and_the_outcome_stays() {
        let operations = Operations::default();
        let (instance, begun, go) = (
            InstanceId::from(MicrovmId::generate()),
            Arc::new(AtomicU32::new(0)),
            Arc::new(Notify::new()),
        );
        let child = InstanceId::from(MicrovmId::generate());
        let submit = |generation| {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            operations.submit(
                id(instance, generation),
                HostOperation::Seal { child },
                async move |_| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Err(OperationFailure::Unchanged("full".to_owned()))
                },
            )
        };
        submit(3).unwrap();
        submit(3).unwrap();
        // A control plane that was started anew decides on the same thing at a later generation.
        submit(4).unwrap();
        tokio::task::yield_now().await;
        assert!(operations.is_busy(instance));
        go.notify_one();
        let failed = Outcome::Failed(OperationFailure::Unchanged("full".to_owned()));
        assert_eq!(operations.outcome(id(instance, 4)).await, failed);
        assert_eq!(operations.outcome(id(instance, 4)).await, failed);
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        assert!(submit(2).is_err(), "that is over");
        assert_eq!(operations.outcome(id(instance, 9)).await, Outcome::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn late_is_busy_and_a_removal_overtakes() {
        let operations = Operations::default();
        let (instance, child) = (
            InstanceId::from(MicrovmId::generate()),
            InstanceId::from(MicrovmId::generate()),
        );
        let stuck = async move |_| std::future::pending().await;
        operations
            .submit(id(instance, 1), HostOperation::Seal { child }, stuck)
            .unwrap();
        for _ in 0..100 {
            assert_eq!(operations.outcome(id(instance, 1)).await, Outcome::Busy);
        }
        operations
            .submit(id(instance, 2), HostOperation::Remove, done)
            .unwrap();
        assert_eq!(
            operations.outcome(id(instance, 2)).await,
            Outcome::Done(Done::default())
        );
        assert_eq!(
            operations.outcome(id(instance, 1)).await,
            Outcome::Failed(OperationFailure::Overtaken)
        );
    }

    #[tokio::test]
    async fn operations_on_one_instance_follow_each_other() {
        let operations = Operations::default();
        let (instance, go) = (
            InstanceId::from(MicrovmId::generate()),
            Arc::new(Notify::new()),
        );
        let (waits, child) = (Arc::clone(&go), InstanceId::from(MicrovmId::generate()));
        operations
            .submit(
                id(instance, 1),
                HostOperation::Seal { child },
                async move |_| {
                    waits.notified().await;
                    Ok(Done::default())
                },
            )
            .unwrap();
        let begun = Arc::new(AtomicU32::new(0));
        let counts = Arc::clone(&begun);
        operations
            .submit(
                id(instance, 2),
                HostOperation::Seal {
                    child: InstanceId::from(MicrovmId::generate()),
                },
                async move |_| {
                    counts.fetch_add(1, Ordering::SeqCst);
                    Ok(Done::default())
                },
            )
            .unwrap();
        tokio::task::yield_now().await;
        assert_eq!(begun.load(Ordering::SeqCst), 0);
        go.notify_one();
        assert_eq!(
            operations.outcome(id(instance, 2)).await,
            Outcome::Done(Done::default())
        );
    }
}
