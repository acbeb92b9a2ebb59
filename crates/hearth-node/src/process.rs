//! Identifies processes, and holds a process by descriptor (pidfd_open(2)) during each operation on it.
//!
//! A process is recorded by pid and start time. A descriptor is opened by pid, then the start time is compared. From
//! there on the descriptor refers to that very process, also if it ends and another process gets the pid.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time;

/// Polling interval for a process for which no descriptor can be opened.
const PAUSE: Duration = Duration::from_millis(100);

/// Identifies a process: a later process with the same pid is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Pid of the process.
    pub pid: u32,
    /// Start time of the process in clock ticks since the host's boot (proc_pid_stat(5), field 22).
    pub start_ticks: u64,
}

impl ProcessRecord {
    /// The process with this pid; `None` if there is none.
    pub fn of(pid: u32) -> Option<Self> {
        let (state, start_ticks) = stat(pid)?;
        // A zombie runs nothing any more; whoever started it has yet to collect it.
        (state != 'Z').then_some(Self { pid, start_ticks })
    }

    /// Whether that very process still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// Kills the process, if it is still that very one. It may not have ended yet when this returns: see
    /// [`ProcessRecord::wait_for_exit`].
    pub fn kill(&self) {
        let sent = match self.open() {
            Ok(Some(descriptor)) => pidfd_send_signal(&descriptor, Signal::KILL),
            Ok(None) => return,
            // Better by number, right after a look at the start time, than not at all.
            Err(_) if self.is_alive() => self
                .number()
                .map_or(Err(Errno::SRCH), |pid| kill_process(pid, Signal::KILL)),
            Err(_) => return,
        };
        match sent {
            // It went in between.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, pid = self.pid, "cannot kill a process"),
        }
    }

    /// Waits until the process has ended, with all its threads, and has closed its files. It need not be a child of
    /// this process.
    pub async fn died(&self) {
        match self.open() {
            Ok(None) => return,
            Ok(Some(descriptor)) => {
                if let Ok(watched) = watch(descriptor)
                    && watched.readable().await.is_ok()
                {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, pid = self.pid, "cannot open a descriptor of a process; polling it instead");
            }
        }
        while self.is_alive() {
            time::sleep(PAUSE).await;
        }
    }

    /// Same as [`ProcessRecord::died`], but waits no longer than `limit`. Answers whether the process has ended.
    pub async fn wait_for_exit(&self, limit: Duration) -> bool {
        time::timeout(limit, self.died()).await.is_ok()
    }

    /// Opens a descriptor of that very process; `None` if it has ended.
    fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = self.number() else {
            return Ok(None);
        };
        let descriptor = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => descriptor,
            Err(Errno::SRCH) => return Ok(None),
            // Before Linux 5.10 there is no such flag, and none is needed to wait for readiness.
            Err(Errno::INVAL) => pidfd_open(pid, PidfdFlags::empty())?,
            Err(error) => return Err(error.into()),
        };
        // Also of a zombie: its main thread may have ended before the others.
        let is_it = stat(self.pid).is_some_and(|(_, start_ticks)| start_ticks == self.start_ticks);
        Ok((is_it && !has_ended(&descriptor)?).then_some(descriptor))
    }

    fn number(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types that change their descriptor, which an `OwnedFd` does not"
)]
fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Whether the process of a descriptor has ended: the descriptor is then readable.
fn has_ended(descriptor: &OwnedFd) -> io::Result<bool> {
    const AT_ONCE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&AT_ONCE))? > 0)
}

/// State and start time of the process with this pid.
fn stat(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command in parentheses may hold anything, also spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some((state, start_ticks))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A process that waits for its input to end, which it does with its parent.
    fn waiting() -> (Child, ProcessRecord) {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let record = ProcessRecord::of(child.id()).unwrap();
        (child, record)
    }

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let own = ProcessRecord::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        let other = ProcessRecord {
            start_ticks: own.start_ticks + 1,
            ..own
        };
        assert!(
            !other.is_alive(),
            "another process with the same number is not it"
        );
    }

    #[tokio::test]
    async fn a_killed_process_is_waited_for_before_anyone_collects_it() {
        let (mut child, record) = waiting();
        assert!(!record.wait_for_exit(Duration::from_millis(20)).await);
        let died = tokio::spawn(async move { record.died().await });
        record.kill();
        assert!(record.wait_for_exit(LIMIT).await);
        died.await.unwrap();
        // It is a zombie now, then nothing at all.
        assert!(record.wait_for_exit(Duration::ZERO).await);
        child.wait().unwrap();
        assert!(record.wait_for_exit(Duration::ZERO).await);
        record.kill();
    }

    #[tokio::test]
    async fn one_with_the_same_number_is_left_alone() {
        let (mut child, record) = waiting();
        let former = ProcessRecord {
            start_ticks: record.start_ticks - 1,
            ..record
        };
        former.kill();
        assert!(former.wait_for_exit(Duration::ZERO).await);
        assert!(!record.wait_for_exit(Duration::from_millis(50)).await);
        record.kill();
        child.wait().unwrap();
    }

    /// A node that was started again has VMMs that are not its children.
    #[tokio::test]
    async fn a_process_need_not_be_a_child() {
        let output = Command::new("sh")
            .args(["-c", "sleep 30 >/dev/null 2>&1 & echo $!"])
            .output()
            .unwrap();
        let pid = String::from_utf8(output.stdout).unwrap();
        let record = ProcessRecord::of(pid.trim().parse().unwrap()).unwrap();
        assert!(!record.wait_for_exit(Duration::from_millis(20)).await);
        record.kill();
        let start = Instant::now();
        assert!(record.wait_for_exit(LIMIT).await);
        assert!(start.elapsed() < LIMIT);
    }
}
