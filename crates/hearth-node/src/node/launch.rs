//! Starting microVMs: a fresh boot, a clone, a resume.
//!
//! ```text
//! make the directory ── spawn `hearth-vmm` ── record ── Boot/Restore ── agent: hello / made unique
//!        └───────────────── on any failure: the process is killed and the directory removed ──────┘
//! ```
//!
//! All of this happens while the instance's turn is held. A resume is a restore after which the layer of the suspended
//! instance becomes a step. Until that is written to the layer's record, the instance counts as suspended, and a
//! failure leaves it suspended.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hearth_net::{Egress, Slot};
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::{ControlRequest, DiskSize, Uniqueness};
use hearth_wire::vmm::{
    BootSpec, Command, DeviceSpec, DiskImage, DiskSpec, GuestClock, NetSpec, PageRange, RateLimit,
    Reply, RestoreSpec, SerialLogSpec, Started, VsockSpec,
};
use tokio::process::Child;

use crate::agent::AgentError;
use crate::causes::with_causes;
use crate::cgroup::Size;
use crate::crash_point::{self, reach};
use crate::damage;
use crate::error::{NodeError, failed};
use crate::index::SnapshotInfo;
use crate::jail;
use crate::layout::{Layout, MachineName, SERIAL_LOG_BYTES, overlay_path};
use crate::memory_guard;
use crate::node::Node;
use crate::node::instance::{Instance, Settled};
use crate::node::machine::Machine;
use crate::record::{DiskStack, MachineRecord, NetworkRecord, ProcessRecord};
use crate::records::{Durability, Records};
use crate::socket;
use crate::times::{Laps, StepTime, Times};
use crate::vmm::{Jail, Permitted, VmmClient, VmmError};
use crate::vmm_log;

/// Bytes of a sector, which virtio-blk counts in.
const SECTOR_BYTES: u64 = 512;

/// A disk of a fresh machine.
#[derive(Debug, Clone)]
pub struct DiskRequest {
    /// Serial number that the guest reads.
    pub serial: String,
    /// A raw image.
    pub image: PathBuf,
    /// Overlays that [`Machine::terminate_keeping`] kept of earlier machines with this disk: sealed overlays of
    /// `image`, nearest to the top first.
    pub overlays: Vec<PathBuf>,
    /// Whether the guest may write. An overlay takes the writes; the image itself is never written.
    pub is_writable: bool,
}

/// A machine to boot.
#[derive(Debug, Clone)]
pub struct BootRequest {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial ramdisk with the agent.
    pub initramfs: PathBuf,
    /// Additions to the kernel's command line.
    pub command_line: String,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// RAM, in MiB.
    pub memory_mib: u32,
    /// Disks, in the order in which the guest finds them.
    pub disks: Vec<DiskRequest>,
    /// Egress of its network card. On a node without networks there is no card.
    pub egress: Egress,
}

/// A clone to make.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Page ranges to prefetch.
    pub prefetch: Vec<PageRange>,
    /// Egress of its network card; `None` for the snapshot's. Ignored if the snapshot has no card.
    pub egress: Option<Egress>,
    /// Disks that replace those of the snapshot: the same number and serials, writable where those are. The guest must
    /// have read nothing of the snapshot's disks.
    pub disks: Option<Vec<DiskRequest>>,
}

impl CloneRequest {
    /// A clone with the egress and disks of its snapshot, and without prefetching.
    #[must_use]
    pub fn new(snapshot: SnapshotId) -> Self {
        Self {
            snapshot,
            prefetch: Vec::new(),
            egress: None,
            disks: None,
        }
    }
}

/// A microVM that was just started.
#[derive(Debug)]
pub struct Launched {
    /// The microVM.
    pub machine: Machine,
    /// How long the steps of the start took.
    pub times: Times,
}

/// Whether a restored guest is a new microVM or the one that was suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    New,
    Kept,
}

/// The purpose and parameters of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restoring {
    pub(crate) identity: Identity,
    /// Whether the guest's clocks have moved on with the wall clock since the snapshot.
    pub(crate) clock: GuestClock,
}

