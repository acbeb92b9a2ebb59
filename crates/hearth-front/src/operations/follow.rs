//! Follows the log lines of a microVM for one client: present lines, then new ones, until the microVM ends or the
//! client leaves.
//!
//! The log store is polled several times a second, and read only if there are new events. A client that does not read
//! delays nobody else: the store keeps its events, and a page is read when the client has room for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_control::Control;
use hearth_control::id::{AccountId, MicrovmId};
use hearth_control::life::MicrovmState;
use hearth_control::microvm::Microvm;
use hearth_http::{Share, Shares, SharesError};
use hearth_logs::{Arrived, LogError, LogOwner, LogStore};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::lines::text;
use crate::fault::Fault;
use crate::guests::LogStreamName;

/// How often the store is polled.
const INTERVAL: Duration = Duration::from_millis(250);

/// When a microVM has ended, its last output may still be on its way to the store.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longest time of an answer, after which clients are gone whose connection broke unnoticed.
const MAX_TIME: Duration = Duration::from_secs(60 * 60);

/// Clients that follow at one time. Each costs a task and a page of text.
const MAX_FOLLOWERS: usize = 256;

/// Events of one page, and pages that may wait for the client.
const PAGE_EVENTS: usize = 1000;
const PAGES: usize = 2;

/// Limits the number of clients that follow, in all and per account.
pub(crate) struct Followers(Shares<AccountId>);

/// The place of one client. Dropping it frees the place.
pub(super) type FollowerPlace = Share<AccountId>;

impl Default for Followers {
    fn default() -> Self {
        Self(Shares::new(MAX_FOLLOWERS))
    }
}

impl Followers {
    /// Takes a place, if one is free and the account may have one more.
    pub(super) fn admit(&self, account: AccountId, max: u32) -> Result<FollowerPlace, Fault> {
        self.0
            .try_take(account, 1, max as usize)
            .map_err(|error| {
                let text = match error {
                    SharesError::HolderFull { held } => format!(
                        "{held} clients of this account follow logs already, as many as quotas.followers allows."
                    ),
                    SharesError::AllFull => format!("{MAX_FOLLOWERS} clients follow logs already."),
                };
                Fault::new(429, "ThrottlingException", text).retry_after(1)
            })
    }
}

/// A client that follows the logs of one microVM.
pub(super) struct Follower {
    pub(super) control: Control,
    pub(super) microvm: MicrovmId,
    pub(super) reading: LogPosition,
}

/// The log stream of one microVM, and how far it was read.
pub(super) struct LogPosition {
    pub(super) store: Arc<LogStore>,
    pub(super) owner: LogOwner,
    pub(super) place: LogStreamName,
    /// The number of the newest event when the first lines were read.
    pub(super) seen: i64,
}

impl Follower {
    /// Sends the first lines, then new ones.
    pub(super) fn begin(self, first: String, place: FollowerPlace) -> mpsc::Receiver<Bytes> {
        let (sender, pages) = mpsc::channel(PAGES);
        tokio::spawn(async move {
            let _place = place;
            let deadline = Instant::now() + MAX_TIME;
            let following = async {
                if first.is_empty() || sender.send(first.into()).await.is_ok() {
                    self.follow(&sender).await;
                }
            };
            tokio::select! {
                // Whether at the deadline or before, the body ends here.
                _ = timeout_at(deadline, following) => {}
                () = sender.closed() => {}
            }
        });
        pages
    }

    async fn follow(mut self, pages: &mpsc::Sender<Bytes>) {
        let ended = ended(self.control.clone(), self.microvm);
        tokio::pin!(ended);
        loop {
            let has_ended = tokio::select! {
                () = &mut ended => true,
                () = sleep(INTERVAL) => false,
            };
            if has_ended {
                sleep(LAST_WORDS).await;
            }
            if self.send_news(pages).await.is_err() || has_ended {
                return;
            }
        }
    }

    /// Sends all new events.
    async fn send_news(&mut self, pages: &mpsc::Sender<Bytes>) -> Result<(), NoMore> {
        loop {
            let arrived = self.reading.next().await?;
            if !arrived.events.is_empty() {
                let sent = pages.send(text(&arrived.events).into()).await;
                sent.map_err(|_| NoMore)?;
            }
            if !arrived.has_more {
                return Ok(());
            }
        }
    }
}

