//! One running microVM: snapshot, suspend, terminate.
//!
//! ```text
//!            ┌── snapshot ──> template on disk, microVM goes on
//!            ├── seal ──────> step on disk, microVM goes on         (a fork begins there: fork.rs)
//! running ───┼── suspend ───> snapshot on disk, process gone      (resume: Node::resume)
//!            └── terminate ─> nothing left
//! ```
//!
//! A snapshot is an intent in the record (`pending`) before the VMM is asked, and an outcome (`node.json`,
//! the record without `pending`) after. [`Machine::settle`] finishes or undoes what a crash cut in two, or what a full disk
//! did not take: the intent then stays in the record, and whoever does something with the microVM next settles it first.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearth_snapshot::SnapshotId;
use hearth_wire::agent::{ControlRequest, StartSpec};
use hearth_wire::vmm::{
    Command, PageRange, Reply, SnapshotKind, SnapshotSpec, SnapshotSummary, Status,
};
use rustix::fs::{Mode, OFlags};

use crate::agent::AgentClient;
use crate::error::{NodeError, failed};
use crate::jail;
use crate::launch::overlay_path;
use crate::layout::MachineName;
use crate::node::Node;
use crate::record::{
    self, DiskStack, MACHINE_FILE, MachineRecord, NODE_FILE, Purpose, SnapshotRecord,
};
use crate::services::ServiceListener;
use crate::socket;
use crate::vmm::{VmmClient, VmmError};

/// Longest wait for a process that was killed to be gone.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// A microVM of this node.
#[derive(Debug)]
pub struct Machine {
    node: Node,
    name: MachineName,
    record: MachineRecord,
}

impl Machine {
    pub(crate) fn new(node: Node, name: MachineName, record: MachineRecord) -> Self {
        Self { node, name, record }
    }

    /// Its name.
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// What is written down about it.
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

    /// The end of what its kernel said.
    pub fn serial_log(&self) -> Result<Vec<u8>, NodeError> {
        let path = self.own_directory().join("serial.log");
        let read = || {
            // Its VMM made the file, and may have been taken over.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut log = Vec::new();
            let file = rustix::fs::open(&path, flags, Mode::empty())?;
            fs::File::from(file).read_to_end(&mut log)?;
            Ok(log)
        };
        read().map_err(failed("read", &path))
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
        self.agent()
            .perform(ControlRequest::Start(Box::new(spec)))
            .await?;
        self.record.has_application = true;
        self.save()
    }

