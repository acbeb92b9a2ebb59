//! The container of a Lambda function: the root of its runtime, its disks, and programs that come and go.
//!
//! ```text
//! MountRuntime     ROOT            read-only, of the runtime        ┐ in a template: clones have it in memory
//!                                                                   ┘
//! StartFunction    ROOT/var/task   read-only, the function's code
//!                  ROOT/opt        read-only, its layers
//!                  ROOT/tmp        an ext4 of the size that the function may have
//!                  keeper          pid 1 of the container
//! Exec             bootstrap, extensions: each in a cgroup of its own
//! ```
//!
//! The first process of an application is its program; here programs end and are started again, and the container
//! stays. So its first process is one of ours: it runs no program and only reaps what is orphaned.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hearth_wire::agent::{FRAMED_LOG_VARIABLE, FunctionStart, Refusal, RuntimeMount};
use rustix::io::{Errno, FdFlags};
use rustix::process::{PidfdFlags, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::boot;
use crate::bounds;
use crate::container::place::Container;
use crate::container::storage::{self, Storage};
use crate::container::{cgroup, files};
use crate::fault::{Fault, Step};
use crate::launch::{self, PidNamespace, Stdio};
use crate::program::{Capabilities, Program};
use crate::reaper::{Exit, Reaper};
use crate::sys::process;

/// Working directory of every program.
const TASK: &str = "/var/task";

/// Longest time that a program may take which only warms memory up. A slow host has no less use for the template.
const WARM_UP_LIMIT: Duration = Duration::from_secs(120);

/// Pause of the container's first process between two looks for orphans that have ended.
const REAP_PAUSE: Duration = Duration::from_secs(5);

/// Mounts the root of a runtime and runs its programs.
pub(crate) async fn mount_runtime(reaper: &Reaper, spec: &RuntimeMount) -> Result<(), Refusal> {
    for argv in &spec.warm_up {
        bounds::check_process(argv, &BTreeMap::new())?;
    }
    Storage::mount_runtime(&spec.serial)?.keep();
    for argv in &spec.warm_up {
        if let Err(fault) = warm_up(reaper, argv).await {
            boot::report("a program that warms a runtime up did not run", &fault);
        }
    }
    Ok(())
}

async fn warm_up(reaper: &Reaper, argv: &[String]) -> Result<(), Fault> {
    let program = Program {
        argv: argv.to_vec(),
        env: BTreeMap::new(),
        cwd: "/".to_owned(),
        create_cwd: false,
        user: String::new(),
        capabilities: Capabilities::None,
        open_files: None,
        processes: None,
    };
    let enter = || {
        rustix::process::chdir(storage::ROOT).step("enter the runtime")?;
        rustix::process::chroot(".").step("enter the runtime")
    };
    let launched = launch::launch(&Stdio::Output, &PidNamespace::Own, enter, |_| {
        program.execute()
    })?;
    let pid = launched.pid;
    let ended = reaper.watch(pid);
    // Its output goes nowhere.
    launched.confirm().await?;
    if tokio::time::timeout(WARM_UP_LIMIT, ended).await.is_err() {
        // Before it was reaped, its number is its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        return Err(Fault::new("wait for its end", Errno::TIMEDOUT));
    }
    Ok(())
}

/// Makes the container. Answers its first process, and the settings of its programs.
pub(crate) async fn start(
    reaper: &Reaper,
    spec: &FunctionStart,
    has_runtime: bool,
) -> Result<(OwnedFd, Program, Exit), Refusal> {
    let runtime = match has_runtime {
        true => None,
        false => Some(Storage::mount_runtime(&spec.disks.runtime)?),
    };
    let function = Storage::mount_function(&spec.disks)?;
    files::create(&spec.hostname)?;
    cgroup::create()?;
    cgroup::limit(spec.memory_bytes, spec.processes)?;
    let container = Container {
        hostname: &spec.hostname,
        shm_mib: None,
        capabilities: Capabilities::None,
    };
    let launched = launch::launch(
        &Stdio::Output,
        &PidNamespace::New,
        || container.create(),
        |_| keep(),
    )?;
    let exit = reaper.watch(launched.pid);
    let process = rustix::process::pidfd_open(launched.pid, PidfdFlags::empty())
        .step("hold on to the container")?;
    launched.confirm().await?;
    function.keep();
    if let Some(runtime) = runtime {
        runtime.keep();
    }
    let program = Program {
        argv: Vec::new(),
        env: BTreeMap::new(),
        cwd: TASK.to_owned(),
        create_cwd: false,
        user: spec.user.clone(),
        capabilities: Capabilities::None,
        open_files: Some(spec.open_files),
        processes: Some(spec.processes),
    };
    Ok((process, program, exit))
}

/// Executes a program of the function, in its container. Returns only on failure.
pub(crate) fn execute(mut program: Program, framed: Option<BorrowedFd<'_>>) -> Fault {
    if let Some(framed) = framed {
        if let Err(error) = rustix::io::fcntl_setfd(framed, FdFlags::empty()) {
            return Fault::new("hand the descriptor for records over", error);
        }
        let number = framed.as_raw_fd().to_string();
        program.env.insert(FRAMED_LOG_VARIABLE.to_owned(), number);
    }
    program.execute()
}

/// The first process of the container, without any right. Its end would end all others.
fn keep() -> Fault {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    if let Err(error) = rustix::thread::set_capabilities(None, none) {
        return Fault::new("drop capabilities", error);
    }
    // Also the status pipe, whose end says that the container is there.
    if let Err(error) = process::close_all_but(&[]) {
        return Fault::new("close descriptors", error);
    }
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            // No orphans.
            Ok(None) | Err(_) => std::thread::sleep(REAP_PAUSE),
        }
    }
}
