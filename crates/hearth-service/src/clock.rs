//! The clock of the control plane. It continues over restarts: its last time is a file in the data directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_control::time::{ClockReading, SystemClock};

use crate::secret_file;

/// How often the clock's time is written to disk. Only a reboot of the host loses the time since the last write.
const INTERVAL: Duration = Duration::from_secs(60);

/// Continues the clock of this data directory, and writes its time to disk regularly while the runtime lives.
pub(crate) fn go_on(data: &Path) -> SystemClock {
    let path = data.join("clock.json");
    let before = fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice::<ClockReading>(&text).ok());
    let (clock, ignored_jump_ms) = SystemClock::resume(before.as_ref());
    if let Some(jump_ms) = ignored_jump_ms {
        tracing::warn!(
            jump_s = jump_ms / 1000,
            "the host's wall clock has jumped since the service ran last; deadlines and times of records go on as before"
        );
    }
    tokio::spawn(write_down(clock, path));
    clock
}

async fn write_down(clock: SystemClock, path: PathBuf) {
    loop {
        let written = serde_json::to_vec(&clock.read())
            .map_err(std::io::Error::other)
            .and_then(|text| secret_file::write(&path, &text));
        if let Err(error) = written {
            tracing::warn!(%error, "what the clock shows is not written down");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
