//! The VMM protocol: what the node asks of a `hearth-vmm` process.
//!
//! The VMM is started with one connected Unix stream socket. Its node sends [`Request`]s; the VMM answers
//! each with one [`Message::Reply`], in order, and sends [`Message::Event`]s in between when something
//! happens by itself. When the socket closes the microVM goes on; a node that comes back connects to the
//! VMM's listening socket (`ListenSpec`) and finds it as it is.
//!
//! ```text
//!            Boot / Restore                 Pause               Snapshot
//! (no machine) ------------> running <-----------------> paused ----------> paused
//!                              |            Resume          | Suspend
//!                              v                            v
//!                          Terminate                layer on disk, process exits
//! ```

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of this protocol; a VMM and its node normally come from the same binary.
pub const PROTOCOL_VERSION: u16 = 1;

/// A request with the protocol version of the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL_VERSION`] of the node; always the first member.
    pub version: u16,
    /// What to do.
    pub command: Command,
}

impl Request {
    /// A request in the current version.
    pub fn new(command: Command) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            command,
        }
    }
}

/// What a node asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Builds a machine and boots it.
    Boot(Box<BootSpec>),
    /// Makes a machine from a sealed snapshot and, unless told otherwise, lets it run.
    Restore(Box<RestoreSpec>),
    /// Stops all vCPUs and quiesces the devices.
    Pause,
    /// Lets a paused machine run again.
    Resume,
    /// Writes a snapshot. The machine stands still until its memory is written, then goes on (or stays paused,
    /// if it was) while the snapshot is made durable. Its writable disks continue on new overlays above the
    /// sealed ones, which the snapshot owns as `disk-<n>.qcow2`, counted over the writable disks.
    Snapshot(SnapshotSpec),
    /// Pauses, writes a layer, makes it durable, answers, and ends the process.
    Suspend(SnapshotSpec),
    /// Sets the size of the balloon.
    SetBalloon {
        /// MiB that the guest gives back.
        target_mib: u32,
    },
    /// What the machine is doing.
    Status,
    /// Which pages of memory have been touched since it was made: what a clone that does the same will need.
    TouchedPages,
    /// Ends the microVM at once and the process with it.
    Terminate,
}

/// The byte that a node sends ahead of all requests to a VMM that it starts with `--slot`: with it come, as ancillary
/// data (`SCM_RIGHTS`), the namespaces to live in (network, IPC, UTS) and the TAP of the first.
pub const SLOT_MARK: u8 = b'S';

/// The number under which that TAP is found: behind the standard descriptors and the namespaces.
pub const SLOT_TAP_FD: i32 = 6;

/// A machine to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSpec {
    /// Uncompressed ELF kernel with a PVH entry, or a bzImage for the 64-bit boot protocol.
    pub kernel: PathBuf,
    /// Initial ramdisk.
    pub initramfs: Option<PathBuf>,
    /// Kernel command line, added to what the VMM needs itself.
    pub command_line: String,
    /// Number of vCPUs, 1-16.
    pub vcpus: u8,
    /// RAM in MiB, 64-32768.
    pub memory_mib: u32,
    /// Devices.
    pub devices: DeviceSpec,
}

/// A snapshot to make a machine from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSpec {
    /// Directory of the snapshot.
    pub snapshot: PathBuf,
    /// Directories of its ancestors, nearest first, down to the full one. Empty for a full snapshot.
    pub ancestors: Vec<PathBuf>,
    /// Ids of members of the chain whose chunks were verified since they were sealed: their memory is not read for it again.
    pub verified: Vec<[u8; 32]>,
    /// Host resources of the devices; the set of devices must be that of the snapshot.
    pub devices: DeviceSpec,
    /// New generation id (VMGenID); `None` keeps the old one (same microVM, resumed after a failed suspend).
    pub generation_id: Option<u128>,
    /// Page ranges to bring in in the background, in this order.
    pub prefetch: Vec<PageRange>,
    /// Whether the machine runs at once, or stays paused.
    pub run: bool,
}

/// A run of guest pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRange {
    /// First page, counted in 4 KiB from the start of RAM (without the hole below 4 GiB).
    pub first: u64,
    /// Number of pages.
    pub count: u64,
}

/// Most ranges of an answer to `TouchedPages`; where there are more, the smallest gaps between them are closed. Every launch
/// of a version reads its list.
pub const TOUCHED_RANGES_MAX: usize = 1024;

/// Host resources of a machine's devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Block devices, in the order in which the guest finds them.
    pub disks: Vec<DiskSpec>,
    /// Network cards.
    pub nets: Vec<NetSpec>,
    /// The vsock device.
    pub vsock: Option<VsockSpec>,
    /// Where serial output goes; without it, nowhere.
    pub serial_log: Option<SerialLogSpec>,
    /// Whether there is a balloon.
    pub balloon: bool,
}

/// One block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// What the guest reads as serial number; at most 20 bytes of ASCII.
    pub serial: String,
    /// The image.
    pub image: DiskImage,
    /// Limits of the device.
    pub rate_limit: Option<RateLimit>,
}

/// The image behind a block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskImage {
    /// A raw file, never written.
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// A qcow2 overlay that this microVM owns, made by the VMM.
    Overlay {
        /// Where the VMM makes the overlay; must not exist.
        path: PathBuf,
        /// Images below it, nearest first; the last is raw, the others are sealed qcow2 files.
        backing: Vec<PathBuf>,
    },
}