impl Node {
    /// Boots an instance and waits for its agent. The launch is undone if the caller is dropped.
    pub async fn boot(
        &self,
        name: &MachineName,
        request: BootRequest,
    ) -> Result<Launched, NodeError> {
        self.launch_in_turn(name, |instance| async move {
            instance.make_directory().await?;
            let launched = instance.boot(request).await;
            instance.undo_unless_ok(launched).await
        })
        .await
    }

    /// Creates a new instance from a snapshot. The instance gets an identity of its own before its application runs. If
    /// that fails, or if the caller is dropped, the launch is undone.
    pub async fn clone_snapshot(
        &self,
        name: &MachineName,
        request: CloneRequest,
    ) -> Result<Launched, NodeError> {
        let restoring = Restoring {
            identity: Identity::New,
            clock: GuestClock::Stands,
        };
        self.launch_in_turn(name, move |instance| async move {
            instance.make_directory().await?;
            let launched = instance.restore(&request, restoring).await;
            instance.undo_unless_ok(launched).await
        })
        .await
    }

    /// Resumes a suspended instance, with the egress that it had. After a failure it is still suspended.
    pub async fn resume(&self, name: &MachineName) -> Result<Launched, NodeError> {
        self.resume_with(name, None).await
    }

    /// Resumes a suspended instance with another egress. After a failure, or if the caller is dropped, it is still
    /// suspended. A retry cannot help after [`NodeError::Damaged`].
    pub async fn resume_with(
        &self,
        name: &MachineName,
        egress: Option<Egress>,
    ) -> Result<Launched, NodeError> {
        self.in_turn(
            name,
            |instance| async move { instance.resume(egress).await },
        )
        .await
    }
}

impl Instance {
    async fn make_directory(&self) -> Result<(), NodeError> {
        self.with_files(|records, name| records.make_directory(name))
            .await?;
        reach(self.node.layout(), "launch.directory");
        Ok(())
    }

    /// Removes the leftovers of a failed launch. Answers the launch's own result.
    pub(crate) async fn undo_unless_ok(
        &self,
        launched: Result<Launched, NodeError>,
    ) -> Result<Launched, NodeError> {
        let Err(error) = &launched else {
            return launched;
        };
        if let Ok(record) = self.record() {
            record.process.kill();
            // What cannot be ended now is swept later.
            let _ = self.wait_for_exit(&record).await;
            // Then its log is written too.
            self.node.end_of(record.process).await;
        }
        let _ = self
            .with_files(|records, name| {
                if let Some(log) = vmm_log::last_words(&log_path(records.layout(), name)) {
                    tracing::warn!(%name, "launch failed; the VMM said: {log}");
                }
                records.remove_machine(name)?;
                records.drop_idle_steps()
            })
            .await;
        tracing::debug!(%error, name = %self.name(), "undoing a launch");
        launched
    }

    fn check_wanted(&self) -> Result<(), NodeError> {
        match self.turn.is_to_be_removed() {
            true => Err(NodeError::Removed(self.name().to_string())),
            false => Ok(()),
        }
    }

    async fn boot(&self, request: BootRequest) -> Result<Launched, NodeError> {
        let mut laps = Laps::begin();
        let node = &self.node;
        let disks: Vec<DiskStack> = request.disks.into_iter().map(fresh_stack).collect();
        let slot = match &node.options().network {
            Some(network) => Some(network.take(&request.egress).await?),
            None => None,
        };
        let command_line = match slot {
            Some(_) => format!("{} {}", request.command_line, network_parameter()),
            None => request.command_line,
        };
        let spec = BootSpec {
            kernel: request.kernel,
            initramfs: Some(request.initramfs),
            command_line,
            vcpus: request.vcpus,
            memory_mib: request.memory_mib,
            devices: node.devices(self.name(), &disks, slot.is_some()),
        };
        let record = |process, slot, user| MachineRecord {
            process,
            user,
            memory_mib: request.memory_mib,
            vcpus: request.vcpus,
            disks,
            parent: None,
            network: network_record(slot, request.egress),
            has_application: false,
            pending: None,
            folds: Vec::new(),
            overlay_generation: 0,
            have_disks_diverged: false,
        };
        let start = Instant::now();
        let (machine, vmm) = self
            .start(Command::Boot(Box::new(spec)), slot, record, &mut laps)
            .await?;
        let to_running = start.elapsed();
        let agent = machine.agent();
        let hello = agent.hello(node.options().boot_limit);
        unless_it_dies(machine.record().process, hello).await?;
        laps.lap("agent answers");
        Ok(Launched {
            machine,
            times: Times {
                to_running,
                to_agent: start.elapsed(),
                vmm,
                steps: laps.steps(),
            },
        })
    }

