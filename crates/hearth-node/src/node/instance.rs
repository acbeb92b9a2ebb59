//! Operations on one instance while its turn is held: snapshot, suspend, settle, remove.
//!
//! ```text
//!            ┌── seal ──────> template or step on disk, instance goes on    (a fork begins there: fork.rs)
//! running ───┼── suspend ───> snapshot on disk, process gone                (resume: launch.rs)
//!            └── remove ────> nothing left
//! ```
//!
//! The intent to make a snapshot is written to the record (`pending`) before the VMM is asked; its outcome
//! (`node.json`, the record without `pending`) is written afterwards. The files on disk decide whether it succeeded,
//! not the VMM's answer: [`Instance::settle`] finishes a snapshot that was sealed and undoes one that was not, in the
//! same way after a success, a failure, a crash or a full disk.
//!
//! A VMM that seals is *busy* for as long as its status says so. An operation that has not answered ends only if the
//! VMM's process ends, or if the VMM does not answer [`Command::Status`] any more.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_snapshot::{Description, MEMORY_FILE, SnapshotId};
use hearth_wire::agent::{ControlRequest, StartSpec};
use hearth_wire::vmm::{Command, Reply, SnapshotSpec, SnapshotSummary, Status};

use super::sealed;
use crate::agent::AgentClient;
use crate::causes::with_causes;
use crate::crash_point::reach;
use crate::damage::{self, is_damage};
use crate::error::{NodeError, failed};
use crate::index::SnapshotInfo;
use crate::jail;
use crate::layout::{Layout, MachineName, overlay_path};
use crate::node::Node;
use crate::node::chain::{Plan, next_plan, plan};
use crate::record::{
    self, DiskStack, MachineRecord, NODE_FILE, Purpose, SnapshotRecord, SnapshotShape,
    seconds_since_epoch,
};
use crate::records::{Durability, Records};
use crate::socket;
use crate::turns::Turn;
use crate::vmm::{VmmClient, VmmError};
use crate::write_lock;

/// Longest wait for a killed process to end.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// Pause between two questions whether a VMM still seals.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How long a VMM may leave status requests unanswered before its process is killed: three times as long as
/// [`VmmClient`] waits for one answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(180);

/// The files of a snapshot that its description does not name.
const OWN_FILES: [&str; 2] = ["state", "hashes"];

/// The state of an instance after it was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Its process runs, and nothing is pending.
    Runs,
    /// It has no process and no directory. A snapshot may hold it, suspended.
    HasNoProcess,
}

/// An instance whose turn is held: nobody else changes it meanwhile.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) node: Node,
    pub(crate) turn: Turn,
}

impl Instance {
    pub(crate) fn name(&self) -> &MachineName {
        self.turn.name()
    }

    pub(crate) fn record(&self) -> Result<Arc<MachineRecord>, NodeError> {
        let record = self.node.records().machine(self.name());
        record.ok_or_else(|| NodeError::UnknownMachine(self.name().to_string()))
    }

    fn own_directory(&self) -> PathBuf {
        self.node.layout().own(self.name())
    }

    fn agent(&self) -> AgentClient {
        AgentClient::new(self.own_directory().join(socket::VSOCK))
    }

    pub(crate) async fn vmm(&self) -> Result<VmmClient, NodeError> {
        let socket = self.own_directory().join(socket::CONTROL);
        Ok(VmmClient::connect(&socket).await?)
    }

    async fn status(&self) -> Result<Status, NodeError> {
        match self.vmm().await?.request(Command::Status).await? {
            Reply::Status(status) => Ok(status),
            _ => Err(VmmError::Confused.into()),
        }
    }

