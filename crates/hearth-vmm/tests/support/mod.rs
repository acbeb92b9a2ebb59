//! Drives VMM processes through their control socket, as the node does.
//!
//! The VMM process is this test binary again: started with [`VMM_FD`] in its environment, the test
//! [`vmm_process`] becomes the VMM. So one static file is all that has to be carried into the emulated host.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod guest;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hearth_vmm::VmmOptions;
use hearth_vmm::crash_point;
use hearth_vmm::sandbox::{self, SandboxOptions};
use hearth_wire::crash_point::CrashPoint;
use hearth_wire::frame::{self, FrameError};
use hearth_wire::vmm::{
    BootSpec, Command, DeviceSpec, EndReason, Envelope, Event, Message, Reply, Request, RequestId,
    RestoreSpec, SerialLogSpec, SnapshotKind, SnapshotSpec, SnapshotSummary, Started, Status,
    VmmExit,
};

/// Environment variable with the number of the inherited socket.
const VMM_FD: &str = "HEARTH_TEST_VMM_FD";

/// Environment variable with a path to listen on.
const VMM_LISTEN: &str = "HEARTH_TEST_VMM_LISTEN";

/// Environment variable with the number of the inherited network card.
const VMM_TAP: &str = "HEARTH_TEST_VMM_TAP";

/// Environment variable with the name of the point at which the process ends.
const VMM_CRASH: &str = "HEARTH_TEST_VMM_CRASH";

/// Environment variable with the point at which the process is slow, and the milliseconds.
const VMM_SLOW: &str = "HEARTH_TEST_VMM_SLOW";

/// Longest wait for anything in a guest. Under software emulation a boot takes some ten seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Guest RAM is the one mapping of 64 MiB and more.
const GUEST_KIB: u64 = 64 << 10;

/// Becomes the VMM when asked to; otherwise there is nothing to test.
pub(crate) fn vmm_process() {
    let Ok(fd) = std::env::var(VMM_FD) else {
        return;
    };
    // SAFETY: the parent passed this descriptor to be owned here.
    let connection = unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) };
    // The paths are wide, as the directories of a test are not known yet; the rest is as in the real program.
    let options = SandboxOptions {
        prepared: None,
        root: None,
        user: None,
        readable: vec!["/".into()],
        writable: vec![std::env::temp_dir()],
        keep: [Some(connection.as_raw_fd()), inherited_tap()]
            .into_iter()
            .flatten()
            .collect(),
        without: Vec::new(),
    };
    sandbox::enter(&options).unwrap();
    interfere();
    let listen = std::env::var_os(VMM_LISTEN).map(PathBuf::from);
    let code = hearth_vmm::run(VmmOptions {
        listen,
        connection: Some(connection),
    });
    // What `main` would return is not a number that can be read.
    let is_it = |exit: &VmmExit| std::process::ExitCode::from(*exit as u8) == code;
    let status = VmmExit::ALL.into_iter().find(is_it);
    let status = status.map_or(77, |exit| exit as i32);
    std::process::exit(status);
}

/// What the real program reads from its arguments.
fn interfere() {
    if let Ok(name) = std::env::var(VMM_CRASH) {
        crash_point::crash_at(name.parse().unwrap());
    }
    if let Ok(slow) = std::env::var(VMM_SLOW) {
        let (point, time) = crash_point::parse_slow(&slow).unwrap();
        crash_point::wait_at(point, time);
    }
}

/// The network card that the parent passed, if any.
fn inherited_tap() -> Option<RawFd> {
    std::env::var(VMM_TAP).ok()?.parse().ok()
}

/// A VMM process and the connection to it.
pub(crate) struct Vmm {
    pub(crate) child: Child,
    stream: UnixStream,
    /// Number of the last request.
    last: u64,
    pub(crate) ended: Option<EndReason>,
}

impl Vmm {
    pub(crate) fn spawn() -> Self {
        Self::spawn_with(None, None, &[])
    }

    pub(crate) fn spawn_listening(path: &Path) -> Self {
        Self::spawn_with(Some(path), None, &[])
    }

    /// It ends when it reaches `point`.
    pub(crate) fn spawn_crashing(point: CrashPoint) -> Self {
        Self::spawn_with(None, None, &[(VMM_CRASH, point.to_string())])
    }

    /// It listens, and waits so many milliseconds when it reaches `point`.
    pub(crate) fn spawn_slow(path: &Path, point: CrashPoint, time_ms: u64) -> Self {
        let slow = format!("{point}={time_ms}");
        Self::spawn_with(Some(path), None, &[(VMM_SLOW, slow)])
    }

    /// The process inherits `tap` under the number that it has here.
    pub(crate) fn spawn_with_tap(tap: &OwnedFd) -> Self {
        Self::spawn_with(None, Some(tap.as_raw_fd()), &[])
    }

