//! The life of a real emulated host: it starts, obeys, dies, and comes back.
//!
//! Needs QEMU, busybox and mke2fs (`cargo xtask setup`), and the agent (`cargo build -p hearth-agent`).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hearth_base::KernelSource;
use hearth_emulated::{
    DataDisk, Death, EmulatedHost, HostAgentClient, HostAgentError, HostConfig, HostStartError,
    InitialFile, WatchdogEvent, keep_running,
};
use hearth_wire::agent::{ExecPlace, ExecSpec, ExitStatus, Refusal, Token};

/// Longest wait for something that takes seconds.
const PATIENCE: Duration = Duration::from_secs(200);

#[test]
fn it_starts_obeys_and_stops() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    std::fs::write(&source, "from the start").unwrap();
    let mut config = config(scratch.path());
    config.initial_files.push(InitialFile {
        source,
        target: "some/where".into(),
    });
    let host = Guarded::start(&config);
    let agent = host.agent();

    let initial = agent.read_file("/data/some/where", 1 << 20).unwrap();
    assert_eq!(initial, b"from the start");
    let (status, output) = shell(&agent, "uname -r; test -c /dev/kvm; exit 5").unwrap();
    assert_eq!(status, ExitStatus::Code(5));
    assert!(output.contains("cloud-amd64"), "{output}");
    let (status, _) = shell(&agent, "grep -q ' /data ext4 ' /proc/mounts").unwrap();
    assert_eq!(status, ExitStatus::Code(0));

    let content: Vec<u8> = (0..300_000_u32).map(|value| value as u8).collect();
    agent
        .write_file("/data/file", 0o640, &mut content.as_slice())
        .unwrap();
    assert_eq!(agent.read_file("/data/file", 1 << 20).unwrap(), content);
    assert!(matches!(
        agent.read_file("/data/absent", 1),
        Err(HostAgentError::Refused(_))
    ));

    assert!(matches!(
        EmulatedHost::start(&config, &|_| {}),
        Err(HostStartError::Running(_))
    ));
    let found = EmulatedHost::attach(&config.state_dir).unwrap();
    assert_eq!(found.pid(), host.pid());
    found.agent().hello(PATIENCE).unwrap();

    host.stop(Duration::from_secs(20));
    assert!(EmulatedHost::attach(&config.state_dir).is_none());

    // The disk outlives the machine.
    let again = Guarded::start(&config);
    let kept = again.agent().read_file("/data/file", 1 << 20).unwrap();
    assert_eq!(kept, content);
}

#[test]
fn a_stranger_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let config = config(scratch.path());
    let host = Guarded::start(&config);
    let record = std::fs::read_to_string(config.state_dir.join("host.json")).unwrap();
    let (_, port) = record.split_once("\"agent_port\":").unwrap();
    let port: u16 = port.split(',').next().unwrap().parse().unwrap();
    let stranger = HostAgentClient::new(port, Token([7; 32]));
    let answer = stranger.read_file("/etc/passwd", 1 << 20);
    drop(host);
    assert!(
        matches!(answer, Err(HostAgentError::Refused(Refusal::Token))),
        "{answer:?}"
    );
}

#[test]
fn after_a_panic_it_is_started_again() {
    let scratch = tempfile::tempdir().unwrap();
    let config = config(scratch.path());
    let (events, happened) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let watched = config.clone();
    let watchdog = std::thread::spawn(move || {
        keep_running(&watched, &stopped, &|_| {}, &mut |event| {
            events.send(event).unwrap();
        })
    });

    let WatchdogEvent::Up(agent) = happened.recv_timeout(PATIENCE).unwrap() else {
        panic!("it died at once");
    };
    shell(&agent, "echo 1 > /data/kept; sync").unwrap();
    let lost = shell(&agent, "echo c > /proc/sysrq-trigger; sleep 60");
    assert!(matches!(lost, Err(HostAgentError::Lost(_))), "{lost:?}");
    let WatchdogEvent::Died(Death::Panic(words)) = happened.recv_timeout(PATIENCE).unwrap() else {
        panic!("the panic was not noticed");
    };
    assert!(words.contains("sysrq triggered crash"), "{words}");
    let WatchdogEvent::Up(agent) = happened.recv_timeout(PATIENCE).unwrap() else {
        panic!("it did not come back");
    };
    let (_, kept) = shell(&agent, "cat /data/kept").unwrap();
    assert_eq!(kept, "1\n");

    drop(stop);
    watchdog.join().unwrap().unwrap();
    assert!(EmulatedHost::attach(&config.state_dir).is_none());
}

