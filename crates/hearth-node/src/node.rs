//! The node itself: finding, resuming, deleting, sweeping.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_net::{Egress, Network};
use hearth_snapshot::SnapshotId;
use hearth_wire::vmm::{PageRange, RateLimit};
use rustix::process::geteuid;

use crate::cgroup::Groups;
use crate::error::{NodeError, failed};
use crate::holdings::{Held, Holdings, Reserved};
use crate::jail::{DEFAULT_USERS, Users};
use crate::launch::{CloneRequest, Identity, Launched, NewDirectory};
use crate::layout::{Layout, MachineName};
use crate::machine::Machine;
use crate::record::{
    self, MACHINE_FILE, MachineRecord, NODE_FILE, PREFETCH_FILE, ProcessRecord, Purpose,
    SnapshotRecord,
};

/// How long a killed process may take to be gone.
const FORMER_LIMIT: Duration = Duration::from_secs(1);

/// How a node works.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The data directory.
    pub data: PathBuf,
    /// The program that runs one microVM: `hearth-vmm`.
    pub vmm_program: PathBuf,
    /// Longest wait for the agent of a machine that boots.
    pub boot_limit: Duration,
    /// Longest wait for the agent of a machine that was restored.
    pub restore_limit: Duration,
    /// Networks for machines; without it they have no network card.
    pub network: Option<Network>,
    /// Limits on what machines take of the host; without it there are none.
    pub groups: Option<Groups>,
    /// Users that VMMs become, each one of its own, in a root and a process namespace of its own. Without it, which is where this
    /// process is not root, they are its user.
    pub users: Option<RangeInclusive<u32>>,
    /// What each machine may take of disk and network.
    pub limits: DeviceLimits,
}

/// What one machine may take of the host's disk and network; `None` is without a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Of each disk; and of the host's disk, if there are groups that can ([`crate::limitable_device`]).
    pub disk: Option<RateLimit>,
    /// Of the network card, each direction on its own.
    pub network: Option<RateLimit>,
}

impl NodeOptions {
    /// Limits that fit real hardware and, with room, the emulated host (twenty times slower).
    pub fn new(data: PathBuf, vmm_program: PathBuf) -> Self {
        Self {
            data,
            vmm_program,
            boot_limit: Duration::from_secs(120),
            restore_limit: Duration::from_secs(60),
            network: None,
            groups: None,
            users: geteuid().is_root().then_some(DEFAULT_USERS),
            limits: DeviceLimits::default(),
        }
    }

    /// The same with users of another range, where VMMs have users of their own.
    #[must_use]
    pub fn with_users(self, range: RangeInclusive<u32>) -> Self {
        Self {
            users: self.users.map(|_| range),
            ..self
        }
    }
}

/// A node: a data directory and the microVMs in it.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    options: NodeOptions,
    users: Option<Users>,
    holdings: Holdings,
}

/// A snapshot of this node.
#[derive(Debug, Clone)]
pub struct SnapshotInfo {
    /// Its identity.
    pub id: SnapshotId,
    /// Its ancestors, nearest first.
    pub ancestors: Vec<SnapshotId>,
    /// What is written down about it.
    pub record: SnapshotRecord,
}

/// What there is of a microVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A process runs it.
    Runs,
    /// It lies on disk, complete, without a process.
    Suspended,
    /// Neither.
    Gone,
}

/// What [`Node::sweep`] found and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// MicroVMs whose process was gone.
    pub machines: Vec<String>,
    /// Directories of snapshots that were never finished.
    pub partial_snapshots: Vec<PathBuf>,
}

