//! The network of a guest: throughput to the world, and what the rules of its slot cost a packet.
//!
//! The world is a namespace (`tests/world`), so that no real network is measured. Of two clones one has its slot's filters taken
//! away; what is left is what the kernel does anyhow. They are measured turn by turn.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use hearth_bench::Samples;
use hearth_machine_tests::guest::{self, Fixture, ask, name};
use hearth_net::{Egress, Network, NetworkOptions};
use hearth_node::{CloneRequest, Machine};
use hearth_test_world::PUBLIC;
use nix::sched::{CloneFlags, setns};

/// Where the world reads everything, and where it sends everything back.
const SINK: u16 = 5001;
const ECHO: u16 = 5002;

/// What is poured in a round, in MiB.
const POUR_MIB: u64 = 64;
/// Round trips of a round; each is two packets with a byte, and their acknowledgements.
const ROUND_TRIPS: u64 = 500;

/// Takes the filters of a slot away, and leaves address translation.
const NO_FILTERS: &str = "delete table netdev hearth
flush chain inet hearth forward
add chain inet hearth forward { type filter hook forward priority filter; policy accept; }
";

/// Measures on a host of its own.
pub(crate) fn measure(test_guest: &Path, rounds: u32) -> Result<Samples> {
    let test_guest = test_guest.to_owned();
    let host = std::thread::spawn(move || {
        let serve_all = || {
            serve(SINK, sink);
            serve(ECHO, echo);
        };
        ensure!(
            hearth_test_world::enter_beside(serve_all),
            "networks are measured as root"
        );
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(on_host(&test_guest, rounds))
    });
    match host.join() {
        Ok(measured) => measured,
        Err(_) => bail!("the host of the measurement has died"),
    }
}

/// A listener in the network of the calling thread.
fn serve(port: u16, each: fn(TcpStream)) {
    #[expect(
        clippy::expect_used,
        reason = "a network of its own, in which nobody listens"
    )]
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("the port is free");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || each(stream));
        }
    });
}

fn sink(mut stream: TcpStream) {
    let mut buffer = vec![0; 256 << 10];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    let _ = stream.set_nodelay(true);
    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
}

async fn on_host(test_guest: &Path, rounds: u32) -> Result<Samples> {
    let options = NetworkOptions {
        state: std::env::temp_dir().join("bench-world-port"),
        name_servers: vec![(PUBLIC, 53).into()],
    };
    let network = Network::start(options).await.context("start networks")?;
    let node = Fixture::new(test_guest).with_network(network);
    let mut request = node.boot_request(1, Vec::new());
    request.egress = Egress::internet();
    let mut template = node.boot(&name("net"), request).await?.machine;
    template.start_application(guest::serve()).await?;
    guest::wait_until_serving(&template).await;
    let (snapshot, _) = template.snapshot().await?;
    template.terminate().await?;
    let clone = async |text: &str| -> Result<Machine> {
        let request = CloneRequest::new(snapshot);
        Ok(node.clone_snapshot(&name(text), request).await?.machine)
    };
    let (filtered, free) = (clone("filtered").await?, clone("free").await?);
    take_filters_away(free.record().process.pid)?;
    let mut samples = Samples::default();
    for round in 0..=rounds {
        for (subject, machine) in [("hearth", &filtered), ("hearth without rules", &free)] {
            let pour = format!("pour {PUBLIC}:{SINK} {}", POUR_MIB << 20);
            let poured_s = time(machine, &pour).await?;
            let echo = format!("echo {PUBLIC}:{ECHO} {ROUND_TRIPS}");
            let echoed_s = time(machine, &echo).await?;
            // The first round is there to have everything warm.
            if round > 0 {
                let rate = POUR_MIB as f64 / poured_s;
                samples.add("guest_sends_mib_per_s", subject, "", rate);
                let trip = echoed_s * 1e6 / ROUND_TRIPS as f64;
                samples.add("guest_round_trip_us", subject, "", trip);
            }
        }
    }
    filtered.terminate().await?;
    free.terminate().await?;
    node.delete_snapshot(snapshot).await?;
    Ok(samples)
}

async fn time(machine: &Machine, line: &str) -> Result<f64> {
    let begun = Instant::now();
    let answer = ask(machine, line).await;
    ensure!(answer == "ok", "{line}: {answer:?}");
    Ok(begun.elapsed().as_secs_f64())
}

/// In the network of that process.
fn take_filters_away(pid: u32) -> Result<()> {
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    // A thread of its own, which ends in that network.
    let thread = std::thread::spawn(move || -> Result<()> {
        setns(network, CloneFlags::CLONE_NEWNET)?;
        let mut nft = Command::new(hearth_net::PROGRAM)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()?;
        nft.stdin
            .take()
            .context("its input is piped")?
            .write_all(NO_FILTERS.as_bytes())?;
        ensure!(nft.wait()?.success(), "nft did not take the filters away");
        Ok(())
    });
    match thread.join() {
        Ok(done) => done,
        Err(_) => bail!("the thread that took the filters away has died"),
    }
}
