//! A VMM that a guest has taken over: this process enters the sandbox and then does what an attacker would.
//!
//! Each attack is also made with its layer left out, where it must not be stopped by that layer: so no test passes
//! because the attack itself is broken. Needs root, and no KVM.

#![allow(clippy::unwrap_used)]

use std::ffi::CString;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr;

use hearth_vmm::sandbox::{self, Layer, SandboxOptions};

/// Environment variables that make this binary the attacker: which attack, without which layers, in which directory.
const ATTACK: &str = "HEARTH_TEST_ATTACK";
const WITHOUT: &str = "HEARTH_TEST_WITHOUT";
const PLACE: &str = "HEARTH_TEST_PLACE";
/// Set when the attacker also has a root and a user of its own.
const JAILED: &str = "HEARTH_TEST_JAILED";

/// The user that nobody else is.
const USER: u32 = 0x7000_1234;

/// How an attack ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It did what it wanted.
    Succeeded,
    /// The kernel said no, with this error.
    Denied(i32),
    /// seccomp ended the process.
    Killed,
}

const ALL: [(Layer, &str); 8] = [
    (Layer::Namespaces, "namespaces"),
    (Layer::Descriptors, "descriptors"),
    (Layer::Root, "root"),
    (Layer::Limits, "limits"),
    (Layer::User, "user"),
    (Layer::Privileges, "privileges"),
    (Layer::Files, "files"),
    (Layer::SystemCalls, "calls"),
];

/// The attacker's side of every other test.
#[test]
fn attacker() {
    let Ok(attack) = std::env::var(ATTACK) else {
        return;
    };
    let without = std::env::var(WITHOUT).unwrap();
    let place = std::env::var_os(PLACE).unwrap();
    let is_jailed = std::env::var_os(JAILED).is_some();
    let options = SandboxOptions {
        readable: Vec::new(),
        writable: vec![Path::new(&place).join("own")],
        prepared: None,
        root: is_jailed.then(|| Path::new(&place).join("root")),
        user: is_jailed.then_some(USER),
        keep: Vec::new(),
        without: ALL
            .iter()
            .filter(|(_, name)| without.split(',').any(|word| word == *name))
            .map(|(layer, _)| *layer)
            .collect(),
    };
    sandbox::enter(&options).unwrap();
    let code = match perform(&attack, Path::new(&place)) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(255),
    };
    // SAFETY: ends the process, with nothing left to clean up.
    unsafe { libc::_exit(code) }
}

/// The attacks; `Err` is what the kernel said.
fn perform(attack: &str, place: &Path) -> io::Result<()> {
    match attack {
        "own file" => File::create(place.join("own/file"))?.write_all(b"x"),
        "foreign file" => File::open(place.join("secret")).map(drop),
        "foreign write" => File::create(place.join("planted")).map(drop),
        "shadow" => File::open("/etc/shadow").map(drop),
        "host" => File::open("/proc/version").map(drop),
        "planted in the root" => File::create("/planted").map(drop),
        "link out" => std::fs::hard_link(place.join("own/mine"), place.join("linked")),
        "dump" => is_zero(prctl(libc::PR_GET_DUMPABLE)),
        "core" => is_zero(core_limit()),
        "inherited" => descriptor(),
        "bounding" => is_zero(prctl(libc::PR_CAPBSET_READ)),
        "capabilities" => capabilities(),
        "interfaces" => interfaces(),
        "executable memory" => executable_memory(),
        other => check(unsafe_call(other, place)),
    }
}