    /// Seals a snapshot to make clones of; the microVM goes on. Of a fresh boot it is a full one, of a
    /// clone a layer.
    pub async fn snapshot(&mut self) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.seal(Purpose::Template).await
    }

    /// Seals a snapshot after which the microVM goes on.
    pub(crate) async fn seal(
        &mut self,
        purpose: Purpose,
    ) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.begin(purpose).await?;
        let outcome = self.capture(purpose).await;
        // Whatever happened, the application runs again.
        let thawed = self.agent().perform(ControlRequest::Thaw).await;
        let outcome = match outcome {
            Ok(summary) => self.finish().map(|id| (id, summary)),
            Err(error) => {
                self.give_up();
                Err(error)
            }
        };
        // What went wrong first is the thing to tell.
        outcome.and_then(|sealed| Ok(thawed.map(|()| sealed)?))
    }

    /// Suspends: when this answers, the snapshot is durable and the process is gone. On a failure the microVM runs on, unless its
    /// process is gone.
    pub async fn suspend(mut self) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.begin(Purpose::Suspended).await?;
        match self.capture(Purpose::Suspended).await {
            Ok(summary) => {
                self.wait_for_exit().await?;
                Ok((self.finish_suspend()?, summary))
            }
            Err(error) => {
                self.give_up();
                if self.record.process.is_alive() {
                    self.agent().perform(ControlRequest::Thaw).await?;
                }
                Err(error)
            }
        }
    }

    /// The layer is durable, whether or not the disk has room for its record: whoever resumes the microVM writes that.
    fn finish_suspend(&mut self) -> Result<SnapshotId, NodeError> {
        self.finish().or_else(|error| {
            if !self.has_sealed() {
                return Err(error);
            }
            tracing::warn!(%error, machine = %self.name, "suspended, and put into place later");
            Ok(hearth_snapshot::describe(&self.incoming())?.id)
        })
    }

    /// Ends the microVM and removes what it had.
    pub async fn terminate(self) -> Result<(), NodeError> {
        self.end().await?;
        self.node.remove_machine(&self.name)?;
        self.node.drop_unneeded_steps()
    }

    /// As [`Self::terminate`], but keeps what was written to the disk with this serial, as `kept` and durably: an overlay
    /// for [`crate::DiskRequest::overlays`]. Of a machine that was never snapshotted; the guest has flushed the disk.
    pub async fn terminate_keeping(self, serial: &str, kept: &Path) -> Result<(), NodeError> {
        self.end().await?;
        let index = self
            .record
            .disks
            .iter()
            .position(|disk| disk.serial == serial && disk.is_writable)
            .ok_or_else(|| NodeError::UnknownDisk(serial.to_owned()))?;
        let own = self.own_directory();
        let overlay = overlay_path(&own, index, self.record.overlay_generation);
        jail::take_over_file(&overlay)?;
        let sync = || {
            let file = fs::File::open(&overlay)?;
            file.set_permissions(fs::Permissions::from_mode(0o444))?;
            file.sync_all()
        };
        sync().map_err(failed("make durable", &overlay))?;
        fs::rename(&overlay, kept).map_err(failed("move the disk to", kept))?;
        record::sync_parent(kept)?;
        self.node.remove_machine(&self.name)?;
        self.node.drop_unneeded_steps()
    }

    /// Ends the process.
    async fn end(&self) -> Result<(), NodeError> {
        if let Ok(mut vmm) = self.vmm().await
            && vmm.request(Command::Terminate).await.is_ok()
        {
            vmm.closed().await;
        }
        self.wait_for_exit().await
    }

    /// Finishes or undoes a snapshot that a crash of the node cut in two. Answers whether the microVM still
    /// runs.
    pub(crate) async fn settle(&mut self) -> Result<bool, NodeError> {
        if self.record.pending.is_none() {
            // A snapshot that the record knows already and that was not moved yet.
            let incoming = hearth_snapshot::describe(&self.incoming());
            if incoming.is_ok_and(|found| self.record.parent == Some(found.id.to_string())) {
                self.place()?;
            }
            return Ok(self.record.process.is_alive());
        }
        // A VMM answers in order: once it answers this, what it was asked before is done or failed.
        let is_running = self.status().await.is_ok();
        if !is_running {
            self.record.process.kill();
            self.wait_for_exit().await?;
        }
        let settled = if self.has_sealed() {
            self.finish().map(drop)
        } else {
            self.abandon()
        };
        // Also where nothing can be written down: the guest is not to stand still for it.
        if is_running {
            self.agent().perform(ControlRequest::Thaw).await?;
        }
        settled.map(|()| is_running)
    }

    /// Whether its process is gone and it lies here as a suspended one, taken in, and only has to be put into place.
    pub(crate) fn is_saved(&self) -> bool {
        self.record.pending == Some(Purpose::Suspended)
            && !self.record.process.is_alive()
            && hearth_snapshot::describe(&self.incoming()).is_ok()
    }

    async fn begin(&mut self, purpose: Purpose) -> Result<(), NodeError> {
        if self.record.pending.is_some() {
            // The disk was full when the snapshot before ended.
            self.settle().await?;
        }
        if self.record.have_disks_diverged {
            return Err(NodeError::DisksDiverged(self.name.to_string()));
        }
        self.record.pending = Some(purpose);
        self.save()?;
        // The launch did not wait for its directory to be durable; an intent has to.
        record::sync_parent(&self.directory())
    }

    /// Freezes the application and asks the VMM for the snapshot.
    async fn capture(&self, purpose: Purpose) -> Result<SnapshotSummary, NodeError> {
        self.agent().perform(ControlRequest::Freeze).await?;
        let is_fresh = self.record.parent.is_none();
        let kind = if is_fresh {
            SnapshotKind::Full
        } else {
            SnapshotKind::Layer
        };
        let next_overlays = match purpose {
            Purpose::Suspended => Vec::new(),
            Purpose::Template | Purpose::Step => self.next_overlays(),
        };
        let spec = SnapshotSpec {
            directory: self.node.layout().outgoing(&self.name),
            kind,
            next_overlays,
            fold: Vec::new(),
        };
        let command = match purpose {
            Purpose::Suspended => Command::Suspend(spec),
            Purpose::Template | Purpose::Step => Command::Snapshot(spec),
        };
        match self.vmm().await?.request(command).await? {
            Reply::Snapshot(summary) => Ok(summary),
            _ => Err(VmmError::Confused.into()),
        }
    }

    fn next_overlays(&self) -> Vec<PathBuf> {
        let generation = self.record.overlay_generation + 1;
        let own = self.own_directory();
        let disks = self.record.disks.iter().enumerate();
        disks
            .filter(|(_, disk)| disk.is_writable)
            .map(|(index, _)| overlay_path(&own, index, generation))
            .collect()
    }

    /// The snapshot is sealed: gives it its record and its name, and the microVM its new parent.
    fn finish(&mut self) -> Result<SnapshotId, NodeError> {
        let incoming = self.take_in()?;
        let description = hearth_snapshot::describe(&incoming)?;
        let purpose = self.record.pending.unwrap_or(Purpose::Template);
        let disks = self.sealed_disks(&description);
        let record = SnapshotRecord {
            memory_mib: self.record.memory_mib,
            vcpus: self.record.vcpus,
            disks: disks.clone(),
            egress: self
                .record
                .network
                .as_ref()
                .map(|network| network.egress.clone()),
            has_application: self.record.has_application,
            purpose,
            machine: self.name.to_string(),
            created_at: seconds_since_epoch(),
        };
        record::write(&incoming.join(NODE_FILE), &record)?;
        if purpose == Purpose::Suspended {
            let id = self.place()?;
            // The snapshot is durable and findable; the microVM's directory has nothing of its own left.
            self.node.remove_machine(&self.name)?;
            return Ok(id);
        }
        // The sealed overlays keep their names here beside those in the snapshot: the VMM opens its disks by them when it
        // seals the next time. They go with the directory.
        //
        // First the record, then the place: a microVM that goes on stands on the snapshot from here on, and a step that
        // nobody stands on is removed.
        self.record.parent = Some(description.id.to_string());
        self.record.disks = disks;
        self.record.overlay_generation += 1;
        self.record.pending = None;
        self.save()?;
        self.place()
    }

    /// Whether a snapshot is there, sealed, that was not moved to the others yet. One that cannot be taken in is none: a VMM that was
    /// taken over must not keep its node from going on.
    fn has_sealed(&self) -> bool {
        match self.take_in() {
            Ok(incoming) => hearth_snapshot::describe(&incoming).is_ok(),
            Err(error) => {
                tracing::warn!(%error, machine = %self.name, "nothing of a snapshot is taken in");
                false
            }
        }
    }

    /// Takes what the VMM has sealed out of its hands.
    fn take_in(&self) -> Result<PathBuf, NodeError> {
        let (outgoing, incoming) = (self.node.layout().outgoing(&self.name), self.incoming());
        if outgoing.exists() {
            fs::rename(&outgoing, &incoming).map_err(failed("take in", &outgoing))?;
        }
        jail::take_over(&incoming)?;
        Ok(incoming)
    }

    /// Moves a finished snapshot to the others.
    fn place(&self) -> Result<SnapshotId, NodeError> {
        let incoming = self.incoming();
        let id = hearth_snapshot::describe(&incoming)?.id;
        let place = self.node.layout().snapshot(id);
        fs::rename(&incoming, &place).map_err(failed("move the snapshot into place", &place))?;
        record::sync_parent(&place)?;
        Ok(id)
    }

    /// Nothing was sealed: the microVM is as it was, except that its disks may have moved on.
    fn abandon(&mut self) -> Result<(), NodeError> {
        // A VMM leaves the next overlays in place exactly when its disks continue on them.
        self.record.have_disks_diverged = self.next_overlays().iter().any(|path| path.exists());
        self.record.pending = None;
        self.save()
    }

    /// As [`Self::abandon`], where something else went wrong first. What cannot be written down now is settled later.
    fn give_up(&mut self) {
        if let Err(error) = self.abandon() {
            tracing::warn!(%error, machine = %self.name, "that a snapshot failed is not written down");
        }
    }

    /// The disks as a machine above this snapshot finds them.
    fn sealed_disks(&self, description: &hearth_snapshot::Description) -> Vec<DiskStack> {
        // The first file is the memory, the others are the writable disks in order.
        let mut files = description.files.iter().skip(1).map(|(name, _)| name);
        let stack = |disk: &DiskStack| {
            let file = if disk.is_writable { files.next() } else { None };
            file.map_or_else(|| disk.clone(), |file| disk.sealed_in(description.id, file))
        };
        self.record.disks.iter().map(stack).collect()
    }

    async fn wait_for_exit(&self) -> Result<(), NodeError> {
        let process = self.record.process;
        if !process.wait_for_exit(EXIT_LIMIT / 2).await {
            process.kill();
            if !process.wait_for_exit(EXIT_LIMIT / 2).await {
                return Err(VmmError::Timeout(EXIT_LIMIT).into());
            }
        }
        self.node.release(self.record.process);
        Ok(())
    }

    /// Where the VMM puts the snapshot of this microVM until its record is written.
    fn incoming(&self) -> PathBuf {
        self.node.layout().incoming(&self.name)
    }

    fn save(&self) -> Result<(), NodeError> {
        record::write(&self.directory().join(MACHINE_FILE), &self.record)
    }
}

fn seconds_since_epoch() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
