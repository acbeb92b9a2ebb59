//! Exec streams: run one process and carry its stdio in frames.
//!
//! Input and output are handled concurrently, so that a host that sends without reading, or reads without sending,
//! blocks only itself. Output is read from the process once the last piece was sent: this passes the host's
//! backpressure on, and the agent buffers one piece. Input is buffered up to [`MAX_PENDING_STDIN_BYTES`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use hearth_wire::agent::{
    ExecInput, ExecOutput, ExecSpec, ExitStatus, MAX_CHUNK_BYTES, OpenReply, Refusal,
};
use hearth_wire::frame::{self, FrameError};
use rustix::process::{Pid, Signal};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::bounds;
use crate::channel::Channel;
use crate::container::cgroup::ProgramGroup;
use crate::fault::Step;
use crate::launch::{self, StdioEnds};
use crate::reaper::Exit;
use crate::sys::signal;

/// Most bytes of input that are buffered for a process that does not read; then the host's writes block.
const MAX_PENDING_STDIN_BYTES: usize = 4 * MAX_CHUNK_BYTES;

/// Largest frame of input in bytes: a piece of stdin and a small header.
const MAX_INPUT_BYTES: usize = MAX_CHUNK_BYTES + 64;

/// How long to wait for output of processes that outlive the started one and share its pipes. The output of the started
/// process itself is in the pipes when it ends.
const LINGER: Duration = Duration::from_millis(250);

/// How long a host may take to close a stream after the exit status was sent. If the agent closed it at once, input
/// that is under way would reset the stream, and the exit status would be lost.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// Most bytes that are read of each pipe after that wait: the capacity of a pipe (pipe(7)), as other processes may go
/// on writing.
const LAST_BYTES: usize = 64 << 10;

/// How often a stream whose input is full is looked at, to find out that the host went away.
const HANG_UP_INTERVAL: Duration = Duration::from_secs(1);

/// "End of transmission": what ends the input of a program that reads lines from a terminal.
const END_OF_TRANSMISSION: u8 = 4;

/// Serves one stream until the process has ended or the host has closed it.
///
/// Background processes that the process left behind keep its pipes: as under Docker, their output is read and
/// discarded for as long as they live. Without a reader, their next write would kill them (`SIGPIPE`).
pub(crate) async fn serve(
    agent: &Agent,
    channel: Channel,
    spec: &ExecSpec,
) -> Result<(), FrameError> {
    let slot = agent.slots.exec.take();
    let started = match &slot {
        Ok(_) => start(agent, spec).await,
        Err(refusal) => Err(refusal.clone()),
    };
    let (session, exit) = match started {
        Ok(started) => started,
        Err(refusal) => return channel.send(&OpenReply::Refused(refusal)).await,
    };
    let served = match channel.send(&OpenReply::Ok).await {
        Ok(()) => session.run(&channel, exit).await,
        Err(error) => Err(error),
    };
    session.kill_unless_ended();
    drop(slot);
    if served.is_ok() {
        let late = async { while channel.receive::<ExecInput>(MAX_INPUT_BYTES).await.is_ok() {} };
        // Whether it closed it or not, nobody listens any more.
        let _ = tokio::time::timeout(GOODBYE_TIME, late).await;
    }
    drop(channel);
    // With all places taken, the pipes are closed.
    if let Ok(_slot) = agent.slots.background.take() {
        session.discard_output().await;
    }
    served
}

async fn start(agent: &Agent, spec: &ExecSpec) -> Result<(Session, Exit), Refusal> {
    bounds::check_process(&spec.argv, &spec.env)?;
    bounds::check_cwd(&spec.cwd)?;
    bounds::check_user(&spec.user)?;
    let mut launched = agent.launch_exec(spec)?;
    let group = launched.group.take();
    // Before anything is awaited, so that an early end is not missed.
    let exit = agent.reaper.watch(launched.pid);
    let (pid, ends) = launched.confirm().await?;
    let session = Session::new(pid, ends, group).step("take the process's stdio")?;
    Ok((session, exit))
}

/// A process and its stdio.
struct Session {
    pid: Pid,
    has_ended: Cell<bool>,
    stdin: RefCell<Option<Channel>>,
    pending: Pending,
    stdout: Option<Channel>,
    stderr: Option<Channel>,
    terminal: Option<Channel>,
    framed: Option<Channel>,
    /// Of a program of a function.
    group: Option<ProgramGroup>,
}

