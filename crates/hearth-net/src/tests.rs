//! What a guest reaches and what it does not, tried from a guest.

mod world;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::egress::{Egress, Names};
use crate::{addresses, namespace, rules};
use hearth_test_world::{HOSTS_OWN, METADATA, OTHER_PUBLIC, PORT, PRIVATE, PUBLIC, ip};
use world::{Guest, World, with_world};

/// How long to wait for what must not come.
const SHORTLY: Duration = Duration::from_millis(300);

fn reaches(guest: &Guest, address: Ipv4Addr) -> bool {
    guest.connect(address, PORT).is_ok()
}

#[test]
fn the_internet_is_open_and_everything_else_is_closed() {
    with_world(|world| {
        let guest = world.guest(&Egress::internet());
        assert!(reaches(&guest, PUBLIC));
        assert!(reaches(&guest, OTHER_PUBLIC));
        let slot = addresses::slot_address(guest.slot);
        for closed in [
            PRIVATE,
            METADATA,
            HOSTS_OWN,
            addresses::HOST,
            crate::GATEWAY,
            slot,
        ] {
            let error = guest.connect(closed, PORT).unwrap_err();
            // The slot resets the connection, the host says that it is prohibited; both at once.
            let is_refusal = [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable];
            assert!(is_refusal.contains(&error.kind()), "{closed}: {error}");
        }
        assert!(
            !guest.exchange(PUBLIC, PORT, SHORTLY),
            "UDP is closed, as on AWS"
        );
    });
}

#[test]
fn a_closed_guest_reaches_nothing_and_knows_no_names() {
    with_world(|world| {
        let guest = world.guest(&Egress::closed());
        for address in [PUBLIC, PRIVATE, METADATA, HOSTS_OWN] {
            assert!(!reaches(&guest, address), "{address}");
        }
        let (code, addresses) = world.during(|| guest.resolve("public.test")).unwrap();
        assert_eq!((code, addresses), (5, vec![]));
    });
}

#[test]
fn what_is_opened_by_name_is_open_and_no_more() {
    with_world(|world| {
        let guest = world.guest(&Egress {
            internet: false,
            rules: vec![
                format!("{PRIVATE}:{PORT}").parse().unwrap(),
                format!("{PUBLIC}:{PORT}/udp").parse().unwrap(),
            ],
            names: Names::None,
        });
        assert!(reaches(&guest, PRIVATE));
        assert!(guest.connect(PRIVATE, 53).is_err(), "another port");
        assert!(!reaches(&guest, PUBLIC), "only UDP");
        assert!(guest.exchange(PUBLIC, PORT, Duration::from_secs(5)));
        assert!(!reaches(&guest, METADATA));
    });
}

#[test]
fn listed_names_open_what_they_answer() {
    with_world(|world| {
        let guest = world.guest(&Egress {
            internet: false,
            rules: Vec::new(),
            names: Names::Listed(vec![
                "public.test".parse().unwrap(),
                "private.test".parse().unwrap(),
            ]),
        });
        assert!(!reaches(&guest, PUBLIC), "nothing was asked yet");
        let resolve = |name: &str| world.during(|| guest.resolve(name)).unwrap();
        assert_eq!(resolve("other.test"), (5, vec![]), "not on the list");
        assert_eq!(
            resolve("data.other.test"),
            (5, vec![]),
            "no tunnel past the list"
        );
        assert_eq!(resolve("public.test"), (0, vec![PUBLIC]));
        assert!(reaches(&guest, PUBLIC));
        assert!(!reaches(&guest, OTHER_PUBLIC));
        assert_eq!(resolve("private.test"), (0, vec![PRIVATE]));
        assert!(
            !reaches(&guest, PRIVATE),
            "a name does not open a private address"
        );
        // Asked again, it is still open, and for a time that ends.
        assert_eq!(resolve("public.test"), (0, vec![PUBLIC]));
        assert!(reaches(&guest, PUBLIC));
        assert!(guest.rules().contains("timeout 1m30s"), "{}", guest.rules());
    });
}

