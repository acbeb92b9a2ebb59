//! The VMM protocol: what the node asks of a `hearth-vmm` process.
//!
//! The VMM is started with one connected Unix stream socket. Its node sends [`Request`]s. The VMM answers each
//! with one [`Message::Reply`] that carries the id of the request, to the client that asked. Replies need not come
//! in the order of the requests. [`Message::Event`]s go to every client when something happens without a request.
//! The instance keeps running when a socket closes. A restarted node connects to the VMM's listening socket.
//! A VMM serves [`CLIENTS_MAX`] clients at a time.
//!
//! ```text
//!            Boot / Restore                 Pause
//! (no machine) ------------> running <-----------------> paused
//!                              |            Resume          |
//!                              |---- Snapshot, Suspend -----|
//!                              v                            v
//!                          Terminate            sealing: Status and Terminate are served,
//!                                               everything else is answered `Busy`
//!                                                  |                    |
//!                                   after Snapshot, or a failure   after Suspend
//!                                                  v                    v
//!                                          running or paused      process exits
//! ```
//!
//! Every frame of this protocol begins with its version, in both directions ([`Request::version`],
//! [`Envelope::version`]), so that each side can tell another version from garbage. The frames of a VMM of version
//! 1 began with the number of a variant, which was 0 or 1: [`version_of`] takes both for version 1.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::frame;

/// Version of this protocol. A VMM and its node differ after an upgrade of the node, until the VMM ends.
pub const PROTOCOL_VERSION: u16 = 2;

/// Clients that a VMM serves at a time: a node, its successor, and one observer beside each. One more client
/// replaces the client that has been idle for the longest time.
pub const CLIENTS_MAX: usize = 4;

/// Number of a request, chosen by the client. A client whose numbers are random can find the outcome of its
/// request later, through another connection: see [`Status::last_seal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A request with the protocol version of the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL_VERSION`] of the node; always the first member.
    pub version: u16,
    /// The id that the reply will carry.
    pub id: RequestId,
    /// What to do.
    pub command: Command,
}

impl Request {
    /// A request in the current version.
    pub fn new(id: RequestId, command: Command) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            id,
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
    /// Writes a snapshot. [`Command::Status`] and [`Command::Terminate`] are served meanwhile. The instance is paused
    /// until its memory is written. Then it runs again (or stays paused, if it was) while the snapshot is made
    /// durable. Its writable disks continue on new overlays above the sealed ones. The snapshot owns the sealed
    /// overlays as `disk-<n>.qcow2`, counted over the writable disks.
    Snapshot(SnapshotSpec),
    /// Pauses the instance, writes a snapshot, makes it durable, answers, and ends the process. After a failure the
    /// instance is as it was before.
    Suspend(SnapshotSpec),
    /// Sets the size of the balloon.
    SetBalloon {
        /// MiB that the guest gives back.
        target_mib: u32,
    },
    /// What the machine is doing. Answered at any time.
    Status,
    /// Which pages of memory have been touched since it was made: what a clone that does the same will need.
    TouchedPages,
    /// Ends the microVM at once and the process with it, also in the middle of a snapshot.
    Terminate,
}

/// The byte that a node sends before all requests to a VMM that it starts with `--slot`. Its ancillary data
/// (`SCM_RIGHTS`) holds the namespaces that the VMM enters (network, IPC, UTS) and the TAP of the network namespace.
pub const SLOT_MARK: u8 = b'S';

/// Descriptor of that TAP: the next after the standard descriptors and the namespaces.
pub const SLOT_TAP_FD: i32 = 6;

/// A machine to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSpec {
    /// Uncompressed ELF kernel with a PVH entry, or a bzImage for the 64-bit boot protocol.
    pub kernel: PathBuf,
    /// Initial ramdisk.
    pub initramfs: Option<PathBuf>,
    /// Kernel command line, appended to the VMM's own parameters.
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
    /// Ids of the snapshots of the chain whose checksums were verified since they were sealed: the VMM does not
    /// verify their memory again.
    pub verified: Vec<[u8; 32]>,
    /// Host resources of the devices; the set of devices must be that of the snapshot.
    pub devices: DeviceSpec,
    /// New generation id (VMGenID); `None` keeps the old one (same microVM, resumed after a failed suspend).
    pub generation_id: Option<u128>,
    /// Page ranges to bring in in the background, in this order.
    pub prefetch: Vec<PageRange>,
    /// Whether the machine runs at once, or stays paused.
    pub run: bool,
    /// Whether the guest's clocks include the time since the snapshot.
    pub clock: GuestClock,
}