    /// See [`Node::resume_with`].
    async fn resume(&self, egress: Option<Egress>) -> Result<Launched, NodeError> {
        if self.node.records().has_directory(self.name()) && self.settle().await? == Settled::Runs {
            // Its layer may still have lain where it was sealed; but it runs.
            return Err(NodeError::Exists(self.name().to_string()));
        }
        let info = self.node.suspended(self.name())?;
        let request = CloneRequest {
            egress,
            ..CloneRequest::new(info.id)
        };
        let restoring = Restoring {
            identity: Identity::Kept,
            clock: GuestClock::MovesOn,
        };
        self.make_directory().await?;
        let launched = self.restore(&request, restoring).await;
        let mut launched = match self.undo_unless_ok(launched).await {
            Ok(launched) => launched,
            Err(error) => return Err(self.damage_behind(&info, error).await),
        };
        reach(self.node.layout(), "resume.launched");
        let confirming = Instant::now();
        let layer = Arc::clone(&info);
        let marked = self.with_files(move |records, _| records.mark_as_step(&layer));
        if let Err(error) = marked.await {
            // As long as the layer says that it is the instance, nothing else may be.
            return self.undo_unless_ok(Err(error)).await;
        }
        reach(self.node.layout(), "resume.confirmed");
        launched.times.steps.push(StepTime {
            name: "confirmed",
            took: confirming.elapsed(),
        });
        let node = self.node.clone();
        // Nobody waits for what is no longer needed.
        tokio::spawn(async move {
            let dropped = node.with_records(|records| records.drop_idle_steps());
            if let Err(error) = dropped.await {
                tracing::warn!(%error, "cannot remove an idle layer now");
            }
        });
        Ok(launched)
    }

    /// Finds out whether a resume failed because its snapshot is damaged, by reading every byte of the chain. Answers
    /// `error` itself if it is not.
    async fn damage_behind(&self, info: &SnapshotInfo, error: NodeError) -> NodeError {
        if matches!(
            error,
            NodeError::Removed(_) | NodeError::Network(_) | NodeError::NoUser
        ) {
            return error;
        }
        let chain: Vec<SnapshotId> = std::iter::once(info.id).chain(info.needs()).collect();
        self.node.records().verified().forget(chain.iter().copied());
        let look = move |records: &Arc<Records>| {
            chain.iter().find_map(|id| damage_of(records.layout(), *id))
        };
        match self.node.with_records(look).await {
            Some(reason) => NodeError::Damaged {
                name: self.name().to_string(),
                reason,
            },
            None => error,
        }
    }