/// The emulated clock runs at the rate of the real one.
#[test]
fn its_clock_is_steady() {
    let scratch = tempfile::tempdir().unwrap();
    let host = Guarded::start(&config(scratch.path()));
    let agent = host.agent();
    let (first, first_ns, first_doubt) = sample_clock(&agent);
    std::thread::sleep(Duration::from_secs(5));
    let (second, second_ns, second_doubt) = sample_clock(&agent);

    let real = second.duration_since(first).as_secs_f64();
    let emulated = (second_ns - first_ns) as f64 / 1e9;
    let doubt = (first_doubt + second_doubt).as_secs_f64();
    // 20 ms: the counters' own resolution.
    let difference = (emulated - real).abs();
    assert!(
        difference <= doubt + 0.02,
        "{emulated} s for {real} s, in doubt {doubt} s"
    );
}

/// The emulated uptime, when it was read, and how much later or earlier that may have been. Of several readings
/// the one with the shortest round trip.
fn sample_clock(agent: &HostAgentClient) -> (Instant, u64, Duration) {
    let readings = (0..20).map(|_| {
        let before = Instant::now();
        let uptime_ns = agent.hello(PATIENCE).unwrap().uptime_ns;
        let half = before.elapsed() / 2;
        (before + half, uptime_ns, half)
    });
    readings.min_by_key(|(_, _, half)| *half).unwrap()
}

/// A host that does not outlive its test.
struct Guarded(EmulatedHost);

impl Guarded {
    fn start(config: &HostConfig) -> Self {
        Self(EmulatedHost::start(config, &|_| {}).unwrap())
    }
}

impl std::ops::Deref for Guarded {
    type Target = EmulatedHost;

    fn deref(&self) -> &EmulatedHost {
        &self.0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill();
    }
}

fn config(scratch: &Path) -> HostConfig {
    HostConfig {
        state_dir: scratch.join("host"),
        data_dir: target_dir().join("lab/data"),
        agent: agent(),
        kernel: KernelSource::Cached,
        cpus: 1,
        memory_mib: 1024,
        data_disk: DataDisk::Keep,
        disk_gib: 1,
        initial_files: vec![],
        forwards: vec![],
    }
}

/// `target/`, from `target/<triple>/<profile>/deps/<this test>`.
fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(4).unwrap().to_owned()
}

fn agent() -> PathBuf {
    if let Some(path) = std::env::var_os("HEARTH_LAB_AGENT") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap();
    let agent = own.ancestors().nth(2).unwrap().join("hearth-agent");
    assert!(
        agent.exists(),
        "build it first: cargo build -p hearth-agent"
    );
    agent
}

fn shell(agent: &HostAgentClient, line: &str) -> Result<(ExitStatus, String), HostAgentError> {
    let spec = ExecSpec {
        argv: ["/bin/busybox", "sh", "-c", line]
            .map(str::to_owned)
            .to_vec(),
        env: BTreeMap::from([("PATH".into(), "/bin".into())]),
        cwd: "/".into(),
        user: String::new(),
        tty: None,
        place: ExecPlace::Agent,
    };
    let mut output = Vec::new();
    let status = agent.exec(spec, None, &mut output, &mut std::io::stderr())?;
    Ok((status, String::from_utf8(output).unwrap()))
}
