//! The application's lifecycle.
//!
//! ```text
//!                start                 first process ends
//! NotStarted ----------> Running ------------------------------> Exited
//!      ^   (Starting)    |     ^
//!      |      fails      freeze| thaw, restored
//!      +-----------+     v     |
//!                        frozen
//! ```
//!
//! Freezing is independent of these states: a guest without an application is frozen for a snapshot too, and serves
//! only control and log streams until it is made unique.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use hearth_wire::agent::{
    AppStatus, ExecSpec, ExitStatus, FunctionStart, Refusal, RuntimeMount, StartSpec,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use tokio::sync::Notify;

use crate::boot;
use crate::bounds::{self, refused};
use crate::channel::Channel;
use crate::container::cgroup::{self, ProgramGroup};
use crate::container::files;
use crate::container::place::{self, Container};
use crate::container::storage::{self, Storage};
use crate::fault::{Fault, Step};
use crate::function;
use crate::kernel_modules;
use crate::launch::{self, Launched, PidNamespace, Stdio};
use crate::logs::Logs;
use crate::program::{Capabilities, Program};
use crate::reaper::{Exit, Reaper};
use crate::root;
use crate::sys::signal;

/// Longest wait until killed processes have ended.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Largest `/dev/shm`, in MiB: that of the largest machine.
const MAX_SHM_MIB: u32 = 32 << 10;

/// The application of the guest: at most one.
#[derive(Debug, Default)]
pub(crate) struct Application {
    state: RefCell<State>,
    gate: Cell<Gate>,
    changed: Notify,
    /// The user that it was started as, also after its end: [`StartSpec::user`]. Empty is root.
    user: RefCell<String>,
    /// Whether the root of a runtime is mounted.
    has_runtime: Cell<bool>,
    /// Number of the next program of a function.
    next_program: Cell<u64>,
}

/// Whether streams into the guest are served.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    /// Closed to new streams; processes are still being frozen.
    Closing,
    /// All processes of the application are frozen.
    Frozen,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    NotStarted,
    Starting,
    Running(RunningApplication),
    Exited(ExitStatus),
}

/// A running application.
#[derive(Debug)]
struct RunningApplication {
    process: Rc<OwnedFd>,
    /// The program's settings, which an exec inherits unless it overrides them.
    program: Program,
    stop_signal: Signal,
}

