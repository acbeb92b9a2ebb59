//! The agent protocol: what the host asks of `hearth-agent`.
//!
//! The agent listens on vsock port [`AGENT_PORT`] (in the emulated host: on a TCP port). Every connection
//! is one stream, and its first frame, [`Open`], says of which kind:
//!
//! ```text
//! host                         agent
//!  | Open{Control}               |
//!  |---------------------------->|   ControlRequest / ControlReply alternate until either side closes
//!  | Open{Exec(spec)}            |
//!  |---------------------------->|   OpenReply, then ExecInput frames one way, ExecOutput frames the other;
//!  |                             |   the last frame is ExecOutput::Exit
//!  | Open{Proxy{port}}           |
//!  |---------------------------->|   OpenReply, then raw bytes both ways; half-close is passed on
//!  | Open{ReadFile{path}}        |
//!  |---------------------------->|   OpenReply, then Chunk frames; an empty Chunk ends it
//!  | Open{WriteFile{path,mode}}  |
//!  |---------------------------->|   OpenReply, then Chunk frames from the host; an empty Chunk ends it;
//!  |                             |   then one OpenReply: written and synced, or why not
//!  | Open{ReadTree{path}}        |
//!  | Open{WriteTree{path}}       |
//!  |---------------------------->|   as ReadFile and WriteFile, of a directory as a tar archive
//!  | Open{Logs}                  |
//!  |---------------------------->|   OpenReply, then LogLine frames as the application writes
//! ```
//!
//! Only streams of kind `Control` and `Logs` are served while the application is frozen.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of this protocol. The agent refuses another one with [`Refusal::Version`].
pub const PROTOCOL_VERSION: u16 = 1;

/// The vsock port on which the agent of a guest listens.
pub const AGENT_PORT: u32 = 1024;

/// The context id that every guest has; the VMM's vsock device fixes it, clones share it.
pub const GUEST_CID: u64 = 3;

/// Largest piece of bulk data in one frame, in bytes: large enough to amortise the frame, small enough that
/// a stream's buffers stay within what the agent may hold for it.
pub const MAX_CHUNK_BYTES: usize = 64 << 10;

/// First frame of every stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// [`PROTOCOL_VERSION`] of the sender; always the first member.
    pub version: u16,
    /// Proves to the agent of an emulated host that the peer is its owner; `None` on vsock, which only the
    /// host can reach.
    pub token: Option<Token>,
    /// What the stream is for.
    pub stream: Stream,
}

impl Open {
    /// An opening for a guest: current version, no token.
    pub fn new(stream: Stream) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            token: None,
            stream,
        }
    }
}

/// A shared secret; `Debug` does not print it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token(pub [u8; 32]);

impl Token {
    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self
            .0
            .iter()
            .zip(&other.0)
            .fold(0, |difference, (left, right)| difference | (left ^ right));
        // The optimiser must not turn the fold into an early exit.
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The kinds of streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Requests and replies, [`ControlRequest`] and [`ControlReply`].
    Control,
    /// Runs a process beside the application.
    Exec(ExecSpec),
    /// Connects to a TCP port on the guest's loopback.
    Proxy {
        /// Port in the application's network namespace.
        port: u16,
    },
    /// Sends a file of the application's root file system.
    ReadFile {
        /// Absolute path; symbolic links are resolved inside the application's root.
        path: String,
    },
    /// Receives a file into the application's root file system: written beside, synced, renamed into place.
    WriteFile {
        /// Absolute path; the parent directory must exist.
        path: String,
        /// Permission bits, for example `0o644`.
        mode: u32,
    },
    /// Follows what the application writes to stdout and stderr.
    Logs,
    /// Sends a directory of the application's root file system as a tar archive.
    ReadTree {
        /// Absolute path; symbolic links are resolved inside the application's root.
        path: String,
    },
    /// Receives a tar archive into a directory of the application's root file system.
    WriteTree {
        /// Absolute path; the directory must exist.
        path: String,
    },
}

/// Answer to an [`Open`] (of every kind but `Control`, which starts at once).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenReply {
    /// The stream is open (or, at the end of `WriteFile` and `WriteTree`, everything is in place).
    Ok,
    /// The stream is not opened; the agent closes it.
    Refused(Refusal),
}