/// What a guest's CLOCK_MONOTONIC and CLOCK_BOOTTIME do between a snapshot and a restore of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestClock {
    /// They continue where they stood: a clone of a template was never asleep.
    Stands,
    /// They move on with the host's wall clock: the guest was asleep. They stay where they stood if the host's wall
    /// clock was set back.
    MovesOn,
}

/// A run of guest pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRange {
    /// First page, counted in 4 KiB from the start of RAM (without the hole below 4 GiB).
    pub first: u64,
    /// Number of pages.
    pub count: u64,
}

/// Most ranges of an answer to `TouchedPages`. If there are more, the smallest gaps between them are closed. The
/// limit is there because every launch of a version reads its list.
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
    /// Where serial output goes. `None` discards it.
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
    /// In a restore: this image replaces the one of the snapshot, perhaps with another size. The guest must have read
    /// neither of the two. The device tells it the new size.
    pub is_replaced: bool,
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
    /// A guest's connection to host port P is connected to `<path>_<P>`. Not longer than a Unix address (unix(7)).
    /// A path without a directory is in the first directory that the VMM may write.
    pub path: PathBuf,
}

/// A bounded log of what the guest writes to its serial port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialLogSpec {
    /// The file. When it is full the VMM overwrites it from the beginning.
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
    /// For a snapshot of an instance that keeps running: where its writable disks continue, in the order of the
    /// writable disks. Empty for a suspend. These files exist afterwards if and only if the disks continue there,
    /// also when the snapshot failed.
    pub next_overlays: Vec<PathBuf>,
    /// For each writable disk, how many of the images below its overlay, nearest first, are copied into the overlay
    /// before it is sealed. The remaining images are the backing chain of the sealed file, and of the disk of an
    /// instance that keeps running. The last image is never copied. Empty when nothing is folded.
    pub fold: Vec<u16>,
}

/// Which part of the memory a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotKind {
    /// Every page that was ever touched; has no parent.
    Full,
    /// The pages that became private since the parent.
    Layer,
    /// The pages that differ from the full snapshot at the bottom of the chain, which becomes the only ancestor.
    Merged,
}

/// A frame from a VMM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`PROTOCOL_VERSION`] of the VMM; always the first member.
    pub version: u16,
    /// What it says.
    pub message: Message,
}

impl Envelope {
    /// A message in the current version.
    pub fn new(message: Message) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            message,
        }
    }
}

/// The version of the VMM that sent a frame with this body. `None` for a body that begins with no number.
pub fn version_of(body: &[u8]) -> Option<u16> {
    // Version 1 sent no version: its frames began with the number of the variant, 0 for a reply and 1 for an event.
    frame::version(body).map(|version| version.max(1))
}

/// What a VMM sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Answer to a request of this client.
    Reply {
        /// The id of the request.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Something happened by itself.
    Event(Event),
}

/// Answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The request succeeded and has no other answer.
    Done,
    /// To `Boot` and `Restore`.
    Started(Started),
    /// To `Snapshot` and `Suspend`: it is durable.
    Snapshot(SnapshotSummary),
    /// To `Status`.
    Status(Status),
    /// To `TouchedPages`: ascending and apart, at most [`TOUCHED_RANGES_MAX`].
    Pages(Vec<PageRange>),
    /// The request failed.
    Failed {
        /// Whether the machine is as it was before the request.
        machine_intact: bool,
        /// What failed and why, a sentence for a person.
        reason: String,
        /// To `Snapshot` and `Suspend`: why this kind of snapshot is impossible, if another kind is possible.
        refusal: Option<Refusal>,
    },
    /// The request is refused and changed nothing: a snapshot is being sealed. Ask again when it is sealed;
    /// [`Command::Status`] tells at any time.
    Busy(Sealing),
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

/// When the steps of a start ended, in microseconds since the VMM read the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Memory was mapped.
    pub memory_us: u64,
    /// The virtual machine and its devices were made.
    pub machine_us: u64,
    /// The vCPUs ran.
    pub running_us: u64,
}

/// Identity and sizes of a sealed snapshot.
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
    /// How long the instance was paused, in microseconds (until now, if it is still paused).
    pub paused_us: u64,
}

/// What a machine is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its phase.
    pub phase: Phase,
    /// Resident bytes of guest memory that only this process has. `None` while memory is being written to a
    /// snapshot.
    pub private_guest_bytes: Option<u64>,
    /// Streams that are open through the vsock device; while memory is being written to a snapshot, those that
    /// were open before.
    pub vsock_streams: u64,
    /// Faults of the guest's device drivers so far.
    pub device_faults: u64,
    /// The snapshot that is being sealed.
    pub sealing: Option<Sealing>,
    /// The outcome of the last snapshot that this process was asked for, for a client that missed its reply. A
    /// suspend that succeeded is the end of the process: the sealed directory is its outcome.
    pub last_seal: Option<LastSeal>,
}