    fn spawn_with(
        listen: Option<&Path>,
        tap: Option<RawFd>,
        environment: &[(&str, String)],
    ) -> Self {
        assert!(
            Path::new("/dev/kvm").exists(),
            "this test needs /dev/kvm: run it with `cargo xtask lab` or on a machine with KVM"
        );
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let fd = theirs.as_raw_fd();
        let mut command = Process::new("/proc/self/exe");
        command
            .args(["--exact", "vmm_process", "--nocapture", "--test-threads=1"])
            .env(VMM_FD, fd.to_string())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(path) = listen {
            command.env(VMM_LISTEN, path);
        }
        if let Some(tap) = tap {
            command.env(VMM_TAP, tap.to_string());
        }
        let keep = move || {
            for fd in [Some(fd), tap].into_iter().flatten() {
                // SAFETY: fcntl is async-signal-safe, and the number is that of an open descriptor in the child.
                if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: the closure does nothing but async-signal-safe system calls.
        unsafe { command.pre_exec(keep) };
        let child = command.spawn().unwrap();
        Self {
            child,
            stream: ours,
            last: 0,
            ended: None,
        }
    }

    pub(crate) fn send(&mut self, command: Command) -> RequestId {
        self.last += 1;
        let id = RequestId(self.last);
        frame::write(&mut self.stream, &Request::new(id, command)).unwrap();
        id
    }

    /// The next reply, whatever it is for.
    pub(crate) fn next_reply(&mut self) -> (RequestId, Reply) {
        loop {
            match frame::read::<Envelope>(&mut self.stream).unwrap().message {
                Message::Reply { id, reply } => return (id, reply),
                Message::Event(Event::Ended(reason)) => self.ended = Some(reason),
            }
        }
    }

    /// The reply to the last request.
    pub(crate) fn reply(&mut self) -> Reply {
        let (id, reply) = self.next_reply();
        assert_eq!(id, RequestId(self.last), "{reply:?}");
        reply
    }

    pub(crate) fn call(&mut self, command: Command) -> Reply {
        self.send(command);
        self.reply()
    }

    pub(crate) fn boot(&mut self, spec: BootSpec) -> Started {
        match self.call(Command::Boot(Box::new(spec))) {
            Reply::Started(started) => started,
            other => panic!("boot: {other:?}"),
        }
    }

    pub(crate) fn restore(&mut self, spec: RestoreSpec) -> Started {
        match self.call(Command::Restore(Box::new(spec))) {
            Reply::Started(started) => started,
            other => panic!("restore: {other:?}"),
        }
    }

    pub(crate) fn snapshot(&mut self, directory: &Path, kind: SnapshotKind) -> SnapshotSummary {
        let next_overlays = Vec::new();
        let spec = SnapshotSpec {
            directory: directory.to_owned(),
            kind,
            next_overlays,
            fold: Vec::new(),
        };
        match self.call(Command::Snapshot(spec)) {
            Reply::Snapshot(summary) => summary,
            other => panic!("snapshot: {other:?}"),
        }
    }

    pub(crate) fn suspend(mut self, directory: &Path) -> SnapshotSummary {
        let spec = SnapshotSpec {
            directory: directory.to_owned(),
            kind: SnapshotKind::Layer,
            next_overlays: Vec::new(),
            fold: Vec::new(),
        };
        let summary = match self.call(Command::Suspend(spec)) {
            Reply::Snapshot(summary) => summary,
            other => panic!("suspend: {other:?}"),
        };
        assert_eq!(self.wait_end().0, EndReason::Suspended);
        summary
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.call(Command::Status) {
            Reply::Status(status) => status,
            other => panic!("status: {other:?}"),
        }
    }

    /// Waits for the process's last event and its exit.
    pub(crate) fn wait_end(&mut self) -> (EndReason, ExitStatus) {
        while self.ended.is_none() {
            match frame::read::<Envelope>(&mut self.stream).map(|envelope| envelope.message) {
                Ok(Message::Event(Event::Ended(reason))) => self.ended = Some(reason),
                Ok(Message::Reply { reply, .. }) => panic!("unexpected reply {reply:?}"),
                Err(FrameError::Closed) => panic!("the VMM left without a reason"),
                Err(error) => panic!("control connection: {error:?}"),
            }
        }
        (self.ended.clone().unwrap(), self.child.wait().unwrap())
    }

    /// As [`Vmm::wait_end`], with the most memory that the process ever had resident, in KiB.
    pub(crate) fn wait_end_with_peak(&mut self) -> (EndReason, ExitStatus, u64) {
        let mut peak_kib = 0;
        self.stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let start = Instant::now();
        let mut first = [0; 1];
        // Looks without taking, so that the frame stays whole for `wait_end`.
        while self.peek(&mut first) == 0 {
            assert!(start.elapsed() < PATIENCE, "the guest was not ended");
            peak_kib = peak_kib.max(self.peak_kib());
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (reason, status) = self.wait_end();
        (reason, status, peak_kib)
    }

    /// The most memory that the process ever had resident, in KiB; 0 when it is gone.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0)
    }

    fn peek(&self, first: &mut [u8; 1]) -> usize {
        // SAFETY: the buffer is valid for one byte, and the descriptor is open as long as `self`.
        let count = unsafe {
            libc::recv(
                self.stream.as_raw_fd(),
                first.as_mut_ptr().cast(),
                1,
                libc::MSG_PEEK,
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// Gives up the connection and makes a new one.
    pub(crate) fn reconnect(&mut self, path: &Path) {
        self.stream = UnixStream::connect(path).unwrap();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// One more connection, beside this one.
    pub(crate) fn beside(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, last: 0 }
    }

    pub(crate) fn terminate(mut self) {
        assert_eq!(self.call(Command::Terminate), Reply::Done);
        assert!(self.child.wait().unwrap().success());
    }

    /// Resident memory of the process in KiB that is not guest RAM: PSS of all other mappings.
    pub(crate) fn pss_beside_guest_kib(&self) -> u64 {
        self.smaps_kib("Pss:", |size_kib| size_kib < GUEST_KIB)
    }

    /// Memory of the process in KiB that is neither guest RAM nor pages of files: its stacks and heap.
    pub(crate) fn anonymous_beside_guest_kib(&self) -> u64 {
        self.smaps_kib("Anonymous:", |size_kib| size_kib < GUEST_KIB)
    }

    /// Resident memory of the process in KiB that is guest RAM.
    pub(crate) fn resident_guest_kib(&self) -> u64 {
        self.smaps_kib("Rss:", |size_kib| size_kib >= GUEST_KIB)
    }

    /// Sum of a member of the mappings whose size is wanted.
    fn smaps_kib(&self, member: &str, is_wanted: impl Fn(u64) -> bool) -> u64 {
        let smaps = std::fs::read_to_string(format!("/proc/{}/smaps", self.child.id())).unwrap();
        let (mut total, mut size_kib) = (0, 0);
        for line in smaps.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Size:"), Some(value)) => size_kib = value.parse().unwrap(),
                (Some(name), Some(value)) if name == member && is_wanted(size_kib) => {
                    total += value.parse::<u64>().unwrap();
                }
                _ => {}
            }
        }
        total
    }
}

/// A second client of a VMM.
pub(crate) struct Client {
    stream: UnixStream,
    last: u64,
}

impl Client {
    pub(crate) fn call(&mut self, command: Command) -> Reply {
        self.last += 1;
        let id = RequestId(self.last);
        frame::write(&mut self.stream, &Request::new(id, command)).unwrap();
        match frame::read::<Envelope>(&mut self.stream).unwrap().message {
            Message::Reply { id: found, reply } if found == id => reply,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.call(Command::Status) {
            Reply::Status(status) => status,
            other => panic!("status: {other:?}"),
        }
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel that the lab provides.
pub(crate) fn kernel() -> PathBuf {
    required("HEARTH_TEST_KERNEL")
}

/// The initramfs that the lab provides.
pub(crate) fn initramfs() -> PathBuf {
    required("HEARTH_TEST_INITRAMFS")
}

fn required(name: &str) -> PathBuf {
    match std::env::var_os(name) {
        Some(path) => path.into(),
        None => panic!("{name} is not set: run this test with `cargo xtask lab`"),
    }
}

/// A machine that boots `initramfs` with its serial output in `directory`.
pub(crate) fn boot_spec(directory: &Path, initramfs: PathBuf) -> BootSpec {
    BootSpec {
        kernel: kernel(),
        initramfs: Some(initramfs),
        command_line: "quiet".into(),
        vcpus: 1,
        memory_mib: 256,
        devices: DeviceSpec {
            serial_log: Some(serial_log(directory)),
            ..DeviceSpec::default()
        },
    }
}

pub(crate) fn serial_log(directory: &Path) -> SerialLogSpec {
    SerialLogSpec {
        path: directory.join("serial"),
        limit_bytes: 1 << 20,
    }
}

/// Waits until the serial log in `directory` contains `text`; returns the whole log.
pub(crate) fn wait_serial(directory: &Path, text: &str) -> String {
    let start = Instant::now();
    loop {
        let log = std::fs::read(directory.join("serial")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        if log.contains(text) {
            return log;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "no {text:?} in the serial log:\n{log}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
