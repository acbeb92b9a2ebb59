//! Follows a running build: its state, its phases, its log.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_client::Client;
use serde_json::Value;

use crate::microvm::logs::Tail;
use crate::view::{harmless, text, time};

/// Pause between two polls.
const POLL: Duration = Duration::from_millis(500);

/// Prefix of the service's own lines in a build log. The other lines are the Dockerfile's and the application's.
const PHASE: &str = "hearth: ";

/// Beginning of the lines of a build that waits for its turn.
const WAITING: &str = "waiting until the host has room";

/// Prints the progress of a build, with the time since its beginning.
pub(super) struct Progress {
    began: Instant,
    waiting_since: Cell<Option<Instant>>,
    waited: Cell<Duration>,
}

impl Progress {
    pub(super) fn start() -> Self {
        Self {
            began: Instant::now(),
            waiting_since: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
        }
    }

    pub(super) fn step(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }

    fn line(&self, message: &str) {
        match message.strip_prefix(PHASE) {
            Some(phase) => {
                self.count_waiting(phase, Instant::now());
                self.step(&harmless(phase));
            }
            None => eprintln!("           | {}", harmless(message)),
        }
    }

    fn count_waiting(&self, phase: &str, now: Instant) {
        let since = self.waiting_since.get();
        if phase.starts_with(WAITING) {
            self.waiting_since.set(since.or(Some(now)));
        } else if let Some(since) = self.waiting_since.take() {
            self.waited.set(self.waited.get() + (now - since));
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// How much of it the build waited for its turn.
    pub(super) fn waited(&self) -> Duration {
        self.waited.get()
    }
}

/// The build of one version of one image.
pub(super) struct Building<'a> {
    pub(super) client: &'a Client,
    pub(super) arn: &'a str,
    pub(super) version: &'a str,
    /// The image's log group.
    pub(super) group: &'a str,
}

impl Building<'_> {
    /// Waits until the version is built or not, showing its log. Answers the build.
    pub(super) async fn follow(&self, progress: &Progress) -> Result<Value> {
        let mut tail = None;
        loop {
            let version = self.client.version(self.arn, self.version).await?;
            let has_ended = matches!(text(&version, "state"), "SUCCESSFUL" | "FAILED");
            let builds = self.client.builds(self.arn, self.version).await?;
            let build = builds.into_iter().next_back();
            if let Some(build) = &build {
                // Read the log after the state, so that the last lines are printed before the end.
                let stream = format!("build-{}", text(build, "buildId"));
                // The group has the logs of earlier builds too.
                let tail = tail.get_or_insert_with(|| Tail::since(begun_ms(build)));
                for event in tail.read(self.client, self.group, None).await? {
                    if event.log_stream_name.ends_with(&stream) {
                        progress.line(&event.message);
                    }
                }
            }
            match build {
                Some(build) if has_ended => {
                    let id = text(&build, "buildId").to_owned();
                    return Ok(self.client.build(self.arn, self.version, &id).await?);
                }
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }
}

/// When a build began, by the service's clock.
fn begun_ms(build: &Value) -> i64 {
    time(build, "createdAt")
        .unwrap_or_default()
        .as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_the_queue_is_counted_apart() {
        let progress = Progress::start();
        let at = |seconds| progress.began + Duration::from_secs(seconds);
        progress.count_waiting("waiting until the host has room for this build", at(1));
        let second = "waiting until the host has room for this build: number 2 of the 3";
        progress.count_waiting(second, at(5));
        assert_eq!(progress.waited(), Duration::ZERO);
        progress.count_waiting("fetching the artifact", at(11));
        progress.count_waiting("running the Dockerfile", at(20));
        assert_eq!(progress.waited(), Duration::from_secs(10));
    }
}