impl Session {
    fn new(pid: Pid, ends: StdioEnds, group: Option<ProgramGroup>) -> io::Result<Self> {
        let channel = |fd: Option<OwnedFd>| fd.map(Channel::new).transpose();
        Ok(Self {
            pid,
            has_ended: Cell::new(false),
            stdin: RefCell::new(channel(ends.stdin)?),
            pending: Pending::default(),
            stdout: channel(ends.stdout)?,
            stderr: channel(ends.stderr)?,
            terminal: channel(ends.terminal)?,
            framed: channel(ends.framed)?,
            group,
        })
    }

    async fn run(&self, channel: &Channel, exit: Exit) -> Result<(), FrameError> {
        tokio::select! {
            sent = self.send_output(channel, exit) => sent,
            received = self.receive_input(channel) => received,
            never = self.feed() => never,
        }
    }

    /// Sends the output of the process, and finally its exit status.
    async fn send_output(&self, channel: &Channel, exit: Exit) -> Result<(), FrameError> {
        let mut first = self.stdout.as_ref().or(self.terminal.as_ref());
        let mut second = self.stderr.as_ref();
        let mut third = self.framed.as_ref();
        let mut ended: Option<(ExitStatus, Instant)> = None;
        tokio::pin!(exit);
        while first.is_some() || second.is_some() || third.is_some() || ended.is_none() {
            let linger_until = ended.map(|(_, at)| at + LINGER);
            let frame = tokio::select! {
                frame = next_output(first, ExecOutput::Stdout) => frame.or_else(|| { first = None; None }),
                frame = next_output(second, ExecOutput::Stderr) => frame.or_else(|| { second = None; None }),
                frame = next_output(third, ExecOutput::Framed) => frame.or_else(|| { third = None; None }),
                status = &mut exit, if ended.is_none() => {
                    self.has_ended.set(true);
                    ended = Some((status.unwrap_or(ExitStatus::Code(-1)), Instant::now()));
                    None
                }
                () = sleep_until(linger_until) => break,
            };
            if let Some(frame) = frame {
                channel.write_all(&frame?).await?;
            }
        }
        send_rest(channel, first, ExecOutput::Stdout).await?;
        send_rest(channel, second, ExecOutput::Stderr).await?;
        send_rest(channel, third, ExecOutput::Framed).await?;
        let status = ended.map_or(ExitStatus::Code(-1), |(status, _)| status);
        channel.send(&ExecOutput::Exit(status)).await
    }

    /// Handles the host's input, signals and window sizes, until it closes the stream.
    async fn receive_input(&self, channel: &Channel) -> Result<(), FrameError> {
        loop {
            match channel.receive(MAX_INPUT_BYTES).await? {
                ExecInput::Stdin(bytes) => self.pending.push(bytes, channel).await?,
                ExecInput::StdinEnd => self.pending.end(),
                ExecInput::Signal(number) => self.signal(number),
                ExecInput::Resize(size) => {
                    if let Some(terminal) = &self.terminal {
                        // The process may just have ended.
                        let _ = rustix::termios::tcsetwinsize(terminal, launch::window(size));
                    }
                }
            }
        }
    }

