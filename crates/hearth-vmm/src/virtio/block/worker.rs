//! The thread that serves one disk. It owns the queue and the open image while it runs, and hands both
//! back when it is stopped.
//!
//! It starts with the first request, so a machine pays only for the disks that it touches.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::super::fault::FaultCause;
use super::super::limiter::RateLimiter;
use super::super::queue::VirtioQueue;
use super::super::ram::GuestRam;
use super::request::{Disk, MAX_REQUEST_BYTES};
use crate::sandbox::{ThreadKind, confine_thread};
use crate::say;

/// The image library's deepest call chains take some KiB; only touched pages count.
const STACK_BYTES: usize = 256 << 10;

/// Pause before a request is tried again that found the host's disk full: short beside the time in which an operator
/// frees space.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// The queue and the disk, which the worker owns while it runs and returns when it stops.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) queue: VirtioQueue,
    pub(super) ram: GuestRam,
    pub(super) disk: Disk,
    pub(super) limiter: RateLimiter,
}

/// A running worker.
#[derive(Debug)]
pub(super) struct Worker {
    /// Handle of the thread; `None` once it was joined.
    thread: Option<JoinHandle<Work>>,
    stop: Arc<Stop>,
}

#[derive(Debug)]
struct Stop {
    requested: AtomicBool,
    wake: EventFd,
}

impl Worker {
    /// Starts a thread on `work`. On an error the work is lost with its image: the device can
    /// only fail then.
    pub(super) fn spawn(work: Work) -> io::Result<Self> {
        let stop = Arc::new(Stop {
            requested: AtomicBool::new(false),
            wake: EventFd::new(EFD_NONBLOCK)?,
        });
        let theirs = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("hearth-disk".into())
            .stack_size(STACK_BYTES)
            .spawn(move || run(work, &theirs))?;
        Ok(Self {
            thread: Some(thread),
            stop,
        })
    }

    /// Lets the request in progress finish and takes the work back; `None` if the thread
    /// panicked.
    pub(super) fn stop(mut self) -> Option<Work> {
        self.join()
    }

    fn join(&mut self) -> Option<Work> {
        self.stop.requested.store(true, Ordering::SeqCst);
        let _ = self.stop.wake.write(1);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.join();
    }
}

/// Why the worker waits.
enum Wait {
    /// Waits for the driver's next notification.
    Kick,
    /// Waits for the rate limiter.
    Throttled(Duration),
    /// Waits for space on the host's disk.
    Full,
    /// Does not wait: the queue is broken, or stop was requested.
    Stop,
}

fn run(mut work: Work, stop: &Stop) -> Work {
    if confine_thread(ThreadKind::Disk).is_err() {
        // Serves nothing; the guest sees a disk that does not answer.
        return work;
    }
    let mut was_full = false;
    while !stop.requested.load(Ordering::SeqCst) {
        let wait = drain(&mut work, stop).unwrap_or_else(|cause| {
            work.queue.link().fail(work.queue.index(), cause);
            Wait::Stop
        });
        let is_full = matches!(wait, Wait::Full);
        if is_full && !was_full {
            say(format_args!(
                "the host's disk is full; the guest's waits until it is not"
            ));
        }
        was_full = is_full;
        sleep(&wait, &stop.wake, work.queue.kick_event());
    }
    work
}

fn drain(work: &mut Work, stop: &Stop) -> Result<Wait, FaultCause> {
    let Work {
        queue,
        ram,
        disk,
        limiter,
    } = work;
    loop {
        while !stop.requested.load(Ordering::SeqCst) {
            if let Some(delay) = limiter.delay(Instant::now()) {
                return Ok(Wait::Throttled(delay));
            }
            let Some(mut chain) = queue.pop(ram, MAX_REQUEST_BYTES)? else {
                break;
            };
            limiter.charge((chain.readable.len() + chain.writable.len()) as u64);
            let Some(served) = disk.serve(&mut chain)? else {
                queue.undo_pop();
                return Ok(Wait::Full);
            };
            limiter.charge_more(served.erased.further_segments, served.erased.table_bytes);
            queue.push_used(ram, chain.head, served.written)?;
            queue.signal(ram)?;
        }
        if stop.requested.load(Ordering::SeqCst) {
            return Ok(Wait::Stop);
        }
        if !queue.rearm(ram)? {
            return Ok(Wait::Kick);
        }
    }
}

fn sleep(wait: &Wait, stop: &EventFd, kick: &EventFd) {
    let (stop, kick_fd) = (borrow(stop), borrow(kick));
    let mut fds = [
        PollFd::new(&stop, PollFlags::IN),
        PollFd::new(&kick_fd, PollFlags::IN),
    ];
    let (watched, timeout) = match wait {
        Wait::Kick => (2, None),
        Wait::Throttled(delay) => (1, Timespec::try_from(*delay).ok()),
        Wait::Full => (1, Timespec::try_from(FULL_PAUSE).ok()),
        Wait::Stop => (1, None),
    };
    // An interrupted or failed wait is a spurious wake-up, which the loop bears.
    let _ = poll(&mut fds[..watched], timeout.as_ref());
    if matches!(wait, Wait::Kick) {
        let _ = kick.read();
    }
}

fn borrow(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor stays open for as long as the EventFd, whose lifetime the result has.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}
