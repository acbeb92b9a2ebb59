//! The long run: one instance that is suspended and resumed many times, one that is forked as often, and one whose
//! dirty pages are scattered.
//!
//! Memory and disk are checked after each step: a figure of what is not right would be worth nothing.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hearth_bench::Samples;
use hearth_machine_tests::guest::{self, Fixture, ask, name};
use hearth_node::{CloneRequest, DiskRequest, Launched, Machine, MachineName, SnapshotInfo};
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::ExitStatus;

/// Cycles of which a figure is the median.
const BLOCK: u32 = 20;
/// Forks of one running parent.
const FORKS: u64 = 40;
/// Changed pages that do not touch each other, and RAM for twice as many.
const SCATTERED: u32 = 100_000;
const SCATTERED_RAM_MIB: u32 = 1536;
/// How often they are changed.
const SCATTERED_CYCLES: u64 = 5;
/// The most layers that may lie above a full snapshot.
const MOST_LAYERS: usize = 16;
/// Layers that nobody needs go in the background.
const GONE_WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn measure(test_guest: &Path, cycles: u32) -> Result<Samples> {
    let mut samples = Samples::default();
    let fixture = Fixture::new(test_guest);
    let template = template(&fixture, guest::MEMORY_MIB).await?;
    sleep_and_wake(&fixture, template, cycles, &mut samples).await?;
    fork(&fixture, template, &mut samples).await?;
    fixture.delete_snapshot(template).await?;
    let template = self::template(&fixture, SCATTERED_RAM_MIB).await?;
    scatter(&fixture, template, &mut samples).await?;
    Ok(samples)
}

/// A guest with a writable disk, whose application serves.
async fn template(node: &Fixture, memory_mib: u32) -> Result<SnapshotId> {
    let image = guest::scratch().join("cycles.raw");
    File::create(&image)?.set_len(1 << 30)?;
    let disk = DiskRequest {
        serial: "data".to_owned(),
        image,
        overlays: Vec::new(),
        is_writable: true,
    };
    let mut request = node.boot_request(1, vec![disk]);
    request.memory_mib = memory_mib;
    let booted = node.boot(&name("cycles-first"), request).await;
    let mut first = booted.context("boot a template")?.machine;
    first.start_application(guest::serve()).await?;
    guest::wait_until_serving(&first).await;
    let (id, _) = first.snapshot().await.context("seal a template")?;
    first.terminate().await?;
    Ok(id)
}

async fn clone(node: &Fixture, name: &MachineName, template: SnapshotId) -> Result<Machine> {
    let launched = node
        .clone_snapshot(name, CloneRequest::new(template))
        .await?;
    Ok(launched.machine)
}

async fn sleep_and_wake(
    node: &Fixture,
    template: SnapshotId,
    cycles: u32,
    samples: &mut Samples,
) -> Result<()> {
    let sleeper = name("sleeper");
    let mut machine = clone(node, &sleeper, template).await?;
    for cycle in 1..=cycles {
        let seed = u64::from(cycle);
        write(&machine, seed).await?;
        let block = block(cycle);

        let start = Instant::now();
        let (_, summary) = machine.suspend().await?;
        let suspended = milliseconds(start.elapsed());
        let info = node.suspended(&sleeper)?;
        ensure!(info.ancestors.len() <= MOST_LAYERS, "the chain has no end");
        samples.add("suspend_ms", "hearth", &block, suspended);
        let paused = summary.paused_us as f64 / 1e3;
        samples.add("suspend_paused_ms", kind(&info), "", paused);
        samples.add("suspend_by_kind_ms", kind(&info), "", suspended);
        samples.add("disk_mib", "hearth", &block, allocated_mib(node)?);

        let start = Instant::now();
        let launched = node.resume(&sleeper).await?;
        let resumed = milliseconds(start.elapsed());
        samples.add("resume_ms", "hearth", &block, resumed);
        add_steps(samples, &launched, &block);
        machine = launched.machine;
        check(&machine, seed)
            .await
            .with_context(|| format!("cycle {cycle}"))?;
        settled(node).await?;
    }
    machine.terminate().await?;
    Ok(())
}

