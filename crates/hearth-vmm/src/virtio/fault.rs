//! Records of device faults: violations by a guest's driver, and failures of the host. The machine decides on them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

use super::chain::QueueError;

/// Records kept until the machine takes them. A guest can cause any number of faults (one for
/// each reset); the count goes on, the records do not.
const KEPT_RECORDS: usize = 16;

/// The cause of a device fault: a violation by the driver, or a failure of the host.
#[derive(Debug, Clone, Error)]
pub enum FaultCause {
    /// The ring or a descriptor chain is malformed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A request inside a well-formed chain is malformed.
    #[error("malformed request: {0}")]
    Request(&'static str),
    /// The host could not go on serving the device.
    #[error("host failure: {0}")]
    Host(String),
}

/// One device fault. The device has stopped and waits for a reset.
#[derive(Debug, Clone, Error)]
#[error("device {device}, queue {queue}: {cause}")]
pub struct DeviceFault {
    /// The device's name.
    pub device: String,
    /// Index of the queue.
    pub queue: u16,
    /// Cause of the fault.
    pub cause: FaultCause,
}

#[derive(Debug, Default)]
struct Records {
    total: u64,
    kept: VecDeque<DeviceFault>,
}

/// Collects the faults of all devices of one machine. Clones of this handle share one collection.
#[derive(Debug, Clone)]
pub struct FaultSink {
    records: Arc<Mutex<Records>>,
    wake: Arc<EventFd>,
}

impl FaultSink {
    /// Creates an empty collection. `wake` is written for each fault; the machine polls it.
    #[must_use]
    pub fn new(wake: EventFd) -> Self {
        Self {
            records: Arc::default(),
            wake: Arc::new(wake),
        }
    }

    /// The eventfd that wakes the machine.
    #[must_use]
    pub fn wake(&self) -> &EventFd {
        &self.wake
    }

    /// Counts a fault and keeps its record if there is room.
    pub fn record(&self, fault: DeviceFault) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.total = records.total.saturating_add(1);
        if records.kept.len() < KEPT_RECORDS {
            records.kept.push_back(fault);
        }
        drop(records);
        let _ = self.wake.write(1);
    }

    /// Number of faults since the machine started. Leaves the records in place.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .total
    }

    /// Number of faults since the machine started, and the records since the last call.
    #[must_use]
    pub fn take(&self) -> (u64, Vec<DeviceFault>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        (records.total, records.kept.drain(..).collect())
    }
}
