//! Starts a process: fork, stdio, the namespaces and the root where it runs, exec. A status pipe reports failures.
//!
//! ```text
//! agent                             child
//!   | fork ------------------------> | own session, stdio, no protection from the OOM killer
//!   |                                | `enter`: cgroup, namespaces, root
//!   |                                | closes everything but stdio and the status pipe
//!   | <--- fault on status pipe ---- | a step failed: exit
//!   | <--- end of status pipe ------ | exec (the pipe closes itself)
//! ```

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hearth_wire::agent::TerminalSize;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

use crate::channel::Channel;
use crate::container::cgroup::ProgramGroup;
use crate::fault::{Fault, Step};
use crate::sys::process;

/// Exit code of a child that could not execute its program; the status pipe says why.
const NOT_STARTED: i32 = 127;

/// Longest message on the status pipe in bytes (`PIPE_BUF`, so it arrives whole).
const MAX_STATUS_BYTES: usize = 4096;

/// The stdin, stdout and stderr of a process.
#[derive(Debug)]
pub(crate) enum Stdio {
    /// Three pipes.
    Pipes,
    /// `/dev/null`, and two pipes.
    Output,
    /// `/dev/null`, two pipes, and a third one for framed records.
    Framed,
    /// A terminal of the `/dev/pts` under this root.
    Terminal { root: OwnedFd, size: TerminalSize },
}

/// The PID namespace of a process.
#[derive(Debug)]
pub(crate) enum PidNamespace<'a> {
    /// The agent's PID namespace.
    Own,
    /// A new PID namespace, in which the process has pid 1.
    New,
    /// The PID namespace of the process behind this descriptor.
    Of(&'a OwnedFd),
}

/// The agent's ends of a process's stdio.
#[derive(Debug, Default)]
pub(crate) struct StdioEnds {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) terminal: Option<OwnedFd>,
    /// Framed records of a program of a function.
    pub(crate) framed: Option<OwnedFd>,
}

/// A process that was forked and may not have executed its program yet.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: Pid,
    pub(crate) ends: StdioEnds,
    /// Its own cgroup, if it is a program of a function.
    pub(crate) group: Option<ProgramGroup>,
    status: OwnedFd,
}

impl Launched {
    /// Waits until the process has executed its program. Fails with the reason if it could not.
    pub(crate) async fn confirm(self) -> Result<(Pid, StdioEnds), Fault> {
        let status = Channel::new(self.status).step("watch the new process")?;
        let mut message = Vec::new();
        loop {
            let is_end = status
                .read(|bytes| {
                    message.extend(bytes);
                    bytes.is_empty()
                })
                .await
                .step("watch the new process")?;
            if is_end || message.len() > MAX_STATUS_BYTES {
                break;
            }
        }
        if message.is_empty() {
            Ok((self.pid, self.ends))
        } else {
            Err(Fault::from_bytes(&message))
        }
    }
}

/// Starts a process in a session of its own. `enter` runs in the child and enters its cgroup, namespaces and root. `run`
/// executes its program, and returns only on failure; it is given the descriptor for framed records, if there is one.
pub(crate) fn launch(
    stdio: &Stdio,
    pid_namespace: &PidNamespace<'_>,
    enter: impl FnOnce() -> Result<(), Fault>,
    run: impl FnOnce(Option<BorrowedFd<'_>>) -> Fault,
) -> Result<Launched, Fault> {
    let (ends, child_ends) = open_stdio(stdio)?;
    let (status, child_status) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make the status pipe")?;
    let pid = fork_in(pid_namespace, || {
        let fault = match become_child(&child_ends).and_then(|()| enter()) {
            Ok(()) => {
                let framed = child_ends.framed.as_ref().map(AsFd::as_fd);
                let kept: Vec<_> = framed.into_iter().chain([child_status.as_fd()]).collect();
                match process::close_all_but(&kept) {
                    Ok(()) => run(framed),
                    Err(error) => Fault::new("close descriptors", error),
                }
            }
            Err(fault) => fault,
        };
        // When even this fails the agent sees an end without a message, and then the exit code.
        let _ = rustix::io::write(&child_status, &fault.to_bytes());
        NOT_STARTED
    })?;
    Ok(Launched {
        pid,
        ends,
        group: None,
        status,
    })
}

/// Forks a child into the PID namespace `namespace`.
fn fork_in(namespace: &PidNamespace<'_>, child: impl FnOnce() -> i32) -> Result<Pid, Fault> {
    let own = match namespace {
        PidNamespace::Own => return process::fork(child).step("fork"),
        PidNamespace::New | PidNamespace::Of(_) => rustix::fs::open(
            "/proc/self/ns/pid",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .step("open the own PID namespace")?,
    };
    match namespace {
        PidNamespace::Of(process) => {
            rustix::thread::move_into_thread_name_spaces(
                process.as_fd(),
                ThreadNameSpaceType::PROCESS_ID,
            )
            .step("join the PID namespace")?;
        }
        _ => process::unshare(UnshareFlags::NEWPID).step("make a PID namespace")?,
    }
    let forked = process::fork(child).step("fork");
    let back =
        rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID));
    if back.is_err() {
        // Later children would land in the application's namespace, within its reach. It cannot happen: a
        // namespace that a process is in can be entered by it.
        std::process::abort();
    }
    forked
}