/// Why the agent refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Another protocol version.
    #[error("the agent speaks protocol version {agent}, the host {host}")]
    Version {
        /// Version of the agent.
        agent: u16,
        /// Version that was asked for.
        host: u16,
    },
    /// The token is missing or wrong.
    #[error("the token is missing or wrong")]
    Token,
    /// The application is frozen, or the guest was not made unique yet.
    #[error("the application is frozen")]
    Frozen,
    /// Too many streams of this kind are open.
    #[error("the agent already serves {limit} streams of this kind")]
    TooMany {
        /// The limit that was met.
        limit: u32,
    },
    /// The agent's state does not allow the request, for example a second start.
    #[error("{0}")]
    State(String),
    /// An operation of the guest's kernel failed.
    #[error("{step}: {message} (errno {errno})")]
    Os {
        /// The step that failed, for example `mount /proc`.
        step: String,
        /// The guest's error number.
        errno: i32,
        /// The error in words.
        message: String,
    },
}

/// Requests on a control stream; each is answered by one [`ControlReply`], in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRequest {
    /// Who are you? Always the first request.
    Hello,
    /// Mounts the root file system and starts the application as a container.
    Start(Box<StartSpec>),
    /// Freezes the application (cgroup v2 freezer) and syncs file systems: the guest is ready for a snapshot.
    Freeze,
    /// Makes a restored guest unique and thaws the application; see [`Uniqueness`].
    Restored(Box<Uniqueness>),
    /// Thaws the application in the same guest that was frozen (a snapshot was taken and the guest goes on).
    Thaw,
    /// State of the application.
    Status,
    /// Counters of the guest.
    Metrics,
    /// Writes back all file systems (`sync`).
    Sync,
    /// Asks the application to stop (its stop signal), then kills it after the grace period.
    Stop {
        /// Milliseconds to wait before SIGKILL.
        grace_ms: u32,
    },
    /// Stops everything, syncs, and powers the machine off.
    Shutdown,
    /// Waits until the kernel knows these sizes, after a restore with other disks.
    AwaitDisks(Vec<DiskSize>),
    /// Mounts the root of a runtime, before the guest is sealed as a template of environments.
    MountRuntime(RuntimeMount),
    /// Mounts the disks of a function and makes its container, in which nothing runs yet. Its programs are execs.
    StartFunction(Box<FunctionStart>),
    /// What the programs of a function have used.
    FunctionUsage,
}

/// The root of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeMount {
    /// Serial of its disk.
    pub serial: String,
    /// Programs of the runtime that run once, so that clones find the files that these need in memory. Best effort.
    pub warm_up: Vec<Vec<String>>,
}

/// The container of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionStart {
    /// Its disks.
    pub disks: FunctionDisks,
    /// User of its programs, as in [`StartSpec::user`].
    pub user: String,
    /// Host name in its UTS namespace.
    pub hostname: String,
    /// Memory that all its programs may use together, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Open files of each process.
    pub open_files: u32,
    /// Port of the loopback whose connections go to [`crate::service::Service::RuntimeApi`].
    pub runtime_api_port: u16,
}

/// Size of the file system on a disk for `/tmp` before the guest makes it larger, in bytes: the least that a function
/// may have.
pub const FUNCTION_SCRATCH_BYTES: u64 = 512 << 20;

/// The disks of a function, by their serials. All but the last are read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionDisks {
    /// The root.
    pub runtime: String,
    /// `/var/task`.
    pub code: String,
    /// `/opt`.
    pub layers: String,
    /// `/tmp`: an ext4 that may be smaller than its disk.
    pub scratch: String,
    /// Size of `/tmp`, in bytes. At most that of the disk.
    pub scratch_bytes: u64,
}

/// What the programs of a function have used since the function was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionUsage {
    /// The most memory at one time, in bytes.
    pub peak_memory_bytes: u64,
    /// Processes that the kernel has killed because they needed more memory than the function may have.
    pub memory_kills: u64,
}

/// Size of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSize {
    /// Its serial number.
    pub serial: String,
    /// Its size in sectors of 512 bytes.
    pub sectors: u64,
}

/// Replies on a control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlReply {
    /// To [`ControlRequest::Hello`].
    Hello(AgentHello),
    /// To [`ControlRequest::Status`].
    Status(AppStatus),
    /// To [`ControlRequest::Metrics`].
    Metrics(GuestMetrics),
    /// The request succeeded and has no other answer.
    Done,
    /// The request failed; [`Refusal`] says why.
    Refused(Refusal),
    /// To [`ControlRequest::Restored`]; agents in older snapshots answer [`ControlReply::Done`].
    MadeUnique(UniqueTimes),
    /// To [`ControlRequest::FunctionUsage`].
    FunctionUsage(FunctionUsage),
}

