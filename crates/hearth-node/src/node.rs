//! The node: its parts and options, and finding, deleting and sweeping of instances and snapshots.

pub(crate) mod chain;
pub(crate) mod fork;
pub(crate) mod holdings;
pub(crate) mod instance;
pub(crate) mod launch;
mod lent;
pub(crate) mod machine;
mod sealed;
pub(crate) mod warm;

use std::fs::{self, Permissions};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_net::Network;
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::StartSpec;
use hearth_wire::vmm::{PageRange, RateLimit, SnapshotSummary};
use rustix::process::geteuid;
use tokio::sync::oneshot;

use crate::agent::AgentClient;
use crate::cgroup::Groups;
use crate::damage::{self, Damage};
use crate::directory::names;
use crate::error::{NodeError, failed};
use crate::index::SnapshotInfo;
use crate::jail::{DEFAULT_USERS, Users};
use crate::layout::{Layout, MachineName};
use crate::node::chain::ChainLimits;
use crate::node::holdings::{Held, Holdings, Reserved};
use crate::node::instance::{Instance, Settled};
use crate::node::launch::Launched;
use crate::node::machine::Machine;
use crate::record::{self, MachineRecord, PREFETCH_FILE, ProcessRecord, Purpose};
use crate::records::Records;
use crate::socket;
use crate::turns::Turns;
use crate::vmm_end::{Ends, VmmEnd};
use crate::vmm_log::VmmLog;
use crate::write_lock;

/// How long to wait until it is known how an ended process ended: the child has to be reaped and its log written.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Configuration of a node.
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
    /// Networks for machines. `None`: machines have no network card.
    pub network: Option<Network>,
    /// Control groups that limit the machines. `None`: there are no limits.
    pub groups: Option<Groups>,
    /// Range of the users of VMMs. Each VMM gets its own user, root directory and PID namespace. `None`, as when this
    /// process is not root: VMMs run as this process's user.
    pub users: Option<RangeInclusive<u32>>,
    /// Rate limits of each machine's disks and network.
    pub limits: DeviceLimits,
    /// Limits beyond which snapshot chains are folded.
    pub chain: ChainLimits,
}

/// Rate limits of one machine's disks and network. `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Limit of each virtual disk, and of the machine's use of the host's disk if control groups can limit that
    /// ([`crate::limitable_device`]).
    pub disk: Option<RateLimit>,
    /// Limit of each direction of the network card.
    pub network: Option<RateLimit>,
}

impl NodeOptions {
    /// Options with defaults. The waits fit real hardware and, with room to spare, the emulated host (twenty times
    /// slower).
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
            chain: ChainLimits::default(),
        }
    }

    /// Replaces the range of users, if VMMs have users of their own.
    #[must_use]
    pub fn with_users(self, range: RangeInclusive<u32>) -> Self {
        Self {
            users: self.users.map(|_| range),
            ..self
        }
    }
}

/// A node: manages a data directory and the instances in it.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: NodeOptions,
    records: Arc<Records>,
    turns: Turns,
    users: Option<Users>,
    holdings: Holdings,
    ends: Ends,
    /// Held while a template of a booted guest is made: they are made one at a time.
    booting: tokio::sync::Mutex<()>,
}

/// The state of an instance on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// An operation on it is under way; its state is known only afterwards.
    Busy,
    /// A process runs it.
    Runs,
    /// It lies on disk, complete, without a process.
    Suspended,
    /// The node has no such instance.
    Gone,
}

/// What [`Node::sweep`] found and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Instances whose process was gone.
    pub machines: Vec<String>,
    /// Directories of snapshots that were never finished.
    pub partial_snapshots: Vec<PathBuf>,
}

impl Node {
    /// Opens a data directory, which is created if it is missing, and reads all records. Unreadable instances and
    /// snapshots are set aside ([`Node::damaged`]).
    ///
    /// # Errors
    ///
    /// The directory itself cannot be used.
    pub fn open(options: NodeOptions) -> Result<Self, NodeError> {
        let data = std::path::absolute(&options.data).map_err(failed("resolve", &options.data))?;
        let layout = Layout::new(data);
        for directory in [layout.machines(), layout.snapshots(), layout.empty()] {
            fs::create_dir_all(&directory).map_err(failed("make the directory", &directory))?;
            // Behind them everything is readable, for VMMs that are shown one directory of it.
            fs::set_permissions(&directory, Permissions::from_mode(0o700))
                .map_err(failed("close", &directory))?;
        }
        let node = Self::new(options, Records::load(layout)?);
        for (name, record) in node.machines() {
            node.adopt(&name, &record);
        }
        Ok(node)
    }

