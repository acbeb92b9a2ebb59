//! For how long threads of a runtime do not come back to it.
//!
//! A *stretch* is the time from when a thread wakes up to when it has nothing to do any more. While a task blocks, its stretch goes
//! on, so the longest one is an upper bound of the time that any other task of that thread waited. The time in which the
//! kernel gave the processor to somebody else (`/proc/<thread>/schedstat`) is not part of it.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// Longer than any thread takes to have nothing to do when nothing is asked for.
const QUIET: Duration = Duration::from_millis(2);

thread_local! {
    static BEGINNING: Cell<Option<Moment>> = const { Cell::new(None) };
    static SCHEDSTAT: OnceCell<Option<File>> = const { OnceCell::new() };
}

#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    /// For how long this thread could run and was not let, since it was started.
    waited: Duration,
}

/// The longest stretch of a runtime's threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stretches(Arc<AtomicU64>);

impl Stretches {
    /// A runtime whose threads are watched.
    pub(crate) fn runtime(&self, workers: usize) -> io::Result<Runtime> {
        let longest = Arc::clone(&self.0);
        Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .on_thread_unpark(|| BEGINNING.set(Some(Moment::now())))
            .on_thread_park(move || {
                if let Some(beginning) = BEGINNING.take() {
                    let nanoseconds = beginning.elapsed().as_nanos();
                    longest.fetch_max(nanoseconds as u64, Ordering::Relaxed);
                }
            })
            .build()
    }

    /// The longest since the last call.
    pub(crate) async fn longest(&self) -> Duration {
        // The stretch that this is part of ends here.
        tokio::time::sleep(QUIET).await;
        Duration::from_nanos(self.0.swap(0, Ordering::Relaxed))
    }
}

impl Moment {
    fn now() -> Self {
        Self {
            waited: waited(),
            at: Instant::now(),
        }
    }

    fn elapsed(&self) -> Duration {
        let elapsed = self.at.elapsed();
        elapsed.saturating_sub(waited().saturating_sub(self.waited))
    }
}

/// The second number of `schedstat` (Documentation/scheduler/sched-stats.rst). Nothing where the kernel does not count it.
fn waited() -> Duration {
    SCHEDSTAT.with(|file| {
        let file = file.get_or_init(|| File::open("/proc/thread-self/schedstat").ok());
        let mut text = [0; 64];
        let read = file
            .as_ref()
            .and_then(|file| file.read_at(&mut text, 0).ok());
        let text = std::str::from_utf8(&text[..read.unwrap_or(0)]).unwrap_or_default();
        let waited = text
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok());
        Duration::from_nanos(waited.unwrap_or(0))
    })
}