    /// Runs a blocking operation on this instance's files, off the runtime's threads.
    pub(crate) async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Records, &MachineName) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let name = self.name().clone();
        self.node
            .with_records(move |records| work(records, &name))
            .await
    }

    pub(crate) async fn save(
        &self,
        record: MachineRecord,
        durability: Durability,
    ) -> Result<(), NodeError> {
        self.with_files(move |records, name| {
            records.write_machine(name, record, durability).map(drop)
        })
        .await
    }

    /// Starts the application.
    pub(crate) async fn start_application(&self, spec: StartSpec) -> Result<(), NodeError> {
        let record = self.record()?;
        self.agent()
            .perform(ControlRequest::Start(Box::new(spec)))
            .await?;
        let record = MachineRecord {
            has_application: true,
            ..(*record).clone()
        };
        self.save(record, Durability::UntilPowerCut).await
    }

    /// Seals a snapshot. The instance continues afterwards.
    pub(crate) async fn seal(
        &self,
        purpose: Purpose,
    ) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.begin().await?;
        let captured = self.capture(purpose).await;
        let settled = self.settle().await;
        match (captured, settled) {
            (Ok(summary), Ok(_)) => Ok((SnapshotId(summary.id), summary)),
            // What went wrong first is the thing to tell.
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// Suspends the instance: when this returns, the snapshot is durable and the process has ended. After a failure the
    /// instance still runs, unless its process has ended.
    pub(crate) async fn suspend(&self) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.begin().await?;
        let captured = self.capture(Purpose::Suspended).await;
        if captured.is_ok() {
            // It answers and then ends.
            let record = self.record()?;
            self.wait_for_exit(&record).await?;
        }
        let settled = self.settle().await;
        let summary = match captured {
            Ok(summary) => summary,
            // Sealed in spite of the error: its VMM ended between the rename and the answer.
            Err(error) => match self.node.records().suspended(self.name()) {
                Some(info) if matches!(settled, Ok(Settled::HasNoProcess)) => {
                    tracing::warn!(%error, instance = %self.name(), "suspended, although the VMM did not answer");
                    return Ok((info.id, summary_of(&info)));
                }
                _ => return Err(error),
            },
        };
        if let Err(error) = settled {
            // The layer is durable; whoever resumes the instance puts it into place.
            tracing::warn!(%error, instance = %self.name(), "suspended; the snapshot is moved into place later");
        }
        Ok((SnapshotId(summary.id), summary))
    }

    /// Writes the intent to make a snapshot to the record.
    async fn begin(&self) -> Result<(), NodeError> {
        if self.record()?.pending.is_some() {
            // The disk was full when the snapshot before ended.
            self.settle().await?;
        }
        if self.record()?.have_disks_diverged {
            return Err(NodeError::DisksDiverged(self.name().to_string()));
        }
        Ok(())
    }

    /// Freezes the application and asks the VMM for the snapshot, as a layer if the chain allows one more. If the VMM
    /// refuses that kind, the next kind is tried: after such a refusal the machine is unchanged.
    async fn capture(&self, purpose: Purpose) -> Result<SnapshotSummary, NodeError> {
        let record = self.record()?;
        let mut next = Some(plan(&self.node, &record));
        let mut refusal = None;
        while let Some(plan) = next {
            match self.capture_as(purpose, &plan).await {
                Err(error) if is_unfit(&error) => {
                    tracing::info!(%error, instance = %self.name(), kind = ?plan.kind, "the VMM refused this kind of snapshot; trying another kind");
                    next = next_plan(&self.node, &record, plan.kind);
                    refusal = Some(error);
                }
                outcome => return outcome,
            }
        }
        Err(refusal.unwrap_or(NodeError::Vmm(VmmError::Confused)))
    }

    async fn capture_as(
        &self,
        purpose: Purpose,
        plan: &Plan,
    ) -> Result<SnapshotSummary, NodeError> {
        let record = self.record()?;
        let intent = MachineRecord {
            pending: Some(purpose),
            folds: plan.folds.clone(),
            ..(*record).clone()
        };
        self.save(intent, Durability::Durable).await?;
        reach(self.node.layout(), "seal.intent");
        self.agent().perform(ControlRequest::Freeze).await?;
        reach(self.node.layout(), "seal.frozen");
        let spec = SnapshotSpec {
            directory: self.node.layout().outgoing(self.name()),
            kind: plan.kind,
            next_overlays: match purpose {
                Purpose::Suspended => Vec::new(),
                Purpose::Template | Purpose::Step | Purpose::Booted => self.next_overlays(&record),
            },
            fold: plan.folds.clone(),
        };
        let command = match purpose {
            Purpose::Suspended => Command::Suspend(spec),
            Purpose::Template | Purpose::Step | Purpose::Booted => Command::Snapshot(spec),
        };
        let mut vmm = self.vmm().await?;
        let answer = vmm.request(command);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => {
                    reach(self.node.layout(), "seal.answered");
                    return match answer? {
                        Reply::Snapshot(summary) => Ok(summary),
                        _ => Err(VmmError::Confused.into()),
                    };
                }
                answers = self.answers_on() => if !answers {
                    return Err(VmmError::Silent.into());
                },
            }
        }
    }

    /// Pauses, then asks whether the VMM still answers.
    async fn answers_on(&self) -> bool {
        const LOOK: Duration = Duration::from_secs(30);
        const LOOKS: u32 = 3;
        tokio::time::sleep(LOOK).await;
        for _ in 0..LOOKS {
            if self.status().await.is_ok() {
                return true;
            }
        }
        false
    }

    fn next_overlays(&self, record: &MachineRecord) -> Vec<PathBuf> {
        let own = self.own_directory();
        writable(record)
            .map(|index| overlay_path(&own, index, record.overlay_generation + 1))
            .collect()
    }

    /// Finishes or undoes an interrupted operation on this instance, and removes the files of an instance whose process
    /// has ended. No-op for a suspended instance.
    pub(crate) async fn settle(&self) -> Result<Settled, NodeError> {
        let Ok(record) = self.record() else {
            // A directory without a record: its launch did not get as far as a process.
            self.remove_directory().await?;
            return Ok(Settled::HasNoProcess);
        };
        let runs = match record.pending {
            None => record.process.is_alive() && !self.is_half_resumed(),
            Some(_) => self.wait_until_not_busy(&record).await?,
        };
        if !runs {
            record.process.kill();
            self.wait_for_exit(&record).await?;
        }
        // Before anything is written down, and also where nothing can be: the guest does not stand still for it.
        let thawed = match runs && record.pending.is_some() {
            true => self.agent().perform(ControlRequest::Thaw).await,
            false => Ok(()),
        };
        self.finish_or_abandon(&record, runs).await?;
        thawed?;
        if runs {
            return Ok(Settled::Runs);
        }
        self.remove_directory().await?;
        Ok(Settled::HasNoProcess)
    }

    /// Waits until the VMM has finished sealing. Answers whether it still runs.
    async fn wait_until_not_busy(&self, record: &MachineRecord) -> Result<bool, NodeError> {
        let mut silent_since = None;
        while record.process.is_alive() {
            match self.status().await {
                // One of another release answers when it has sealed, if only that it does not understand.
                Err(NodeError::Vmm(VmmError::OtherVersion(_))) => return Ok(true),
                Ok(status) if status.sealing.is_none() => {
                    let is_ending =
                        record.pending == Some(Purpose::Suspended) && self.has_left().await;
                    if !is_ending {
                        return Ok(true);
                    }
                }
                Ok(_) => silent_since = None,
                // Perhaps it is just ending.
                Err(error) => {
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SILENCE_LIMIT {
                        tracing::error!(%error, instance = %self.name(), "the VMM does not answer and is killed");
                        record.process.kill();
                        break;
                    }
                }
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        Ok(false)
    }

    /// Whether a suspend has sealed its snapshot. The VMM then ends by itself.
    async fn has_left(&self) -> bool {
        let outgoing = self.node.layout().outgoing(self.name());
        self.with_files(move |_, _| Ok(outgoing.exists()))
            .await
            .unwrap_or(false)
    }

    async fn finish_or_abandon(
        &self,
        record: &Arc<MachineRecord>,
        runs: bool,
    ) -> Result<(), NodeError> {
        let record = Arc::clone(record);
        self.with_files(move |records, name| {
            let Some(purpose) = record.pending else {
                // A snapshot that the record knows already and that was not moved yet.
                return place_known(records, name, &record);
            };
            match take_in(records, name, &record, runs) {
                Ok(Some(description)) => {
                    finish(records, name, &record, purpose, &description).map(drop)
                }
                Ok(None) => abandon(records, name, &record, runs),
                // Nothing else is left of it.
                Err(error) if !runs && purpose == Purpose::Suspended => {
                    Err(keep_damaged(records, name, error))
                }
                // A VMM that was taken over must not keep its node from going on.
                Err(error) => {
                    tracing::warn!(%error, instance = %name, "cannot take over a snapshot");
                    abandon(records, name, &record, runs)
                }
            }
        })
        .await
    }

    /// Whether a crash has interrupted a resume. As long as its layer's record says so, the instance counts as
    /// suspended: the process may have no guest yet, or one that was not made unique.
    fn is_half_resumed(&self) -> bool {
        self.node.records().suspended(self.name()).is_some()
    }

    async fn remove_directory(&self) -> Result<(), NodeError> {
        self.with_files(|records, name| match records.has_directory(name) {
            true => records.remove_machine(name),
            false => Ok(()),
        })
        .await
    }

    /// Removes the instance with everything that belongs to it, in any state. Succeeds if it does not exist.
    pub(crate) async fn remove(&self) -> Result<(), NodeError> {
        if let Ok(record) = self.record() {
            record.process.kill();
            self.wait_for_exit(&record).await?;
        }
        reach(self.node.layout(), "remove.ended");
        self.with_files(|records, name| {
            if let Some(info) = records.suspended(name) {
                // A fork may stand on it; else it goes at once.
                records.mark_as_step(&info)?;
            }
            reach(records.layout(), "remove.marked");
            records.remove_machine(name)?;
            reach(records.layout(), "remove.removed");
            records.drop_idle_steps()
        })
        .await
    }

    /// Same as [`Self::remove`], but durably keeps the overlay of the disk with this serial, as the file `kept`.
    pub(crate) async fn remove_keeping(
        &self,
        serial: String,
        kept: PathBuf,
    ) -> Result<(), NodeError> {
        let record = self.record()?;
        // The VMM has to close the disk by itself.
        if let Ok(mut vmm) = self.vmm().await
            && vmm.request(Command::Terminate).await.is_ok()
        {
            vmm.closed().await;
        }
        self.wait_for_exit(&record).await?;
        self.with_files(move |records, name| {
            keep_disk(records.layout(), name, &record, &serial, &kept)?;
            records.remove_machine(name)?;
            records.drop_idle_steps()
        })
        .await
    }

    /// Waits until the process has ended, and kills it if that takes long. Then releases its resources.
    pub(crate) async fn wait_for_exit(&self, record: &MachineRecord) -> Result<(), NodeError> {
        let process = record.process;
        if !process.wait_for_exit(EXIT_LIMIT / 2).await {
            process.kill();
            if !process.wait_for_exit(EXIT_LIMIT / 2).await {
                return Err(VmmError::Timeout(EXIT_LIMIT).into());
            }
        }
        let node = self.node.clone();
        self.node.with_records(move |_| node.release(process)).await;
        Ok(())
    }
}

/// Whether the VMM refused only this kind of snapshot, so that another kind can be tried.
fn is_unfit(error: &NodeError) -> bool {
    let NodeError::Vmm(VmmError::Refused { refusal, .. }) = error else {
        return false;
    };
    refusal.is_some()
}

/// Indices of the writable disks among all.
fn writable(record: &MachineRecord) -> impl Iterator<Item = usize> {
    let disks = record.disks.iter().enumerate();
    disks
        .filter(|(_, disk)| disk.is_writable)
        .map(|(index, _)| index)
}

/// Takes over the snapshot that the VMM has sealed, and checks that it is the one that was asked for. `None` if nothing
/// was sealed. A VMM that continues keeps descriptors of the files, but cannot write through them any more.
fn take_in(
    records: &Records,
    name: &MachineName,
    machine: &MachineRecord,
    runs: bool,
) -> Result<Option<Description>, NodeError> {
    let layout = records.layout();
    let (outgoing, incoming) = (layout.outgoing(name), layout.incoming(name));
    if outgoing.exists() {
        fs::rename(&outgoing, &incoming).map_err(failed("take in", &outgoing))?;
    }
    if !incoming.exists() {
        return Ok(None);
    }
    jail::take_over(&incoming)?;
    // As the node's own user it could undo that.
    if runs && machine.user.is_some() {
        write_lock::lock(&incoming)?;
    }
    let description = hearth_snapshot::describe(&incoming)?;
    let parent = machine.parent.as_ref().and_then(|id| id.parse().ok());
    let parent = parent.and_then(|id| records.snapshot(id));
    sealed::check(&description, machine, parent.as_deref()).map_err(|mismatch| {
        NodeError::NotAsked {
            path: incoming.clone(),
            what: mismatch.to_string(),
        }
    })?;
    Ok(Some(description))
}

/// Sets aside an instance whose snapshot is not the one that was sealed, and whose process has ended, so that an
/// operator can repair it. Answers the error to report.
fn keep_damaged(records: &Records, name: &MachineName, error: NodeError) -> NodeError {
    if !is_damage(&error) {
        return error;
    }
    match records.set_aside_instance(name, &error) {
        Ok(()) => NodeError::Damaged {
            name: name.to_string(),
            reason: with_causes(&error),
        },
        // It is tried again whenever the instance is settled.
        Err(error) => error,
    }
}

/// Completes a sealed snapshot: writes its record, moves it into place, and makes it the parent of an instance that
/// continues.
fn finish(
    records: &Records,
    name: &MachineName,
    machine: &MachineRecord,
    purpose: Purpose,
    description: &Description,
) -> Result<SnapshotId, NodeError> {
    let layout = records.layout();
    let incoming = layout.incoming(name);
    reach(layout, "finish.taken-in");
    let disks = sealed_disks(machine, description);
    let info = SnapshotInfo {
        id: description.id,
        ancestors: description.ancestors.clone(),
        record: SnapshotRecord {
            memory_mib: machine.memory_mib,
            vcpus: machine.vcpus,
            disks: disks.clone(),
            egress: machine
                .network
                .as_ref()
                .map(|network| network.egress.clone()),
            has_application: machine.has_application,
            purpose,
            machine: name.to_string(),
            created_at: seconds_since_epoch(),
            shape: Some(shape(&incoming, description)?),
        },
    };
    record::write(&incoming.join(NODE_FILE), &info.record)?;
    reach(layout, "finish.recorded");
    if purpose == Purpose::Suspended {
        let id = records.place(&incoming, info)?;
        reach(layout, "finish.placed");
        // The snapshot is durable and findable; the instance's directory has nothing of its own left.
        records.remove_machine(name)?;
        records.drop_idle_steps()?;
        return Ok(id);
    }
    // First the record, then the place: an instance that goes on stands on the snapshot from here on, and a step that nobody
    // stands on is removed.
    let generation = machine.overlay_generation;
    let goes_on = MachineRecord {
        parent: Some(description.id.to_string()),
        disks,
        overlay_generation: generation + 1,
        pending: None,
        folds: Vec::new(),
        ..machine.clone()
    };
    records.write_machine(name, goes_on, Durability::Durable)?;
    reach(layout, "finish.stands-on-it");
    let id = records.place(&incoming, info)?;
    records.drop_idle_steps()?;
    // A step that somebody stands on is locked, and so are its other names: those go with the instance.
    remove_folded(layout, name, machine);
    Ok(id)
}

/// Moves a snapshot into place that the instance's record names as its parent already.
fn place_known(
    records: &Records,
    name: &MachineName,
    machine: &MachineRecord,
) -> Result<(), NodeError> {
    let incoming = records.layout().incoming(name);
    let parent = machine.parent.as_ref().and_then(|id| id.parse().ok());
    let Some(parent) = parent.filter(|_| incoming.exists()) else {
        return Ok(());
    };
    match read_known(&incoming) {
        Ok(info) if info.id == parent => records.place(&incoming, info).map(drop),
        Ok(_) => Ok(()),
        Err(error) if !is_damage(&error) => Err(error),
        Err(error) => {
            damage::set_aside_known(records.layout(), name, parent, &error)?;
            // Its disks stand on what is damaged.
            let record = MachineRecord {
                have_disks_diverged: writable(machine).next().is_some(),
                ..machine.clone()
            };
            records
                .write_machine(name, record, Durability::Durable)
                .map(drop)
        }
    }
}

fn read_known(incoming: &Path) -> Result<SnapshotInfo, NodeError> {
    let description = hearth_snapshot::describe(incoming)?;
    let path = incoming.join(NODE_FILE);
    let missing = || failed("read", &path)(std::io::ErrorKind::NotFound.into());
    Ok(SnapshotInfo {
        id: description.id,
        ancestors: description.ancestors,
        record: record::read(&path)?.ok_or_else(missing)?,
    })
}

/// Undoes a snapshot that was not sealed. The instance is unchanged, except that its disks may have moved to new
/// overlays.
fn abandon(
    records: &Records,
    name: &MachineName,
    machine: &MachineRecord,
    runs: bool,
) -> Result<(), NodeError> {
    if !runs {
        return Ok(());
    }
    let own = records.layout().own(name);
    // A VMM leaves the next overlays in place exactly when its disks continue on them.
    let have_disks_diverged = writable(machine)
        .map(|index| overlay_path(&own, index, machine.overlay_generation + 1))
        .any(|path| path.exists());
    let record = MachineRecord {
        have_disks_diverged,
        pending: None,
        folds: Vec::new(),
        ..machine.clone()
    };
    records
        .write_machine(name, record, Durability::UntilPowerCut)
        .map(drop)
}

/// The disk stacks of an instance that is restored from this snapshot.
fn sealed_disks(machine: &MachineRecord, description: &Description) -> Vec<DiskStack> {
    // The first file is the memory, the others are the writable disks in order.
    let mut files = description.files.iter().skip(1).map(|(name, _)| name);
    let mut folds = machine.folds.iter();
    let stack = |disk: &DiskStack| {
        if !disk.is_writable {
            return disk.clone();
        }
        let folded = usize::from(folds.next().copied().unwrap_or(0));
        match files.next() {
            Some(file) => disk.sealed_in(description.id, file, folded),
            None => disk.clone(),
        }
    };
    machine.disks.iter().map(stack).collect()
}

fn shape(incoming: &Path, description: &Description) -> Result<SnapshotShape, NodeError> {
    let mut files = description.files.clone();
    for name in OWN_FILES {
        let path = incoming.join(name);
        let bytes = fs::metadata(&path).map_err(failed("measure", &path))?.len();
        files.push((name.to_owned(), bytes));
    }
    Ok(SnapshotShape {
        ancestors: description
            .ancestors
            .iter()
            .map(SnapshotId::to_string)
            .collect(),
        files,
        runs: description.runs,
        memory_bytes: match description.ancestors.is_empty() {
            // Sparse: what its pages take.
            true => allocated(&incoming.join(MEMORY_FILE))?,
            false => description.memory_bytes,
        },
    })
}

fn allocated(path: &Path) -> Result<u64, NodeError> {
    let metadata = fs::metadata(path).map_err(failed("measure", path))?;
    Ok(metadata.blocks() * 512)
}

/// Removes the files of overlays that were folded into a newer one from the directory of an instance's VMM. Open
/// descriptors stay valid.
fn remove_folded(layout: &Layout, name: &MachineName, machine: &MachineRecord) {
    let own = layout.own(name);
    for (index, folded) in writable(machine).zip(&machine.folds) {
        if *folded == 0 {
            continue;
        }
        for generation in 0..machine.overlay_generation {
            // Those of earlier folds are gone.
            let _ = fs::remove_file(overlay_path(&own, index, generation));
        }
    }
}

/// Keeps the overlay of one disk of an ended instance.
fn keep_disk(
    layout: &Layout,
    name: &MachineName,
    record: &MachineRecord,
    serial: &str,
    kept: &Path,
) -> Result<(), NodeError> {
    let index = record
        .disks
        .iter()
        .position(|disk| disk.serial == serial && disk.is_writable)
        .ok_or_else(|| NodeError::UnknownDisk(serial.to_owned()))?;
    let overlay = overlay_path(&layout.own(name), index, record.overlay_generation);
    jail::take_over_file(&overlay)?;
    let sync = || {
        let file = hearth_snapshot::plain::open(&overlay)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
        file.sync_all()
    };
    sync().map_err(failed("make durable", &overlay))?;
    fs::rename(&overlay, kept).map_err(failed("move the disk to", kept))?;
    record::sync_parent(kept)
}

/// A summary of a snapshot from its record, for when the VMM did not send one.
fn summary_of(info: &SnapshotInfo) -> SnapshotSummary {
    let shape = info.record.shape.as_ref();
    SnapshotSummary {
        id: info.id.0,
        memory_bytes: shape.map_or(0, |shape| shape.memory_bytes),
        state_bytes: 0,
        paused_us: 0,
        runs: shape.map_or(0, |shape| shape.runs as u64),
    }
}
