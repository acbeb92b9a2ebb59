//! Keeps an emulated host running: after each death another one starts on the same data disk.
//!
//! MicroVMs that ran in it are then recovered as after a power cut. Every death is reported, never hidden.
//!
//! ```text
//!            +-> Up -----> Died --+
//!   start ---+    |               |  within the budget of restarts: start again
//!            |    +-- stop -> end |  beyond it: HostStartError::KeepsDying
//!            +--------------------+
//! ```

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hearth_base::Progress;

use crate::agent::HostAgentClient;
use crate::health::{Death, Health, Watch};
use crate::host::{DataDisk, EmulatedHost, HostConfig, HostStartError};
use crate::keeper::Keeper;

/// Time between two probes of the host.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a host that is asked to stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// After more deaths than this within the window the host is not restarted.
const RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(600);

/// An event of a watched host.
#[derive(Debug, Clone)]
pub enum WatchdogEvent {
    /// It is up, and its agent is reached by this client.
    Up(HostAgentClient),
    /// It died; another one is being started.
    Died(Death),
}

/// Starts (or finds) the emulated host of `config` and keeps it running until `stop` receives a message or closes. Then
/// the host is stopped. A host that another process keeps running is left alone: [`HostStartError::Kept`]. The data disk of `config` is replaced at most once, at the first start. `progress` receives the
/// steps of a start.
pub fn keep_running(
    config: &HostConfig,
    stop: &Receiver<()>,
    progress: Progress<'_>,
    report: &mut dyn FnMut(WatchdogEvent),
) -> Result<(), HostStartError> {
    let _keeper = Keeper::of(&config.state_dir)?;
    let mut config = config.clone();
    let mut budget = RestartBudget::default();
    loop {
        let host = match EmulatedHost::attach(&config.state_dir) {
            Some(host) => host,
            None => EmulatedHost::start(&config, progress)?,
        };
        config.data_disk = DataDisk::Keep;
        report(WatchdogEvent::Up(host.agent()));
        let Some(death) = watch_until_death(&host, stop) else {
            host.stop(STOP_PATIENCE);
            return Ok(());
        };
        host.kill();
        report(WatchdogEvent::Died(death.clone()));
        if !budget.grants(Instant::now()) {
            return Err(HostStartError::KeepsDying(death));
        }
    }
}

/// Answers `None` if `stop` was signalled.
fn watch_until_death(host: &EmulatedHost, stop: &Receiver<()>) -> Option<Death> {
    let mut watch = Watch::new(Instant::now());
    while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        if let Health::Dead(death) = host.health(&mut watch) {
            return Some(death);
        }
    }
    None
}

/// Limit on restarts within a window of time.
#[derive(Debug, Default)]
struct RestartBudget {
    recent: VecDeque<Instant>,
}

impl RestartBudget {
    /// Whether one more restart is allowed at `now`. Counts it if it is.
    fn grants(&mut self, now: Instant) -> bool {
        self.recent
            .retain(|spent| now.duration_since(*spent) < RESTART_WINDOW);
        self.recent.push_back(now);
        self.recent.len() <= RESTARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_deaths_exhausts_the_budget() {
        let mut budget = RestartBudget::default();
        let now = Instant::now();
        for _ in 0..RESTARTS {
            assert!(budget.grants(now));
        }
        assert!(!budget.grants(now));
        assert!(budget.grants(now + RESTART_WINDOW));
    }

    #[test]
    fn rare_deaths_never_do() {
        let mut budget = RestartBudget::default();
        let start = Instant::now();
        let pause = RESTART_WINDOW / RESTARTS as u32;
        assert!((0..100).all(|count| budget.grants(start + pause * count)));
    }
}
