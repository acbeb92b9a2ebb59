//! Follows a running build: its state, its phases, its log.

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

/// Prints the progress of a build, with the time since its beginning.
pub(super) struct Progress {
    began: Instant,
}

impl Progress {
    pub(super) fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    pub(super) fn step(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }

    fn line(&self, message: &str) {
        match message.strip_prefix(PHASE) {
            Some(phase) => self.step(&harmless(phase)),
            None => eprintln!("           | {}", harmless(message)),
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
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