/// The child's ends of its stdio: stdin, stdout, stderr.
struct ChildEnds {
    fds: [OwnedFd; 3],
    is_terminal: bool,
    framed: Option<OwnedFd>,
}

fn open_stdio(stdio: &Stdio) -> Result<(StdioEnds, ChildEnds), Fault> {
    match stdio {
        Stdio::Terminal { root, size } => open_terminal(root, *size),
        Stdio::Pipes => {
            let (stdin, writer) = pipe()?;
            open_pipes(stdin, Some(writer))
        }
        Stdio::Output => open_pipes(open_null()?, None),
        Stdio::Framed => {
            let (mut ends, mut child_ends) = open_pipes(open_null()?, None)?;
            let (reader, writer) = pipe()?;
            ends.framed = Some(reader);
            child_ends.framed = Some(writer);
            Ok((ends, child_ends))
        }
    }
}

fn open_null() -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).step("open /dev/null")
}

fn open_pipes(stdin: OwnedFd, writer: Option<OwnedFd>) -> Result<(StdioEnds, ChildEnds), Fault> {
    let (stdout_reader, stdout) = pipe()?;
    let (stderr_reader, stderr) = pipe()?;
    let ends = StdioEnds {
        stdin: writer,
        stdout: Some(stdout_reader),
        stderr: Some(stderr_reader),
        ..StdioEnds::default()
    };
    let child_ends = ChildEnds {
        fds: [stdin, stdout, stderr],
        is_terminal: false,
        framed: None,
    };
    Ok((ends, child_ends))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Fault> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make a pipe")
}

/// Opens a terminal of the `/dev/pts` in `root`, so that its name exists there.
fn open_terminal(root: &OwnedFd, size: TerminalSize) -> Result<(StdioEnds, ChildEnds), Fault> {
    let step = "open a terminal";
    // Not blocking: the application could have put a named pipe there.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let master =
        rustix::fs::openat2(root, "dev/pts/ptmx", flags, Mode::empty(), resolve).step(step)?;
    rustix::pty::unlockpt(&master).step(step)?;
    let peer_flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, peer_flags).step(step)?;
    rustix::termios::tcsetwinsize(&master, window(size)).step(step)?;
    let stdout = terminal.try_clone().step(step)?;
    let stderr = terminal.try_clone().step(step)?;
    let ends = StdioEnds {
        terminal: Some(master),
        ..StdioEnds::default()
    };
    let child_ends = ChildEnds {
        fds: [terminal, stdout, stderr],
        is_terminal: true,
        framed: None,
    };
    Ok((ends, child_ends))
}

/// Converts the size to the kernel's structure.
pub(crate) fn window(size: TerminalSize) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// The first steps of a child, still in the agent's cgroup, namespaces and root.
fn become_child(ends: &ChildEnds) -> Result<(), Fault> {
    rustix::process::setsid().step("make a session")?;
    rustix::stdio::dup2_stdin(&ends.fds[0]).step("set stdin")?;
    rustix::stdio::dup2_stdout(&ends.fds[1]).step("set stdout")?;
    rustix::stdio::dup2_stderr(&ends.fds[2]).step("set stderr")?;
    if ends.is_terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
            .step("make the terminal the controlling one")?;
    }
    fs::write("/proc/self/oom_score_adj", "0").step("give up the protection from the OOM killer")
}