/// Where the time of [`ControlRequest::Restored`] went in the guest, in microseconds of its monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueTimes {
    /// Randomness, clock, connections and names.
    pub unique_us: u64,
    /// Thawing the application.
    pub thaw_us: u64,
}

/// The agent introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHello {
    /// [`PROTOCOL_VERSION`] of the agent.
    pub protocol: u16,
    /// Package version of the agent.
    pub agent_version: String,
    /// `uname -r` of the guest.
    pub kernel_release: String,
    /// Identity of the running boot (`/proc/sys/kernel/random/boot_id`; replaced after a restore).
    pub boot_id: String,
    /// Nanoseconds since the guest's kernel started (`CLOCK_BOOTTIME`).
    pub uptime_ns: u64,
    /// Nanoseconds since the epoch by the guest's realtime clock.
    pub realtime_ns: u64,
}

/// How to start the application.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartSpec {
    /// Where its root file system comes from.
    pub root: RootSpec,
    /// Program and arguments; the program is looked up in `PATH` of `env` inside the root.
    pub argv: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Working directory, created when missing.
    pub cwd: String,
    /// `uid`, `uid:gid`, `name` or `name:group`, resolved in the root's `/etc/passwd`; empty is root.
    pub user: String,
    /// Host name in the container's UTS namespace.
    pub hostname: String,
    /// All capabilities (`additionalOsCapabilities: ["ALL"]`) instead of Docker's default fourteen.
    pub all_capabilities: bool,
    /// Limit of open files (`RLIMIT_NOFILE`), soft and hard.
    pub open_files: u32,
    /// Size of `/dev/shm`, in MiB.
    pub shm_mib: u32,
    /// Signal that asks the application to stop, for example 15.
    pub stop_signal: i32,
}

impl fmt::Debug for StartSpec {
    /// Environment values are secrets and are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartSpec")
            .field("root", &self.root)
            .field("argv", &self.argv)
            .field("env", &self.env.keys())
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The root file system of the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSpec {
    /// Overlay of directories on read-only disks (first is the top) and, above them, a writable ext4 disk.
    /// Disks are named by their virtio-blk serial.
    Disks {
        /// The read-only directories, top first.
        lower: Vec<LowerDirectory>,
        /// Serial of the writable disk; without one the upper layer is in memory (tmpfs).
        upper: Option<String>,
    },
    /// The agent's own initramfs; for tests and for machines without disks.
    Initramfs,
}

/// A read-only layer of a root: a directory on a disk. Several may lie on one disk, which is mounted once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LowerDirectory {
    /// Serial of the disk.
    pub serial: String,
    /// The directory, relative to the top of the disk's file system; empty is the top itself. Its names hold only
    /// letters, digits, `.`, `_` and `-`, and none is `.` or `..` or a symbolic link.
    pub directory: String,
}

/// What makes one clone different from the others. After a restore the agent carries it out in the order of
/// the members; the application runs again only after the last step. A failed step leaves it frozen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uniqueness {
    /// Fresh entropy of the host, mixed into the kernel's generator (`RNDADDENTROPY`, then `RNDRESEEDCRNG`).
    pub entropy: [u8; 32],
    /// The host's realtime clock, nanoseconds since the epoch.
    pub realtime_ns: u64,
    /// New `/etc/machine-id`: 32 hexadecimal digits.
    pub machine_id: String,
    /// New host name.
    pub hostname: String,
    /// Whether this is a new microVM (outbound TCP is destroyed either way; a new microVM also gets a new boot id).
    pub new_identity: bool,
}

impl fmt::Debug for Uniqueness {
    /// The entropy is a secret and is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uniqueness")
            .field("realtime_ns", &self.realtime_ns)
            .field("machine_id", &self.machine_id)
            .field("hostname", &self.hostname)
            .field("new_identity", &self.new_identity)
            .finish_non_exhaustive()
    }
}

/// State of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppStatus {
    /// [`ControlRequest::Start`] was not given yet.
    NotStarted,
    /// It runs.
    Running,
    /// It is frozen for a snapshot, or was restored and is not unique yet.
    Frozen,
    /// Its first process ended.
    Exited(ExitStatus),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

