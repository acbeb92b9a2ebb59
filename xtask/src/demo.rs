//! `cargo xtask demo`: the main job in one command, from this checkout.
//!
//! `hearth up` as a user starts it, and `examples/quickstart.py` against it. What was prepared once (kernel, base images, layers of
//! builds) is kept in `target/demo`; microVMs, images and the emulated host end with the command.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use crate::place::{self, Place};
use crate::up::{self, Up};
use crate::workspace::{self, Binaries};
use crate::{lab, python, setup};

/// Says that nothing is left in the data directory but what was prepared.
const ENDED: &str = "demo-ended";

/// The command `demo`.
pub(crate) fn run() -> Result<ExitCode> {
    let began = Instant::now();
    setup::ensure_demo()?;
    println!("building, and preparing the base images ...");
    let (binaries, bases, environment) = std::thread::scope(|scope| {
        let bases = scope.spawn(lab::prepare_bases);
        let environment = scope.spawn(python::boto3);
        (Binaries::build(), bases.join(), environment.join())
    });
    let binaries = binaries?;
    bases.map_err(|_| anyhow!("preparing the base images panicked"))??;
    let environment = environment.map_err(|_| anyhow!("installing boto3 panicked"))??;
    if place::find(&binaries)? == Place::Lab {
        lab::power_off();
    }
    let data = workspace::target_dir().join("demo");
    let ended = data.join(ENDED);
    // Of a run that was cut short, microVMs and an image would be in the way.
    if fs::remove_file(&ended).is_err() {
        up::clear(&data)?;
    }
    let mut service = Up::start(&binaries, &data, Stdio::inherit(), &[])?;
    service.wait_until_serving()?;
    let before = up::traces(&binaries, &data)?;
    let plot = data.join("plot.png");
    let status = Command::new(environment.join("bin/python"))
        .arg(workspace::root().join("examples/quickstart.py"))
        .arg(&plot)
        .envs(client_environment(&binaries, &data)?)
        .status()
        .context("cannot run the quick start")?;
    let left = up::left_behind(&binaries, &data, &before)?;
    service.stop()?;
    if !status.success() {
        bail!("the quick start failed");
    }
    if !left.is_empty() {
        let left: Vec<String> = left.into_iter().collect();
        bail!("something was left: {}", left.join(", "));
    }
    fs::write(ended, "")?;
    println!(
        "\nNothing is left, seen from outside: {} traces of processes, control groups, namespaces, mounts, network cards and \
         files, as before. The plot: {}. All of it took {:.0} s.",
        before.len(),
        plot.display(),
        began.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// What `hearth env` exports.
fn client_environment(binaries: &Binaries, data: &Path) -> Result<Vec<(String, String)>> {
    let output = Command::new(&binaries.hearth)
        .arg("--data")
        .arg(data)
        .arg("env")
        .output()
        .context("cannot run hearth env")?;
    if !output.status.success() {
        bail!("hearth env: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let exports = text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    });
    Ok(exports.collect())
}
