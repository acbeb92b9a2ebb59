//! Memory of this host that instances have beyond what they were promised.

use hearth_control::host::HostEvent;
use hearth_control::instance::InstanceId;
use hearth_node::{NodeError, ProcessRecord};

use super::{LocalHost, machine_name};

impl LocalHost {
    /// The instances whose processes this process follows.
    pub(crate) fn running(&self) -> Vec<(InstanceId, ProcessRecord)> {
        let followed = self.followed();
        let running = followed
            .iter()
            .filter_map(|(id, followed)| Some((*id, followed.monitor.as_ref()?.process())));
        running.collect()
    }

    /// Those that hold more than their baseline, whoever holds most of that first. Reads a file for each that runs.
    pub(crate) async fn beyond_baseline(&self) -> Vec<InstanceId> {
        let host = self.clone();
        let measured = tokio::task::spawn_blocking(move || {
            let mut beyond: Vec<_> = host
                .memory()
                .into_iter()
                .filter_map(|(id, memory)| {
                    let baseline = host.node().baseline_bytes(&machine_name(id).ok()?)?;
                    Some((memory.private_bytes.checked_sub(baseline)?, id))
                })
                .filter(|(bytes, _)| *bytes > 0)
                .collect();
            beyond.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            beyond.into_iter().map(|(_, id)| id).collect()
        });
        // It panicked, or the runtime ends.
        measured.await.unwrap_or_default()
    }

    /// As [`hearth_node::Node::ask_back`].
    pub(crate) async fn ask_back(&self, id: InstanceId) -> Result<(), NodeError> {
        self.node().ask_back(&machine_name(id)?).await
    }

    /// As [`hearth_node::Node::lend_again`].
    pub(crate) async fn lend_again(&self, id: InstanceId) -> Result<(), NodeError> {
        self.node().lend_again(&machine_name(id)?).await
    }

    /// Tells control that memory is short.
    pub(crate) fn tell_short(&self, beyond: Vec<InstanceId>) {
        self.0.events.push(HostEvent::MemoryShort { beyond });
    }
}