/// Page faults of all child processes that have ended: every one of them has some.
fn faults_of_children() -> i64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_CHILDREN)
        .unwrap()
        .minor_page_faults()
}

/// Finding M15: it took a process of nftables for each.
#[test]
fn a_hundred_answers_open_addresses_without_a_process() {
    with_world(|world| {
        let guest = world.guest(&Egress {
            internet: false,
            rules: Vec::new(),
            names: Names::Listed(vec!["many.test".parse().unwrap()]),
        });
        world.settle();
        let before = faults_of_children();
        for number in 1..=100 {
            let name = format!("a{number}.many.test");
            let (code, addresses) = world.during(|| guest.resolve(&name)).unwrap();
            assert_eq!((code, addresses.len()), (0, 1), "{name}");
        }
        assert_eq!(faults_of_children(), before, "a process was started");
        let rules = guest.rules();
        assert!(faults_of_children() > before, "nft was a process");
        assert_eq!(rules.matches("timeout 1m30s").count(), 100, "{rules}");
    });
}

/// Entries of connections in the table of the calling thread's network, those that are over and forgotten left out.
const COUNT_CONNECTIONS: &str = "cat /proc/net/nf_conntrack";

/// Finding M7: connections that are over stayed for two minutes, 60,000 of one guest.
#[test]
fn connections_that_are_over_are_soon_forgotten() {
    with_world(|world| {
        let guest = world.guest(&Egress::internet());
        for _ in 0..200 {
            guest.connect(PUBLIC, PORT).unwrap();
        }
        let on_host = || {
            let listed = namespace::within(&world.host, || {
                let mut words = COUNT_CONNECTIONS.split(' ');
                std::process::Command::new(words.next().unwrap())
                    .args(words)
                    .output()
            });
            String::from_utf8(listed.unwrap().stdout).unwrap()
        };
        let in_slot = || guest.within_slot(COUNT_CONNECTIONS);
        let is_over = |line: &&str| line.contains(" TIME_WAIT ") || line.contains(" CLOSE ");
        for listed in [on_host(), in_slot()] {
            let over: Vec<_> = listed.lines().filter(is_over).collect();
            assert!(over.len() > 100, "{listed}");
            for line in over {
                // ipv4 2 tcp 6 SECONDS STATE ...
                let seconds = line.split_whitespace().nth(4).unwrap();
                let seconds: u32 = seconds.parse().unwrap();
                assert!(seconds <= rules::OVER_SECONDS, "{line}");
            }
        }
    });
}

#[test]
fn all_names_are_answered_where_they_are_open() {
    with_world(|world| {
        let guest = world.guest(&Egress::internet());
        let resolve = |name: &str| world.during(|| guest.resolve(name)).unwrap();
        assert_eq!(resolve("public.test"), (0, vec![PUBLIC]));
        assert!(resolve("nothing.test").1.is_empty());
        world.network.release(guest.slot);
        let forgotten = world.during(|| guest.resolve("public.test"));
        assert!(
            forgotten.is_err(),
            "a guest that is forgotten is not answered"
        );
    });
}

#[test]
fn guests_do_not_reach_each_other() {
    with_world(|world| {
        let (one, other) = (
            world.guest(&Egress::internet()),
            world.guest(&Egress::internet()),
        );
        assert_ne!(one.slot, other.slot);
        other.within(|| {
            std::net::TcpListener::bind(("0.0.0.0", 9000))
                .map(std::mem::forget)
                .unwrap();
        });
        let target = addresses::slot_address(other.slot);
        assert!(one.connect(target, 9000).is_err());
        // Not even when a slot opened it: the host has a rule of its own.
        let everything = Egress {
            rules: vec!["0.0.0.0/0".parse().unwrap()],
            ..Egress::closed()
        };
        let daring = world.guest(&everything);
        assert!(
            reaches(&daring, PRIVATE),
            "what it shows is that the slot lets it out"
        );
        assert!(daring.connect(target, 9000).is_err());
        assert!(daring.connect(HOSTS_OWN, PORT).is_err());
    });
}