async fn fork(node: &Fixture, template: SnapshotId, samples: &mut Samples) -> Result<()> {
    let parent_name = name("forked");
    let parent = clone(node, &parent_name, template).await?;
    for round in 1..=FORKS {
        let block = block(u32::try_from(round)?);
        write(&parent, round).await?;
        let child_name = name(&format!("fork-{round}"));
        let start = Instant::now();
        let child = node.fork(&parent_name, &child_name).await?.machine;
        samples.add("fork_ms", "hearth", &block, milliseconds(start.elapsed()));
        check(&child, round).await?;
        write(&child, 1000 + round).await?;
        let start = Instant::now();
        child.suspend().await?;
        let suspended = milliseconds(start.elapsed());
        samples.add("fork_suspend_ms", "hearth", &block, suspended);
        let info = node.suspended(&child_name)?;
        ensure!(info.ancestors.len() <= MOST_LAYERS, "the chain has no end");
        let start = Instant::now();
        let child = node.resume(&child_name).await?.machine;
        let resumed = milliseconds(start.elapsed());
        samples.add("fork_resume_ms", "hearth", &block, resumed);
        check(&child, 1000 + round).await?;
        check(&parent, round).await?;
        child.terminate().await?;
    }
    parent.terminate().await?;
    Ok(())
}

async fn scatter(node: &Fixture, template: SnapshotId, samples: &mut Samples) -> Result<()> {
    let sleeper = name("scattered");
    let mut machine = clone(node, &sleeper, template).await?;
    let parameter = format!("{SCATTERED} pages");
    for round in 1..=SCATTERED_CYCLES {
        said_ok(&machine, &format!("scatter {SCATTERED} {round}")).await?;
        let start = Instant::now();
        let (_, summary) = machine.suspend().await?;
        let suspended = milliseconds(start.elapsed());
        samples.add("scattered_suspend_ms", "hearth", &parameter, suspended);
        let written = summary.memory_bytes as f64 / f64::from(1 << 20);
        samples.add("scattered_written_mib", "hearth", &parameter, written);
        let start = Instant::now();
        machine = node.resume(&sleeper).await?.machine;
        let resumed = milliseconds(start.elapsed());
        samples.add("scattered_resume_ms", "hearth", &parameter, resumed);
        said_ok(&machine, &format!("check-scattered {SCATTERED} {round}")).await?;
    }
    machine.terminate().await?;
    Ok(())
}

/// The cycles that a cycle is counted with.
fn block(cycle: u32) -> String {
    let first = (cycle - 1) / BLOCK * BLOCK + 1;
    format!("{first}-{}", first + BLOCK - 1)
}

/// What was sealed.
fn kind(info: &SnapshotInfo) -> &'static str {
    match info.ancestors.len() {
        0 => "full",
        1 => "layer or merged",
        _ => "layer",
    }
}

fn add_steps(samples: &mut Samples, launched: &Launched, block: &str) {
    for step in &launched.times.steps {
        let took = milliseconds(step.took);
        samples.add("resume_step_ms", step.name, block, took);
    }
}

/// What the snapshots take on disk.
fn allocated_mib(node: &Fixture) -> Result<f64> {
    let mut blocks = 0;
    for snapshot in fs::read_dir(node.layout().snapshots())? {
        for file in fs::read_dir(snapshot?.path())? {
            blocks += file?.metadata()?.blocks();
        }
    }
    Ok(blocks as f64 * 512.0 / f64::from(1 << 20))
}

/// Waits until what a resume leaves to the background is done.
async fn settled(node: &Fixture) -> Result<()> {
    let deadline = Instant::now() + GONE_WITHIN;
    while node.snapshots().len() > MOST_LAYERS + 2 {
        ensure!(Instant::now() < deadline, "layers are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn write(machine: &Machine, seed: u64) -> Result<()> {
    said_ok(machine, &format!("dirty 2 {seed}")).await?;
    on_disk(machine, "write-disk", seed).await
}

async fn check(machine: &Machine, seed: u64) -> Result<()> {
    said_ok(machine, &format!("check 2 {seed}")).await?;
    on_disk(machine, "check-disk", seed).await
}

async fn said_ok(machine: &Machine, request: &str) -> Result<()> {
    let said = ask(machine, request).await;
    ensure!(said == "ok", "{request}: {said}");
    Ok(())
}

async fn on_disk(machine: &Machine, command: &str, seed: u64) -> Result<()> {
    let seed = seed.to_string();
    let argv = ["/bin/test-guest", command, "/dev/vda", &seed];
    let (status, said) = guest::exec(machine, &argv).await;
    ensure!(status == ExitStatus::Code(0), "{command} {seed}: {said}");
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