    pub(crate) async fn restore(
        &self,
        request: &CloneRequest,
        restoring: Restoring,
    ) -> Result<Launched, NodeError> {
        let mut laps = Laps::begin();
        let (node, name) = (&self.node, self.name());
        let info = node.snapshot(request.snapshot).await?;
        // Until this instance's record says what it stands on.
        let pin = node.records().pin(info.id)?;
        let snapshot = info.record.clone();
        let (disks, sizes) = match request.disks.clone() {
            Some(disks) => {
                let disks: Vec<DiskStack> = disks.into_iter().map(fresh_stack).collect();
                let looked_at = disks.clone();
                let sizes = self.with_files(move |_, _| sizes_of(&looked_at)).await?;
                (disks, Some(sizes))
            }
            None => (snapshot.disks, None),
        };
        let (egress, slot) = self.network(&info, request).await?;
        let chain = || std::iter::once(info.id).chain(info.ancestors.iter().copied());
        let spec = RestoreSpec {
            snapshot: node.layout().snapshot(info.id),
            ancestors: info
                .ancestors
                .iter()
                .map(|id| node.layout().snapshot(*id))
                .collect(),
            devices: DeviceSpec {
                disks: node.disks(name, &disks, sizes.is_some()),
                ..node.devices(name, &[], slot.is_some())
            },
            generation_id: Some(uuid::Uuid::new_v4().as_u128()),
            prefetch: request.prefetch.clone(),
            run: true,
            verified: node.records().verified().among(chain()),
            clock: restoring.clock,
        };
        let record = |process, slot, user| MachineRecord {
            process,
            user,
            memory_mib: snapshot.memory_mib,
            vcpus: snapshot.vcpus,
            disks,
            parent: Some(info.id.to_string()),
            network: egress.and_then(|egress| network_record(slot, egress)),
            has_application: snapshot.has_application,
            pending: None,
            folds: Vec::new(),
            overlay_generation: 0,
            have_disks_diverged: false,
        };
        let start = Instant::now();
        let (machine, vmm) = self
            .start(Command::Restore(Box::new(spec)), slot, record, &mut laps)
            .await?;
        drop(pin);
        // It was opened, so all of it was verified.
        node.records().verified().add(chain());
        let to_running = start.elapsed();
        reach(node.layout(), "launch.started");
        let uniqueness = uniqueness(name, restoring.identity)?;
        let wanted = || Uniqueness {
            realtime_ns: realtime_ns(),
            ..uniqueness.clone()
        };
        let agent = machine.agent();
        let made_unique = agent.make_unique(wanted, node.options().restore_limit);
        let unique = unless_it_dies(machine.record().process, made_unique).await?;
        laps.unique(unique);
        if let Some(sizes) = sizes {
            let known = agent.perform(ControlRequest::AwaitDisks(sizes));
            unless_it_dies(machine.record().process, known).await?;
            laps.lap("disks known");
        }
        reach(node.layout(), "launch.unique");
        self.check_wanted()?;
        Ok(Launched {
            machine,
            times: Times {
                to_running,
                to_agent: start.elapsed(),
                vmm,
                steps: laps.steps(),
            },
        })
    }

    /// The network of a clone: the given egress, or else that of the snapshot.
    async fn network(
        &self,
        info: &SnapshotInfo,
        request: &CloneRequest,
    ) -> Result<(Option<Egress>, Option<Slot>), NodeError> {
        let egress = match (&info.record.egress, &request.egress) {
            (Some(_), Some(wanted)) => Some(wanted.clone()),
            (own, _) => own.clone(),
        };
        let slot = match (&egress, &self.node.options().network) {
            (None, _) => None,
            (Some(egress), Some(network)) => Some(network.take(egress).await?),
            (Some(_), None) => return Err(NodeError::NoNetwork(info.id.to_string())),
        };
        Ok((egress, slot))
    }

    /// Starts the VMM process, writes the instance's record, and sends the process its first command.
    pub(crate) async fn start(
        &self,
        command: Command,
        slot: Option<Slot>,
        record: impl FnOnce(ProcessRecord, Option<u16>, Option<u32>) -> MachineRecord,
        laps: &mut Laps,
    ) -> Result<(Machine, Started), NodeError> {
        let (node, name) = (&self.node, self.name());
        self.check_wanted()?;
        let number = slot.as_ref().map(|slot| slot.number);
        let (user, reserved) = node.reserve(name, number)?;
        let readable = named_by(&command);
        let named = readable.clone();
        let log = self
            .with_files(move |records, name| prepare(records.layout(), name, user, &named))
            .await?;
        let permitted = Permitted {
            readable,
            writable: vec![node.layout().own(name)],
            further: crash_point::vmm_arguments(node.layout()),
            jail: user.map(|user| Jail {
                user,
                root: node.layout().empty(),
            }),
        };
        let begun = vmm_log::begin(log);
        let (stderr, log) =
            begun.map_err(failed("make a pipe for", &log_path(node.layout(), name)))?;
        laps.lap("prepared");
        let program = node.options().vmm_program.clone();
        // A process that starts another one in a namespace of its own does nothing else for milliseconds.
        let spawned = tokio::task::spawn_blocking(move || {
            VmmClient::spawn(
                &program,
                Path::new(socket::CONTROL),
                &permitted,
                slot,
                stderr,
            )
        });
        let (mut client, child) = spawned.await.map_err(|_| NodeError::Panicked)??;
        let (process, child) = identify(child, ProcessRecord::of).await?;
        reserved.pass_to(process);
        node.collect(name, process, child, log);
        laps.lap("VMM spawned");
        reach(node.layout(), "launch.spawned");
        // Written before the machine runs: from here on a crash of the node leaves a process that its
        // successor finds. A power cut ends the process too.
        let record = record(process, number, user);
        let written = self.save(record.clone(), Durability::UntilPowerCut).await;
        written.inspect_err(|_| process.kill())?;
        laps.lap("recorded");
        reach(node.layout(), "launch.recorded");
        self.check_wanted()?;
        // The VMM puts up its walls meanwhile. There is no guest before its first request, so none that its group does not count.
        node.limit(name, &record).await?;
        laps.lap("limited");
        let started = match client.request(command).await? {
            Reply::Started(started) => started,
            _ => return Err(VmmError::Confused.into()),
        };
        laps.started(started);
        Ok((node.machine(name)?, started))
    }
}

