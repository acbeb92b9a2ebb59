//! The main function of PID 1.

use std::process::ExitCode;
use std::rc::Rc;

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::agent::Agent;
use crate::boot;
use crate::container::files;
use crate::fault::{Fault, Step};
use crate::kernel_modules;
use crate::listener::Listener;
use crate::reaper::Reaper;
use crate::server;
use crate::services::Services;
use crate::settings::{Mode, Network};

/// Most descriptors of the agent: all streams of [`crate::bounds`], with room to spare.
const MAX_OPEN_FILES: u64 = 16 << 10;

/// Runs the agent. As PID 1 it returns only when it cannot serve, and then the kernel panics, which ends
/// the machine: nobody could reach it any more.
pub fn run() -> ExitCode {
    if let Some(module) = kernel_modules::asked_for(std::env::args_os()) {
        return kernel_modules::answer(&module);
    }
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        boot::say("this program is the init of a Hearth guest and runs as PID 1 only");
        return ExitCode::FAILURE;
    }
    end_machine_on_panic();
    match boot_and_serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            boot::report("the agent cannot serve", &fault);
            ExitCode::FAILURE
        }
    }
}

/// Ends the machine when any task panics: a partly working agent would keep the host waiting for answers. The end of
/// PID 1 ends the machine, which the host notices at once.
fn end_machine_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        boot::say(&format!("{panic}"));
        std::process::abort();
    }));
}

fn boot_and_serve() -> Result<(), Fault> {
    protect_self()?;
    boot::mount_file_systems()?;
    spare_from_oom_killer();
    allow_open_files()?;
    files::replace_boot_id()?;
    let mode = Mode::load().map_err(|error| {
        boot::say(&format!("{error}"));
        Fault::new("read the settings", rustix::io::Errno::INVAL)
    })?;
    kernel_modules::load_all();
    let command_line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    boot::configure_network(Network::from_command_line(&command_line).as_ref());
    if let Mode::Host(config) = &mode {
        if config.hold_vm {
            boot::hold_vm();
        }
        boot::run_host_setup();
    }
    serve(mode)
}

/// Raises the limit of open files. Every stream costs a descriptor, most two, and the kernel's default for its first
/// process is 1024.
fn allow_open_files() -> Result<(), Fault> {
    let limit = Rlimit {
        current: Some(MAX_OPEN_FILES),
        maximum: Some(MAX_OPEN_FILES),
    };
    rustix::process::setrlimit(Resource::Nofile, limit).step("allow open files")
}

/// Protects the agent's children from the OOM killer until they give that up. The kernel spares the first process
/// anyway.
fn spare_from_oom_killer() {
    if let Err(fault) =
        std::fs::write("/proc/self/oom_score_adj", "-1000").step("set oom_score_adj")
    {
        boot::report(
            "children of the agent are not spared when memory is short",
            &fault,
        );
    }
}

/// Forbids other processes of the same user to ptrace the agent, or its children before their exec, whichever
/// namespaces they have joined by then (ptrace(2), "Ptrace access mode checking").
fn protect_self() -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step("forbid looking into the agent")
}

fn serve(mode: Mode) -> Result<(), Fault> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .step("make the event loop")?;
    LocalSet::new().block_on(&runtime, async {
        let reaper = Reaper::new().step("listen for children")?;
        let (listener, token, services) = match mode {
            Mode::Guest => (Listener::vsock(), None, Some(Services::open())),
            Mode::Host(config) => (Listener::tcp(config.port), Some(config.token), None),
        };
        let listener = listener.step("listen")?;
        let agent = Rc::new(Agent::new(token, reaper));
        if let Some(services) = services {
            services.serve(&agent)?;
        }
        boot::say("ready");
        tokio::join!(server::run(Rc::clone(&agent), listener), agent.reaper.run());
        Ok(())
    })
}
