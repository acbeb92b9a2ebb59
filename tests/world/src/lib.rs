//! A host and the world around it, in namespaces of their own, so that a test of a network touches no real one.
//!
//! ```text
//! world 203.0.113.1, 203.0.113.9, 10.9.9.9, 169.254.169.254 ── w0/h0 ── host 203.0.113.2
//! ```
//!
//! Both listen at [`PORT`] on every address, TCP and UDP. The world has a name server at [`PUBLIC`].

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};

/// An address of the world, and its name server.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Another one.
pub const OTHER_PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// The host's own address.
pub const HOSTS_OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// An address of the world that is a private one.
pub const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
/// Where clouds tell their secrets.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Where everything listens.
pub const PORT: u16 = 80;

/// Makes the calling thread, and all that it starts, the host; `false` when it is not root.
#[must_use]
pub fn enter() -> bool {
    enter_beside(|| {})
}

/// The same with something more in the world: it is called there, and what it starts is there too.
#[must_use]
pub fn enter_beside(more: impl FnOnce() + Send + 'static) -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: namespaces need root");
        return false;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    ip("link set lo up");
    let (ready, is_ready) = mpsc::channel();
    let (arrived, has_arrived) = mpsc::channel();
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ready.send(rustix::thread::gettid()).unwrap();
        if has_arrived.recv().is_ok() {
            be_world();
            more();
        }
        ready.send(rustix::thread::gettid()).unwrap();
        // The namespace lives as long as a thread is in it.
        std::thread::park();
    });
    let world = is_ready.recv().unwrap().as_raw_nonzero();
    ip("link add h0 type veth peer name w0");
    ip(&format!("addr add {HOSTS_OWN}/24 dev h0"));
    ip(&format!("link set w0 netns {world}"));
    ip("link set h0 up");
    ip(&format!("route add default via {PUBLIC}"));
    arrived.send(()).unwrap();
    is_ready.recv().unwrap();
    listen_everywhere();
    true
}

fn be_world() {
    ip("link set lo up");
    for address in [
        format!("{PUBLIC}/24"),
        format!("{OTHER_PUBLIC}/24"),
        format!("{PRIVATE}/32"),
        format!("{METADATA}/32"),
    ] {
        ip(&format!("addr add {address} dev w0"));
    }
    ip("link set w0 up");
    serve_names();
    listen_everywhere();
}

/// Runs ip(8) in the network of the calling thread; answers what it said.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("/usr/sbin/ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// TCP that accepts, and UDP that echoes, at every address of the calling thread's network.
fn listen_everywhere() {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
    std::thread::spawn(move || for _ in listener.incoming() {});
    let echo = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], from);
        }
    });
}

/// The address that the world's name server gives `aNUMBER.many.test`.
fn one_of_many(name: &str) -> Option<Ipv4Addr> {
    let number = name.strip_prefix('a')?.strip_suffix(".many.test")?;
    Some(Ipv4Addr::new(203, 0, 114, number.parse().ok()?))
}

/// Knows `public.test`, `registry.test` and `other.test`, `private.test`, which has a private address, and the names below
/// `many.test`.
fn serve_names() {
    use simple_dns::rdata::{A, RData};
    use simple_dns::{CLASS, Packet, ResourceRecord};
    let socket = UdpSocket::bind((PUBLIC, 53)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(asked) = Packet::parse(&buffer[..length]) else {
                continue;
            };
            let mut answer = asked.into_reply();
            let name = answer.questions[0].qname.clone();
            let address = match name.to_string().to_ascii_lowercase().as_str() {
                "public.test" | "registry.test" => Some(PUBLIC),
                "other.test" => Some(OTHER_PUBLIC),
                "private.test" => Some(PRIVATE),
                other => one_of_many(other),
            };
            let is_for_ipv4 =
                answer.questions[0].qtype == simple_dns::QTYPE::TYPE(simple_dns::TYPE::A);
            if let Some(address) = address.filter(|_| is_for_ipv4) {
                let address = address.to_bits();
                let data = RData::A(A { address });
                let record = ResourceRecord::new(name, CLASS::IN, 30, data);
                answer.answers.push(record);
            }
            let _ = socket.send_to(&answer.build_bytes_vec().unwrap(), from);
        }
    });
}