/// System calls that no VMM makes, with arguments that would do something.
fn unsafe_call(attack: &str, place: &Path) -> i64 {
    let own = CString::new(place.join("own").to_str().unwrap()).unwrap();
    let program = c"/proc/self/exe".as_ptr() as i64;
    let (none, kind) = (c"none".as_ptr() as i64, c"no such kind".as_ptr() as i64);
    let inet = i64::from(libc::AF_INET);
    let netlink = i64::from(libc::AF_NETLINK);
    let parent = i64::from(std::os::unix::process::parent_id());
    let (call, arguments) = match attack {
        "execve" => (libc::SYS_execve, [program, 0, 0, 0]),
        "fork" => (libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0]),
        "ptrace" => (
            libc::SYS_ptrace,
            [i64::from(libc::PTRACE_SEIZE), parent, 0, 0],
        ),
        "mount" => (libc::SYS_mount, [none, own.as_ptr() as i64, kind, 0]),
        "bpf" => (libc::SYS_bpf, [0; 4]),
        "userfaultfd" => (libc::SYS_userfaultfd, [0; 4]),
        "io_uring" => (libc::SYS_io_uring_setup, [1, 0, 0, 0]),
        "internet" => (libc::SYS_socket, [inet, i64::from(libc::SOCK_STREAM), 0, 0]),
        "netlink" => (libc::SYS_socket, [netlink, i64::from(libc::SOCK_RAW), 0, 0]),
        "kill" => (libc::SYS_kill, [parent, 0, 0, 0]),
        "become root" => (libc::SYS_setresuid, [0, 0, 0, 0]),
        "foreign ioctl" => (libc::SYS_ioctl, [0, libc::TIOCSTI as i64, 0, 0]),
        "foreign prctl" => (libc::SYS_prctl, [i64::from(libc::PR_SET_DUMPABLE), 1, 0, 0]),
        other => panic!("no attack {other:?}"),
    };
    let [first, second, third, fourth] = arguments;
    // SAFETY: pointers are null or to strings that live on, and the process (and a child of it) only ends afterwards.
    unsafe { libc::syscall(call, first, second, third, fourth, 0) }
}

fn check(result: i64) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Zero is what the sandbox makes of it, so it counts as a denial.
fn is_zero(value: i64) -> io::Result<()> {
    match value {
        0 => Err(io::Error::from_raw_os_error(libc::EPERM)),
        _ => Ok(()),
    }
}

fn prctl(option: libc::c_int) -> i64 {
    // SAFETY: both options that are asked for take numbers.
    i64::from(unsafe { libc::prctl(option, 0, 0, 0, 0) })
}

fn core_limit() -> i64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is valid for writing.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    i64::from(limit.rlim_max != 0)
}

fn capabilities() -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let sets = status.lines().filter(|line| line.starts_with("Cap"));
    let any = sets
        .filter(|line| !line.ends_with("0000000000000000"))
        .count();
    is_zero(any as i64)
}

/// Whether the process sees a network card that is not its own loopback, as ioctl names them (netdevice(7)).
fn interfaces() -> io::Result<()> {
    let dev = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let others = dev
        .lines()
        .skip(2)
        .filter(|line| !line.trim_start().starts_with("lo:"));
    is_zero(others.count() as i64)
}

fn descriptor() -> io::Result<()> {
    // SAFETY: asks for flags of a number that may be no descriptor.
    check(i64::from(unsafe { libc::fcntl(INHERITED, libc::F_GETFD) }))
}

fn executable_memory() -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    match unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A descriptor that the node is made to forget to close.
const INHERITED: i32 = 77;

fn attack(name: &str, without: &[&str]) -> Outcome {
    attack_from(name, without, false)
}

/// From a process that also has a root and a user of its own, as those have that a node starts as root.
fn attack_jailed(name: &str, without: &[&str]) -> Outcome {
    attack_from(name, without, true)
}

fn attack_from(name: &str, without: &[&str], is_jailed: bool) -> Outcome {
    let place = tempfile::tempdir().unwrap();
    // As a data directory is.
    std::fs::set_permissions(place.path(), Permissions::from_mode(0o700)).unwrap();
    std::fs::create_dir(place.path().join("own")).unwrap();
    std::fs::write(place.path().join("own/mine"), "mine").unwrap();
    if is_jailed {
        // As the service has it.
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        std::fs::create_dir(place.path().join("root")).unwrap();
        std::os::unix::fs::chown(place.path().join("own"), Some(USER), Some(USER)).unwrap();
    }
    let secret = place.path().join("secret");
    std::fs::write(&secret, "of another tenant").unwrap();
    let secret = File::open(secret).unwrap();
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "attacker", "--nocapture", "--test-threads=1"])
        .env(ATTACK, name)
        .env(WITHOUT, without.join(","))
        .env(PLACE, place.path())
        .envs(is_jailed.then_some((JAILED, "1")))
        .stdout(Stdio::null());
    let fd = secret.as_raw_fd();
    let inherit = move || {
        // SAFETY: async-signal-safe, and nothing else uses the number.
        match unsafe { libc::dup2(fd, INHERITED) } {
            INHERITED => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one async-signal-safe call.
    unsafe { command.pre_exec(inherit) };
    let status = command.status().unwrap();
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Succeeded,
        (Some(101), _) => panic!("{name}: the attacker itself failed"),
        (Some(code), _) => Outcome::Denied(code),
        (None, Some(libc::SIGSYS)) => Outcome::Killed,
        (None, signal) => panic!("{name}: ended by signal {signal:?}"),
    }
}

