//! The addresses that answers have opened for a guest, so that the kernel is told only of new ones and of those that
//! close soon.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::answered_set::AnsweredSet;
use crate::rules::ANSWERED_MAX;

/// How long an address stays open at least and at most, whatever its answer says. The minimum is for programs that
/// cache an answer for longer than it says. The maximum limits what a name server can keep open.
const OPEN_SECONDS: std::ops::RangeInclusive<u32> = 60..=3600;

/// The addresses that are open for one guest.
#[derive(Debug)]
pub(super) struct Openings {
    set: Arc<AnsweredSet>,
    /// Locked while the kernel is told, so that one guest has one write under way, and waiting questions find most of
    /// their addresses open.
    closing_times: Arc<Mutex<ClosingTimes>>,
}

/// When each address closes.
#[derive(Debug, Default)]
struct ClosingTimes(HashMap<Ipv4Addr, Instant>);

impl Openings {
    pub(super) fn new(set: AnsweredSet) -> Self {
        Self {
            set: Arc::new(set),
            closing_times: Arc::default(),
        }
    }

    /// Opens addresses, each for the seconds that its answer may be cached. They are open when this returns.
    pub(super) async fn open(&self, addresses: &[(Ipv4Addr, u32)]) -> io::Result<()> {
        let mut closing_times = Arc::clone(&self.closing_times).lock_owned().await;
        let missing = closing_times.missing(addresses, Instant::now())?;
        if missing.is_empty() {
            return Ok(());
        }
        let set = Arc::clone(&self.set);
        // The lock moves into the task: a question that is cancelled does not let the next one in before the kernel
        // is done.
        let put = tokio::task::spawn_blocking(move || {
            let now = Instant::now();
            set.put(&missing)?;
            closing_times.note(&missing, now);
            Ok(())
        });
        put.await.map_err(io::Error::other)?
    }
}

impl ClosingTimes {
    /// The addresses to be opened, and for how long: half as long again as needed, so that later answers with the
    /// same address find it open.
    fn missing(
        &mut self,
        wanted: &[(Ipv4Addr, u32)],
        now: Instant,
    ) -> io::Result<Vec<(Ipv4Addr, Duration)>> {
        let mut missing: Vec<(Ipv4Addr, Duration)> = Vec::new();
        for &(address, seconds) in wanted {
            let seconds = seconds.clamp(*OPEN_SECONDS.start(), *OPEN_SECONDS.end());
            let needed = Duration::from_secs(seconds.into());
            let is_open = self.0.get(&address).is_some_and(|&end| end >= now + needed);
            if !is_open && !missing.iter().any(|(known, _)| *known == address) {
                missing.push((address, needed + needed / 2));
            }
        }
        let is_full = |closing_times: &Self| closing_times.0.len() + missing.len() > ANSWERED_MAX;
        if is_full(self) {
            self.0.retain(|_, end| *end > now);
        }
        if is_full(self) {
            return Err(io::Error::other(format!(
                "answers have opened {ANSWERED_MAX} addresses for this guest already; they close within 90 minutes"
            )));
        }
        Ok(missing)
    }

    fn note(&mut self, opened: &[(Ipv4Addr, Duration)], at: Instant) {
        let ends = opened.iter().map(|&(address, time)| (address, at + time));
        self.0.extend(ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0800_0000 + number)
    }

    /// Finding M15: an answer whose addresses are open long enough costs nothing.
    #[test]
    fn what_is_open_long_enough_is_not_opened_again() {
        let (mut closing_times, now) = (ClosingTimes::default(), Instant::now());
        let first = closing_times.missing(&[(address(1), 30), (address(1), 30)], now);
        let first = first.unwrap();
        assert_eq!(first, [(address(1), Duration::from_secs(90))]);
        closing_times.note(&first, now);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(
            closing_times
                .missing(&[(address(1), 30)], later(30))
                .unwrap()
                .is_empty()
        );
        // With less time left than the answer may be kept, it is.
        assert_eq!(
            closing_times
                .missing(&[(address(1), 30)], later(31))
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            closing_times
                .missing(&[(address(1), 3600)], now)
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            closing_times
                .missing(&[(address(2), 0)], now)
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn a_guest_has_so_many_addresses_and_no_more() {
        let (mut closing_times, now) = (ClosingTimes::default(), Instant::now());
        for number in 0..u32::try_from(ANSWERED_MAX).unwrap() {
            let missing = closing_times.missing(&[(address(number), 0)], now).unwrap();
            closing_times.note(&missing, now);
        }
        let more = [(address(u32::MAX >> 8), 0)];
        assert!(closing_times.missing(&more, now).is_err());
        assert!(
            closing_times
                .missing(&[(address(1), 0)], now)
                .unwrap()
                .is_empty()
        );
        // Once they are over there is room again.
        let later = now + Duration::from_secs(91);
        assert_eq!(closing_times.missing(&more, later).unwrap().len(), 1);
    }
}
