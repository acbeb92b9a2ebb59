//! The network of microVMs: every clone has the same address and its own ways out.
//!
//! `hearth-net` tests the rules one by one; here real guests use them, over all that happens to a microVM.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use hearth_machine_tests::guest::{self, ask, name};
use hearth_net::{Egress, Network, NetworkOptions};
use hearth_node::{CloneRequest, Machine};
use hearth_test_world::{HOSTS_OWN, OTHER_PUBLIC, PORT, PRIVATE, PUBLIC};
use hearth_wire::vmm::RateLimit;

use crate::fixture::{self, node};

/// Runs a test on a host in a world of its own.
fn in_world(test: impl Future<Output = ()> + Send + 'static) {
    in_world_with(|| {}, test);
}

/// The same with something more in the world.
fn in_world_with(
    more: impl FnOnce() + Send + 'static,
    test: impl Future<Output = ()> + Send + 'static,
) {
    let host = std::thread::spawn(|| {
        assert!(
            hearth_test_world::enter_beside(more),
            "the tests of microVMs run as root"
        );
        // Its threads are started by this one, so they are on that host too.
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(test);
    });
    host.join().unwrap();
}

async fn network(state: &Path) -> Network {
    let options = NetworkOptions {
        state: state.to_owned(),
        name_servers: vec![(PUBLIC, 53).into()],
    };
    Network::start(options).await.unwrap()
}

async fn reaches(machine: &Machine, address: std::net::Ipv4Addr) -> bool {
    ask(machine, &format!("connect {address}:{PORT}")).await == "ok"
}

async fn resolves(machine: &Machine, name: &str) -> bool {
    let (_, said) = guest::exec(
        machine,
        &["/bin/busybox", "nslookup", "-type=a", name, "198.19.0.1"],
    )
    .await;
    said.contains(&PUBLIC.to_string())
}

fn links() -> Vec<String> {
    let links = hearth_test_world::ip("-br link");
    let own = links.lines().filter(|line| line.starts_with("hearth-"));
    own.map(str::to_owned).collect()
}

#[test]
fn clones_share_an_address_and_have_their_own_ways_out() {
    in_world(async {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("port");
        let mut node = node().await.with_network(network(&state).await);
        let booted = node
            .boot(&name("net-template"), node.boot_request(1, Vec::new()))
            .await;
        let mut template = booted.unwrap().machine;
        template.start_application(guest::serve()).await.unwrap();
        guest::wait_until_serving(&template).await;
        assert!(!reaches(&template, PUBLIC).await, "it was booted closed");
        let (snapshot, _) = template.snapshot().await.unwrap();
        template.terminate().await.unwrap();

        let open = CloneRequest {
            egress: Some(Egress::internet()),
            ..CloneRequest::new(snapshot)
        };
        let first = node
            .clone_snapshot(&name("net-1"), open.clone())
            .await
            .unwrap()
            .machine;
        let second = node
            .clone_snapshot(&name("net-2"), open)
            .await
            .unwrap()
            .machine;
        let closed = node
            .clone_snapshot(&name("net-3"), CloneRequest::new(snapshot))
            .await;
        let closed = closed.unwrap().machine;
        for machine in [&first, &second] {
            assert!(reaches(machine, PUBLIC).await);
            assert!(reaches(machine, OTHER_PUBLIC).await);
            assert!(resolves(machine, "public.test").await);
            // A metadata service answers in the guest itself; that the world's is closed, hearth-net's own tests show.
            for address in [PRIVATE, HOSTS_OWN] {
                assert!(!reaches(machine, address).await, "{address}");
            }
        }
        assert!(!reaches(&closed, PUBLIC).await);
        assert!(!resolves(&closed, "public.test").await);

        // Suspended and resumed, it is in another slot and does not notice.
        first.suspend().await.unwrap();
        let first = node.resume(&name("net-1")).await.unwrap().machine;
        assert!(reaches(&first, PUBLIC).await);
        assert!(resolves(&first, "public.test").await);
        assert!(!reaches(&first, PRIVATE).await);
        let fork = node
            .fork(&name("net-1"), &name("net-4"))
            .await
            .unwrap()
            .machine;
        assert!(reaches(&fork, PUBLIC).await && reaches(&first, PUBLIC).await);

        // A node that comes after takes up the guests that run.
        drop((first, second, closed, fork, node));
        node = fixture::new().with_network(network(&state).await);
        let closed = node.machine(&name("net-3")).unwrap();
        let first = node.machine(&name("net-1")).unwrap();
        assert!(resolves(&first, "public.test").await);
        assert!(!resolves(&closed, "public.test").await);

        for machine in ["net-1", "net-2", "net-3", "net-4"] {
            node.machine(&name(machine))
                .unwrap()
                .terminate()
                .await
                .unwrap();
        }
        node.delete_snapshot(snapshot).await.unwrap();
        drop((first, closed, node));
        for _ in 0..100 {
            if links().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("slots are left: {:?}", links());
    });
}

#[test]
fn a_snapshot_with_a_card_needs_a_network() {
    in_world(async {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("port");
        let node = node().await.with_network(network(&state).await);
        let booted = node
            .boot(&name("net-card"), node.boot_request(1, Vec::new()))
            .await;
        let machine = booted.unwrap().machine;
        machine.suspend().await.unwrap();
        let without = fixture::new();
        let error = without
            .resume(&name("net-card"))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no networks"), "{error}");
        node.resume(&name("net-card"))
            .await
            .unwrap()
            .machine
            .terminate()
            .await
            .unwrap();
    });
}

/// Where the world reads everything that comes.
const SINK: u16 = 5001;

fn serve_sink() {
    let listener = TcpListener::bind((PUBLIC, SINK)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
}

/// How long a guest takes to send two MiB.
async fn pour(machine: &Machine) -> Duration {
    let begun = Instant::now();
    let line = format!("pour {PUBLIC}:{SINK} {}", 2 << 20);
    assert_eq!(ask(machine, &line).await, "ok");
    begun.elapsed()
}

#[test]
fn a_card_is_as_slow_as_its_limit() {
    in_world_with(serve_sink, async {
        let directory = tempfile::tempdir().unwrap();
        let network = network(&directory.path().join("port")).await;
        // A quarter of what a busy emulated host moves without a limit.
        let rate = RateLimit {
            bytes_per_second: Some(1 << 18),
            operations_per_second: None,
        };
        // What a second allows was saved up; the other seven eighths take seven seconds.
        let least = Duration::from_secs(6);
        let plain = node().await.with_network(network.clone());
        let limited = plain.with(|options| {
            options.network = Some(network);
            options.limits.network = Some(rate);
        });
        let mut request = limited.boot_request(1, Vec::new());
        request.egress = Egress::internet();
        let booted = limited.boot(&name("net-slow"), request).await;
        let mut machine = booted.unwrap().machine;
        machine.start_application(guest::serve()).await.unwrap();
        guest::wait_until_serving(&machine).await;
        let took = pour(&machine).await;
        assert!(took >= least, "{took:?}");
        let (snapshot, _) = machine.snapshot().await.unwrap();
        machine.terminate().await.unwrap();

        // The control: it is the limit that is slow.
        let fast = name("net-fast");
        let fast = plain.clone_snapshot(&fast, CloneRequest::new(snapshot));
        let machine = fast.await.unwrap().machine;
        let took = pour(&machine).await;
        assert!(took < least / 2, "{took:?}");
        machine.terminate().await.unwrap();
        plain.delete_snapshot(snapshot).await.unwrap();
    });
}
