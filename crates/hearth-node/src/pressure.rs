//! Whether the host's memory is short.
//!
//! Two things have to come together. Processes wait for memory, which the kernel measures and tells whoever has asked for it
//! (Documentation/accounting/psi.rst). And little of the memory is available: a guest that fights with its own limit makes
//! processes wait too, and nobody else is to give way for that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::retry_on_intr;

/// Where the kernel tells how long processes have waited for memory.
const PRESSURE: &str = "/proc/pressure/memory";

/// The time in which waiting is measured: the shortest that the kernel allows everybody. A guest fills a gigabyte in less, so a longer one
/// would come too late.
const WINDOW: Duration = Duration::from_secs(2);

/// Tells when processes wait for memory.
#[derive(Debug)]
pub struct MemoryPressure(Arc<File>);

impl MemoryPressure {
    /// Has the kernel tell when processes together have waited for memory for this long within two seconds.
    ///
    /// # Errors
    ///
    /// Where the kernel does not measure it, or this process may not ask.
    pub fn open(stalled: Duration) -> io::Result<Self> {
        Self::open_at(Path::new(PRESSURE), stalled)
    }

    fn open_at(path: &Path, stalled: Duration) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        file.write_all(wish(stalled).as_bytes())?;
        // The wish lasts as long as the file is open.
        Ok(Self(Arc::new(file)))
    }

    /// Waits until processes wait, no longer than `limit`; answers whether they did. What was told before and not waited for counts.
    /// Takes one of the threads that may block.
    ///
    /// # Errors
    ///
    /// When the kernel tells no more, or the runtime ends.
    pub async fn waits(&self, limit: Duration) -> io::Result<bool> {
        let file = Arc::clone(&self.0);
        let waiting = tokio::task::spawn_blocking(move || poll(&file, limit)).await;
        waiting.map_err(io::Error::other)?
    }
}

fn poll(file: &File, limit: Duration) -> io::Result<bool> {
    let mut watched = [PollFd::new(file, PollFlags::PRI)];
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    let told = retry_on_intr(|| rustix::event::poll(&mut watched, Some(&limit)))?;
    if watched
        .iter()
        .any(|watched| watched.revents().contains(PollFlags::ERR))
    {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(told > 0)
}

/// The line that the kernel reads, with the byte that ends it.
fn wish(stalled: Duration) -> String {
    format!("some {} {}\0", stalled.as_micros(), WINDOW.as_micros())
}

/// How much of this host's memory can be had without taking it from a process, in percent; `None` where that is not known.
#[must_use]
pub fn available_percent() -> Option<u64> {
    percent(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn percent(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let (available, total) = (kib("MemAvailable:")?, kib("MemTotal:")?);
    available.saturating_mul(100).checked_div(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str =
        "MemTotal:       65536000 kB\nMemFree:          100000 kB\nMemAvailable:    6553600 kB\n";

    #[test]
    fn what_is_available_is_a_part_of_all() {
        assert_eq!(percent(MEMINFO), Some(10));
        assert_eq!(percent(&MEMINFO.replace(" 6553600 ", " 6553599 ")), Some(9));
        assert_eq!(percent(&MEMINFO.replace("6553600 kB", "0 kB")), Some(0));
        // Kernels before 3.14, and whatever else is no number.
        assert_eq!(percent("MemTotal: 1 kB\nMemFree: 1 kB\n"), None);
        assert_eq!(percent("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(percent(&MEMINFO.replace("kB", "pages")), None);
        assert_eq!(percent(""), None);
    }

    #[test]
    fn the_wish_is_a_line_that_ends() {
        assert_eq!(wish(Duration::from_millis(200)), "some 200000 2000000\0");
    }

    /// A kernel that measures takes the wish and refuses one that makes no sense: it has read it.
    #[tokio::test]
    async fn the_kernel_takes_the_wish() {
        if !Path::new(PRESSURE).exists() {
            let missing = MemoryPressure::open(Duration::from_millis(200)).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
            return;
        }
        let beyond = MemoryPressure::open(2 * WINDOW).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::InvalidInput);
        match MemoryPressure::open(WINDOW) {
            // Nobody waits for all of the time.
            Ok(pressure) => assert!(!pressure.waits(Duration::from_millis(50)).await.unwrap()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