impl LogPosition {
    /// Reads the new events of the stream. New events of other streams are not looked at again.
    async fn next(&mut self) -> Result<Arrived, NoMore> {
        let (store, owner, place) = (
            Arc::clone(&self.store),
            self.owner.clone(),
            self.place.clone(),
        );
        let seen = self.seen;
        let reading = tokio::task::spawn_blocking(move || {
            let newest = store.newest()?;
            let nothing = Arrived {
                events: Vec::new(),
                seen: newest,
                has_more: false,
            };
            if newest == seen {
                return Ok(nothing);
            }
            match store.arrived(&owner, &place.group, &place.stream, seen, PAGE_EVENTS) {
                // Group and stream are created by the first line.
                Err(LogError::NoGroup | LogError::NoStream) => Ok(nothing),
                arrived => arrived,
            }
        });
        match reading.await {
            Ok(Ok(arrived)) => {
                self.seen = arrived.seen;
                Ok(arrived)
            }
            Ok(Err(error)) => {
                let error: &LogError = &error;
                tracing::error!(%error, "logs cannot be followed");
                Err(NoMore)
            }
            Err(_) => Err(NoMore),
        }
    }
}

/// The client takes no more, or there is no more to read.
struct NoMore;

/// Waits until a microVM is TERMINATED.
async fn ended(control: Control, microvm: MicrovmId) {
    if let Some(mut view) = control.watch_microvm(microvm) {
        let has_ended = |microvm: &Microvm| microvm.state() == MicrovmState::Terminated;
        // A closed channel means that the owner has ended, and so has the microVM.
        let _ = view.wait_for(has_ended).await;
    }
}

#[cfg(test)]
mod tests {
    use hearth_logs::{LogLimits, NewEvent};

    use super::*;

    /// One account finds no more places than its quota, and another one still does.
    #[test]
    fn an_account_has_as_many_followers_as_it_may() {
        let followers = Followers::default();
        let (one, other) = (
            "000000000001".parse().unwrap(),
            "000000000002".parse().unwrap(),
        );
        let mut places: Vec<_> = (0..3)
            .map(|_| followers.admit(one, 3).ok().unwrap())
            .collect();
        assert!(followers.admit(one, 3).is_err());
        assert!(followers.admit(other, 3).is_ok());
        places.pop();
        assert!(followers.admit(one, 3).is_ok());
    }

    const NOW: i64 = 1_800_000_000_000;

    /// Finding M5: what others write is passed over once. Without, a quiet follower looks at all of it each time it asks.
    #[tokio::test]
    async fn a_quiet_follower_goes_on_from_what_others_have_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::open(&directory.path().join("logs.db"), LogLimits::default());
        let store = Arc::new(store.unwrap());
        let owner = |account: &str| LogOwner {
            account: account.to_owned(),
            region: "eu-1".to_owned(),
        };
        let write = |account: &str, lines: i64| {
            let owner = owner(account);
            let event = |time_ms| NewEvent {
                time_ms,
                message: "x".to_owned(),
            };
            let events: Vec<_> = (0..lines).map(|line| event(NOW + line)).collect();
            store.ensure_stream(&owner, "/g", "s", NOW).unwrap();
            store.append(&owner, "/g", "s", &events, NOW).unwrap();
        };
        write("quiet", 1);
        let mut reading = LogPosition {
            store: Arc::clone(&store),
            owner: owner("quiet"),
            place: LogStreamName {
                group: "/g".to_owned(),
                stream: "s".to_owned(),
            },
            seen: store.newest().unwrap(),
        };
        write("loud", 5000);
        let Ok(arrived) = reading.next().await else {
            panic!("cannot be followed");
        };
        assert!(
            arrived.events.is_empty() && !arrived.has_more,
            "{arrived:?}"
        );
        assert_eq!(reading.seen, store.newest().unwrap());
        write("quiet", 2);
        let Ok(arrived) = reading.next().await else {
            panic!("cannot be followed");
        };
        assert_eq!(arrived.events.len(), 2);
        assert_eq!(reading.seen, store.newest().unwrap());
    }
}
