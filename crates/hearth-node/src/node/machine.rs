//! A handle to an instance of this node.
//!
//! A handle holds the instance's record at the time when the handle was created. Operations that change the instance
//! wait for its turn ([`crate::turns`]) and read the current record, so any number of handles may exist.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_snapshot::SnapshotId;
use hearth_wire::agent::StartSpec;
use hearth_wire::vmm::{Command, PageRange, Reply, SnapshotSummary, Status};

use crate::agent::AgentClient;
use crate::error::{NodeError, failed};
use crate::layout::MachineName;
use crate::layout::SERIAL_LOG_BYTES;
use crate::node::Node;
use crate::record::{MachineRecord, Purpose};
use crate::services::ServiceListener;
use crate::socket;
use crate::vmm::{VmmClient, VmmError};

/// A handle to an instance that has a process, or had one.
#[derive(Debug)]
pub struct Machine {
    node: Node,
    name: MachineName,
    record: Arc<MachineRecord>,
}

impl Machine {
    pub(crate) fn new(node: Node, name: MachineName, record: Arc<MachineRecord>) -> Self {
        Self { node, name, record }
    }

    /// Name of the instance.
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// The record of the instance when this handle was created.
    pub fn record(&self) -> &MachineRecord {
        &self.record
    }

    /// A client of the instance's agent.
    pub fn agent(&self) -> AgentClient {
        AgentClient::new(self.own_directory().join(socket::VSOCK))
    }

    /// Listens for streams from the guest to services of the host.
    pub fn listen_for_services(&self) -> std::io::Result<ServiceListener> {
        ServiceListener::bind(&self.own_directory().join(socket::VSOCK), self.record.user)
    }

    /// Directory of the instance.
    pub fn directory(&self) -> PathBuf {
        self.node.layout().machine(&self.name)
    }

    /// The serial log of the instance. Reads a file of at most 1 MiB.
    pub fn serial_log(&self) -> Result<Vec<u8>, NodeError> {
        let path = self.own_directory().join("serial.log");
        // Its VMM made the file, and may have been taken over.
        let log = hearth_snapshot::plain::read(&path, SERIAL_LOG_BYTES);
        log.map_err(failed("read", &path))
    }

    /// The directory that the instance's VMM writes.
    pub fn own_directory(&self) -> PathBuf {
        self.node.layout().own(&self.name)
    }

    /// Connects to the instance's VMM.
    pub async fn vmm(&self) -> Result<VmmClient, NodeError> {
        let socket = self.own_directory().join(socket::CONTROL);
        Ok(VmmClient::connect(&socket).await?)
    }

    /// The status that the VMM reports.
    pub async fn status(&self) -> Result<Status, NodeError> {
        match self.vmm().await?.request(Command::Status).await? {
            Reply::Status(status) => Ok(status),
            _ => Err(VmmError::Confused.into()),
        }
    }

    /// Stops the vCPUs: nothing in the guest runs, and the agent does not answer. No-op if they stand still.
    pub async fn pause(&self) -> Result<(), NodeError> {
        self.order(Command::Pause).await
    }

    /// Lets the vCPUs run again. No-op if they run.
    pub async fn unpause(&self) -> Result<(), NodeError> {
        self.order(Command::Resume).await
    }

    async fn order(&self, command: Command) -> Result<(), NodeError> {
        match self.vmm().await?.request(command).await? {
            Reply::Done => Ok(()),
            _ => Err(VmmError::Confused.into()),
        }
    }

    /// Limits the instance to this many thousandths of a processor. No-op on a node without control groups.
    pub async fn limit_processors(&self, permille: u32) -> Result<(), NodeError> {
        let Some(groups) = self.node.options().groups.clone() else {
            return Ok(());
        };
        let name = self.name.clone();
        self.node
            .with_records(move |_| groups.limit_processors(&name, permille))
            .await
    }

    /// The pages of memory that were touched since the instance started: a list for [`Node::set_prefetch`], for clones
    /// of the same snapshot that will do the same.
    pub async fn touched_pages(&self) -> Result<Vec<PageRange>, NodeError> {
        match self.vmm().await?.request(Command::TouchedPages).await? {
            Reply::Pages(pages) => Ok(pages),
            _ => Err(VmmError::Confused.into()),
        }
    }

    /// Starts the application.
    pub async fn start_application(&mut self, spec: StartSpec) -> Result<(), NodeError> {
        self.node.start_application(&self.name, spec).await?;
        self.read_again()
    }

    /// Seals a template for clones; the instance continues. The snapshot of a freshly booted instance is a full one,
    /// that of a clone a layer, unless its chain is folded ([`crate::ChainLimits`]).
    pub async fn snapshot(&mut self) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        let sealed = self.node.seal(&self.name, Purpose::Template).await?;
        self.read_again()?;
        Ok(sealed)
    }

    /// Suspends the instance: when this returns, the snapshot is durable and the process has ended. After a failure the
    /// instance still runs, unless its process has ended. Continues if the caller is dropped.
    pub async fn suspend(self) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.node.suspend(&self.name).await
    }

    /// Ends the instance and removes its files.
    pub async fn terminate(self) -> Result<(), NodeError> {
        self.node.erase(&self.name).await
    }

    /// Same as [`Self::terminate`], but durably keeps the overlay of the disk with this serial, as the file `kept`, for
    /// [`crate::DiskRequest::overlays`]. The instance must never have been snapshotted, and the guest must have flushed
    /// the disk.
    pub async fn terminate_keeping(self, serial: &str, kept: &Path) -> Result<(), NodeError> {
        self.node.erase_keeping(&self.name, serial, kept).await
    }

    fn read_again(&mut self) -> Result<(), NodeError> {
        self.record = self.node.machine(&self.name)?.record;
        Ok(())
    }
}
