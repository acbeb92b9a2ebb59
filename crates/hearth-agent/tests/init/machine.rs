//! A machine for the agent without a virtual machine: fresh namespaces, in which it is PID 1 of a root in
//! memory with busybox. The kernel is the one below; everything that the agent changes in it is namespaced,
//! but the random generator, which gains entropy, and the clock, which is set to what it shows.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hearth_wire::agent::{
    Chunk, ControlReply, ControlRequest, ExecInput, ExecOutput, ExecPlace, ExecSpec, ExitStatus,
    Open, OpenReply, Refusal, Stream, Token,
};
use hearth_wire::frame;
use hearth_wire::host_mode::{HOST_MODE_CONFIG, HostModeConfig};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

const PORT: u16 = 1024;
const TOKEN: Token = Token([7; 32]);

/// Under emulation everything takes its time.
const DEADLINE: Duration = Duration::from_secs(60);

/// Applets of busybox that the tests use.
const APPLETS: &[&str] = &[
    "cat", "chmod", "echo", "grep", "head", "hostname", "id", "ls", "mknod", "mount", "nc", "sh",
    "sleep", "stty", "touch", "true", "yes",
];

/// Directories of the root that are not made by the agent.
const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "etc/hearth",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
];

/// A running agent.
pub(crate) struct Machine {
    init: Child,
    cgroup: TestCgroup,
}

impl Machine {
    /// Boots the agent.
    ///
    /// The calling thread stays in the network namespace of the machine and reaches its ports.
    pub(crate) fn boot() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "only root may make a machine of namespaces: `cargo xtask lab-test -p hearth-agent --test init`"
        );
        let cgroup = TestCgroup::join();
        let own_pids = File::open("/proc/self/ns/pid").unwrap();
        let namespaces = UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWCGROUP;
        // SAFETY: the descriptor table stays shared.
        unsafe { rustix::thread::unshare_unsafe(namespaces) }.unwrap();
        enter_new_root();
        let init = Command::new("/init").spawn().unwrap();
        // Only the agent is to live there; a thread of the test could not even be started.
        let pids = Some(LinkNameSpaceType::ProcessID);
        rustix::thread::move_into_link_name_space(own_pids.as_fd(), pids).unwrap();
        let mut machine = Self { init, cgroup };
        machine.await_port();
        machine
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Opens a stream without waiting for an answer.
    pub(crate) fn open(&self, stream: Stream) -> TcpStream {
        let mut connection = self.connect();
        let open = Open {
            token: Some(TOKEN),
            ..Open::new(stream)
        };
        frame::write(&mut connection, &open).unwrap();
        connection
    }

    /// Opens a stream that the agent confirms.
    pub(crate) fn open_confirmed(&self, stream: Stream) -> Result<TcpStream, Refusal> {
        let mut connection = self.open(stream);
        match frame::read(&mut connection).unwrap() {
            OpenReply::Ok => Ok(connection),
            OpenReply::Refused(refusal) => Err(refusal),
        }
    }

    pub(crate) fn request(&self, request: &ControlRequest) -> ControlReply {
        let mut control = self.open(Stream::Control);
        frame::write(&mut control, request).unwrap();
        frame::read(&mut control).unwrap()
    }

    /// Runs a shell script at `place` and answers its output and how it ended.
    pub(crate) fn shell(&self, place: ExecPlace, script: &str) -> (String, ExitStatus) {
        let mut stream = self
            .open_confirmed(Stream::Exec(exec_spec(place, &["/bin/sh", "-c", script])))
            .unwrap();
        frame::write(&mut stream, &ExecInput::StdinEnd).unwrap();
        finish_exec(&mut stream)
    }

    pub(crate) fn write_file(&self, path: &str, content: &[u8]) -> Result<(), Refusal> {
        let mut stream = self.open_confirmed(Stream::WriteFile {
            path: path.to_owned(),
            mode: 0o640,
        })?;
        for piece in content.chunks(5000) {
            frame::write(&mut stream, &Chunk(piece.to_vec())).unwrap();
        }
        frame::write(&mut stream, &Chunk(Vec::new())).unwrap();
        match frame::read(&mut stream).unwrap() {
            OpenReply::Ok => Ok(()),
            OpenReply::Refused(refusal) => Err(refusal),
        }
    }

    pub(crate) fn read_file(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let mut stream = self.open_confirmed(Stream::ReadFile {
            path: path.to_owned(),
        })?;
        let mut content = Vec::new();
        loop {
            let Chunk(piece) = frame::read(&mut stream).unwrap();
            if piece.is_empty() {
                return Ok(content);
            }
            content.extend(piece);
        }
    }

    /// Waits for the end of the machine.
    pub(crate) fn has_ended(&mut self) -> bool {
        eventually(|| self.init.try_wait().unwrap().is_some())
    }

    fn await_port(&mut self) {
        let listens = eventually(|| {
            assert!(self.init.try_wait().unwrap().is_none(), "the agent ended");
            TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_ok()
        });
        assert!(listens, "the agent does not listen");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended as the test wanted.
        let _ = self.init.kill();
        let _ = self.init.wait();
        self.cgroup.leave();
    }
}