    /// Opens a data directory that another process owns, as `hearth up` does while it runs. The result may be used to
    /// list, read and talk to guests, but not to change an instance or a snapshot.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn look_at(options: NodeOptions) -> Result<Self, NodeError> {
        let data = std::path::absolute(&options.data).map_err(failed("resolve", &options.data))?;
        let layout = Layout::new(data);
        if !layout.machines().exists() {
            // Nobody has used it yet.
            return Self::open(options);
        }
        Ok(Self::new(options, Records::look(layout)?))
    }

    fn new(options: NodeOptions, records: Records) -> Self {
        let users = options.users.clone().map(Users::new);
        Self(Arc::new(Inner {
            records: Arc::new(records),
            options,
            turns: Turns::default(),
            users,
            holdings: Holdings::default(),
            ends: Ends::default(),
            booting: tokio::sync::Mutex::default(),
        }))
    }

    /// Registers the resources that a process of an earlier node holds, also if the process has ended: settling the
    /// instance releases them.
    fn adopt(&self, name: &MachineName, record: &MachineRecord) {
        let held = Held {
            machine: name.clone(),
            slot: record.network.as_ref().map(|network| network.slot),
            user: record.user,
        };
        self.hold(record.process, held);
        if !record.process.is_alive() {
            return;
        }
        if let (Some(users), Some(user)) = (&self.0.users, record.user) {
            users.adopt(name, user);
        }
        // Its guest may ask for names again.
        if let (Some(networks), Some(network)) = (&self.options().network, &record.network)
            && let Err(error) = networks.adopt(network.slot, record.process.pid, &network.egress)
        {
            tracing::warn!(%error, %name, "cannot adopt the network of a running machine");
        }
    }

    /// Reserves a user for the process of a launch, if VMMs have users of their own, together with its network slot.
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

    /// Registers the resources of the host that a process holds.
    pub(crate) fn hold(&self, process: ProcessRecord, held: Held) {
        self.0.holdings.add(process, held);
    }

    /// Releases what an ended process held: its group, its network and its user. Idempotent: the first caller does the work,
    /// later callers wait for it. Blocks.
    pub(crate) fn release(&self, process: ProcessRecord) {
        self.0.holdings.give_back(process, |held| {
            if let Some(groups) = &self.options().groups {
                groups.remove(&held.machine);
            }
            self.give_back(&held);
        });
    }

    /// Releases resources that no process uses: not any more, or not yet.
    pub(crate) fn give_back(&self, held: &Held) {
        if let (Some(networks), Some(slot)) = (&self.options().network, held.slot) {
            networks.release(slot);
        }
        if let (Some(users), Some(user)) = (&self.0.users, held.user) {
            users.give_back(&held.machine, user);
        }
    }

    /// The paths of the data directory.
    pub fn layout(&self) -> &Layout {
        self.0.records.layout()
    }

    pub(crate) fn options(&self) -> &NodeOptions {
        &self.0.options
    }

    pub(crate) fn booting(&self) -> &tokio::sync::Mutex<()> {
        &self.0.booting
    }

    pub(crate) fn records(&self) -> &Arc<Records> {
        &self.0.records
    }

    /// Runs a blocking operation on the records, off the runtime's threads.
    pub(crate) async fn with_records<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Records>) -> T + Send + 'static,
    ) -> T {
        let records = Arc::clone(&self.0.records);
        match tokio::task::spawn_blocking(move || work(&records)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it whoever waits.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Runs an operation on an instance when it is its turn, in a task of its own: it continues if the caller is
    /// dropped.
    pub(crate) async fn in_turn<T, F>(
        &self,
        name: &MachineName,
        operation: impl FnOnce(Instance) -> F + Send + 'static,
    ) -> Result<T, NodeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, NodeError>> + Send + 'static,
    {
        let (node, name) = (self.clone(), name.clone());
        let task = tokio::spawn(async move {
            let turn = node.0.turns.take(&name).await;
            operation(Instance { node, turn }).await
        });
        task.await.map_err(|_| NodeError::Panicked)?
    }

    /// Same as [`Self::in_turn`], for operations that create an instance: the operation is undone if the caller is
    /// dropped.
    pub(crate) async fn launch_in_turn<F>(
        &self,
        name: &MachineName,
        launch: impl FnOnce(Arc<Instance>) -> F + Send + 'static,
    ) -> Result<Launched, NodeError>
    where
        F: Future<Output = Result<Launched, NodeError>> + Send + 'static,
    {
        let (mut reply, answer) = oneshot::channel();
        let (node, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let turn = node.0.turns.take(&name).await;
            let instance = Arc::new(Instance {
                node: node.clone(),
                turn,
            });
            let launch = launch(Arc::clone(&instance));
            tokio::pin!(launch);
            let outcome = tokio::select! {
                outcome = &mut launch => outcome,
                () = reply.closed() => {
                    // It fails soon without its process, and cleans up after itself.
                    let _removal = node.announce_removal(&name);
                    launch.await
                }
            };
            if let Err(Ok(launched)) = reply.send(outcome) {
                let name = launched.machine.name().clone();
                if let Err(error) = instance.remove().await {
                    tracing::warn!(%error, %name, "cannot undo a launch whose caller has gone");
                }
            }
        });
        answer.await.map_err(|_| NodeError::Panicked)?
    }

    /// Kills the process of an instance that is to be removed, so that an operation that is under way on it fails soon.
    fn announce_removal(&self, name: &MachineName) -> crate::turns::Removal {
        let removal = self.0.turns.announce_removal(name);
        if let Some(record) = self.records().machine(name) {
            record.process.kill();
        }
        removal
    }

    /// The instance of that name that has a process, or had one. Reads the index only.
    pub fn machine(&self, name: &MachineName) -> Result<Machine, NodeError> {
        let record = self.records().machine(name);
        let record = record.ok_or_else(|| NodeError::UnknownMachine(name.to_string()))?;
        Ok(Machine::new(self.clone(), name.clone(), record))
    }

    /// The agent of an instance, whether or not it runs.
    pub fn agent(&self, name: &MachineName) -> AgentClient {
        AgentClient::new(self.layout().own(name).join(socket::VSOCK))
    }

    /// All instances that have a record, running or not. Reads the index only.
    pub fn machines(&self) -> Vec<(MachineName, Arc<MachineRecord>)> {
        self.records().machines()
    }

    /// The names of all instances that have a directory, also of those whose launch has not written a record yet.
    pub fn names(&self) -> Vec<MachineName> {
        self.records().names()
    }

    /// All snapshots, oldest first. Reads the index only.
    pub fn snapshots(&self) -> Vec<Arc<SnapshotInfo>> {
        self.records().snapshots()
    }

    /// The id of the snapshot whose id begins with `beginning`. Fails if there is none or more than one.
    pub fn find_snapshot(&self, beginning: &str) -> Result<SnapshotId, NodeError> {
        let snapshots = self.snapshots();
        let mut found = snapshots
            .iter()
            .map(|snapshot| snapshot.id)
            .filter(|id| id.to_string().starts_with(beginning));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(NodeError::AmbiguousSnapshot(beginning.to_owned())),
            (None, _) => Err(NodeError::UnknownSnapshot(beginning.to_owned())),
        }
    }

    /// The snapshot with this id. Reads the disk if the index does not have it.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Arc<SnapshotInfo>, NodeError> {
        if let Some(known) = self.records().snapshot(id) {
            return Ok(known);
        }
        let found = self
            .with_records(move |records| records.look_for_snapshot(id))
            .await;
        found.ok_or_else(|| NodeError::UnknownSnapshot(id.to_string()))
    }

    /// The layer that holds a suspended instance.
    pub fn suspended(&self, name: &MachineName) -> Result<Arc<SnapshotInfo>, NodeError> {
        let found = self.records().suspended(name);
        found.ok_or_else(|| NodeError::UnknownMachine(name.to_string()))
    }

    /// Everything that was set aside because it could not be read, oldest first. Lists a directory.
    pub fn damaged(&self) -> Result<Vec<Damage>, NodeError> {
        damage::damaged_in(self.layout().data())
    }

    /// The directory of an instance that was set aside last, if there is one.
    pub async fn damage_of(&self, name: &MachineName) -> Result<Option<Damage>, NodeError> {
        let name = name.to_string();
        self.with_records(move |records| {
            let damaged = damage::damaged_in(records.layout().data())?;
            let of_it = |damage: &Damage| damage.instance.as_ref() == Some(&name);
            Ok(damaged.into_iter().rev().find(of_it))
        })
        .await
    }

    /// The state of an instance. See [`Self::look`].
    pub async fn standing(&self, name: &MachineName) -> Standing {
        let (node, name) = (self.clone(), name.clone());
        self.with_records(move |_| node.look(&name)).await
    }

    /// The state of an instance. Blocks: reads files of its process, and of a snapshot that was not moved into place
    /// yet.
    pub fn look(&self, name: &MachineName) -> Standing {
        if self.0.turns.is_taken(name) {
            return Standing::Busy;
        }
        if let Some(record) = self.records().machine(name) {
            if record.process.is_alive() {
                return Standing::Runs;
            }
            if record.pending == Some(Purpose::Suspended) && self.has_sealed(name) {
                return Standing::Suspended;
            }
        }
        match self.records().suspended(name) {
            Some(_) => Standing::Suspended,
            None => Standing::Gone,
        }
    }

    /// Whether an instance's directory holds a sealed snapshot that only has to be moved into place.
    fn has_sealed(&self, name: &MachineName) -> bool {
        let layout = self.layout();
        let places = [layout.incoming(name), layout.outgoing(name)];
        places
            .iter()
            .any(|place| hearth_snapshot::describe(place).is_ok())
    }

    /// Starts the application of an instance.
    pub(crate) async fn start_application(
        &self,
        name: &MachineName,
        spec: StartSpec,
    ) -> Result<(), NodeError> {
        self.in_turn(name, |instance| async move {
            instance.start_application(spec).await
        })
        .await
    }

    /// Seals a snapshot of an instance, which then continues.
    pub(crate) async fn seal(
        &self,
        name: &MachineName,
        purpose: Purpose,
    ) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.in_turn(
            name,
            move |instance| async move { instance.seal(purpose).await },
        )
        .await
    }

    /// Suspends an instance: when this returns, the snapshot is durable and the process has ended. Continues if the
    /// caller is dropped. After a failure the instance still runs, unless its process has ended.
    pub async fn suspend(
        &self,
        name: &MachineName,
    ) -> Result<(SnapshotId, SnapshotSummary), NodeError> {
        self.in_turn(name, |instance| async move { instance.suspend().await })
            .await
    }

    /// Finishes or undoes an operation on an instance that a crash has interrupted, and removes the instance if its
    /// process has ended. Answers whether it runs. No-op for a suspended instance.
    pub async fn settle(&self, name: &MachineName) -> Result<bool, NodeError> {
        let settled = self.in_turn(name, |instance| async move { instance.settle().await });
        Ok(settled.await? == Settled::Runs)
    }

    /// Removes an instance with everything that belongs to it, in any state. Interrupts an operation that is under way
    /// on it. Succeeds if the instance does not exist.
    pub async fn erase(&self, name: &MachineName) -> Result<(), NodeError> {
        let removal = self.announce_removal(name);
        self.in_turn(name, |instance| async move {
            let _removal = removal;
            instance.remove().await
        })
        .await
    }

    /// Same as [`Self::erase`], but keeps one disk.
    pub(crate) async fn erase_keeping(
        &self,
        name: &MachineName,
        serial: &str,
        kept: &Path,
    ) -> Result<(), NodeError> {
        let (serial, kept) = (serial.to_owned(), kept.to_owned());
        self.in_turn(name, |instance| async move {
            instance.remove_keeping(serial, kept).await
        })
        .await
    }

    /// Sets aside a suspended instance whose snapshot is damaged, so that its files can be examined.
    pub async fn set_aside(&self, name: &MachineName, reason: String) -> Result<(), NodeError> {
        self.in_turn(name, |instance| async move {
            instance
                .with_files(move |records, name| {
                    let Some(info) = records.suspended(name) else {
                        return Ok(());
                    };
                    let name = name.to_string();
                    records.set_aside(&info, &NodeError::Damaged { name, reason })
                })
                .await
        })
        .await
    }

    /// Sets the pages that clones of a snapshot prefetch from now on.
    pub async fn set_prefetch(&self, id: SnapshotId, pages: &[PageRange]) -> Result<(), NodeError> {
        self.snapshot(id).await?;
        let pairs: Vec<(u64, u64)> = pages
            .iter()
            .map(|range| (range.first, range.count))
            .collect();
        let path = self.layout().snapshot(id).join(PREFETCH_FILE);
        self.with_records(move |_| record::write(&path, &pairs))
            .await
    }

    /// The pages that clones of a snapshot prefetch; empty if they were never set.
    pub async fn prefetch(&self, id: SnapshotId) -> Result<Vec<PageRange>, NodeError> {
        let path = self.layout().snapshot(id).join(PREFETCH_FILE);
        let pairs: Option<Vec<(u64, u64)>> =
            self.with_records(move |_| record::read(&path)).await?;
        let range = |(first, count)| PageRange { first, count };
        Ok(pairs.unwrap_or_default().into_iter().map(range).collect())
    }

    /// Deletes a snapshot. Fails if an instance, another snapshot or an operation uses it.
    pub async fn delete_snapshot(&self, id: SnapshotId) -> Result<(), NodeError> {
        self.with_records(move |records| {
            // Another process may have made it.
            records.look_for_snapshot(id);
            records.remove_snapshot(id)?;
            records.drop_idle_steps()
        })
        .await
    }

    /// Finishes or undoes operations that a crash has interrupted, and removes orphaned files. Slow work continues in
    /// the background: an instance whose VMM still seals is [`Standing::Busy`] until that has ended.
    pub async fn sweep(&self) -> Result<Swept, NodeError> {
        let mut swept = Swept::default();
        for name in self.names() {
            let record = self.records().machine(&name);
            let is_busy =
                record.is_some_and(|record| record.pending.is_some() && record.process.is_alive());
            if is_busy {
                self.settle_later(name).await;
                continue;
            }
            match self.settle(&name).await {
                Ok(true) => {}
                Ok(false) => swept.machines.push(name.to_string()),
                // A full disk, for one: whoever does something with this instance settles it, and the others need not wait.
                Err(error) => tracing::error!(%error, %name, "cannot settle a microVM"),
            }
        }
        let groups = self.options().groups.clone();
        let partial = self.with_records(move |records| {
            if let Some(groups) = groups {
                groups.sweep(|name| records.has_directory(name));
            }
            records.drop_idle_steps()?;
            remove_partial(records.layout())
        });
        swept.partial_snapshots = partial.await?;
        Ok(swept)
    }

    /// Takes the turn of an instance at once and settles it in a task.
    async fn settle_later(&self, name: MachineName) {
        let turn = self.0.turns.take(&name).await;
        let node = self.clone();
        tokio::spawn(async move {
            let settled = Instance { node, turn }.settle().await;
            if let Err(error) = settled {
                tracing::error!(%error, %name, "cannot settle a microVM");
            }
        });
    }

    /// How an ended process ended; `None` if an earlier node started it.
    pub async fn end_of(&self, process: ProcessRecord) -> Option<VmmEnd> {
        self.0.ends.of(process, END_LIMIT).await
    }

    /// Reaps a child when it ends, so that it does not stay a zombie, and registers how it ended.
    pub(crate) fn collect(
        &self,
        name: &MachineName,
        process: ProcessRecord,
        mut child: tokio::process::Child,
        log: VmmLog,
    ) {
        // Not the node itself, which may be closed before the child ends.
        let (node, name) = (Arc::downgrade(&self.0), name.clone());
        tokio::spawn(async move {
            let status = child.wait().await;
            log.written().await;
            let Some(node) = node.upgrade().map(Self) else {
                return;
            };
            let work = node.clone();
            let settle = move |_: &Arc<Records>| {
                if let Ok(status) = status {
                    let groups = work.options().groups.as_ref();
                    let was_out_of_memory =
                        groups.is_some_and(|groups| groups.was_out_of_memory(&name));
                    let end = VmmEnd::of(status, was_out_of_memory);
                    work.0.ends.add(process, end);
                }
                work.release(process);
            };
            node.with_records(settle).await;
        });
    }
}

/// Removes directories of snapshots that were never finished.
fn remove_partial(layout: &Layout) -> Result<Vec<PathBuf>, NodeError> {
    let mut removed = Vec::new();
    for entry in names(&layout.snapshots())? {
        if entry.parse::<SnapshotId>().is_err() {
            let path = layout.snapshots().join(entry);
            write_lock::remove_all(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}