impl Node {
    /// Moves a machine's process into a control group with the limits of its size.
    async fn limit(&self, name: &MachineName, record: &MachineRecord) -> Result<(), NodeError> {
        let Some(groups) = self.options().groups.clone() else {
            return Ok(());
        };
        let (name, pid) = (name.clone(), record.process.pid);
        let size = Size {
            memory_mib: record.memory_mib,
            vcpus: record.vcpus,
            disk: self.options().limits.disk,
        };
        let limited = tokio::task::spawn_blocking(move || {
            groups.make(&name, size)?;
            groups.put(&name, pid)?;
            memory_guard::prefer(pid, size.memory_mib);
            Ok(())
        });
        limited.await.map_err(|_| VmmError::Confused)?
    }

    /// The devices of every microVM.
    fn devices(&self, name: &MachineName, disks: &[DiskStack], has_card: bool) -> DeviceSpec {
        let limits = self.options().limits;
        let directory = self.layout().own(name);
        DeviceSpec {
            disks: self.disks(name, disks, false),
            nets: has_card.then(|| card(limits.network)).into_iter().collect(),
            vsock: Some(VsockSpec {
                path: socket::VSOCK.into(),
            }),
            serial_log: Some(SerialLogSpec {
                path: directory.join("serial.log"),
                limit_bytes: SERIAL_LOG_BYTES,
            }),
            balloon: true,
        }
    }

    /// The disks of a machine; each writable one has a new overlay.
    fn disks(&self, name: &MachineName, disks: &[DiskStack], is_replaced: bool) -> Vec<DiskSpec> {
        let directory = self.layout().own(name);
        let disk = |(index, stack): (usize, &DiskStack)| DiskSpec {
            serial: stack.serial.clone(),
            image: self.image(stack, overlay_path(&directory, index, 0)),
            rate_limit: self.options().limits.disk,
            is_replaced,
        };
        disks.iter().enumerate().map(disk).collect()
    }

    fn image(&self, stack: &DiskStack, overlay: PathBuf) -> DiskImage {
        if !stack.is_writable {
            return DiskImage::ReadOnly {
                path: stack.base.clone(),
            };
        }
        let backing = stack.backing(|snapshot| self.layout().snapshots().join(snapshot));
        DiskImage::Overlay {
            path: overlay,
            backing,
        }
    }
}