/// Counters of the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMetrics {
    /// `MemTotal`, in KiB.
    pub memory_total_kib: u64,
    /// `MemAvailable`, in KiB.
    pub memory_available_kib: u64,
    /// CPU time of the application's cgroup, in microseconds.
    pub app_cpu_us: u64,
    /// Memory of the application's cgroup, in bytes.
    pub app_memory_bytes: u64,
    /// Processes of the application's cgroup.
    pub app_processes: u32,
    /// Open proxy streams.
    pub proxy_streams: u32,
    /// Open exec streams.
    pub exec_streams: u32,
    /// Bytes of application output that were dropped because nobody read them fast enough.
    pub log_bytes_dropped: u64,
}

/// A process to run beside the application.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment; added to the application's.
    pub env: BTreeMap<String, String>,
    /// Working directory; empty is the application's.
    pub cwd: String,
    /// User as in [`StartSpec::user`]; empty is the application's.
    pub user: String,
    /// Allocates a terminal of this size; stdout and stderr are then one.
    pub tty: Option<TerminalSize>,
    /// Where the process runs.
    pub place: ExecPlace,
}

impl fmt::Debug for ExecSpec {
    /// Environment values are secrets and are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSpec")
            .field("argv", &self.argv)
            .field("env", &self.env.keys())
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("tty", &self.tty)
            .field("place", &self.place)
            .finish()
    }
}

/// The variable that tells an interface client of AWS Lambda its descriptor for framed records.
pub const FRAMED_LOG_VARIABLE: &str = "_LAMBDA_TELEMETRY_LOG_FD";

/// Namespaces in which a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecPlace {
    /// Those of the application, with its cgroup, capabilities and root.
    Application,
    /// Those of the agent; for Hearth's own work (builder, tests, emulated host).
    Agent,
    /// Those of the function, in a cgroup of its own: SIGKILL reaches everything that the process has forked, and so
    /// does its end. It has no stdin. A descriptor for framed records is named by
    /// [`FRAMED_LOG_VARIABLE`].
    Function,
}

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// Frames from the host on an exec stream. Closing the stream kills the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecInput {
    /// Bytes for stdin, at most [`MAX_CHUNK_BYTES`].
    Stdin(#[serde(with = "crate::bytes")] Vec<u8>),
    /// Stdin ends.
    StdinEnd,
    /// Signal to the process group.
    Signal(i32),
    /// The terminal has a new size.
    Resize(TerminalSize),
}

/// Frames from the agent on an exec stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecOutput {
    /// Bytes of stdout (or of the terminal).
    Stdout(#[serde(with = "crate::bytes")] Vec<u8>),
    /// Bytes of stderr.
    Stderr(#[serde(with = "crate::bytes")] Vec<u8>),
    /// The process ended and all its output was sent; the last frame.
    Exit(ExitStatus),
    /// Bytes that a program of a function wrote to the descriptor for framed records.
    Framed(#[serde(with = "crate::bytes")] Vec<u8>),
}

/// A piece of a file; empty at the end of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk(#[serde(with = "crate::bytes")] pub Vec<u8>);

/// Output of the application: a line, or a part of one that is longer than [`MAX_LOG_LINE_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Nanoseconds since the epoch when the agent read it.
    pub realtime_ns: u64,
    /// What it is.
    pub kind: LogLineKind,
    /// The bytes, without the newline.
    #[serde(with = "crate::bytes")]
    pub bytes: Vec<u8>,
}

/// What a [`LogLine`] is.
///
/// The first two were a boolean once, which has the same bytes in a frame: agents in older snapshots send nothing else, and cut lines
/// that are too long into several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLineKind {
    /// A line of stdout, or the last part of one.
    Stdout,
    /// A line of stderr, or the last part of one.
    Stderr,
    /// A part of a line of stdout, which goes on.
    StdoutPart,
    /// A part of a line of stderr, which goes on.
    StderrPart,
    /// What the agent says of lines that were lost at this place, because nobody took them in time.
    Lost,
}

impl LogLineKind {
    /// A line or its last part (`ends`), or a part of one that goes on.
    #[must_use]
    pub fn new(is_stderr: bool, ends: bool) -> Self {
        match (is_stderr, ends) {
            (false, true) => Self::Stdout,
            (true, true) => Self::Stderr,
            (false, false) => Self::StdoutPart,
            (true, false) => Self::StderrPart,
        }
    }

    /// Whether the application wrote it to stderr.
    #[must_use]
    pub fn is_stderr(self) -> bool {
        matches!(self, Self::Stderr | Self::StderrPart)
    }
}

/// Longest piece of application output in one frame, in bytes.
pub const MAX_LOG_LINE_BYTES: usize = 16 << 10;