impl Application {
    /// Whether only control and log streams are served.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate.get() != Gate::Open
    }

    /// Whether all processes of the application are frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.gate.get() == Gate::Frozen
    }

    pub(crate) fn status(&self) -> AppStatus {
        match &*self.state.borrow() {
            State::Exited(status) => AppStatus::Exited(*status),
            State::NotStarted | State::Starting => AppStatus::NotStarted,
            State::Running(_) if self.is_frozen() => AppStatus::Frozen,
            State::Running(_) => AppStatus::Running,
        }
    }

    /// Mounts the root and starts the application in a new container. Its output goes to `logs`.
    pub(crate) async fn start(
        self: &Rc<Self>,
        reaper: &Reaper,
        logs: &Rc<Logs>,
        spec: &StartSpec,
    ) -> Result<(), Refusal> {
        check(spec)?;
        self.begin()?;
        let started = start_container(reaper, logs, spec).await;
        self.end_start(started, &spec.user)
    }

    /// Mounts the root of a runtime and runs its programs once, so that their files are in memory.
    pub(crate) async fn mount_runtime(
        &self,
        reaper: &Reaper,
        spec: &RuntimeMount,
    ) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Frozen);
        }
        if self.has_runtime.get() || !matches!(*self.state.borrow(), State::NotStarted) {
            return Err(refused("a root was mounted before"));
        }
        function::mount_runtime(reaper, spec).await?;
        self.has_runtime.set(true);
        Ok(())
    }

    /// Mounts the disks of a function and makes its container. No program runs in it yet.
    pub(crate) async fn start_function(
        self: &Rc<Self>,
        reaper: &Reaper,
        spec: &FunctionStart,
    ) -> Result<(), Refusal> {
        bounds::check_user(&spec.user)?;
        bounds::check_hostname(&spec.hostname)?;
        self.begin()?;
        let started = function::start(reaper, spec, self.has_runtime.get()).await;
        let started = started.map(|(process, program, exit)| {
            let running = RunningApplication {
                process: Rc::new(process),
                program,
                stop_signal: Signal::TERM,
            };
            (running, exit)
        });
        self.end_start(started, &spec.user)
    }

    fn begin(&self) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Frozen);
        }
        if !matches!(*self.state.borrow(), State::NotStarted) {
            return Err(refused("the application was started before"));
        }
        self.state.replace(State::Starting);
        Ok(())
    }

    fn end_start(
        self: &Rc<Self>,
        started: Result<(RunningApplication, Exit), Refusal>,
        user: &str,
    ) -> Result<(), Refusal> {
        match started {
            Ok((running, exit)) => {
                self.user.replace(user.to_owned());
                self.state.replace(State::Running(running));
                tokio::task::spawn_local(await_end(Rc::clone(self), exit));
                Ok(())
            }
            Err(refusal) => {
                self.state.replace(State::NotStarted);
                Err(refusal)
            }
        }
    }

    /// Opens the application's root directory, as the application sees it, or as it left it if it has ended.
    pub(crate) fn root(&self) -> Result<OwnedFd, Refusal> {
        match &*self.state.borrow() {
            State::Running(running) => {
                let pid = running.pid()?.as_raw_nonzero();
                Ok(root::open(&format!("/proc/{pid}/root")).step("open the application's root")?)
            }
            State::Exited(_) => Ok(root::open(storage::ROOT).step("open the application's root")?),
            State::NotStarted | State::Starting => Err(refused("the application was not started")),
        }
    }

    /// The user that the application was started as. Empty is root, as before a start.
    pub(crate) fn user(&self) -> String {
        self.user.borrow().clone()
    }

    /// Starts a process in the application's container.
    pub(crate) fn launch(&self, spec: &ExecSpec) -> Result<Launched, Refusal> {
        let (process, program) = match &*self.state.borrow() {
            State::Running(running) => (Rc::clone(&running.process), running.program_for(spec)),
            State::Exited(_) => return Err(refused("the application has ended")),
            State::NotStarted | State::Starting => {
                return Err(refused("the application was not started"));
            }
        };
        let stdio = match spec.tty {
            None => Stdio::Pipes,
            Some(size) => Stdio::Terminal {
                root: self.root()?,
                size,
            },
        };
        let namespace = PidNamespace::Of(&process);
        Ok(launch::launch(
            &stdio,
            &namespace,
            || place::join(&process),
            |_| program.execute(),
        )?)
    }

    /// Starts a program of a function in a group of its own.
    pub(crate) fn launch_function(&self, spec: &ExecSpec) -> Result<Launched, Refusal> {
        let (process, program) = match &*self.state.borrow() {
            State::Running(running) => (Rc::clone(&running.process), running.program_for(spec)),
            _ => return Err(refused("there is no function")),
        };
        let number = self.next_program.get();
        self.next_program.set(number + 1);
        let group = ProgramGroup::make(number)?;
        let namespace = PidNamespace::Of(&process);
        let mut launched = launch::launch(
            &Stdio::Framed,
            &namespace,
            || place::join_as(&process, &group),
            |framed| function::execute(program, framed),
        )?;
        launched.group = Some(group);
        Ok(launched)
    }

    /// Closes the gate, stops all processes and writes their files back.
    pub(crate) async fn freeze(&self) -> Result<(), Refusal> {
        match self.gate.get() {
            Gate::Frozen => return Ok(()),
            Gate::Closing => return Err(refused("the application is being frozen")),
            // Its first process would come after the others have been stopped.
            Gate::Open if matches!(*self.state.borrow(), State::Starting) => {
                return Err(refused("the application is being started"));
            }
            Gate::Open => self.gate.set(Gate::Closing),
        }
        let frozen = match cgroup::freeze().await {
            Ok(()) => self.sync_root(),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = frozen {
            self.open_gate()?;
            return Err(fault.into());
        }
        self.gate.set(Gate::Frozen);
        Ok(())
    }

    /// Thaws the application and opens the gate.
    pub(crate) fn thaw(&self) -> Result<(), Refusal> {
        match self.gate.get() {
            Gate::Open => Ok(()),
            Gate::Closing => Err(refused("the application is being frozen")),
            Gate::Frozen => Ok(self.open_gate()?),
        }
    }

    fn open_gate(&self) -> Result<(), Fault> {
        cgroup::thaw()?;
        self.gate.set(Gate::Open);
        Ok(())
    }

    /// Asks the application to stop, and kills it if it has not stopped within the grace period.
    pub(crate) async fn stop(&self, grace: Duration) -> Result<(), Refusal> {
        let (process, stop_signal) = match &*self.state.borrow() {
            State::Running(running) => (Rc::clone(&running.process), running.stop_signal),
            State::Exited(_) => return Ok(()),
            State::NotStarted | State::Starting => {
                return Err(refused("the application was not started"));
            }
        };
        // Frozen it could not answer.
        if !self.is_frozen() {
            // It may have ended by itself meanwhile.
            let _ = rustix::process::pidfd_send_signal(&process, stop_signal);
            if self.ends_within(grace).await {
                return Ok(());
            }
        }
        cgroup::kill()?;
        if self.ends_within(KILL_DEADLINE).await {
            return Ok(());
        }
        Err(Fault::new("kill the application's processes", Errno::TIMEDOUT).into())
    }

    /// Sets the container's host name.
    pub(crate) fn set_hostname(&self, hostname: &str) -> Result<(), Fault> {
        let State::Running(running) = &*self.state.borrow() else {
            return Ok(());
        };
        let step = "set the container's host name";
        let own = rustix::fs::open(
            "/proc/self/ns/uts",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .step(step)?;
        let process = running.process.as_fd();
        let uts = ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
        match rustix::thread::move_into_thread_name_spaces(process, uts) {
            Ok(()) => {}
            // It has ended and is about to be reaped.
            Err(Errno::SRCH) => return Ok(()),
            Err(error) => return Err(Fault::new(step, error)),
        }
        let set = rustix::system::sethostname(hostname.as_bytes()).step(step);
        let uts = Some(LinkNameSpaceType::HostNameAndNISDomainName);
        rustix::thread::move_into_link_name_space(own.as_fd(), uts).step(step)?;
        set
    }

    async fn ends_within(&self, limit: Duration) -> bool {
        let ended = async {
            loop {
                let changed = self.changed.notified();
                if matches!(*self.state.borrow(), State::Exited(_)) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, ended).await.is_ok()
    }

    /// Syncs the application's own disk only: a file system that the application mounted may be served by a process
    /// that is frozen now.
    fn sync_root(&self) -> Result<(), Fault> {
        if !matches!(*self.state.borrow(), State::Running(_) | State::Exited(_)) {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(storage::ROOT, flags, Mode::empty())
            .and_then(rustix::fs::syncfs)
            .step("sync the application's files")
    }
}

impl RunningApplication {
    /// Pid of the application's first process. It is reaped in this thread, so the pid is not reused meanwhile.
    fn pid(&self) -> Result<Pid, Refusal> {
        let info =
            std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.process.as_raw_fd()))
                .step("find the application")?;
        info.lines()
            .find_map(|line| line.strip_prefix("Pid:"))
            .and_then(|number| number.trim().parse().ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| refused("the application has ended"))
    }

    fn program_for(&self, spec: &ExecSpec) -> Program {
        let or_own =
            |wanted: &str, own: &str| if wanted.is_empty() { own } else { wanted }.to_owned();
        let mut env = self.program.env.clone();
        if spec.tty.is_some() {
            env.insert("TERM".to_owned(), "xterm".to_owned());
        }
        env.extend(spec.env.clone());
        Program {
            argv: spec.argv.clone(),
            env,
            cwd: or_own(&spec.cwd, &self.program.cwd),
            create_cwd: false,
            user: or_own(&spec.user, &self.program.user),
            capabilities: self.program.capabilities,
            open_files: self.program.open_files,
            processes: self.program.processes,
        }
    }
}

fn check(spec: &StartSpec) -> Result<(), Refusal> {
    bounds::check_process(&spec.argv, &spec.env)?;
    bounds::check_cwd(&spec.cwd)?;
    bounds::check_user(&spec.user)?;
    bounds::check_hostname(&spec.hostname)?;
    if spec.shm_mib > MAX_SHM_MIB {
        return Err(refused("the shared memory is larger than any machine"));
    }
    if signal::from_number(spec.stop_signal).is_none() {
        return Err(refused("the stop signal is not one"));
    }
    Ok(())
}

async fn start_container(
    reaper: &Reaper,
    logs: &Rc<Logs>,
    spec: &StartSpec,
) -> Result<(RunningApplication, Exit), Refusal> {
    if spec.all_capabilities
        && let Err(fault) = kernel_modules::allow_on_demand()
    {
        boot::report("modules are not loaded on demand", &fault);
    }
    let storage = Storage::mount(&spec.root)?;
    files::create(&spec.hostname)?;
    cgroup::create()?;
    let program = Program {
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        create_cwd: true,
        user: spec.user.clone(),
        capabilities: if spec.all_capabilities {
            Capabilities::All
        } else {
            Capabilities::Default
        },
        open_files: Some(spec.open_files),
        processes: None,
    };
    let container = Container {
        hostname: &spec.hostname,
        shm_mib: Some(spec.shm_mib),
        capabilities: program.capabilities,
    };
    let launched = launch::launch(
        &Stdio::Output,
        &PidNamespace::New,
        || container.create(),
        |_| program.execute(),
    )?;
    let exit = reaper.watch(launched.pid);
    // Held from before the exec on, so that it is this process whatever comes.
    let process = rustix::process::pidfd_open(launched.pid, PidfdFlags::empty())
        .step("hold on to the application")?;
    let (_, ends) = launched.confirm().await?;
    if let (Some(stdout), Some(stderr)) = (ends.stdout, ends.stderr) {
        let step = "take the application's output";
        let stdout = Channel::new(stdout).step(step)?;
        let stderr = Channel::new(stderr).step(step)?;
        let logs = Rc::clone(logs);
        tokio::task::spawn_local(async move { logs.collect_all(&stdout, &stderr).await });
    }
    storage.keep();
    let stop_signal = signal::from_number(spec.stop_signal).unwrap_or(Signal::TERM);
    Ok((
        RunningApplication {
            process: Rc::new(process),
            program,
            stop_signal,
        },
        exit,
    ))
}

/// Waits for the end of the first process, which ends the application: the kernel kills all other processes of its PID
/// namespace.
async fn await_end(application: Rc<Application>, exit: Exit) {
    let status = exit.await.unwrap_or(ExitStatus::Code(-1));
    application.state.replace(State::Exited(status));
    application.changed.notify_waiters();
}
