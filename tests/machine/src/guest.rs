//! The tests' own microVMs: a template that is booted once, clones of it, and the program that runs in them.

use std::env;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_base::cpio::CpioWriter;
use hearth_net::{Egress, Network};
use hearth_node::{
    AgentClient, BootRequest, CloneRequest, DiskRequest, Launched, Machine, MachineName, Node,
    NodeOptions,
};
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::{ExecOutput, ExecPlace, ExecSpec, ExitStatus, RootSpec, StartSpec};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::PORT;

/// A node for tests and benchmarks, and what its guests are made of.
#[derive(Debug, Clone)]
pub struct Fixture {
    node: Node,
    /// The `test-guest` program.
    test_guest: PathBuf,
}

impl Deref for Fixture {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Fixture {
    /// A node with a data directory that the tests of one run share, so that the template is booted once.
    pub fn new(test_guest: &Path) -> Self {
        Self {
            node: Node::open(shared_options()).unwrap(),
            test_guest: test_guest.to_owned(),
        }
    }

    /// The same node, with networks for its microVMs.
    pub fn with_network(&self, network: Network) -> Self {
        self.with(|options| options.network = Some(network))
    }

    /// The same node with other options.
    pub fn with(&self, change: impl FnOnce(&mut NodeOptions)) -> Self {
        let mut options = shared_options();
        change(&mut options);
        self.opened(options)
    }

    /// A node of its own, with another data directory.
    pub fn at(&self, data: PathBuf) -> Self {
        self.opened(NodeOptions::new(data, program()))
    }

    fn opened(&self, options: NodeOptions) -> Self {
        Self {
            node: Node::open(options).unwrap(),
            test_guest: self.test_guest.clone(),
        }
    }

