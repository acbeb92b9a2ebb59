//! One environment: a guest with the container of its function.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hearth_invoke::{
    ByteStream, Environment, OUTPUT_QUEUE, Program, ProgramId, ProgramKind, RunningProgram, Signal,
    SpawnError,
};
use hearth_node::{
    AgentClient, AgentError, Exec, ExecWriter, Machine, MachineName, Node, NodeError,
    ServiceListener, service_of, with_causes,
};
use hearth_wire::agent::{
    ControlRequest, ExecInput, ExecOutput, ExecPlace, ExecSpec, FunctionStart, Refusal,
};
use hearth_wire::service::Service;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::program::{Pump, usage};
use super::size::Size;

/// Connections of a guest that have not said yet what they are for.
const MAX_OPENING: usize = 32;

/// Connections to the Runtime API that wait to be accepted. A runtime and ten extensions have a few each.
const MAX_WAITING: usize = 64;

/// How long a killed program may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// How long output that the guest has sent may take through this process.
const FLUSH_TIME: Duration = Duration::from_millis(1);

/// Longest list of extensions, in bytes: more than ten names.
const MAX_LIST_BYTES: usize = 16 << 10;

/// Lists the executable files of a folder, a name a line.
const LIST: &str = r#"cd /opt/extensions 2> /dev/null || exit 0
for name in *; do [ -f "$name" ] && [ -x "$name" ] && echo "$name"; done; exit 0"#;

/// An environment that runs. Dropping it ends it.
pub(super) struct Guest {
    node: Node,
    machine: Machine,
    name: MachineName,
    agent: AgentClient,
    size: Size,
    pub(super) has_own_bootstrap: bool,
    pub(super) has_layers: bool,
    connections: tokio::sync::Mutex<mpsc::Receiver<UnixStream>>,
    connected: mpsc::Sender<UnixStream>,
    /// Passes connections on while the environment lives.
    door: Mutex<JoinSet<()>>,
    programs: Arc<Mutex<HashMap<ProgramId, Running>>>,
    next: AtomicU64,
    memory_kills: Arc<AtomicU64>,
    pause: tokio::sync::Mutex<Pause>,
    has_ended: AtomicBool,
}

/// A program whose end was not seen yet.
#[derive(Clone)]
struct Running {
    writer: Arc<tokio::sync::Mutex<ExecWriter>>,
    has_ended: watch::Receiver<()>,
}

#[derive(Debug, Default)]
struct Pause {
    is_paused: bool,
    /// Whether the processors are limited. They are not before the first pause: init runs at full speed.
    is_limited: bool,
}

