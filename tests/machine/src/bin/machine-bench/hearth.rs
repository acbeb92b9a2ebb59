//! Hearth's own figures.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hearth_bench::Samples;
use hearth_machine_tests::guest::{self, Fixture, ask, name};
use hearth_net::{Egress, Network, NetworkOptions};
use hearth_node::{CloneRequest, Groups, Launched};
use hearth_snapshot::SnapshotId;
use tokio::task::JoinSet;

use crate::memory::pss_beside_guest_mib;
use crate::peer::Peer;

/// Sizes of guests, in MiB: restoring must cost the same for all.
const RAM_MIB: [u32; 3] = [256, 2048, 8192];
/// What a guest changed before it is suspended, in MiB.
const DIRTY_MIB: [u32; 3] = [8, 32, 100];
/// Clones that are made at the same time.
const AT_ONCE: usize = 20;

/// The benchmark of this node.
pub(crate) struct Bench {
    fixture: Fixture,
    /// The same without networks.
    bare: Fixture,
    /// The same with networks, and with VMMs that have neither user nor root directory nor process namespace of their own.
    free: Fixture,
    /// The same with networks, jail and control groups, as the service has them; where there are control groups.
    limited: Option<Fixture>,
    network: Network,
    rounds: u32,
}

impl Bench {
    pub(crate) async fn new(test_guest: &Path, rounds: u32) -> Result<Self> {
        let state = std::env::temp_dir().join("bench-resolver-port");
        let network = Network::start(NetworkOptions {
            state,
            name_servers: Vec::new(),
        });
        let network = network.await.context("start networks")?;
        let bare = Fixture::new(test_guest);
        let groups = Groups::open(bare.layout().data()).ok();
        Ok(Self {
            fixture: bare.with_network(network.clone()),
            free: bare.with(|options| {
                options.network = Some(network.clone());
                options.users = None;
            }),
            limited: groups.map(|groups| {
                bare.with(|options| {
                    options.network = Some(network.clone());
                    options.groups = Some(groups);
                })
            }),
            bare,
            network,
            rounds,
        })
    }

    pub(crate) fn fixture(&self) -> &Fixture {
        &self.fixture
    }

    /// Spawn to running, spawn to the agent's answer, memory; the peers in turn with us.
    pub(crate) async fn restores(
        &self,
        samples: &mut Samples,
        peers: &[Peer],
        is_small: bool,
    ) -> Result<()> {
        for ram_mib in RAM_MIB.into_iter().filter(|mib| !is_small || *mib < 8192) {
            let snapshot = self.idle_template(&self.fixture, ram_mib).await?;
            let bare_snapshot = self.idle_template(&self.bare, ram_mib).await?;
            let parameter = format!("{ram_mib} MiB");
            // One round before the counted ones, to have programs and snapshot in the page cache.
            for round in 0..=self.rounds {
                let mut own = vec![
                    ("hearth", &self.fixture, snapshot),
                    ("hearth without network", &self.bare, bare_snapshot),
                    ("hearth without jail", &self.free, snapshot),
                ];
                let limited = self.limited.as_ref();
                own.extend(limited.map(|node| ("hearth with groups", node, snapshot)));
                for (subject, node, snapshot) in own {
                    self.network.settled().await;
                    let request = CloneRequest::new(snapshot);
                    let name = name(&format!("restore-{round}"));
                    let launched = node.clone_snapshot(&name, request).await?;
                    if round > 0 {
                        record_launch(samples, subject, &parameter, &launched, ram_mib)?;
                    }
                    launched.machine.terminate().await?;
                }
                if ram_mib != RAM_MIB[0] {
                    continue;
                }
                for peer in peers {
                    let figures = peer.restore().await?;
                    if round > 0 {
                        let running = milliseconds(figures.spawn_to_running);
                        samples.add("spawn_to_running_ms", peer.name(), &parameter, running);
                        let pss = figures.pss_beside_guest_mib;
                        samples.add("pss_beside_guest_mib", peer.name(), &parameter, pss);
                    }
                }
            }
        }
        Ok(())
    }

    /// Twenty clones at once: until the last one's agent has answered.
    pub(crate) async fn clones_at_once(&self, samples: &mut Samples) -> Result<()> {
        let snapshot = self.idle_template(&self.fixture, RAM_MIB[0]).await?;
        for _ in 0..self.rounds {
            self.network.settled().await;
            let start = Instant::now();
            let mut launches = JoinSet::new();
            for index in 0..AT_ONCE {
                let (node, name) = (self.fixture.clone(), name(&format!("crowd-{index}")));
                let request = CloneRequest::new(snapshot);
                launches.spawn(async move { node.clone_snapshot(&name, request).await });
            }
            let launched = launches.join_all().await;
            let all = milliseconds(start.elapsed());
            samples.add("twenty_clones_all_answer_ms", "hearth", "", all);
            for launched in launched {
                let launched = launched?;
                let each = milliseconds(launched.times.to_agent);
                samples.add("twenty_clones_each_answers_ms", "hearth", "", each);
                launched.machine.terminate().await?;
            }
        }
        Ok(())
    }

    /// Suspend and resume by what was changed.
    pub(crate) async fn suspends(&self, samples: &mut Samples) -> Result<()> {
        for dirty_mib in DIRTY_MIB {
            let parameter = format!("{dirty_mib} MiB dirty");
            for round in 0..self.rounds {
                let machine = guest::clone(&self.fixture, "sleeper").await.machine;
                let filled = ask(&machine, &format!("dirty {dirty_mib} {round}")).await;
                anyhow::ensure!(
                    filled == "ok",
                    "the guest could not fill its buffer: {filled}"
                );
                let start = Instant::now();
                let (_, summary) = machine.suspend().await?;
                samples.add(
                    "suspend_ms",
                    "hearth",
                    &parameter,
                    milliseconds(start.elapsed()),
                );
                let written = summary.memory_bytes as f64 / f64::from(1 << 20);
                samples.add("suspend_written_mib", "hearth", &parameter, written);

                let launched = self.fixture.resume(&name("sleeper")).await?;
                let times = launched.times;
                samples.add(
                    "resume_ms",
                    "hearth",
                    &parameter,
                    milliseconds(times.to_agent),
                );
                launched.machine.terminate().await?;
            }
        }
        Ok(())
    }

    /// A snapshot of a guest of that size whose agent is all that runs.
    async fn idle_template(&self, node: &Fixture, ram_mib: u32) -> Result<SnapshotId> {
        let name = name(&format!("idle-{ram_mib}"));
        let mut request = node.boot_request(1, Vec::new());
        request.memory_mib = ram_mib;
        request.egress = Egress::internet();
        let mut machine = node
            .boot(&name, request)
            .await
            .context("boot a template")?
            .machine;
        let (id, _) = machine.snapshot().await.context("seal a template")?;
        machine.terminate().await?;
        Ok(id)
    }
}

fn record_launch(
    samples: &mut Samples,
    subject: &str,
    parameter: &str,
    launched: &Launched,
    ram_mib: u32,
) -> Result<()> {
    let times = &launched.times;
    samples.add(
        "spawn_to_running_ms",
        subject,
        parameter,
        milliseconds(times.to_running),
    );
    samples.add(
        "spawn_to_agent_ms",
        subject,
        parameter,
        milliseconds(times.to_agent),
    );
    let load = times.vmm.running_us as f64 / 1e3;
    samples.add("load_call_ms", subject, parameter, load);
    let pid = launched.machine.record().process.pid;
    let pss = pss_beside_guest_mib(pid, ram_mib)?;
    samples.add("pss_beside_guest_mib", subject, parameter, pss);
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
