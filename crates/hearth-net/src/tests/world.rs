//! A guest of a host in namespaces.
//!
//! ```text
//! hearth_test_world's world ── host ── slot ── tap0 ⇄ eth0 ── guest 198.19.0.2
//! ```
//!
//! The guest has the kernel of this machine instead of one of its own; frames go through the slot's TAP as a VMM would send
//! them. A real guest is in `tests/machine`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hearth_test_world::{PUBLIC, ip};
use rustix::event::{PollFd, PollFlags};

use crate::egress::Egress;
use crate::network::{Network, NetworkOptions};
use crate::slot::Slot;
use crate::{namespace, tap};

/// How long a connection may take that is expected to succeed; the emulated host is slow.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct World {
    pub(super) network: Network,
    pub(super) host: OwnedFd,
    runtime: tokio::runtime::Runtime,
    _state: tempfile::TempDir,
}

/// A guest and the slot that it is in.
pub(super) struct Guest {
    pub(super) slot: u16,
    namespace: OwnedFd,
    slot_namespace: OwnedFd,
    is_over: Arc<AtomicBool>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Runs a test in a world of its own.
pub(super) fn with_world(test: impl FnOnce(&World) + Send) {
    namespace::apart(|| {
        if !hearth_test_world::enter() {
            return;
        }
        let host = namespace::current().unwrap();
        let state = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = NetworkOptions {
            state: state.path().join("port"),
            name_servers: vec![SocketAddr::from((PUBLIC, 53))],
        };
        let network = runtime.block_on(Network::start(options)).unwrap();
        test(&World {
            network,
            host,
            runtime,
            _state: state,
        });
    });
}

impl World {
    pub(super) fn guest(&self, egress: &Egress) -> Guest {
        let Slot {
            number,
            namespace: slot_namespace,
            tap,
            ..
        } = self.runtime.block_on(self.network.take(egress)).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let namespace = namespace::apart(|| {
            namespace::leave().unwrap();
            let card = tap::open("eth0").unwrap();
            let [a, b, c, d, e, f] = crate::GUEST_MAC;
            ip(&format!(
                "link set eth0 address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
            ));
            ip(&format!(
                "addr add {}/{} dev eth0",
                crate::GUEST,
                crate::PREFIX
            ));
            ip("link set eth0 up");
            ip("link set lo up");
            ip(&format!("route add default via {}", crate::GATEWAY));
            pump(&card, &tap, &is_over);
            namespace::current().unwrap()
        });
        Guest {
            slot: number,
            namespace,
            slot_namespace,
            is_over,
        }
    }

    /// Waits until no slot is being made, which takes processes of nftables.
    pub(super) fn settle(&self) {
        self.runtime.block_on(self.network.settled());
    }

    /// Lets the name server work while a guest does something.
    pub(super) fn during<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let worker = scope.spawn(work);
            while !worker.is_finished() {
                self.runtime.block_on(async {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                });
            }
            worker.join().unwrap()
        })
    }
}

impl Guest {
    pub(super) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::within(&self.namespace, || Ok(work())).unwrap()
    }

    /// Whether TCP to an address works, and if not, how it fails.
    pub(super) fn connect(&self, address: Ipv4Addr, port: u16) -> io::Result<()> {
        let address = SocketAddr::from((address, port));
        self.within(|| TcpStream::connect_timeout(&address, PATIENCE).map(drop))
    }

    /// Whether a UDP message is answered.
    pub(super) fn exchange(&self, address: Ipv4Addr, port: u16, wait: Duration) -> bool {
        self.within(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(wait)).unwrap();
            socket
                .send_to(b"hello", (address, port))
                .and_then(|_| socket.recv_from(&mut [0; 16]))
                .is_ok()
        })
    }

    /// What the guest's name server says: the response code, and the answer.
    pub(super) fn resolve(&self, name: &str) -> io::Result<(u8, Vec<Ipv4Addr>)> {
        self.within(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(&question(name), (crate::GATEWAY, 53))?;
            let mut answer = [0; 512];
            let (length, _) = socket.recv_from(&mut answer)?;
            let packet = simple_dns::Packet::parse(&answer[..length]).map_err(io::Error::other)?;
            let addresses = packet
                .answers
                .iter()
                .filter_map(|record| match &record.rdata {
                    simple_dns::rdata::RData::A(a) => Some(Ipv4Addr::from_bits(a.address)),
                    _ => None,
                });
            Ok((answer[3] & 15, addresses.collect()))
        })
    }

    /// What nftables says in the slot.
    pub(super) fn rules(&self) -> String {
        self.within_slot("nft list ruleset")
    }

    /// What a command says in the slot.
    pub(super) fn within_slot(&self, command: &str) -> String {
        let mut words = command.split(' ');
        let said = namespace::within(&self.slot_namespace, || {
            Command::new(words.next().unwrap()).args(words).output()
        });
        String::from_utf8(said.unwrap().stdout).unwrap()
    }
}

pub(super) fn question(name: &str) -> Vec<u8> {
    use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};
    let mut packet = Packet::new_query(9);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new(name).unwrap().into_owned(),
        QTYPE::TYPE(TYPE::A),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().unwrap()
}

/// Carries frames both ways until the guest is over.
fn pump(one: &OwnedFd, other: &OwnedFd, is_over: &Arc<AtomicBool>) {
    const LOOK: rustix::time::Timespec = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    for (from, to) in [(one, other), (other, one)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let is_over = Arc::clone(is_over);
        std::thread::spawn(move || {
            let mut frame = vec![0; 65_536];
            while !is_over.load(Ordering::Relaxed) {
                let mut ready = [PollFd::new(&from, PollFlags::IN)];
                if rustix::event::poll(&mut ready, Some(&LOOK)) != Ok(1) {
                    continue;
                }
                // A card that is down neither gives nor takes.
                if let Ok(length) = rustix::io::read(&from, &mut frame[..]) {
                    let _ = rustix::io::write(&to, &frame[..length]);
                }
            }
        });
    }
}
