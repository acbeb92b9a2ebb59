//! The state that all streams of the agent share.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use hearth_wire::agent::{ExecPlace, ExecSpec, Refusal, Token, Uniqueness};

use crate::application::Application;
use crate::bounds::{self, Slots};
use crate::fault::Step;
use crate::launch::{self, Launched, PidNamespace, Stdio};
use crate::logs::Logs;
use crate::program::{Capabilities, Program};
use crate::reaper::Reaper;
use crate::root;

/// Limits on the number of streams of each kind.
#[derive(Debug)]
pub(crate) struct StreamSlots {
    pub(crate) unopened: Slots,
    pub(crate) control: Slots,
    pub(crate) exec: Slots,
    pub(crate) proxy: Slots,
    pub(crate) service: Slots,
    pub(crate) file: Slots,
    pub(crate) logs: Slots,
    pub(crate) background: Slots,
}

/// The agent: one value, shared by the tasks of its one thread.
#[derive(Debug)]
pub(crate) struct Agent {
    /// The token that every stream must carry; `None` on vsock.
    pub(crate) token: Option<Token>,
    pub(crate) reaper: Reaper,
    pub(crate) application: Rc<Application>,
    pub(crate) logs: Rc<Logs>,
    /// The parameters with which the guest was last made unique.
    pub(crate) made_unique: RefCell<Option<Uniqueness>>,
    pub(crate) slots: StreamSlots,
}

impl Agent {
    pub(crate) fn new(token: Option<Token>, reaper: Reaper) -> Self {
        Self {
            token,
            reaper,
            application: Rc::default(),
            logs: Rc::default(),
            made_unique: RefCell::default(),
            slots: StreamSlots {
                unopened: Slots::new(bounds::MAX_UNOPENED),
                control: Slots::new(bounds::MAX_CONTROL),
                exec: Slots::new(bounds::MAX_EXEC),
                proxy: Slots::new(bounds::MAX_PROXY),
                service: Slots::new(bounds::MAX_SERVICE),
                file: Slots::new(bounds::MAX_FILE),
                logs: Slots::new(bounds::MAX_LOGS),
                background: Slots::new(bounds::MAX_BACKGROUND),
            },
        }
    }

    /// The root directory in which files are read and written: the application's. In the emulated host without an
    /// application, the machine's own.
    pub(crate) fn root(&self) -> Result<OwnedFd, Refusal> {
        match self.application.root() {
            Err(_) if self.is_host() => Ok(root::open("/").step("open the root")?),
            root => root,
        }
    }

    /// Starts a process for an exec stream.
    pub(crate) fn launch_exec(&self, spec: &ExecSpec) -> Result<Launched, Refusal> {
        match spec.place {
            ExecPlace::Agent => launch_beside_agent(spec),
            ExecPlace::Application => self.application.launch(spec),
            ExecPlace::Function => self.application.launch_function(spec),
        }
    }

    /// Whether this is the agent of the emulated host.
    fn is_host(&self) -> bool {
        self.token.is_some()
    }
}

fn launch_beside_agent(spec: &ExecSpec) -> Result<Launched, Refusal> {
    let program = Program {
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        create_cwd: false,
        user: spec.user.clone(),
        capabilities: Capabilities::All,
        open_files: None,
        processes: None,
    };
    let stdio = match spec.tty {
        None => Stdio::Pipes,
        Some(size) => Stdio::Terminal {
            root: root::open("/").step("open the root")?,
            size,
        },
    };
    Ok(launch::launch(
        &stdio,
        &PidNamespace::Own,
        || Ok(()),
        |_| program.execute(),
    )?)
}
