//! Starting microVMs: a fresh boot, a clone, a resume.
//!
//! ```text
//! name the directory ── spawn `hearth-vmm` ── Boot/Restore ── record ── agent: hello / made unique
//!        └───────────────── on any failure: the process is killed and the directory removed ──────┘
//! ```

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearth_net::{Egress, Slot};
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::{ControlRequest, Uniqueness};
use hearth_wire::vmm::{
    BootSpec, Command, DeviceSpec, DiskImage, DiskSpec, GuestClock, NetSpec, PageRange, RateLimit,
    Reply, RestoreSpec, SerialLogSpec, Started, VsockSpec,
};

use crate::agent::AgentError;
use crate::cgroup::Size;
use crate::error::{NodeError, failed};
use crate::jail;
use crate::layout::MachineName;
use crate::machine::Machine;
use crate::node::Node;
use crate::record::{
    self, DiskStack, MACHINE_FILE, MachineRecord, NetworkRecord, ProcessRecord, Purpose,
    SnapshotRecord,
};
use crate::socket;
use crate::vmm::{Jail, Permitted, VmmClient, VmmError};

/// What a kernel may say on its serial port before the log starts again from its beginning.
const SERIAL_LOG_BYTES: u64 = 1 << 20;

/// A disk of a fresh machine.
#[derive(Debug, Clone)]
pub struct DiskRequest {
    /// What the guest reads as serial number.
    pub serial: String,
    /// A raw image.
    pub image: PathBuf,
    /// What [`Machine::terminate_keeping`] kept of earlier machines with this disk: sealed overlays of `image`, nearest
    /// to the top first.
    pub overlays: Vec<PathBuf>,
    /// Whether the guest may write; the image itself is never written, an overlay takes the writes.
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
    /// What its network card may reach; on a node without networks there is no card.
    pub egress: Egress,
}

/// A clone to make.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Page ranges to bring in in the background.
    pub prefetch: Vec<PageRange>,
    /// What its network card may reach, if not what the snapshot's could. Of a snapshot without a card, it means nothing.
    pub egress: Option<Egress>,
}

impl CloneRequest {
    /// A clone with the ways out of its snapshot, whose pages come when they are touched.
    #[must_use]
    pub fn new(snapshot: SnapshotId) -> Self {
        Self {
            snapshot,
            prefetch: Vec::new(),
            egress: None,
        }
    }
}

/// A microVM that was just started.
#[derive(Debug)]
pub struct Launched {
    /// The microVM.
    pub machine: Machine,
    /// How long it took.
    pub times: Times,
}

/// Where the time of a launch went.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From the start of the process to the VMM's answer.
    pub to_running: Duration,
    /// From the start of the process to the agent's answer (of a clone: it is unique and runs).
    pub to_agent: Duration,
    /// What the VMM measured itself.
    pub vmm: Started,
}

/// Whether a restored guest is a new microVM or the one that was suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    New,
    Kept,
}

impl Node {
    /// Boots a machine and waits for its agent.
    pub async fn boot(
        &self,
        name: &MachineName,
        request: BootRequest,
    ) -> Result<Launched, NodeError> {
        let directory = NewDirectory::make(self, name)?;
        let disks: Vec<DiskStack> = request.disks.into_iter().map(fresh_stack).collect();
        let slot = match &self.options().network {
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
            devices: self.devices(name, &disks, slot.is_some())?,
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
            overlay_generation: 0,
            have_disks_diverged: false,
        };
        let start = Instant::now();
        let (machine, vmm) = self
            .start(name, Command::Boot(Box::new(spec)), slot, record)
            .await?;
        let to_running = start.elapsed();
        let agent = machine.agent();
        let hello = agent.hello(self.options().boot_limit);
        unless_it_dies(machine.record().process, hello).await?;
        directory.keep();
        Ok(Launched {
            machine,
            times: Times {
                to_running,
                to_agent: start.elapsed(),
                vmm,
            },
        })
    }

    /// Makes a new microVM from a snapshot. It has an identity of its own before any instruction of its
    /// application runs; when that fails it is terminated.
    pub async fn clone_snapshot(
        &self,
        name: &MachineName,
        request: CloneRequest,
    ) -> Result<Launched, NodeError> {
        let record = self.snapshot_record(request.snapshot)?;
        let directory = NewDirectory::make(self, name)?;
        self.restore(directory, &request, record, Identity::New)
            .await
    }

