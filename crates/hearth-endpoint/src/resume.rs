//! Resumes a microVM on traffic: many requests wait, one resume is made.
//!
//! The resume runs in a task of its own. A client that disconnects only stops waiting; the resume it caused
//! continues.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::backend::Backend;
use crate::id::MicrovmId;
use crate::lock::lock;
use crate::reason::{LimitReached, NoAnswer};
use crate::reply::Refusal;

pub(crate) struct Resumes {
    backend: Arc<dyn Backend>,
    max_waiters: usize,
    wait_limit: Duration,
    under_way: Mutex<HashMap<MicrovmId, Resume>>,
}

#[derive(Clone)]
struct Resume {
    /// `None` until the resume has ended.
    outcome: watch::Receiver<Option<bool>>,
    places: Arc<Semaphore>,
}

impl Resumes {
    pub(crate) fn new(backend: Arc<dyn Backend>, max_waiters: usize, wait_limit: Duration) -> Self {
        Self {
            backend,
            max_waiters,
            wait_limit,
            under_way: Mutex::default(),
        }
    }

    /// Returns when the microVM serves.
    pub(crate) async fn wait(self: &Arc<Self>, microvm: MicrovmId) -> Result<(), Refusal> {
        let (mut resume, _place) = self.join(microvm)?;
        let done = resume.outcome.wait_for(Option::is_some);
        match tokio::time::timeout(self.wait_limit, done).await {
            Ok(Ok(outcome)) if *outcome == Some(true) => Ok(()),
            Ok(_) => Err(Refusal::BadGateway(NoAnswer::NotResumed)),
            Err(_) => {
                let late = NoAnswer::ResumeTimedOut(self.wait_limit);
                Err(Refusal::BadGateway(late))
            }
        }
    }

    /// Joins the resume that is under way, or starts one.
    fn join(
        self: &Arc<Self>,
        microvm: MicrovmId,
    ) -> Result<(Resume, OwnedSemaphorePermit), Refusal> {
        let mut begun = None;
        let resume = {
            let mut under_way = lock(&self.under_way);
            let resume = under_way.entry(microvm).or_insert_with(|| {
                let (sender, outcome) = watch::channel(None);
                begun = Some(sender);
                Resume {
                    outcome,
                    places: Arc::new(Semaphore::new(self.max_waiters)),
                }
            });
            resume.clone()
        };
        // Outside the lock: when the runtime shuts down, it drops the task at once, and the entry with it.
        if let Some(sender) = begun {
            self.begin(microvm, sender);
        }
        let place = Arc::clone(&resume.places).try_acquire_owned();
        place
            .map(|place| (resume, place))
            .map_err(|_| Refusal::TooMany(LimitReached::Waiting(self.max_waiters)))
    }

    fn begin(self: &Arc<Self>, microvm: MicrovmId, sender: watch::Sender<Option<bool>>) {
        // Created before the task runs, so that the entry is removed even if the backend panics.
        let entry = Entry {
            resumes: Arc::clone(self),
            microvm,
        };
        tokio::spawn(async move {
            let result = entry.resumes.backend.resume(microvm).await;
            if let Err(error) = &result {
                tracing::warn!(%microvm, %error, "traffic could not wake the microVM");
            }
            // Removed first, so that a request which comes now looks at the state anew.
            drop(entry);
            let _ = sender.send(Some(result.is_ok()));
        });
    }
}

struct Entry {
    resumes: Arc<Resumes>,
    microvm: MicrovmId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.resumes.under_way).remove(&self.microvm);
    }
}