impl Node {
    /// Opens a data directory, which is made when it is missing.
    pub fn open(options: NodeOptions) -> Result<Self, NodeError> {
        let data = std::path::absolute(&options.data).map_err(failed("resolve", &options.data))?;
        let layout = Layout::new(data);
        for directory in [layout.machines(), layout.snapshots(), layout.empty()] {
            fs::create_dir_all(&directory).map_err(failed("make the directory", &directory))?;
            // Behind them everything is readable, for VMMs that are shown one directory of it.
            fs::set_permissions(&directory, Permissions::from_mode(0o700))
                .map_err(failed("close", &directory))?;
        }
        let users = options.users.clone().map(Users::new);
        let node = Self(Arc::new(Inner {
            layout,
            options,
            users,
            holdings: Holdings::default(),
        }));
        // Also of processes that are gone: [`Self::settle`] gives back what they held.
        for (name, record) in node.machines()? {
            let held = Held {
                machine: name,
                slot: record.network.as_ref().map(|network| network.slot),
                user: record.user,
            };
            node.hold(record.process, held);
        }
        node.adopt_users()?;
        node.adopt_networks()?;
        Ok(node)
    }

    /// Takes note of the users that run already.
    fn adopt_users(&self) -> Result<(), NodeError> {
        let Some(users) = &self.0.users else {
            return Ok(());
        };
        for (name, record) in self.machines()? {
            if let Some(user) = record.user.filter(|_| record.process.is_alive()) {
                users.adopt(&name, user);
            }
        }
        Ok(())
    }

    /// A user for the process of a launch, if there are any to be had, together with its slot.
    pub(crate) fn reserve(
        &self,
        name: &MachineName,
        slot: Option<u16>,
    ) -> Result<(Option<u32>, Reserved<'_>), NodeError> {
        let mut held = Held {
            machine: name.clone(),
            slot,
            user: None,
        };
        let users = self.0.users.as_ref();
        match users.map(|users| users.take(name)).transpose() {
            Ok(user) => {
                held.user = user;
                Ok((user, Reserved::new(self, held)))
            }
            Err(error) => {
                self.give_back(&held);
                Err(error)
            }
        }
    }

    /// Lets the guests that run already ask for names again.
    fn adopt_networks(&self) -> Result<(), NodeError> {
        let Some(networks) = &self.options().network else {
            return Ok(());
        };
        for (name, record) in self.machines()? {
            if let Some(network) = &record.network
                && record.process.is_alive()
                && let Err(error) =
                    networks.adopt(network.slot, record.process.pid, &network.egress)
            {
                tracing::warn!(%error, %name, "the network of a running machine is not taken up");
            }
        }
        Ok(())
    }

    /// Takes note of what a process holds of this host.
    pub(crate) fn hold(&self, process: ProcessRecord, held: Held) {
        self.0.holdings.add(process, held);
    }

    /// Gives back what a process had that is gone: its group, its network and its user. Whoever calls this first does it; when
    /// it has returned to anyone, it is done.
    pub(crate) fn release(&self, process: ProcessRecord) {
        self.0.holdings.give_back(process, |held| {
            if let Some(groups) = &self.options().groups {
                groups.remove(&held.machine);
            }
            self.give_back(&held);
        });
    }

    /// The same of what no process is in any more, or yet.
    pub(crate) fn give_back(&self, held: &Held) {
        if let (Some(networks), Some(slot)) = (&self.options().network, held.slot) {
            networks.release(slot);
        }
        if let (Some(users), Some(user)) = (&self.0.users, held.user) {
            users.give_back(&held.machine, user);
        }
    }