    pub(crate) async fn restore(
        &self,
        directory: NewDirectory<'_>,
        request: &CloneRequest,
        snapshot: SnapshotRecord,
        identity: Identity,
    ) -> Result<Launched, NodeError> {
        let name = directory.name;
        let path = self.layout().snapshot(request.snapshot);
        let ancestors = hearth_snapshot::describe(&path)?.ancestors;
        let egress = match (&snapshot.egress, &request.egress) {
            (Some(_), Some(wanted)) => Some(wanted.clone()),
            (own, _) => own.clone(),
        };
        let slot = match (&egress, &self.options().network) {
            (None, _) => None,
            (Some(egress), Some(network)) => Some(network.take(egress).await?),
            (Some(_), None) => return Err(NodeError::NoNetwork(request.snapshot.to_string())),
        };
        let spec = RestoreSpec {
            snapshot: path,
            ancestors: ancestors
                .into_iter()
                .map(|id| self.layout().snapshot(id))
                .collect(),
            verified: Vec::new(),
            devices: self.devices(name, &snapshot.disks, slot.is_some())?,
            generation_id: Some(uuid::Uuid::new_v4().as_u128()),
            prefetch: request.prefetch.clone(),
            run: true,
            clock: guest_clock(snapshot.purpose),
        };
        let has_application = snapshot.has_application;
        let record = |process, slot, user| MachineRecord {
            process,
            user,
            memory_mib: snapshot.memory_mib,
            vcpus: snapshot.vcpus,
            disks: snapshot.disks,
            parent: Some(request.snapshot.to_string()),
            network: egress.and_then(|egress| network_record(slot, egress)),
            has_application,
            pending: None,
            overlay_generation: 0,
            have_disks_diverged: false,
        };
        let start = Instant::now();
        let (machine, vmm) = self
            .start(name, Command::Restore(Box::new(spec)), slot, record)
            .await?;
        let to_running = start.elapsed();
        let uniqueness = uniqueness(name, identity)?;
        let restored = || {
            let realtime_ns = realtime_ns();
            ControlRequest::Restored(Box::new(Uniqueness {
                realtime_ns,
                ..uniqueness.clone()
            }))
        };
        let agent = machine.agent();
        let restored = agent.perform_when_up(restored, self.options().restore_limit);
        unless_it_dies(machine.record().process, restored).await?;
        directory.keep();
        Ok(Launched {
            machine,
            times: Times {
                to_running,
                to_agent: start.elapsed(),
                vmm,
            },
        })
    }

    /// Starts the process, gives it its command and writes down what it is.
    async fn start(
        &self,
        name: &MachineName,
        command: Command,
        slot: Option<Slot>,
        record: impl FnOnce(ProcessRecord, Option<u16>, Option<u32>) -> MachineRecord,
    ) -> Result<(Machine, Started), NodeError> {
        self.wait_for_former(name).await;
        let number = slot.as_ref().map(|slot| slot.number);
        let (user, reserved) = self.reserve(name, number)?;
        let log = self.vmm_log(name)?;
        let own = self.layout().own(name);
        jail::make_own(&own, user)?;
        let readable = named_by(&command);
        if user.is_some() {
            let data = self.layout().data();
            readable
                .iter()
                .try_for_each(|path| jail::let_read(path, data))?;
        }
        let permitted = Permitted {
            readable,
            writable: vec![own],
            jail: user.map(|user| Jail {
                user,
                root: self.layout().empty(),
            }),
        };
        let program = &self.options().vmm_program;
        let (mut client, child) =
            VmmClient::spawn(program, Path::new(socket::CONTROL), &permitted, slot, log)?;
        let pid = child.id().ok_or(VmmError::Confused)?;
        let process = ProcessRecord::of(pid).ok_or(VmmError::Confused)?;
        reserved.pass_to(process);
        self.collect(process, child);
        // Written before the machine runs: from here on a crash of the node leaves a process that its
        // successor finds. A power cut ends the process too.
        let record = record(process, number, user);
        record::write_volatile(&self.layout().machine(name).join(MACHINE_FILE), &record)
            .inspect_err(|_| process.kill())?;
        // The kernel takes its time to move a process, and the VMM to start.
        let (limited, answered) = tokio::join!(self.limit(name, &record), client.request(command));
        limited?;
        let started = match answered? {
            Reply::Started(started) => started,
            _ => return Err(VmmError::Confused.into()),
        };
        Ok((Machine::new(self.clone(), name.clone(), record), started))
    }