/// An exec without a terminal.
pub(crate) fn exec_spec(place: ExecPlace, argv: &[&str]) -> ExecSpec {
    ExecSpec {
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        env: [("PATH".to_owned(), "/bin".to_owned())].into(),
        cwd: String::new(),
        user: String::new(),
        tty: None,
        place,
    }
}

/// Reads an exec stream to its end.
pub(crate) fn finish_exec(stream: &mut TcpStream) -> (String, ExitStatus) {
    let mut output = Vec::new();
    loop {
        match frame::read(stream).unwrap() {
            ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => output.extend(bytes),
            // Of programs of functions alone.
            ExecOutput::Framed(_) => {}
            ExecOutput::Exit(status) => {
                return (String::from_utf8_lossy(&output).into_owned(), status);
            }
        }
    }
}

/// Asks again until the answer is yes, or for too long.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Makes a root in memory and enters it; the old one is out of reach then, also of mistakes.
fn enter_new_root() {
    let everything = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", everything).unwrap();
    let root = Path::new("/tmp");
    // Read before the mount: the checkout itself may lie below.
    let agent = fs::read(env!("CARGO_BIN_EXE_hearth-agent")).unwrap();
    rustix::mount::mount("root", root, "tmpfs", MountFlags::empty(), c"mode=0755").unwrap();
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("init"), agent).unwrap();
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let users = "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/tmp:/bin/sh\n";
    fs::write(root.join("etc/passwd"), users).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nlog:x:4:web\n").unwrap();
    let config = HostModeConfig {
        port: PORT,
        token: TOKEN,
        hold_vm: false,
    };
    let config_path = root.join(HOST_MODE_CONFIG.trim_start_matches('/'));
    File::create(config_path)
        .and_then(|mut file| file.write_all(config.to_text().as_bytes()))
        .unwrap();
    rustix::process::chdir(root).unwrap();
    rustix::process::pivot_root(".", ".").unwrap();
    rustix::mount::unmount(".", UnmountFlags::DETACH).unwrap();
    rustix::process::chdir("/").unwrap();
}

/// Above the cgroups of all tests. It hands no controllers down, as it must: the agent, which lives in what it takes for the root of
/// all cgroups, could not hand them on to groups below beside itself. The true root may.
const TEST_CGROUPS: &str = "hearth-agent-tests";

/// A cgroup of this test, so that tests of several machines share nothing.
struct TestCgroup {
    hierarchy: OwnedFd,
    /// Leads out of it again. Opened before there is a cgroup namespace, which (`nsdelegate`) nobody leaves who opens it within.
    home: OwnedFd,
    name: String,
}

impl TestCgroup {
    /// Moves this process into a new group. A cgroup namespace made then shows nothing above it.
    fn join() -> Self {
        let hierarchy = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .find(|path| fs::exists(format!("{path}/cgroup.controllers")).unwrap_or(false))
            .expect("cgroup v2 is mounted");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let hierarchy = rustix::fs::open(hierarchy, flags, Mode::empty()).unwrap();
        let name = format!("{TEST_CGROUPS}/{}", std::process::id());
        // Other tests make and remove what is above it.
        while rustix::fs::mkdirat(&hierarchy, &name, Mode::RWXU) == Err(Errno::NOENT) {
            let _ = rustix::fs::mkdirat(&hierarchy, TEST_CGROUPS, Mode::RWXU);
        }
        let home = open_to_join(&hierarchy, "cgroup.procs");
        join_cgroup(&open_to_join(&hierarchy, &format!("{name}/cgroup.procs")));
        Self {
            hierarchy,
            home,
            name,
        }
    }

    fn leave(&self) {
        join_cgroup(&self.home);
        for below in ["/app/payload", "/app", ""] {
            let path = format!("{}{below}", self.name);
            // The last processes may still be on their way out.
            eventually(|| {
                !matches!(
                    rustix::fs::unlinkat(&self.hierarchy, &path, AtFlags::REMOVEDIR),
                    Err(Errno::BUSY)
                )
            });
        }
        // Unless there are others.
        let _ = rustix::fs::unlinkat(&self.hierarchy, TEST_CGROUPS, AtFlags::REMOVEDIR);
    }
}

fn open_to_join(hierarchy: &OwnedFd, procs: &str) -> OwnedFd {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(hierarchy, procs, flags, Mode::empty()).unwrap()
}

fn join_cgroup(procs: &OwnedFd) {
    rustix::io::write(procs, b"0").unwrap();
}
