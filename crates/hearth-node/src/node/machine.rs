//! A handle to one instance of this node.
//!
//! It holds what the instance's record was when the handle was given out. Whatever changes the instance waits for its turn
//! ([`crate::turns`]) and reads the record of that moment, so any number of handles may exist.

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

/// An instance that has a process, or had one.
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

    /// Its name.
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// What was written down about it when this handle was made.
    pub fn record(&self) -> &MachineRecord {
        &self.record
    }

    /// Its agent.
    pub fn agent(&self) -> AgentClient {
        AgentClient::new(self.own_directory().join(socket::VSOCK))
    }

    /// Listens for its guest's streams to services of the host.
    pub fn listen_for_services(&self) -> std::io::Result<ServiceListener> {
        ServiceListener::bind(&self.own_directory().join(socket::VSOCK), self.record.user)
    }

    /// Its directory.
    pub fn directory(&self) -> PathBuf {
        self.node.layout().machine(&self.name)
    }

    /// The end of what its kernel said. Reads a file of at most a MiB.
    pub fn serial_log(&self) -> Result<Vec<u8>, NodeError> {
        let path = self.own_directory().join("serial.log");
        // Its VMM made the file, and may have been taken over.
        let log = hearth_snapshot::plain::read(&path, SERIAL_LOG_BYTES);
        log.map_err(failed("read", &path))
    }

    /// The directory that its VMM writes.
    pub fn own_directory(&self) -> PathBuf {
        self.node.layout().own(&self.name)
    }

    /// A connection to its VMM.
    pub async fn vmm(&self) -> Result<VmmClient, NodeError> {
        let socket = self.own_directory().join(socket::CONTROL);
        Ok(VmmClient::connect(&socket).await?)
    }

    /// What the VMM says of it.
    pub async fn status(&self) -> Result<Status, NodeError> {
        match self.vmm().await?.request(Command::Status).await? {
            Reply::Status(status) => Ok(status),
            _ => Err(VmmError::Confused.into()),
        }
    }

    /// Which pages of memory have been touched since it was made: a list for [`Node::set_prefetch`], if a clone of the same
    /// snapshot is to do the same.
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

    /// Seals a snapshot to make clones of; the instance goes on. Of a fresh boot it is a full one, of a clone a layer, unless its
    /// chain is folded ([`crate::ChainLimits`]).
    pub async fn snapshot(&mut self) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        let sealed = self.node.seal(&self.name, Purpose::Template).await?;
        self.read_again()?;
        Ok(sealed)
    }

    /// Suspends: when this answers, the snapshot is durable and the process is gone. On a failure the instance runs on, unless
    /// its process is gone. Goes on when the caller goes away.
    pub async fn suspend(self) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.node.suspend(&self.name).await
    }

    /// Ends the instance and removes what it had.
    pub async fn terminate(self) -> Result<(), NodeError> {
        self.node.erase(&self.name).await
    }

    /// As [`Self::terminate`], but keeps what was written to the disk with this serial, as `kept` and durably: an overlay
    /// for [`crate::DiskRequest::overlays`]. Of an instance that was never snapshotted; the guest has flushed the disk.
    pub async fn terminate_keeping(self, serial: &str, kept: &Path) -> Result<(), NodeError> {
        self.node.erase_keeping(&self.name, serial, kept).await
    }

    fn read_again(&mut self) -> Result<(), NodeError> {
        self.record = self.node.machine(&self.name)?.record;
        Ok(())
    }
}
