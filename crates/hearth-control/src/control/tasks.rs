//! The tasks of the control plane, so that all can be stopped together.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;

/// Ends the process when a task panics.
///
/// A microVM without an owner would be handled by nobody, and nothing in the process would notice. A start restores
/// everything from records and host, so the process ends, and its supervisor starts it again. Requests have a task of
/// their own each, and fail alone (`hearth-front`).
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                "a task of the control plane panicked: the service ends, and starts from its records"
            );
            std::process::abort();
        }
    }
}

/// Every task that has not ended. `None` once stopped.
#[derive(Debug)]
pub(super) struct Tasks(Mutex<Option<JoinSet<()>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }
}

impl Tasks {
    /// Starts a task, unless the control plane has been stopped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            // Removes ended tasks, so that the set does not grow.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let _guard = EndOnPanic;
                task.await;
            });
        }
    }

    /// Aborts every task where it stands. Records and host are then as after a crash, which every start handles: so
    /// there is no other way to stop.
    pub(super) async fn stop(&self) {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Named so that [`a_panic_ends_the_process`] finds it.
    #[tokio::test]
    #[ignore = "ends its process: the next test runs it in one of its own"]
    async fn panics() {
        let tasks = Tasks::default();
        tasks.spawn(async { panic!("an owner has a fault") });
        std::future::pending::<()>().await;
    }

    #[test]
    fn a_panic_ends_the_process() {
        let name = "control::tasks::tests::panics";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("an owner has a fault"), "{said}");
        assert!(output.status.code().is_none(), "{}: {said}", output.status);
    }
}