    /// Waits until a process of that name that a failed launch has killed is gone, and with it what it held: its group has the
    /// name that the next one's is to have.
    pub(crate) async fn wait_for_former(&self, name: &MachineName) {
        let deadline = Instant::now() + FORMER_LIMIT;
        loop {
            let former = self.0.holdings.of(name);
            for process in former.iter().filter(|process| !process.is_alive()) {
                self.release(*process);
            }
            if former.is_empty() || Instant::now() > deadline {
                return;
            }
            tokio::time::sleep(FORMER_LIMIT / 200).await;
        }
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    pub(crate) fn options(&self) -> &NodeOptions {
        &self.0.options
    }

    /// The running microVM of that name.
    pub fn machine(&self, name: &MachineName) -> Result<Machine, NodeError> {
        let path = self.layout().machine(name).join(MACHINE_FILE);
        let record =
            record::read(&path)?.ok_or_else(|| NodeError::UnknownMachine(name.to_string()))?;
        Ok(Machine::new(self.clone(), name.clone(), record))
    }

    /// All microVMs that have a record, running or not.
    pub fn machines(&self) -> Result<Vec<(MachineName, MachineRecord)>, NodeError> {
        let mut machines = Vec::new();
        for name in self.names()? {
            let path = self.layout().machine(&name).join(MACHINE_FILE);
            if let Some(record) = record::read(&path)? {
                machines.push((name, record));
            }
        }
        Ok(machines)
    }

    /// The names of all microVMs that have a directory, also of those whose launch has not come as far as a record.
    pub fn names(&self) -> Result<Vec<MachineName>, NodeError> {
        let entries = names(&self.layout().machines())?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.parse().ok())
            .collect())
    }

    /// All snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>, NodeError> {
        let mut snapshots = Vec::new();
        for entry in names(&self.layout().snapshots())? {
            let Ok(id) = entry.parse::<SnapshotId>() else {
                continue;
            };
            let path = self.layout().snapshot(id);
            let Some(record) = record::read(&path.join(NODE_FILE))? else {
                continue;
            };
            let ancestors = match hearth_snapshot::describe(&path) {
                // Removed by somebody else since it was listed.
                Err(_) if !path.exists() => continue,
                described => described?.ancestors,
            };
            snapshots.push(SnapshotInfo {
                id,
                ancestors,
                record,
            });
        }
        snapshots.sort_by_key(|snapshot| (snapshot.record.created_at, snapshot.id));
        Ok(snapshots)
    }

    /// The snapshot whose id begins like this.
    pub fn find_snapshot(&self, beginning: &str) -> Result<SnapshotId, NodeError> {
        let mut found = names(&self.layout().snapshots())?
            .into_iter()
            .filter(|name| name.starts_with(beginning))
            .filter_map(|name| name.parse::<SnapshotId>().ok());
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(NodeError::AmbiguousSnapshot(beginning.to_owned())),
            (None, _) => Err(NodeError::UnknownSnapshot(beginning.to_owned())),
        }
    }

    /// The suspended microVM of that name.
    pub fn suspended(&self, name: &MachineName) -> Result<SnapshotInfo, NodeError> {
        self.snapshots()?
            .into_iter()
            .rfind(|snapshot| {
                snapshot.record.purpose == Purpose::Suspended
                    && snapshot.record.machine == name.to_string()
            })
            .ok_or_else(|| NodeError::UnknownMachine(name.to_string()))
    }

    /// What there is of the microVM of that name, whatever an operation said of it that failed.
    pub fn standing(&self, name: &MachineName) -> Result<Standing, NodeError> {
        match self.machine(name) {
            Ok(machine) if machine.record().process.is_alive() => return Ok(Standing::Runs),
            Ok(machine) if machine.is_saved() => return Ok(Standing::Suspended),
            Ok(_) | Err(NodeError::UnknownMachine(_)) => {}
            Err(error) => return Err(error),
        }
        match self.suspended(name) {
            Ok(_) => Ok(Standing::Suspended),
            Err(NodeError::UnknownMachine(_)) => Ok(Standing::Gone),
            Err(error) => Err(error),
        }
    }

    /// Resumes a suspended microVM, with the ways out that it had. When anything fails it still is suspended.
    pub async fn resume(&self, name: &MachineName) -> Result<Launched, NodeError> {
        self.resume_with(name, None).await
    }

    /// Resumes a suspended microVM with other ways out.
    pub async fn resume_with(
        &self,
        name: &MachineName,
        egress: Option<Egress>,
    ) -> Result<Launched, NodeError> {
        if self.machine(name).is_ok() {
            // Its layer may still lie where it was sealed.
            self.settle(name).await?;
        }
        let SnapshotInfo { id, record, .. } = self.suspended(name)?;
        let request = CloneRequest {
            egress,
            ..CloneRequest::new(id)
        };
        let directory = NewDirectory::make(self, name)?;
        let launched = self
            .restore(directory, &request, record.clone(), Identity::Kept)
            .await?;
        if let Err(error) = self.mark_as_step(id, record) {
            // As long as the layer says that it is the microVM, nothing else may be.
            launched.machine.terminate().await?;
            return Err(error);
        }
        if let Err(error) = self.drop_unneeded_steps() {
            tracing::warn!(%error, %name, "a layer that nobody needs stays for now");
        }
        Ok(launched)
    }

    /// What clones of a snapshot bring in in the background from now on.
    pub fn set_prefetch(&self, id: SnapshotId, pages: &[PageRange]) -> Result<(), NodeError> {
        // The snapshot's own record says whether there is one.
        self.snapshot_record(id)?;
        let pairs: Vec<(u64, u64)> = pages
            .iter()
            .map(|range| (range.first, range.count))
            .collect();
        record::write(&self.layout().snapshot(id).join(PREFETCH_FILE), &pairs)
    }

    /// What clones of a snapshot bring in in the background; nothing when that was never said.
    pub fn prefetch(&self, id: SnapshotId) -> Result<Vec<PageRange>, NodeError> {
        let pairs: Option<Vec<(u64, u64)>> =
            record::read(&self.layout().snapshot(id).join(PREFETCH_FILE))?;
        let range = |(first, count)| PageRange { first, count };
        Ok(pairs.unwrap_or_default().into_iter().map(range).collect())
    }

    /// Deletes a snapshot that nothing needs.
    pub fn delete_snapshot(&self, id: SnapshotId) -> Result<(), NodeError> {
        if let Some((machine, _)) = self
            .machines()?
            .into_iter()
            .find(|(_, record)| needs(record, id))
        {
            return Err(NodeError::InUse {
                id,
                machine: machine.to_string(),
            });
        }
        if let Some((machine, _)) = self.origins()?.into_iter().find(|(_, of)| *of == id) {
            return Err(NodeError::InUse {
                id,
                machine: machine.to_string(),
            });
        }
        if let Some(child) = self.snapshots()?.into_iter().find(|child| child.needs(id)) {
            return Err(NodeError::HasChildren {
                id,
                child: child.id,
            });
        }
        remove_all(&self.layout().snapshot(id))?;
        self.drop_unneeded_steps()
    }

    /// Finishes what a crash cut in two and removes what belongs to nobody.
    pub async fn sweep(&self) -> Result<Swept, NodeError> {
        let mut swept = Swept::default();
        for entry in names(&self.layout().machines())? {
            let Ok(name) = entry.parse::<MachineName>() else {
                continue;
            };
            if !self.layout().machine(&name).exists() {
                continue;
            }
            match self.settle(&name).await {
                Ok(true) => {}
                Ok(false) => swept.machines.push(entry),
                // A full disk, for one: whoever does something with this microVM settles it, and the others need not wait.
                Err(error) => tracing::error!(%error, %name, "a microVM is not settled"),
            }
        }
        for entry in names(&self.layout().snapshots())? {
            if entry.parse::<SnapshotId>().is_err() {
                let path = self.layout().snapshots().join(entry);
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
                swept.partial_snapshots.push(path);
            }
        }
        if let Some(groups) = &self.options().groups {
            groups.sweep(|name| self.layout().machine(name).exists());
        }
        self.drop_unneeded_steps()?;
        Ok(swept)
    }

    /// Finishes or undoes what a crash cut in two of one microVM, and removes it when its process is gone.
    /// Answers whether it runs. A suspended one is not touched.
    pub async fn settle(&self, name: &MachineName) -> Result<bool, NodeError> {
        let is_running = match self.machine(name) {
            Ok(mut machine) => {
                let is_running = machine.settle().await?;
                if !is_running {
                    self.release(machine.record().process);
                }
                is_running
            }
            // A directory without a record: its launch did not get as far as a process.
            Err(NodeError::UnknownMachine(_)) => false,
            Err(error) => return Err(error),
        };
        if is_running {
            self.confirm_resumed(name)?;
        } else if self.layout().machine(name).exists() {
            self.remove_machine(name)?;
        }
        Ok(is_running)
    }

    /// Removes a microVM with everything that belongs to it, in whatever condition. Of nothing, it is a success.
    pub async fn erase(&self, name: &MachineName) -> Result<(), NodeError> {
        match self.machine(name) {
            Ok(machine) => machine.terminate().await?,
            Err(NodeError::UnknownMachine(_)) => self.remove_machine(name)?,
            Err(error) => return Err(error),
        }
        match self.suspended(name) {
            // A fork may stand on it; else it goes at once.
            Ok(SnapshotInfo { id, record, .. }) => self.mark_as_step(id, record)?,
            Err(NodeError::UnknownMachine(_)) => {}
            Err(error) => return Err(error),
        }
        self.drop_unneeded_steps()
    }

    /// A running microVM is not suspended, even if the crash came before that was written down.
    fn confirm_resumed(&self, name: &MachineName) -> Result<(), NodeError> {
        match self.suspended(name) {
            Ok(SnapshotInfo { id, record, .. }) => self.mark_as_step(id, record),
            Err(NodeError::UnknownMachine(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn snapshot_record(&self, id: SnapshotId) -> Result<SnapshotRecord, NodeError> {
        record::read(&self.layout().snapshot(id).join(NODE_FILE))?
            .ok_or_else(|| NodeError::UnknownSnapshot(id.to_string()))
    }

    pub(crate) fn remove_machine(&self, name: &MachineName) -> Result<(), NodeError> {
        remove_all(&self.layout().machine(name))
    }

    /// Removes snapshots that a microVM passed through and that nothing stands on any more.
    pub(crate) fn drop_unneeded_steps(&self) -> Result<(), NodeError> {
        loop {
            let snapshots = self.snapshots()?;
            // In this order: what waits for a fork stands in the fork's record before it ceases to wait.
            let (origins, machines) = (self.origins()?, self.machines()?);
            let is_needed = |id| {
                origins.iter().any(|(_, of)| *of == id)
                    || machines.iter().any(|(_, record)| needs(record, id))
                    || snapshots.iter().any(|other| other.needs(id))
            };
            let unneeded: HashSet<SnapshotId> = snapshots
                .iter()
                .filter(|step| step.record.purpose == Purpose::Step && !is_needed(step.id))
                .map(|step| step.id)
                .collect();
            if unneeded.is_empty() {
                return Ok(());
            }
            for id in unneeded {
                // Two callers may find the same one.
                remove_all(&self.layout().snapshot(id))?;
            }
        }
    }

    /// Waits for a child so that it does not stay a zombie while this node lives.
    pub(crate) fn collect(&self, process: ProcessRecord, mut child: tokio::process::Child) {
        // Not the node itself, which may be closed before the child ends.
        let node = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            // How it ended is told by its control socket and its log.
            let _ = child.wait().await;
            if let Some(node) = node.upgrade() {
                Self(node).release(process);
            }
        });
    }

    fn mark_as_step(&self, id: SnapshotId, record: SnapshotRecord) -> Result<(), NodeError> {
        let step = SnapshotRecord {
            purpose: Purpose::Step,
            ..record
        };
        record::write(&self.layout().snapshot(id).join(NODE_FILE), &step)
    }
}

impl SnapshotInfo {
    /// Whether this snapshot cannot be restored without `id`.
    fn needs(&self, id: SnapshotId) -> bool {
        let name = id.to_string();
        let own_disk = |snapshot: &String| *snapshot == name && self.id != id;
        self.ancestors.contains(&id)
            || self
                .record
                .disks
                .iter()
                .any(|disk| disk.sealed.iter().any(|(of, _)| own_disk(of)))
    }
}

/// Whether a running microVM stands on `id`, with memory or a disk. Its parent's ancestors are kept by the
/// parent.
fn needs(record: &MachineRecord, id: SnapshotId) -> bool {
    let name = id.to_string();
    record.parent.as_ref() == Some(&name)
        || record
            .disks
            .iter()
            .any(|disk| disk.sealed.iter().any(|(of, _)| *of == name))
}

/// Removes a directory; of none, it is a success.
fn remove_all(path: &Path) -> Result<(), NodeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Result<Vec<String>, NodeError> {
    let entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed("list", directory))?;
    names.sort_unstable();
    Ok(names)
}
