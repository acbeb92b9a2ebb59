//! Builds an image by hand and runs it, with the time of each phase: `build_image prepare DIR`, then
//! `build_image build DIR ARTIFACT.zip [SECONDS]`.
//!
//! `build` wants a node's surroundings: `HEARTH_TEST_KERNEL` and `HEARTH_TEST_INITRAMFS`, `hearth-vmm` in `PATH`, as
//! `cargo xtask lab` provides them.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_image::{
    Artifact, ArtifactLimits, Bases, BuildLimits, BuildRequest, Builder, LayerCaches,
    PrepareOptions, Registries, Root, data_extents, prepare, write_initramfs,
};
use hearth_net::Egress;
use hearth_node::{BootRequest, Node, NodeOptions};
use hearth_wire::agent::{AppStatus, ControlReply, ControlRequest};
use tokio::sync::mpsc;

/// Self-tests of the kernel that take long under emulation.
const COMMAND_LINE: &str = "initcall_blacklist=load_system_certificate_list";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["prepare", directory] => prepare_bases(Path::new(directory)),
        ["extents", file] => {
            for extent in data_extents(&std::fs::File::open(file)?)? {
                println!("{} {}", extent.start, extent.end - extent.start);
            }
            Ok(())
        }
        ["build", directory, artifact, rest @ ..] => {
            let time = match rest.first() {
                Some(seconds) => Duration::from_secs(seconds.parse()?),
                None => BuildLimits::default().time,
            };
            let work = build_and_run(Path::new(directory), Path::new(artifact), time);
            tokio::runtime::Runtime::new()?.block_on(work)
        }
        _ => bail!("see the documentation at the top of this example"),
    }
}

fn prepare_bases(directory: &Path) -> Result<()> {
    let start = Instant::now();
    let progress = |step: &str| println!("{:6.1} s {step}", start.elapsed().as_secs_f64());
    let bases = prepare(&PrepareOptions {
        directory: directory.to_owned(),
        sources: Vec::new(),
        progress: &progress,
    })?;
    println!("{:6.1} s done", start.elapsed().as_secs_f64());
    for image in &bases.images {
        println!("{} ({} layers)", image.name, image.layers.len());
    }
    for file in bases.files() {
        println!("{}", file.display());
    }
    Ok(())
}

async fn build_and_run(directory: &Path, artifact: &Path, time: Duration) -> Result<()> {
    let bases = Bases::open(directory)?.context("there are no bases; run `prepare` first")?;
    let node = open_node(directory)?;
    let start = Instant::now();
    let artifact = Artifact::open(artifact, &ArtifactLimits::default())?;
    println!(
        "artifact: {} entries, {} bytes, judged in {:?}",
        artifact.entries(),
        artifact.content_bytes(),
        start.elapsed()
    );
    let initramfs = directory.join("builder.cpio");
    write_initramfs(
        &variable("HEARTH_TEST_INITRAMFS")?,
        Path::new("/bin/busybox"),
        &initramfs,
    )?;
    let builder = Builder {
        node: node.clone(),
        bases: bases.clone(),
        kernel: variable("HEARTH_TEST_KERNEL")?,
        initramfs,
        command_line: COMMAND_LINE.to_owned(),
        has_boot_templates: true,
        aliases: BTreeMap::new(),
        registries: Registries::default(),
    };
    let (log, mut lines) = mpsc::channel::<String>(64);
    let start = Instant::now();
    let printing = tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            println!("  {:6.1} | {line}", start.elapsed().as_secs_f64());
        }
    });
    let caches = Arc::new(LayerCaches::new(directory.join("caches"), 4 << 30));
    let request = BuildRequest {
        machine: "builder".parse()?,
        artifact,
        layer: directory.join("layer.erofs"),
        egress: Egress::closed(),
        registry_proxy: None,
        limits: BuildLimits {
            memory_mib: 1024,
            time,
            ..BuildLimits::default()
        },
        cache: caches.lease("example", &bases.id),
        log,
    };
    let start = Instant::now();
    let built = builder.build(request).await;
    println!(
        "build answered after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    printing.await?;
    if !node.machines().is_empty() {
        bail!("the builder left a microVM");
    }
    let built = built?;
    println!("{:#?}", built.times);
    println!("{}", serde_json::to_string_pretty(&built.root)?);
    run(&node, &bases, &built.root).await
}

async fn run(node: &Node, bases: &Bases, root: &Root) -> Result<()> {
    let request = BootRequest {
        kernel: variable("HEARTH_TEST_KERNEL")?,
        initramfs: variable("HEARTH_TEST_INITRAMFS")?,
        command_line: COMMAND_LINE.to_owned(),
        vcpus: 1,
        memory_mib: 512,
        disks: root.disk_requests(&bases.scratch()),
        egress: Egress::closed(),
    };
    let start = Instant::now();
    let mut machine = node.boot(&"application".parse()?, request).await?.machine;
    println!(
        "application booted after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let outcome = async {
        let agent = machine.agent();
        machine
            .start_application(root.start_spec("application".to_owned()))
            .await?;
        println!(
            "application started after {:.1} s",
            start.elapsed().as_secs_f64()
        );
        let mut logs = agent.logs().await?;
        while let Ok(Ok(line)) = tokio::time::timeout(Duration::from_secs(20), logs.next()).await {
            println!("  > {}", String::from_utf8_lossy(&line.bytes));
            if !matches!(
                agent.control(ControlRequest::Status).await?,
                ControlReply::Status(AppStatus::Running)
            ) {
                break;
            }
        }
        println!(
            "{:?} after {:.1} s",
            agent.control(ControlRequest::Status).await?,
            start.elapsed().as_secs_f64()
        );
        anyhow::Ok(())
    }
    .await;
    machine.terminate().await?;
    outcome
}

fn open_node(directory: &Path) -> Result<Node> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|directory| directory.join("hearth-vmm"))
        .find(|program| program.is_file())
        .context("hearth-vmm is not in PATH")?;
    Ok(Node::open(NodeOptions::new(
        directory.join("node"),
        program,
    ))?)
}

fn variable(name: &str) -> Result<PathBuf> {
    let value = std::env::var_os(name).with_context(|| format!("{name} is not set"))?;
    Ok(value.into())
}