impl Guest {
    pub(super) fn new(node: Node, machine: Machine, size: Size) -> Self {
        let (connected, connections) = mpsc::channel(MAX_WAITING);
        Self {
            node,
            name: machine.name().clone(),
            agent: machine.agent(),
            machine,
            size,
            has_own_bootstrap: false,
            has_layers: false,
            connections: tokio::sync::Mutex::new(connections),
            connected,
            door: Mutex::default(),
            programs: Arc::default(),
            next: AtomicU64::new(1),
            memory_kills: Arc::default(),
            pause: tokio::sync::Mutex::default(),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Begins to pass the guest's connections on.
    pub(super) fn serve(&self, listener: ServiceListener) {
        let process = self.machine.record().process;
        let connected = self.connected.clone();
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.spawn(async move {
            tokio::select! {
                () = pass_on(&listener, &connected) => {}
                () = process.died() => {}
            }
        });
    }

    pub(super) async fn start_function(&self, start: FunctionStart) -> Result<(), AgentError> {
        let request = ControlRequest::StartFunction(Box::new(start));
        self.agent.perform(request).await
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<ProgramId, Running>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exec(
        &self,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
    ) -> Result<Exec, AgentError> {
        let spec = ExecSpec {
            argv,
            env,
            cwd: String::new(),
            user: String::new(),
            tty: None,
            place: ExecPlace::Function,
        };
        self.agent.exec(spec).await
    }

    /// Passes the output of a program on, and its end.
    fn follow(&self, exec: Exec) -> RunningProgram {
        let id = ProgramId(self.next.fetch_add(1, Ordering::Relaxed));
        let (reader, writer) = exec.split();
        let (output, output_receiver) = mpsc::channel(OUTPUT_QUEUE);
        let (end, end_receiver) = oneshot::channel();
        let (ended, has_ended) = watch::channel(());
        let pump = Pump {
            reader,
            output,
            end,
            agent: self.agent.clone(),
            memory_kills: Arc::clone(&self.memory_kills),
        };
        let running = Running {
            // Kept until its end: the agent kills a program whose stream is closed.
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            has_ended,
        };
        self.programs().insert(id, running);
        let programs = Arc::clone(&self.programs);
        tokio::spawn(async move {
            pump.run().await;
            let mut programs = programs.lock().unwrap_or_else(PoisonError::into_inner);
            programs.remove(&id);
            drop(ended);
        });
        RunningProgram {
            id,
            output: output_receiver,
            end: end_receiver,
        }
    }

    /// The files at which a program may begin, in the order in which they are tried.
    fn candidates(&self, kind: &ProgramKind) -> Vec<String> {
        match kind {
            ProgramKind::Bootstrap if self.has_own_bootstrap => {
                vec!["/var/runtime/bootstrap".to_owned()]
            }
            ProgramKind::Bootstrap => ["/var/task/bootstrap", "/opt/bootstrap"]
                .map(str::to_owned)
                .to_vec(),
            ProgramKind::Extension(name) => vec![format!("/opt/extensions/{name}")],
        }
    }

    async fn erase(&self) -> Result<(), NodeError> {
        self.has_ended.store(true, Ordering::Relaxed);
        let erased = self.node.erase(&self.name).await;
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.abort_all();
        erased
    }
}

#[async_trait]
impl Environment for Guest {
    async fn accept(&self) -> Option<Box<dyn ByteStream>> {
        let died = self.machine.record().process.died();
        let mut connections = self.connections.lock().await;
        tokio::select! {
            connection = connections.recv() => Some(Box::new(connection?)),
            () = died => None,
        }
    }

    async fn extensions(&self) -> Result<Vec<String>, SpawnError> {
        if !self.has_layers {
            return Ok(Vec::new());
        }
        let argv = ["/bin/sh", "-c", LIST].map(str::to_owned).to_vec();
        let exec = self
            .exec(argv, BTreeMap::new())
            .await
            .map_err(|error| lost(&error))?;
        let (mut reader, _writer) = exec.split();
        let mut list = Vec::new();
        loop {
            match reader.next().await.map_err(|error| lost(&error))? {
                ExecOutput::Stdout(bytes) if list.len() < MAX_LIST_BYTES => list.extend(bytes),
                ExecOutput::Exit(_) => break,
                _ => {}
            }
        }
        let list = String::from_utf8_lossy(&list);
        Ok(list.lines().map(str::to_owned).collect())
    }

    async fn spawn(&self, program: Program) -> Result<RunningProgram, SpawnError> {
        let candidates = self.candidates(&program.kind);
        for path in &candidates {
            let exec = self.exec(vec![path.clone()], program.variables.clone());
            match exec.await {
                Ok(exec) => return Ok(self.follow(exec)),
                Err(AgentError::Refused(Refusal::Os { errno, .. })) if errno == NO_ENTRY => {}
                Err(AgentError::Refused(Refusal::Os { errno, message, .. })) => {
                    let reason = words(errno, message);
                    return Err(SpawnError::NotExecutable(format!(
                        "fork/exec {path}: {reason}"
                    )));
                }
                Err(error) => return Err(lost(&error)),
            }
        }
        Err(match program.kind {
            ProgramKind::Bootstrap => SpawnError::NoBootstrap(candidates),
            ProgramKind::Extension(_) => SpawnError::NotExecutable(format!(
                "fork/exec {}: {}",
                candidates.concat(),
                words(NO_ENTRY, String::new())
            )),
        })
    }

    async fn signal(&self, program: ProgramId, signal: Signal) {
        let Some(mut running) = self.programs().get(&program).cloned() else {
            return;
        };
        let number = match signal {
            Signal::Terminate => TERMINATE,
            Signal::Kill => KILL,
        };
        let sent = running
            .writer
            .lock()
            .await
            .send(&ExecInput::Signal(number))
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, name = %self.name, "a program was not signalled");
        }
        if signal == Signal::Kill {
            // The sender is dropped at its end.
            let ended = async { while running.has_ended.changed().await.is_ok() {} };
            if tokio::time::timeout(KILL_LIMIT, ended).await.is_err() {
                tracing::warn!(name = %self.name, "a program that was killed has not ended yet");
            }
        }
    }

    async fn flush_output(&self) {
        // What the guest sends arrives in order, and its agent reads pipes before it answers.
        if usage(&self.agent).await.is_ok() {
            tokio::time::sleep(FLUSH_TIME).await;
        }
    }

    async fn peak_memory_bytes(&self) -> Option<u64> {
        let peak = usage(&self.agent).await.ok()?.peak_memory_bytes;
        (peak > 0).then_some(peak)
    }

    async fn pause(&self) {
        let mut pause = self.pause.lock().await;
        if pause.is_paused {
            return;
        }
        match self.machine.pause().await {
            Ok(()) => pause.is_paused = true,
            // If its VMM is gone, that is told elsewhere.
            Err(error) => {
                tracing::debug!(%error, name = %self.name, "an environment was not paused");
            }
        }
        if !pause.is_limited {
            pause.is_limited = true;
            let limited = self.machine.limit_processors(self.size.processors_permille);
            if let Err(error) = limited.await {
                tracing::warn!(%error, name = %self.name, "the processors of an environment are not limited");
            }
        }
    }

    async fn unpause(&self) {
        let mut pause = self.pause.lock().await;
        if !pause.is_paused {
            return;
        }
        match self.machine.unpause().await {
            Ok(()) => pause.is_paused = false,
            Err(error) => {
                tracing::debug!(%error, name = %self.name, "an environment was not unpaused");
            }
        }
    }

    async fn end(&self) {
        if let Err(error) = self.erase().await {
            tracing::error!(%error, name = %self.name, "an environment is not removed; the next start of the service does it");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.has_ended.load(Ordering::Relaxed) {
            return;
        }
        let (node, name) = (self.node.clone(), self.name.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = node.erase(&name).await {
                    tracing::error!(%error, %name, "an environment is not removed; the next start of the service does it");
                }
            });
        }
    }
}