    /// Puts a machine's process into a group of its size.
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
            groups.put(&name, pid)
        });
        limited.await.map_err(|_| VmmError::Confused)?
    }

    fn vmm_log(&self, name: &MachineName) -> Result<OwnedFd, NodeError> {
        let path = self.layout().machine(name).join("vmm.log");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(OwnedFd::from(file.map_err(failed("open", &path))?))
    }

    /// The devices of every microVM.
    fn devices(
        &self,
        name: &MachineName,
        disks: &[DiskStack],
        has_card: bool,
    ) -> Result<DeviceSpec, NodeError> {
        let limits = self.options().limits;
        let directory = self.layout().own(name);
        let disk = |(index, stack): (usize, &DiskStack)| DiskSpec {
            serial: stack.serial.clone(),
            image: self.image(stack, overlay_path(&directory, index, 0)),
            rate_limit: limits.disk,
        };
        Ok(DeviceSpec {
            disks: disks.iter().enumerate().map(disk).collect(),
            nets: has_card.then(|| card(limits.network)).into_iter().collect(),
            vsock: Some(VsockSpec {
                path: socket::VSOCK.into(),
            }),
            serial_log: Some(SerialLogSpec {
                path: directory.join("serial.log"),
                limit_bytes: SERIAL_LOG_BYTES,
            }),
            balloon: true,
        })
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

/// Waits for the agent no longer than there is somebody to wait for.
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

/// A clone of a template was never asleep; a suspended microVM was, and so was one that begins where another one is.
fn guest_clock(purpose: Purpose) -> GuestClock {
    match purpose {
        Purpose::Template => GuestClock::Stands,
        Purpose::Suspended | Purpose::Step => GuestClock::MovesOn,
    }
}

/// The one network card.
fn card(rate_limit: Option<RateLimit>) -> NetSpec {
    NetSpec {
        tap_fd: hearth_wire::vmm::SLOT_TAP_FD,
        mac: hearth_net::GUEST_MAC,
        rate_limit,
    }
}

/// Tells the agent of a fresh machine its addresses. They are the same in every machine, so a clone's are right too.
fn network_parameter() -> String {
    let (guest, prefix, gateway) = (hearth_net::GUEST, hearth_net::PREFIX, hearth_net::GATEWAY);
    format!("hearth.net={guest}/{prefix},{gateway},{gateway}")
}

fn network_record(slot: Option<u16>, egress: Egress) -> Option<NetworkRecord> {
    slot.map(|slot| NetworkRecord { slot, egress })
}

/// The overlay of the disk with that index, after so many snapshots, in the VMM's own directory.
pub(crate) fn overlay_path(own: &Path, index: usize, generation: u32) -> PathBuf {
    own.join(format!("disk-{index}.{generation}.qcow2"))
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

/// The files outside of the microVM's directory that its first command names. Later commands name none.
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

/// A microVM's directory that vanishes, with its process, unless the launch succeeds.
pub(crate) struct NewDirectory<'a> {
    node: &'a Node,
    name: &'a MachineName,
    is_kept: bool,
}

impl<'a> NewDirectory<'a> {
    pub(crate) fn make(node: &'a Node, name: &'a MachineName) -> Result<Self, NodeError> {
        let path = node.layout().machine(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(NodeError::Exists(name.to_string()))
            }
            other => {
                other.map_err(failed("make the directory", &path))?;
                Ok(Self::taken_over(node, name))
            }
        }
    }

    /// One that is there already and has nothing but what waits for the launch.
    pub(crate) fn taken_over(node: &'a Node, name: &'a MachineName) -> Self {
        Self {
            node,
            name,
            is_kept: false,
        }
    }

    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewDirectory<'_> {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let path = self.node.layout().machine(self.name);
        if let Ok(Some(record)) = record::read::<MachineRecord>(&path.join(MACHINE_FILE)) {
            record.process.kill();
        }
        if let Some(log) = last_words(&path) {
            tracing::warn!(machine = %self.name, "launch failed; the VMM said: {log}");
        }
        // What cannot be removed now is swept later; the launch's own error is the one to report.
        let _ = fs::remove_dir_all(path);
    }
}

/// The end of a VMM's log: the reason that it could not give over its socket.
fn last_words(machine: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    const LENGTH: u64 = 2048;
    let mut file = File::open(machine.join("vmm.log")).ok()?;
    let bytes = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(LENGTH)))
        .ok()?;
    let mut text = Vec::new();
    file.take(LENGTH).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