/// A snapshot that is being sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealing {
    /// The request that asked for it.
    pub request: RequestId,
    /// [`SnapshotSpec::directory`] of that request.
    pub directory: PathBuf,
    /// Whether the process ends with it.
    pub is_suspend: bool,
    /// For how long already, in microseconds.
    pub since_us: u64,
}

/// A snapshot that was sealed, or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeal {
    /// The request that asked for it.
    pub request: RequestId,
    /// [`SnapshotSpec::directory`] of that request.
    pub directory: PathBuf,
    /// Whether the process was to end with it.
    pub is_suspend: bool,
    /// What became of it.
    pub outcome: SealOutcome,
}

/// What became of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealOutcome {
    /// It is durable and in its directory.
    Sealed(SnapshotSummary),
    /// There is none.
    Failed {
        /// Whether the machine is as it was before.
        machine_intact: bool,
        /// What failed and why, a sentence for a person.
        reason: String,
    },
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

/// What a VMM reports without a request.
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

/// Exit statuses of the VMM's process. A node that never hears an [`Event`] knows by them how a microVM ended; a number is all that
/// it takes of a VMM that may have been taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum VmmExit {
    /// The guest shut down, or the node asked for the end.
    Orderly = 0,
    /// The process could not begin: its sandbox, or its control socket.
    NotStarted = 1,
    /// KVM could not go on.
    Kvm = 2,
    /// Too many faults of devices.
    DeviceFaults = 3,
    /// A triple fault.
    TripleFault = 4,
    /// A panic, as Rust's own.
    Panic = 101,
}

impl VmmExit {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Orderly,
        Self::NotStarted,
        Self::Kvm,
        Self::DeviceFaults,
        Self::TripleFault,
        Self::Panic,
    ];

    /// The one with this number.
    #[must_use]
    pub fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| *exit as i32 == code)
    }
}

impl From<&EndReason> for VmmExit {
    fn from(reason: &EndReason) -> Self {
        match reason {
            EndReason::GuestShutdown | EndReason::Terminated | EndReason::Suspended => {
                Self::Orderly
            }
            EndReason::Kvm(_) => Self::Kvm,
            EndReason::DeviceMisuse { .. } => Self::DeviceFaults,
            EndReason::TripleFault => Self::TripleFault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VMM of one release may end under a node of a later one.
    #[test]
    fn exit_statuses_keep_their_numbers() {
        let codes = VmmExit::ALL.map(|exit| exit as u8);
        assert_eq!(codes, [0, 1, 2, 3, 4, 101]);
        for exit in VmmExit::ALL {
            assert_eq!(VmmExit::of_code(i32::from(exit as u8)), Some(exit));
        }
        assert_eq!(VmmExit::of_code(77), None);
        let misuse = EndReason::DeviceMisuse {
            device: "vda".to_owned(),
            fault: "a loop".to_owned(),
        };
        assert_eq!(VmmExit::from(&misuse), VmmExit::DeviceFaults);
    }

    /// The answer of a VMM of version 1 to a request of a later version, byte for byte: `Message::Reply` (0),
    /// `Reply::Failed` (5), `machine_intact`, a sentence.
    const REFUSAL_OF_VERSION_1: &[u8] =
        b"\x00\x05\x01\x3fthe request has protocol version 2, this VMM speaks 1 and no other";

    /// The event of a VMM of version 1 when the instance ends: `Message::Event` (1), `Event::Ended` (0),
    /// `EndReason::Suspended` (5).
    const EVENT_OF_VERSION_1: &[u8] = b"\x01\x00\x05";

    #[test]
    fn frames_of_each_version_are_told_apart() {
        assert_eq!(version_of(REFUSAL_OF_VERSION_1), Some(1));
        assert_eq!(version_of(EVENT_OF_VERSION_1), Some(1));
        let message = Message::Reply {
            id: RequestId(7),
            reply: Reply::Done,
        };
        let ours = frame::encode(&Envelope::new(message)).unwrap();
        assert_eq!(
            version_of(&ours[frame::PREFIX_BYTES..]),
            Some(PROTOCOL_VERSION)
        );
        assert_eq!(version_of(&[3, 0xff, 0xff]), Some(3));
        assert_eq!(version_of(&[]), None);
    }

    /// A VMM of version 1 reads the version of a request before the rest, and answers a sentence.
    #[test]
    fn a_request_begins_with_its_version() {
        let request = Request::new(RequestId(u64::MAX), Command::Status);
        let bytes = frame::encode(&request).unwrap();
        assert_eq!(
            frame::version(&bytes[frame::PREFIX_BYTES..]),
            Some(PROTOCOL_VERSION)
        );
    }
}