/// Sends a datagram with the guest's address changed; answers whether it came back.
fn exchange_as(guest: &Guest, change: &str) -> bool {
    guest.within(|| {
        for step in change.split(';') {
            ip(step);
        }
    });
    guest.exchange(PUBLIC, PORT, SHORTLY)
}

#[test]
fn a_false_source_is_dropped() {
    with_world(|world| {
        let open = Egress {
            rules: vec![format!("{PUBLIC}:{PORT}/udp").parse().unwrap()],
            ..Egress::closed()
        };
        let route = "route replace default via 198.19.0.1 dev eth0 onlink";
        for (what, change) in [
            (
                "address",
                format!("addr flush dev eth0;addr add 198.19.0.3/30 dev eth0;{route}"),
            ),
            (
                "private address",
                format!("addr flush dev eth0;addr add 10.0.0.1/32 dev eth0;{route}"),
            ),
            (
                "hardware address",
                "link set eth0 address 02:00:00:00:00:77".to_owned(),
            ),
        ] {
            let guest = world.guest(&open);
            assert!(
                guest.exchange(PUBLIC, PORT, Duration::from_secs(5)),
                "before: {what}"
            );
            assert!(!exchange_as(&guest, &change), "{what}");
        }
    });
}

#[test]
fn ipv6_is_closed() {
    with_world(|world| {
        let guest = world.guest(&Egress {
            rules: vec!["0.0.0.0/0".parse().unwrap()],
            internet: true,
            names: Names::All,
        });
        // The slot answers nothing on IPv6, not even who is there.
        let is_answered = guest.within(|| {
            let Ok(socket) = UdpSocket::bind("[::]:0") else {
                return false;
            };
            socket.set_read_timeout(Some(SHORTLY)).unwrap();
            let sent = socket.send_to(b"x", "[ff02::1%2]:9");
            sent.is_ok() && socket.recv_from(&mut [0; 8]).is_ok()
        });
        assert!(!is_answered);
        assert_eq!(guest.within_slot("ip -6 -br addr"), "");
    });
}

#[test]
fn nothing_is_left_of_a_slot() {
    with_world(|world| {
        let links = || {
            let listed = namespace::within(&world.host, || {
                std::process::Command::new("ip")
                    .args(["-br", "link"])
                    .output()
            });
            String::from_utf8(listed.unwrap().stdout).unwrap()
        };
        let slot = world.guest(&Egress::closed());
        let name = addresses::host_link(slot.slot);
        assert!(links().contains(&name));
        let number = slot.slot;
        drop(slot);
        world.network.release(number);
        // The kernel takes namespaces apart in its own time, once the guest's end of the pump has noticed.
        ip_link_gone(&links, &name);
    });
}

fn ip_link_gone(links: &dyn Fn() -> String, name: &str) {
    for _ in 0..100 {
        if !links().contains(name) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{name} is still there:\n{}", links());
}

#[test]
fn the_rules_of_the_host_go_with_the_last_slot_and_not_before() {
    with_world(|world: &World| {
        let has_rules = || {
            let list = ["list", "table", "inet", "hearth"];
            let listed = std::process::Command::new(crate::nft::PROGRAM)
                .args(list)
                .output();
            listed.unwrap().status.success()
        };
        let guest = world.guest(&Egress::closed());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(crate::leave_host()).unwrap();
        assert!(has_rules());
        drop(guest);
        for _ in 0..2 {
            crate::nft::apply(rules::NO_HOST).unwrap();
            assert!(!has_rules());
        }
    });
}

#[test]
fn the_rules_of_the_host_can_be_applied_again() {
    with_world(|_world: &World| {
        crate::nft::apply(&rules::host()).unwrap();
        crate::nft::apply(&rules::host()).unwrap();
    });
}
