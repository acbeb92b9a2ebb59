//! What the host does when its memory is short.
//!
//! ```text
//! the kernel says that processes wait, and little is available
//!    -> first, guests beyond their baseline are asked to give back what was lent (their balloons)
//!    -> still so: control is told, which suspends one of them, and is told again as long as it is so
//! nobody waits for a minute -> what was asked back is lent again
//! ```
//!
//! An instance never sleeps behind control's back: only control knows what may sleep, and what a request will wake.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use hearth_control::instance::InstanceId;
use hearth_node::{MemoryPressure, NodeError, ProcessRecord, available_percent, with_causes};
use tokio::sync::watch;

use crate::local::LocalHost;

/// Time for what was done to show: a suspend of a small microVM takes less, and a guest gives back a gigabyte.
const PAUSE: Duration = Duration::from_secs(5);

/// After this time in which nobody waited, memory is not short any more.
const QUIET: Duration = Duration::from_secs(60);

/// Longest wait for a VMM: one that was taken over may never answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// VMMs that are asked at one time; each takes a descriptor.
const AT_ONCE: usize = 64;

/// When memory counts as short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortMemory {
    /// How long processes together have waited for memory within two seconds.
    pub stalled: Duration,
    /// Below which share of the host's memory, in percent, too little is available.
    pub available_percent: u64,
}

/// Watches the memory of a host.
pub struct PressureWatch {
    host: LocalHost,
    pressure: MemoryPressure,
    course: Course,
    /// Processes of which nothing is asked back. Of all others that is not known: a suspended instance comes back with the
    /// balloon that it had, and so do a fork, and an instance from before a restart of this process.
    lent: HashSet<ProcessRecord>,
}

impl PressureWatch {
    /// A watch over a host.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn open(host: LocalHost, short: ShortMemory) -> io::Result<Self> {
        Ok(Self {
            host,
            pressure: MemoryPressure::open(short.stalled)?,
            course: Course::new(short.available_percent),
            lent: HashSet::new(),
        })
    }

    /// Watches until `stop` is set.
    pub async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            never = self.watch() => match never {},
            _ = stop.wait_for(|&stop| stop) => {}
        }
    }

    async fn watch(&mut self) -> Infallible {
        loop {
            let waits = match self.pressure.waits(QUIET).await {
                Ok(waits) => waits,
                Err(error) => {
                    tracing::error!(%error, "the kernel does not tell any more when memory is short; restart the service");
                    std::future::pending().await
                }
            };
            match self.course.next(waits, available_percent()) {
                Step::Nothing => {}
                Step::AskBack => self.ask_back().await,
                Step::Tell => self.tell().await,
                Step::Lend => self.lend_again().await,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask_back(&mut self) {
        let beyond = self.host.beyond_baseline().await;
        tracing::warn!(
            guests = beyond.len(),
            "the host's memory is short: guests beyond their baseline are asked to give some back"
        );
        // Even if the answer is lost.
        self.lent.clear();
        ask_all(beyond, |id| self.host.ask_back(id)).await;
    }

    async fn tell(&mut self) {
        let beyond = self.host.beyond_baseline().await;
        tracing::warn!(
            microvms = beyond.len(),
            "the host's memory is still short: one that holds more than its baseline and may sleep is suspended"
        );
        self.host.tell_short(beyond);
    }

    async fn lend_again(&mut self) {
        let running = self.host.running();
        self.lent
            .retain(|process| running.iter().any(|(_, other)| other == process));
        let unknown = running
            .iter()
            .filter(|(_, process)| !self.lent.contains(process));
        let unknown = unknown.map(|(id, _)| *id).collect();
        let told = ask_all(unknown, |id| self.host.lend_again(id)).await;
        let told = running.into_iter().filter(|(id, _)| told.contains(id));
        self.lent.extend(told.map(|(_, process)| process));
    }
}

/// Asks many VMMs; answers which have done it. Of the others one is being sealed, has just ended, or was taken over: those that go on
/// are asked again in a minute.
async fn ask_all<F>(ids: Vec<InstanceId>, ask: impl Fn(InstanceId) -> F) -> HashSet<InstanceId>
where
    F: Future<Output = Result<(), NodeError>>,
{
    let asked = ids.into_iter().map(|id| {
        let answer = tokio::time::timeout(ANSWER_LIMIT, ask(id));
        async move {
            match answer.await {
                Ok(Ok(())) => return Some(id),
                Ok(Err(error)) => {
                    tracing::debug!(%id, error = with_causes(&error), "its balloon is as it was");
                }
                Err(_) => tracing::debug!(%id, "its VMM does not answer"),
            }
            None
        }
    });
    let answers = stream::iter(asked).buffer_unordered(AT_ONCE);
    answers.filter_map(ready).collect().await
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    AskBack,
    Tell,
    Lend,
}

/// How far it has come.
#[derive(Debug)]
struct Course {
    least_percent: u64,
    is_asked_back: bool,
}

impl Course {
    fn new(least_percent: u64) -> Self {
        Self {
            least_percent,
            is_asked_back: false,
        }
    }

    /// The next step, where processes wait for memory or have not done so for a while. What cannot be told is enough.
    fn next(&mut self, waits: bool, available_percent: Option<u64>) -> Step {
        if !waits {
            self.is_asked_back = false;
            return Step::Lend;
        }
        if available_percent.is_none_or(|percent| percent >= self.least_percent) {
            return Step::Nothing;
        }
        if self.is_asked_back {
            return Step::Tell;
        }
        self.is_asked_back = true;
        Step::AskBack
    }
}

#[cfg(test)]
mod tests {
    use hearth_control::id::MicrovmId;

    use super::*;

    #[test]
    fn guests_are_asked_first_and_control_is_told_as_long_as_it_is_short() {
        let mut course = Course::new(10);
        let steps: Vec<_> = (0..4).map(|_| course.next(true, Some(9))).collect();
        assert_eq!(steps, [Step::AskBack, Step::Tell, Step::Tell, Step::Tell]);
        // It helped, and processes wait for something else.
        assert_eq!(course.next(true, Some(10)), Step::Nothing);
        assert_eq!(course.next(true, Some(9)), Step::Tell);
        assert_eq!(course.next(false, Some(9)), Step::Lend);
        assert_eq!(course.next(true, Some(9)), Step::AskBack);
    }

    /// One VMM that says nothing keeps no other from being asked.
    #[tokio::test(start_paused = true)]
    async fn a_vmm_that_does_not_answer_holds_up_no_other() {
        let ids: Vec<InstanceId> = (0..200).map(|_| MicrovmId::generate().into()).collect();
        let (silent, refusing) = (ids[0], ids[1]);
        let ask = async |id: InstanceId| {
            if id == silent {
                std::future::pending::<()>().await;
            }
            match id == refusing {
                true => Err(NodeError::UnknownMachine(id.to_string())),
                false => Ok(()),
            }
        };
        let began = tokio::time::Instant::now();
        let told = ask_all(ids.clone(), ask).await;
        assert_eq!(began.elapsed(), ANSWER_LIMIT);
        assert_eq!(told, ids[2..].iter().copied().collect());
    }

    /// A guest that fights with its own limit makes processes wait, on a host with memory for all.
    #[test]
    fn waiting_alone_is_not_enough() {
        let mut course = Course::new(10);
        assert_eq!(course.next(true, Some(80)), Step::Nothing);
        assert_eq!(course.next(true, None), Step::Nothing);
        assert_eq!(course.next(false, Some(0)), Step::Lend);
    }
}
