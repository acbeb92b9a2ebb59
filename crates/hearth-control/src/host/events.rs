//! Numbered events of a host, so that a reader that asks for the events after a number notices when it has missed
//! some.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::HostEvent;

/// Events that are kept for late readers. A reader that is later still has to take the inventory.
const KEPT: usize = 4096;

/// The answer of [`super::Host::events`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The events, oldest first.
    pub events: Vec<HostEvent>,
    /// The number of the newest event: the `since` of the next call.
    pub last: u64,
    /// Whether events are missing, because they were dropped or the host restarted. The reader has to take the
    /// inventory.
    pub are_missing: bool,
}

/// The events of one host since its start.
#[derive(Debug, Default)]
pub struct EventLog {
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<HostEvent>,
    /// The number of the newest event.
    last: u64,
}

impl EventLog {
    /// Adds an event.
    pub fn push(&self, event: HostEvent) {
        let mut kept = self.lock();
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event);
        kept.last += 1;
        drop(kept);
        self.news.notify_waiters();
    }

    /// Implements [`super::Host::events`].
    pub async fn since(&self, since: u64) -> Events {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // Registered before the look, so that an event between look and wait is not missed.
            news.as_mut().enable();
            if let Some(events) = self.look(since) {
                return events;
            }
            news.await;
        }
    }

    fn look(&self, since: u64) -> Option<Events> {
        let kept = self.lock();
        if since == kept.last {
            return None;
        }
        let oldest = kept.last - kept.events.len() as u64;
        // A number that was never given out comes from an earlier process of the host.
        let is_known = (oldest..kept.last).contains(&since);
        let from = if is_known { since } else { oldest };
        let skipped = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        Some(Events {
            events: kept.events.iter().skip(skipped).cloned().collect(),
            last: kept.last,
            are_missing: !is_known,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::id::MicrovmId;

    fn event(reason: &str) -> HostEvent {
        HostEvent::Ended {
            id: MicrovmId::generate().into(),
            reason: reason.to_owned(),
        }
    }

    #[tokio::test]
    async fn events_are_told_once_each_and_waited_for() {
        let log = Arc::new(EventLog::default());
        let (first, second) = (event("first"), event("second"));
        log.push(first.clone());
        let told = log.since(0).await;
        assert_eq!(
            (told.events, told.last, told.are_missing),
            (vec![first], 1, false)
        );
        let waiting = tokio::spawn({
            let log = Arc::clone(&log);
            async move { log.since(1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        log.push(second.clone());
        let told = waiting.await.unwrap();
        assert_eq!((told.events, told.last), (vec![second], 2));
    }

    #[tokio::test]
    async fn whoever_comes_too_late_is_told_so() {
        let log = EventLog::default();
        for number in 0..=KEPT {
            log.push(event(&number.to_string()));
        }
        let told = log.since(0).await;
        assert!(told.are_missing && told.events.len() == KEPT);
        let told = log.since(1).await;
        assert!(!told.are_missing && told.events.len() == KEPT);
        let told = log.since(u64::MAX).await;
        assert!(told.are_missing, "a number of an earlier start");
    }
}