    /// A fresh guest.
    pub fn boot_request(&self, vcpus: u8, disks: Vec<DiskRequest>) -> BootRequest {
        BootRequest {
            kernel: from_environment("HEARTH_TEST_KERNEL"),
            initramfs: initramfs(&self.test_guest),
            command_line: KERNEL_ARGUMENTS.to_owned(),
            vcpus,
            memory_mib: MEMORY_MIB,
            disks,
            egress: Egress::closed(),
        }
    }
}

/// The data directory that the tests share. No socket below it has a path that fits an address (`sun_path`), as in the depths of
/// somebody's home.
fn shared_options() -> NodeOptions {
    NodeOptions::new(
        scratch().join(format!("node-{}", "x".repeat(100))),
        program(),
    )
}

/// Self-tests of the kernel that take long under emulation and prove nothing here. Hearth leaves the first out by itself; the
/// other monitors of the benchmark boot with these alone.
const KERNEL_ARGUMENTS: &str = "initcall_blacklist=jent_mod_init,load_system_certificate_list";

/// RAM of the tests' guests, in MiB.
pub const MEMORY_MIB: u32 = 256;

/// A name that belongs to this test alone.
pub fn name(text: &str) -> MachineName {
    text.parse().unwrap()
}

/// A snapshot of a guest whose application is `test-guest serve`. The first test that asks boots it.
pub async fn template(node: &Fixture) -> SnapshotId {
    let marker = initramfs(&node.test_guest).with_extension("template");
    let lock = File::create(scratch().join("template.lock")).unwrap();
    lock.lock().unwrap();
    if let Ok(id) = fs::read_to_string(&marker) {
        return id.parse().unwrap();
    }
    let name = name("template");
    let mut launched = node
        .boot(&name, node.boot_request(1, Vec::new()))
        .await
        .unwrap();
    launched.machine.start_application(serve()).await.unwrap();
    wait_until_serving(&launched.machine).await;
    let (id, _) = launched.machine.snapshot().await.unwrap();
    launched.machine.terminate().await.unwrap();
    fs::write(&marker, id.to_string()).unwrap();
    id
}

/// A clone of the template.
pub async fn clone(node: &Fixture, text: &str) -> Launched {
    let snapshot = template(node).await;
    node.clone_snapshot(&name(text), CloneRequest::new(snapshot))
        .await
        .unwrap()
}

/// `test-guest serve` as the application.
pub fn serve() -> StartSpec {
    StartSpec {
        root: RootSpec::Initramfs,
        argv: vec!["/bin/test-guest".to_owned(), "serve".to_owned()],
        env: [("PATH".to_owned(), "/bin".to_owned())].into(),
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: "guest".to_owned(),
        all_capabilities: false,
        open_files: 1024,
        shm_mib: 64,
        stop_signal: 15,
    }
}

/// One line to the application, one line back.
pub async fn ask(machine: &Machine, line: &str) -> String {
    let mut stream = talk(machine).await;
    stream
        .write_all(format!("{line}\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await.unwrap();
    answer.trim_end().to_owned()
}

/// The application's counter.
pub async fn counter(machine: &Machine) -> u64 {
    ask(machine, "counter").await.parse().unwrap()
}

/// Waits until the application has counted on from where it is now.
pub async fn wait_for_progress(machine: &Machine) {
    let before = counter(machine).await;
    for _ in 0..200 {
        if counter(machine).await > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} does not count", machine.name());
}

/// What the application draws from now on.
pub async fn random(machine: &Machine) -> String {
    // What it has drawn may be from before a snapshot.
    wait_for_progress(machine).await;
    ask(machine, "random").await
}

/// A connection to the application.
pub async fn talk(machine: &Machine) -> UnixStream {
    machine.agent().proxy(PORT).await.unwrap()
}

/// Runs a program beside the agent; answers its status and what it wrote.
pub async fn exec(machine: &Machine, argv: &[&str]) -> (ExitStatus, String) {
    exec_through(&machine.agent(), argv).await
}

/// As [`exec`], through any agent.
pub async fn exec_through(agent: &AgentClient, argv: &[&str]) -> (ExitStatus, String) {
    let spec = ExecSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: Default::default(),
        cwd: "/".to_owned(),
        user: String::new(),
        tty: None,
        place: ExecPlace::Agent,
    };
    let (mut exec, _input) = agent.exec(spec).await.unwrap().split();
    let mut output = Vec::new();
    loop {
        match exec.next().await.unwrap() {
            ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => output.extend(bytes),
            // Of programs of functions alone.
            ExecOutput::Framed(_) => {}
            ExecOutput::Exit(status) => {
                return (status, String::from_utf8_lossy(&output).into_owned());
            }
        }
    }
}

/// Waits until the application accepts connections.
pub async fn wait_until_serving(machine: &Machine) {
    for _ in 0..600 {
        if machine.agent().proxy(PORT).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("test-guest does not serve: {}", serial(machine));
}

/// The end of what the guest's kernel said.
pub fn serial(machine: &Machine) -> String {
    let log = machine.serial_log().unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}

/// A directory of this run that all tests share.
pub fn scratch() -> PathBuf {
    let path = env::temp_dir().join("hearth-machine-tests");
    fs::create_dir_all(&path).unwrap();
    path
}

/// The base version's initramfs with busybox and the test program added: the kernel unpacks archives that
/// stand one behind the other. Made once of the same files: reading them takes an emulated host two seconds.
fn initramfs(test_guest: &Path) -> PathBuf {
    let base = from_environment("HEARTH_TEST_INITRAMFS");
    let busybox = Path::new("/bin/busybox");
    let path = scratch().join(format!("{}.cpio", versions([&base, test_guest, busybox])));
    if path.exists() {
        return path;
    }
    let mut bytes = fs::read(base).unwrap();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    let mut archive = CpioWriter::new(bytes);
    archive.directory("bin", 0o755).unwrap();
    let program = fs::read(test_guest).unwrap();
    archive.file("bin/test-guest", 0o755, &program).unwrap();
    if let Ok(busybox) = fs::read(busybox) {
        archive.file("bin/busybox", 0o755, &busybox).unwrap();
    }
    let beside = path.with_extension(std::process::id().to_string());
    fs::write(&beside, archive.finish().unwrap()).unwrap();
    fs::rename(&beside, &path).unwrap();
    path
}

/// A name for these files as they are now; of those that are there.
fn versions(files: [&Path; 3]) -> String {
    let mut hasher = blake3::Hasher::new();
    for path in files {
        let Ok(found) = fs::metadata(path) else {
            continue;
        };
        let version = (path, found.len(), found.modified().unwrap());
        hasher.update(format!("{version:?}").as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The `hearth-vmm` program.
pub fn program() -> PathBuf {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join("hearth-vmm"))
        .find(|path| path.is_file())
        .expect("hearth-vmm is not in PATH; run these tests with `cargo xtask test`")
}

fn from_environment(variable: &str) -> PathBuf {
    let value = env::var_os(variable);
    let value = value.unwrap_or_else(|| {
        panic!("{variable} is not set; run these tests with `cargo xtask test`")
    });
    assert!(Path::new(&value).is_file(), "{variable} names no file");
    value.into()
}
