//! Removes by age: log events past the retention of their groups, and multipart uploads that were abandoned.
//!
//! Only a timer triggers it. Each pass looks for everything that is due, so it needs no state over a restart.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_logs::LogStore;
use hearth_objects::ObjectStore;
use tokio::sync::watch;

use hearth_host::now_ms;
use hearth_node::with_causes;

/// Time between two passes. Retention is counted in days, and CloudWatch Logs removes events up to three days after
/// their time. A quarter of an hour keeps each pass small.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// Shortest pause between two slices: requests that wait for the same lock run in between.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// Removes events and uploads that are due, until the service stops.
pub(crate) struct Housekeeping {
    pub(crate) logs: Arc<LogStore>,
    pub(crate) objects: Arc<ObjectStore>,
    /// How long a multipart upload may receive nothing; `None` keeps it.
    pub(crate) upload_silence: Option<Duration>,
}

type Removed = Result<usize, Box<dyn Error + Send + Sync>>;

impl Housekeeping {
    /// Makes a pass at once, then one every [`PERIOD`].
    pub(crate) async fn keep(self, mut stopped: watch::Receiver<bool>) {
        let passes = async {
            loop {
                self.pass().await;
                tokio::time::sleep(PERIOD).await;
            }
        };
        tokio::select! {
            () = passes => {}
            _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
        }
    }

    async fn pass(&self) {
        let logs = Arc::clone(&self.logs);
        let now = now_ms();
        remove_all("log events past their retention", move || {
            Ok(logs.sweep(now)?)
        })
        .await;
        if let Some(silence) = self.upload_silence {
            let objects = Arc::clone(&self.objects);
            let silence_ms = i64::try_from(silence.as_millis()).unwrap_or(i64::MAX);
            let since = now.saturating_sub(silence_ms);
            remove_all("uploads that were never completed", move || {
                Ok(objects.expire_uploads(since)?)
            })
            .await;
        }
    }
}

/// Removes slice after slice, off the runtime's threads, until nothing is left.
async fn remove_all(what: &'static str, slice: impl Fn() -> Removed + Send + Sync + 'static) {
    let slice = Arc::new(slice);
    let mut removed = 0;
    loop {
        let begun = Instant::now();
        let next = Arc::clone(&slice);
        match tokio::task::spawn_blocking(move || next()).await {
            Ok(Ok(0)) => break,
            Ok(Ok(count)) => removed += count,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = with_causes(&*error),
                    what,
                    "not removed; it will be tried again"
                );
                break;
            }
            // It panicked, or the runtime ends.
            Err(_) => break,
        }
        // At least half of the time is for others.
        tokio::time::sleep(begun.elapsed().max(MIN_PAUSE)).await;
    }
    if removed > 0 {
        tracing::info!(removed, "removed {what}");
    }
}

#[cfg(test)]
mod tests {
    use hearth_logs::{EventFilter, LogLimits, LogOwner, NewEvent, Pattern, StreamSelection};
    use hearth_objects::{Attributes, MultipartUpload};

    use super::*;

    const ACCOUNT: &str = "000000000000";
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    fn owner() -> LogOwner {
        LogOwner {
            account: ACCOUNT.to_owned(),
            region: "us-east-1".to_owned(),
        }
    }

    fn events(logs: &LogStore) -> usize {
        let filter = EventFilter {
            streams: StreamSelection::All,
            start_ms: None,
            end_ms: None,
            pattern: Pattern::default(),
        };
        let (found, _) = logs.filter(&owner(), "/g", &filter, None, 10_000).unwrap();
        found.len()
    }

    /// Stores with 2,500 events of ten days ago and one of now, and an upload that is as old.
    fn stores(directory: &std::path::Path) -> (Housekeeping, String) {
        let logs = LogStore::open(&directory.join("logs.db"), LogLimits::default()).unwrap();
        let now = now_ms();
        logs.ensure_stream(&owner(), "/g", "s", now).unwrap();
        let event = |time_ms| NewEvent {
            time_ms,
            message: "line".to_owned(),
        };
        let old: Vec<_> = (0..2500).map(|n| event(now - 10 * DAY_MS + n)).collect();
        logs.append(&owner(), "/g", "s", &old, now).unwrap();
        logs.append(&owner(), "/g", "s", &[event(now)], now)
            .unwrap();
        let objects = ObjectStore::open(&directory.join("objects")).unwrap();
        objects.create_bucket(ACCOUNT, "b", now).unwrap();
        let created = now - 10 * DAY_MS;
        let id = objects
            .create_upload(ACCOUNT, "b", "k", &Attributes::default(), created)
            .unwrap();
        let housekeeping = Housekeeping {
            logs: Arc::new(logs),
            objects: Arc::new(objects),
            upload_silence: Some(Duration::from_secs(7 * 86_400)),
        };
        (housekeeping, id)
    }

    fn has_upload(objects: &ObjectStore, id: &str) -> bool {
        let upload = MultipartUpload {
            account: ACCOUNT,
            bucket: "b",
            key: "k",
            id,
        };
        objects.parts(upload).is_ok()
    }

    #[tokio::test]
    async fn what_is_due_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (mut housekeeping, upload) = stores(directory.path());
        let (logs, objects) = (
            Arc::clone(&housekeeping.logs),
            Arc::clone(&housekeeping.objects),
        );
        housekeeping.upload_silence = None;
        housekeeping.pass().await;
        assert_eq!(events(&logs), 2501, "without a retention all is kept");
        assert!(
            has_upload(&objects, &upload),
            "and every upload, if told so"
        );

        logs.set_retention(&owner(), "/g", Some(5)).unwrap();
        housekeeping.upload_silence = Some(Duration::from_secs(20 * 86_400));
        housekeeping.pass().await;
        assert_eq!(events(&logs), 1);
        assert!(has_upload(&objects, &upload));

        housekeeping.upload_silence = Some(Duration::from_secs(7 * 86_400));
        housekeeping.pass().await;
        assert!(!has_upload(&objects, &upload));
    }

    /// It begins with the service and ends with it.
    #[tokio::test]
    async fn it_looks_at_once_and_stops_when_it_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (housekeeping, _) = stores(directory.path());
        let logs = Arc::clone(&housekeeping.logs);
        logs.set_retention(&owner(), "/g", Some(5)).unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(housekeeping.keep(stopped));
        let deadline = Instant::now() + Duration::from_secs(60);
        while events(&logs) > 1 {
            assert!(Instant::now() < deadline, "nothing was removed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.send(true).unwrap();
        task.await.unwrap();
    }
}
