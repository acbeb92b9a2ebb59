//! What machines have beyond their baseline, and asking their guests for it.

use hearth_wire::vmm::{Command, Reply};

use super::Node;
use crate::error::NodeError;
use crate::layout::MachineName;
use crate::memory_guard::baseline_mib;
use crate::vmm::VmmError;

impl Node {
    /// The memory that a machine is promised, in bytes; `None` of one that is not there. Looks into memory only.
    #[must_use]
    pub fn baseline_bytes(&self, name: &MachineName) -> Option<u64> {
        let record = self.records().machine(name)?;
        Some(baseline_mib(record.memory_mib) << 20)
    }

    /// Asks a guest to give back what was lent to it. Its balloon takes free memory and caches; what applications hold beyond the
    /// baseline stays with them, because a balloon lets go before its guest runs out of memory. A hostile guest gives nothing.
    ///
    /// # Errors
    ///
    /// When its VMM does not answer, or is sealing.
    pub async fn ask_back(&self, name: &MachineName) -> Result<(), NodeError> {
        let machine = self.machine(name)?;
        let memory_mib = machine.record().memory_mib;
        let baseline = u32::try_from(baseline_mib(memory_mib)).unwrap_or(memory_mib);
        self.set_balloon(name, memory_mib.saturating_sub(baseline))
            .await
    }

    /// Lends it again.
    ///
    /// # Errors
    ///
    /// When its VMM does not answer, or is sealing.
    pub async fn lend_again(&self, name: &MachineName) -> Result<(), NodeError> {
        self.set_balloon(name, 0).await
    }

    async fn set_balloon(&self, name: &MachineName, target_mib: u32) -> Result<(), NodeError> {
        let mut vmm = self.machine(name)?.vmm().await?;
        match vmm.request(Command::SetBalloon { target_mib }).await? {
            Reply::Done => Ok(()),
            _ => Err(VmmError::Confused.into()),
        }
    }
}