/// Accepts the guest's streams and passes those to the Runtime API on.
async fn pass_on(listener: &ServiceListener, connected: &mpsc::Sender<UnixStream>) {
    let mut opening = JoinSet::new();
    loop {
        tokio::select! {
            mut stream = listener.accept(), if opening.len() < MAX_OPENING => {
                opening.spawn(async move { (service_of(&mut stream).await, stream) });
            }
            Some(opened) = opening.join_next() => {
                if let Ok((Some(Service::RuntimeApi), stream)) = opened {
                    // With all places taken, the connection is closed.
                    let _ = connected.try_send(stream);
                }
            }
        }
    }
}

fn lost(error: &AgentError) -> SpawnError {
    SpawnError::Lost(with_causes(error))
}

/// `ENOENT`.
const NO_ENTRY: i32 = 2;

/// `SIGTERM` and `SIGKILL`.
const TERMINATE: i32 = 15;
const KILL: i32 = 9;

/// An error of exec as AWS words it.
fn words(errno: i32, otherwise: String) -> String {
    match errno {
        NO_ENTRY => "no such file or directory".to_owned(),
        8 => "exec format error".to_owned(),
        11 => "resource temporarily unavailable".to_owned(),
        12 => "cannot allocate memory".to_owned(),
        13 => "permission denied".to_owned(),
        _ => otherwise,
    }
}