/// One network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetSpec {
    /// An open TAP device (with `IFF_VNET_HDR`), inherited by the VMM process under this number.
    pub tap_fd: i32,
    /// Address of the card.
    pub mac: [u8; 6],
    /// Limits of the device, each direction on its own.
    pub rate_limit: Option<RateLimit>,
}

/// The vsock device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockSpec {
    /// Unix socket on which the VMM listens: a client sends `CONNECT <port>\n` and gets `OK <port>\n`.
    /// What the guest opens towards host port P is connected to `<path>_<P>`. Not longer than an address holds (unix(7)); without a
    /// directory it is in the first one that the VMM may write.
    pub path: PathBuf,
}

/// A bounded log of what the guest writes to its serial port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialLogSpec {
    /// The file; it starts again from its beginning when it is full.
    pub path: PathBuf,
    /// Its largest size, in bytes.
    pub limit_bytes: u64,
}

/// Token buckets; `None` is without a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Sustained bytes a second; the bucket holds one second.
    pub bytes_per_second: Option<u64>,
    /// Sustained operations (or packets) a second; the bucket holds one second.
    pub operations_per_second: Option<u64>,
}

/// Where a snapshot goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSpec {
    /// Directory to make; must not exist. It is written under another name and renamed into place when it
    /// is complete and durable.
    pub directory: PathBuf,
    /// All of RAM, or what changed since the snapshot that the machine was made from.
    pub kind: SnapshotKind,
    /// For a snapshot of a machine that goes on: where its writable disks continue, in the order of the
    /// writable disks. Empty for a suspend. These files exist afterwards exactly when the disks continue there,
    /// whatever became of the snapshot.
    pub next_overlays: Vec<PathBuf>,
    /// For each writable disk, how many of the images below its overlay, nearest first, are copied into the overlay before
    /// it is sealed. The sealed file then stands directly on the rest of the images, and so does a machine that goes on. The
    /// last image stays. Empty when nothing is folded.
    pub fold: Vec<u16>,
}

/// What of the memory a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotKind {
    /// Every page that was ever touched; has no parent.
    Full,
    /// The pages that became private since the parent.
    Layer,
    /// The pages that differ from the full snapshot at the bottom of the chain, which becomes the only ancestor.
    Merged,
}

/// What a VMM sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Answer to a request.
    Reply(Reply),
    /// Something happened by itself.
    Event(Event),
}

/// Answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, nothing to tell.
    Done,
    /// To `Boot` and `Restore`.
    Started(Started),
    /// To `Snapshot` and `Suspend`: it is durable.
    Snapshot(SnapshotSummary),
    /// To `Status`.
    Status(Status),
    /// To `TouchedPages`: ascending and apart, at most [`TOUCHED_RANGES_MAX`].
    Pages(Vec<PageRange>),
    /// It was not done.
    Failed {
        /// Whether the machine is as it was before the request.
        machine_intact: bool,
        /// What failed and why, a sentence for a person.
        reason: String,
        /// To `Snapshot` and `Suspend`: what is in the way of this kind of snapshot, where another kind is possible.
        refusal: Option<Refusal>,
    },
}

/// Why there can be no snapshot of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The machine's memory comes from no sealed snapshot. Only a full one is possible.
    NoParent,
    /// The chain has as many layers as it may have. A merged or a full one is possible.
    ChainTooLong,
    /// The map would have too many runs. A merged one may be possible, a full one is.
    Fragmented,
}

/// Times of a start, in microseconds since the VMM read the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Memory was mapped.
    pub memory_us: u64,
    /// The virtual machine and its devices were there.
    pub machine_us: u64,
    /// The vCPUs were let go.
    pub running_us: u64,
}

/// What a snapshot came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSummary {
    /// Identity: BLAKE3 of the header of the state file.
    pub id: [u8; 32],
    /// Bytes of memory pages that were written.
    pub memory_bytes: u64,
    /// Bytes of the state file.
    pub state_bytes: u64,
    /// Runs of the merged map; 0 of a full snapshot.
    pub runs: u64,
    /// How long the machine stood still, in microseconds (so far, when it is still paused).
    pub paused_us: u64,
}

/// What a machine is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its phase.
    pub phase: Phase,
    /// Resident bytes of guest memory that only this process has.
    pub private_guest_bytes: u64,
    /// Streams that are open through the vsock device.
    pub vsock_streams: u64,
    /// Faults of the guest's device drivers that were counted.
    pub device_faults: u64,
}

/// Phases of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not made yet.
    Empty,
    /// vCPUs run.
    Running,
    /// vCPUs stand still.
    Paused,
}

/// What happens by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The microVM ended; the process exits after this.
    Ended(EndReason),
}

/// Why a microVM ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EndReason {
    /// The guest powered off or reset (i8042).
    #[error("the guest shut down")]
    GuestShutdown,
    /// A vCPU met a triple fault.
    #[error("the guest ended by a triple fault")]
    TripleFault,
    /// The guest broke the rules of a device more often than is tolerated.
    #[error("the guest misused its device {device}: {fault}")]
    DeviceMisuse {
        /// The device.
        device: String,
        /// The last fault.
        fault: String,
    },
    /// KVM could not go on.
    #[error("KVM could not run the guest: {0}")]
    Kvm(String),
    /// The node asked for it.
    #[error("terminated")]
    Terminated,
    /// The machine was suspended.
    #[error("suspended")]
    Suspended,
}
