//! Environments of functions as processes of this machine, for the contract tests and nowhere else: nothing isolates them.
//!
//! A function's code and layers are unpacked into a directory, which stands for `/var/task` and `/opt`. Managed runtimes
//! are programs that the tests name in `HEARTH_DEV_PYTHON` (a Python that has `awslambdaric`) and `HEARTH_DEV_NODE_RIC`
//! (the entry file of `aws-lambda-ric`).

mod output;
mod start;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hearth_invoke::{
    ByteStream, Environment, EnvironmentId, EnvironmentSpec, Environments, OUTPUT_QUEUE, Program,
    ProgramEnd, ProgramId, RunningProgram, Signal, SpawnError, StartError,
};
use rustix::process::{Pid, Signal as OsSignal, kill_process_group, test_kill_process_group};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// How long a kill waits for what the program has forked.
const KILL_LIMIT: Duration = Duration::from_millis(500);

/// Starts environments in a directory.
pub(crate) struct Processes {
    directory: PathBuf,
}

impl Processes {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }
}

#[async_trait]
impl Environments for Processes {
    async fn start(
        &self,
        id: EnvironmentId,
        spec: Arc<EnvironmentSpec>,
    ) -> Result<Arc<dyn Environment>, StartError> {
        let root = self.directory.join(id.to_string());
        let unpacked = root.clone();
        let of = Arc::clone(&spec);
        let work = move || start::unpack(&of, &unpacked);
        let broken = |error: &dyn std::fmt::Display| StartError::Broken(error.to_string());
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| broken(&error))??;
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(|error| broken(&error))?;
        let address = listener.local_addr().map_err(|error| broken(&error))?;
        Ok(Arc::new(ProcessEnvironment {
            root,
            spec,
            listener,
            address: address.to_string(),
            programs: Mutex::default(),
            next_id: AtomicU64::new(1),
        }))
    }

    /// What an earlier run has left: its processes have ended with it, as tests kill the whole group.
    async fn end_orphans(&self) {
        drop(tokio::fs::remove_dir_all(&self.directory).await);
    }
}

struct ProcessEnvironment {
    root: PathBuf,
    spec: Arc<EnvironmentSpec>,
    listener: TcpListener,
    address: String,
    /// The process groups of programs that were started. Each program leads one.
    programs: Mutex<HashMap<ProgramId, Pid>>,
    next_id: AtomicU64,
}

impl ProcessEnvironment {
    fn groups(&self) -> Vec<(ProgramId, Pid)> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.iter().map(|(id, pid)| (*id, *pid)).collect()
    }

    fn send_all(&self, signal: OsSignal) {
        for (_, group) in self.groups() {
            // Groups that have ended are none any more.
            let _ = kill_process_group(group, signal);
        }
    }

    async fn kill(&self, id: ProgramId, group: Pid) {
        let _ = kill_process_group(group, OsSignal::KILL);
        let deadline = tokio::time::Instant::now() + KILL_LIMIT;
        while test_kill_process_group(group).is_ok() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.programs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

#[async_trait]
impl Environment for ProcessEnvironment {
    fn runtime_api(&self) -> String {
        self.address.clone()
    }

    async fn accept(&self) -> Option<Box<dyn ByteStream>> {
        let (stream, _) = self.listener.accept().await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Box::new(stream))
    }

    async fn extensions(&self) -> Result<Vec<String>, SpawnError> {
        Ok(start::extensions(&self.root))
    }

    async fn spawn(&self, program: Program) -> Result<RunningProgram, SpawnError> {
        let mut command = start::command(&self.spec, &self.root, program)?;
        let mut child = command.spawn().map_err(|error| {
            let program = command.as_std().get_program().to_string_lossy();
            SpawnError::NotExecutable(format!("fork/exec {program}: {}", start::reason(&error)))
        })?;
        let id = ProgramId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let lost = || SpawnError::Lost("it has no id".to_owned());
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.ok_or_else(lost)?;
        self.programs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, pid);
        let (lines, output) = mpsc::channel(OUTPUT_QUEUE);
        output::read(child.stdout.take(), child.stderr.take(), lines);
        let (ended, end) = oneshot::channel();
        tokio::spawn(async move {
            let status = child.wait().await;
            let _ = ended.send(status.map_or(ProgramEnd::Lost, start::end));
        });
        Ok(RunningProgram { id, output, end })
    }

    async fn signal(&self, program: ProgramId, signal: Signal) {
        let groups = self.groups();
        let Some((id, group)) = groups.into_iter().find(|(id, _)| *id == program) else {
            return;
        };
        match signal {
            Signal::Terminate => drop(rustix::process::kill_process(group, OsSignal::TERM)),
            Signal::Kill => self.kill(id, group).await,
        }
    }

    /// The pipes are read by tasks that need a moment.
    async fn flush_output(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    async fn peak_memory_bytes(&self) -> Option<u64> {
        let groups = self.groups();
        let peaks = groups.iter().filter_map(|(_, pid)| start::peak_bytes(*pid));
        Some(peaks.sum())
    }

    async fn pause(&self) {
        self.send_all(OsSignal::STOP);
    }

    async fn unpause(&self) {
        self.send_all(OsSignal::CONT);
    }

    async fn end(&self) {
        for (id, group) in self.groups() {
            self.kill(id, group).await;
        }
        drop(tokio::fs::remove_dir_all(&self.root).await);
    }
}

impl Drop for ProcessEnvironment {
    fn drop(&mut self) {
        self.send_all(OsSignal::KILL);
        drop(std::fs::remove_dir_all(&self.root));
    }
}