#[test]
fn its_own_directory_is_open_to_it() {
    assert_eq!(attack("own file", &[]), Outcome::Succeeded);
}

#[test]
fn system_calls_that_are_not_on_the_list_end_the_process() {
    for name in [
        "execve",
        "fork",
        "ptrace",
        "mount",
        "bpf",
        "userfaultfd",
        "io_uring",
        "internet",
        "netlink",
        "kill",
        "foreign ioctl",
        "foreign prctl",
        "executable memory",
    ] {
        assert_eq!(attack(name, &[]), Outcome::Killed, "{name}");
        assert_ne!(attack(name, &["calls"]), Outcome::Killed, "{name}");
    }
}

#[test]
fn files_that_were_not_named_are_closed_even_to_root() {
    let names = [
        "shadow",
        "host",
        "foreign file",
        "foreign write",
        "link out",
    ];
    // The emulated host has no users.
    let is_there = |name: &str| name != "shadow" || Path::new("/etc/shadow").exists();
    for name in names.into_iter().filter(|name| is_there(name)) {
        let outcome = attack(name, &[]);
        let denied = [libc::EACCES, libc::EXDEV].map(Outcome::Denied);
        assert!(denied.contains(&outcome), "{name}: {outcome:?}");
        assert!(!denied.contains(&attack(name, &["files"])), "{name}");
    }
}

#[test]
fn without_system_call_lists_the_lost_capabilities_still_stop_it() {
    let without = ["calls", "files"];
    let more = ["calls", "files", "privileges"];
    for name in ["mount", "capabilities", "bounding", "dump"] {
        let outcome = attack(name, &without);
        assert_eq!(outcome, Outcome::Denied(libc::EPERM), "{name}");
        assert_ne!(attack(name, &more), outcome, "{name}");
    }
}

#[test]
fn what_was_inherited_is_gone() {
    let denied = Outcome::Denied(libc::EBADF);
    assert_eq!(attack("inherited", &[]), denied);
    assert_eq!(attack("inherited", &["descriptors"]), Outcome::Succeeded);
}

#[test]
fn no_core_is_dumped() {
    let denied = Outcome::Denied(libc::EPERM);
    assert_eq!(attack("core", &["calls"]), denied);
    assert_eq!(attack("core", &["calls", "limits"]), Outcome::Succeeded);
}

#[test]
fn in_a_root_of_its_own_there_is_nothing_but_its_own() {
    assert_eq!(attack_jailed("own file", &[]), Outcome::Succeeded);
    // Neither Landlock nor permissions stop these: it is root, and the files are not there.
    let without = ["calls", "files", "privileges", "user"];
    let more = [&without[..], &["root"]].concat();
    for name in ["host", "foreign file"] {
        let outcome = attack_jailed(name, &without);
        assert_eq!(outcome, Outcome::Denied(libc::ENOENT), "{name}");
        assert_eq!(attack_jailed(name, &more), Outcome::Succeeded, "{name}");
    }
    let outcome = attack_jailed("planted in the root", &without);
    assert_eq!(outcome, Outcome::Denied(libc::EROFS));
}

#[test]
fn as_a_user_of_its_own_it_is_nobody_to_others() {
    // Without any other wall: permissions are those of a stranger, and there is no way back.
    let without = ["calls", "files", "privileges", "root", "namespaces"];
    let more = [&without[..], &["user"]].concat();
    let attacks = [
        ("foreign file", libc::EACCES),
        ("foreign write", libc::EACCES),
        ("kill", libc::EPERM),
        ("ptrace", libc::EPERM),
        ("become root", libc::EPERM),
    ];
    for (name, error) in attacks {
        let outcome = attack_jailed(name, &without);
        assert_eq!(outcome, Outcome::Denied(error), "{name}");
        assert_ne!(attack_jailed(name, &more), outcome, "{name}");
    }
}

#[test]
fn the_hosts_network_is_not_there() {
    let without = ["calls", "files"];
    let denied = Outcome::Denied(libc::EPERM);
    assert_eq!(attack("interfaces", &without), denied);
    let without = ["calls", "files", "namespaces"];
    assert_eq!(attack("interfaces", &without), Outcome::Succeeded);
}
