//! `cargo xtask bench machine`: measures microVMs, where KVM works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::lab::{self, Ended, Session, Shape};
use crate::place::{self, Place};
use crate::workspace::{self, Binaries, Profile};

/// Directory of the results in the lab, and the largest result that is fetched from there.
const LAB_RESULTS: &str = "/data/bench";
const MAX_RESULT_BYTES: usize = 64 << 20;

/// Debian's QEMU, and the files that it reads when it starts a microvm. Not every release has all of them.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";
const FIRMWARE: [&str; 6] = [
    "/usr/share/qemu/bios-microvm.bin",
    "/usr/share/seabios/bios-microvm.bin",
    "/usr/share/qemu/pvh.bin",
    "/usr/share/qemu/linuxboot_dma.bin",
    "/usr/share/qemu/kvmvapic.bin",
    "/usr/share/seabios/linuxboot_dma.bin",
];

/// Arguments of `bench machine`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-machine.csv")]
    csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A Firecracker binary to measure in the same run.
    #[arg(long)]
    firecracker: Option<PathBuf>,
    /// Its `jailer`, to measure Firecracker in a jail too.
    #[arg(long, requires = "firecracker")]
    jailer: Option<PathBuf>,
    /// Measure this machine's QEMU, as a microvm, in the same run.
    #[arg(long)]
    qemu: bool,
    /// Measure only the long run: one microVM that is suspended and resumed so many times, forks, scattered pages.
    #[arg(long, value_name = "N")]
    cycles: Option<u32>,
    /// Measure the development profile, which is built sooner.
    #[arg(long)]
    development: bool,
    #[command(flatten)]
    shape: Shape,
    /// Further arguments of the benchmark, for example `--rounds 40` or `--small`.
    #[arg(last = true)]
    further: Vec<String>,
}

impl Arguments {
    /// The arguments of the benchmark for the long run.
    fn cycles(&self) -> Vec<String> {
        let cycles = self.cycles.map(|cycles| cycles.to_string());
        cycles.map_or_else(Vec::new, |cycles| vec!["--cycles".to_owned(), cycles])
    }
}

/// The command `bench machine`.
pub(super) fn run(machine: &Arguments) -> Result<ExitCode> {
    let profile = match machine.development {
        true => Profile::Development,
        false => Profile::Release,
    };
    let executables = workspace::build(
        profile,
        &[&workspace::PROGRAMS[..], &["machine-bench", "test-guest"]].concat(),
    )?;
    let binaries = Binaries::among(&executables)?;
    let bench = workspace::named(&executables, "machine-bench")?;
    let test_guest = workspace::named(&executables, "test-guest")?;
    match place::find(&binaries)? {
        Place::Here => here(machine, &binaries, &bench, &test_guest),
        Place::Lab => in_lab(machine, &binaries, &bench, &test_guest),
    }
}

fn here(
    machine: &Arguments,
    binaries: &Binaries,
    bench: &Path,
    test_guest: &Path,
) -> Result<ExitCode> {
    let mut command = Command::new(bench);
    command.arg("--test-guest").arg(test_guest);
    command.arg("--csv").arg(&machine.csv);
    for (name, path) in [
        ("--json", &machine.json),
        ("--firecracker", &machine.firecracker),
        ("--jailer", &machine.jailer),
    ] {
        if let Some(path) = path {
            command.arg(name).arg(path);
        }
    }
    if machine.qemu {
        command.arg("--qemu").arg(QEMU);
    }
    let status = command
        .args(machine.cycles())
        .args(&machine.further)
        .envs(lab::native_environment(binaries)?)
        .status()
        .context("cannot run the benchmark")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn in_lab(
    machine: &Arguments,
    binaries: &Binaries,
    bench: &Path,
    test_guest: &Path,
) -> Result<ExitCode> {
    // Leftovers of tests would share its processor.
    let session = Session::open(&machine.shape, binaries, lab::Boot::Fresh)?;
    session.send(bench, bench)?;
    session.send(test_guest, test_guest)?;
    session.make_directory(LAB_RESULTS)?;
    let csv = format!("{LAB_RESULTS}/raw.csv");
    let json = format!("{LAB_RESULTS}/summary.json");
    let shown = |path: &Path| path.display().to_string();
    let mut argv = vec![shown(bench), "--test-guest".into(), shown(test_guest)];
    argv.extend(["--csv".into(), csv.clone(), "--json".into(), json.clone()]);
    for (name, program) in [
        ("firecracker", &machine.firecracker),
        ("jailer", &machine.jailer),
    ] {
        if let Some(program) = program {
            let inside = format!("{LAB_RESULTS}/{name}");
            session.send(program, Path::new(&inside))?;
            argv.extend([format!("--{name}"), inside]);
        }
    }
    if machine.qemu {
        send_qemu(&session)?;
        argv.extend(["--qemu".into(), QEMU.into()]);
    }
    argv.extend(machine.cycles());
    argv.extend(machine.further.iter().cloned());
    let environment = session.environment(&lab::forwarded_environment());
    match session.exec(&argv, &environment, LAB_RESULTS, lab::Input::Empty)? {
        Ended::Status(0) => {}
        Ended::Status(code) => return Ok(ExitCode::from(code)),
        Ended::HostDied(death) => bail!("{death}; the measurements are lost, start again"),
    }
    fetch(&session, &csv, &machine.csv)?;
    if let Some(target) = &machine.json {
        fetch(&session, &json, target)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies QEMU into the emulated host, which has no libraries: the program, its libraries, and the firmware of a
/// microvm, all at the same paths as here.
fn send_qemu(session: &Session) -> Result<()> {
    let firmware = FIRMWARE.into_iter().filter(|path| Path::new(path).exists());
    for path in hearth_emulated::with_libraries(Path::new(QEMU))? {
        session.send(&path, &path)?;
    }
    for path in firmware {
        session.send(Path::new(path), Path::new(path))?;
    }
    Ok(())
}

fn fetch(session: &Session, source: &str, target: &Path) -> Result<()> {
    let content = session
        .fetch(source, MAX_RESULT_BYTES)
        .with_context(|| format!("cannot fetch {source} from the lab"))?;
    fs::write(target, content).with_context(|| format!("cannot write {}", target.display()))
}