    /// Writes pending input to the process as fast as it reads.
    async fn feed(&self) -> Result<(), FrameError> {
        while let Some(bytes) = self.pending.next().await {
            if self.write_input(&bytes).await.is_err() {
                // The process does not read any more; what still comes is thrown away.
                self.stdin.take();
                self.pending.discard();
            }
        }
        match &self.terminal {
            Some(terminal) => {
                let _ = terminal.write_all(&[END_OF_TRANSMISSION]).await;
            }
            None => drop(self.stdin.take()),
        }
        future::pending().await
    }

    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "only this half of the session takes stdin, and not while it writes"
    )]
    async fn write_input(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(terminal) = &self.terminal {
            return terminal.write_all(bytes).await;
        }
        match self.stdin.borrow().as_ref() {
            Some(stdin) => stdin.write_all(bytes).await,
            None => Ok(()),
        }
    }

    fn signal(&self, number: i32) {
        if let (Some(group), true) = (&self.group, number == Signal::KILL.as_raw()) {
            // Also what it has forked, wherever that has gone.
            group.kill();
        }
        if let Some(signal) = signal::from_number(number)
            && !self.has_ended.get()
        {
            // It may have ended without having been reaped yet.
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    /// Reads and discards the pipes until their last writer has closed them. A terminal is closed instead, which hangs
    /// it up, as callers expect.
    async fn discard_output(self) {
        let Self { stdout, stderr, .. } = self;
        let discard = async |pipe: Option<Channel>| {
            while let Some(pipe) = &pipe
                && pipe.read(<[u8]>::is_empty).await.is_ok_and(|ended| !ended)
            {}
        };
        tokio::join!(discard(stdout), discard(stderr));
    }

    /// Kills the process, unless it has ended: its client has gone.
    fn kill_unless_ended(&self) {
        if let Some(group) = &self.group {
            group.kill();
        }
        // After its end the number may belong to somebody else.
        if !self.has_ended.get() {
            self.signal(Signal::KILL.as_raw());
        }
    }
}

/// Input on its way to a process.
#[derive(Default)]
struct Pending {
    pieces: RefCell<VecDeque<Vec<u8>>>,
    bytes: Cell<usize>,
    has_ended: Cell<bool>,
    is_discarded: Cell<bool>,
    changed: Notify,
}

impl Pending {
    /// Adds a piece when there is room for it. Fails if the host closes the stream meanwhile.
    async fn push(&self, piece: Vec<u8>, channel: &Channel) -> Result<(), FrameError> {
        if self.has_ended.get() || self.is_discarded.get() || piece.is_empty() {
            return Ok(());
        }
        while self.bytes.get() + piece.len() > MAX_PENDING_STDIN_BYTES && !self.is_discarded.get() {
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(HANG_UP_INTERVAL) => {
                    if channel.is_hung_up() {
                        return Err(FrameError::Closed);
                    }
                }
            }
        }
        self.bytes.set(self.bytes.get() + piece.len());
        self.pieces.borrow_mut().push_back(piece);
        self.changed.notify_waiters();
        Ok(())
    }

    fn end(&self) {
        self.has_ended.set(true);
        self.changed.notify_waiters();
    }

    fn discard(&self) {
        self.is_discarded.set(true);
        self.pieces.borrow_mut().clear();
        self.bytes.set(0);
        self.changed.notify_waiters();
    }

    /// Waits for the next piece; `None` after the last one.
    async fn next(&self) -> Option<Vec<u8>> {
        loop {
            let piece = self.pieces.borrow_mut().pop_front();
            if let Some(piece) = piece {
                self.bytes.set(self.bytes.get() - piece.len());
                self.changed.notify_waiters();
                return Some(piece);
            }
            if self.has_ended.get() {
                return None;
            }
            self.changed.notified().await;
        }
    }
}

/// The next frame of output; `None` at its end. Pending for ever if the process has no such output.
async fn next_output(
    source: Option<&Channel>,
    wrap: fn(Vec<u8>) -> ExecOutput,
) -> Option<Result<Vec<u8>, FrameError>> {
    let Some(source) = source else {
        return future::pending().await;
    };
    // A terminal fails with EIO when its last process is gone; that is its end.
    source
        .read(|bytes| (!bytes.is_empty()).then(|| frame::encode(&wrap(bytes.to_vec()))))
        .await
        .unwrap_or(None)
}

/// Sends the output that is available now, at most the capacity of a pipe.
async fn send_rest(
    channel: &Channel,
    source: Option<&Channel>,
    wrap: fn(Vec<u8>) -> ExecOutput,
) -> Result<(), FrameError> {
    let Some(source) = source else { return Ok(()) };
    let mut left = LAST_BYTES;
    while left > 0 {
        let frame = source.read_now(|bytes| {
            left = left.saturating_sub(bytes.len());
            (!bytes.is_empty()).then(|| frame::encode(&wrap(bytes.to_vec())))
        });
        match frame {
            Ok(Some(frame)) => channel.write_all(&frame?).await?,
            // Nothing now, the end, or a terminal without processes.
            Ok(None) | Err(_) => break,
        }
    }
    Ok(())
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => future::pending().await,
    }
}