/// Waits for the agent until the VMM's process ends.
async fn unless_it_dies<T>(
    process: ProcessRecord,
    answer: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, NodeError> {
    tokio::select! {
        biased;
        answer = answer => Ok(answer?),
        () = process.died() => Err(VmmError::Died.into()),
    }
}

/// The network card of a machine.
fn card(rate_limit: Option<RateLimit>) -> NetSpec {
    NetSpec {
        tap_fd: hearth_wire::vmm::SLOT_TAP_FD,
        mac: hearth_net::GUEST_MAC,
        rate_limit,
    }
}

/// The kernel parameter with the network addresses, for the agent of a fresh machine. The addresses are the same in
/// every machine, so a clone's are right too.
fn network_parameter() -> String {
    let (guest, prefix, gateway) = (hearth_net::GUEST, hearth_net::PREFIX, hearth_net::GATEWAY);
    format!("hearth.net={guest}/{prefix},{gateway},{gateway}")
}

fn network_record(slot: Option<u16>, egress: Egress) -> Option<NetworkRecord> {
    slot.map(|slot| NetworkRecord { slot, egress })
}

fn fresh_stack(request: DiskRequest) -> DiskStack {
    DiskStack {
        serial: request.serial,
        base: request.image,
        overlays: request.overlays,
        is_writable: request.is_writable,
        sealed: Vec::new(),
    }
}

/// The sizes of replaced disks, which a guest is told. Blocks.
fn sizes_of(disks: &[DiskStack]) -> Result<Vec<DiskSize>, NodeError> {
    let size = |disk: &DiskStack| {
        let found = std::fs::metadata(&disk.base).map_err(failed("look at", &disk.base))?;
        Ok(DiskSize {
            serial: disk.serial.clone(),
            sectors: found.len() / SECTOR_BYTES,
        })
    };
    disks.iter().map(size).collect()
}

/// The files outside the microVM's directory that its first command names. Later commands name none.
fn named_by(command: &Command) -> Vec<PathBuf> {
    let (mut paths, devices) = match command {
        Command::Boot(spec) => {
            let files = std::iter::once(&spec.kernel).chain(&spec.initramfs);
            (files.cloned().collect(), &spec.devices)
        }
        Command::Restore(spec) => {
            let snapshots = std::iter::once(&spec.snapshot).chain(&spec.ancestors);
            (snapshots.cloned().collect::<Vec<_>>(), &spec.devices)
        }
        _ => return Vec::new(),
    };
    for disk in &devices.disks {
        match &disk.image {
            DiskImage::ReadOnly { path } => paths.push(path.clone()),
            DiskImage::Overlay { backing, .. } => paths.extend(backing.iter().cloned()),
        }
    }
    paths
}

fn uniqueness(name: &MachineName, identity: Identity) -> Result<Uniqueness, NodeError> {
    let mut entropy = [0; 32];
    rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| failed("read entropy", Path::new("getrandom"))(errno.into()))?;
    Ok(Uniqueness {
        entropy,
        realtime_ns: realtime_ns(),
        machine_id: uuid::Uuid::new_v4().simple().to_string(),
        hostname: name.to_string(),
        new_identity: identity == Identity::New,
    })
}

fn realtime_ns() -> u64 {
    let realtime = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(realtime.as_nanos()).unwrap_or(u64::MAX)
}

/// The record of the process that was just started. If it cannot be identified, it is killed before its user can be
/// leased to another.
async fn identify(
    mut child: Child,
    find: impl FnOnce(u32) -> Option<ProcessRecord>,
) -> Result<(ProcessRecord, Child), VmmError> {
    match child.id().and_then(find) {
        Some(process) => Ok((process, child)),
        None => {
            // Waits for it, too.
            let _ = child.kill().await;
            Err(VmmError::Confused)
        }
    }
}

fn log_path(layout: &Layout, name: &MachineName) -> PathBuf {
    layout.machine(name).join("vmm.log")
}

/// Creates the directory that the VMM writes, makes its files readable for it, and opens its log.
fn prepare(
    layout: &Layout,
    name: &MachineName,
    user: Option<u32>,
    readable: &[PathBuf],
) -> Result<File, NodeError> {
    let path = log_path(layout, name);
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(failed("open", &path))?;
    jail::make_own(&layout.own(name), user)?;
    if user.is_some() {
        readable
            .iter()
            .try_for_each(|path| jail::let_read(path, layout.data()))?;
    }
    Ok(log)
}

/// The damage of a snapshot, if it was set aside or if reading all of it shows damage.
fn damage_of(layout: &Layout, id: SnapshotId) -> Option<String> {
    if let Some(reason) = damage::reason_of(layout, id) {
        return Some(reason);
    }
    let problems = hearth_snapshot::verify(&layout.snapshot(id));
    let first = problems.iter().find(|problem| problem.is_damage())?;
    Some(with_causes(first))
}

#[cfg(test)]
mod tests;
