//! `cargo xtask test`: everything that decides whether a change may land, in one command.
//!
//! Steps run in the order in which they fail fastest. A failing step does not stop the later ones, except that
//! nothing is tested that does not compile. The last line is the sum.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::changed::Reach;
use crate::durations::Durations;
use crate::outcome::{Outcome, counted, run_counted, run_step};
use crate::place::{self, Place};
use crate::service::{BESIDE_VARIABLE, Share};
use crate::workspace::{self, Binaries, WITH_TESTS_VARIABLE};
use crate::{contract, lab, nextest, package, python, service, setup};

/// Packages whose integration tests (`tests/*.rs`) need KVM, or (the agent's) root, cgroup v2 and a clock that may
/// be set, all of which the emulated host has to give. Their unit tests do not.
const KVM_PACKAGES: &[&str] = &[
    "hearth-agent",
    "hearth-host",
    "hearth-image",
    "hearth-vmm",
    "hearth-machine-tests",
];

/// The test of the VMM's sandbox, which needs root and no KVM. It runs both here and in the emulated host, which runs
/// in its initial ramdisk and cannot pivot its root.
const SANDBOX_TESTS: &str = "(package(hearth-vmm) & binary(sandbox))";

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run only the steps whose name contains one of these words.
    only: Vec<String>,
    /// Run only what differs from this revision can reach (of git, and uncommitted changes count) [default: main].
    #[arg(long, value_name = "REVISION", num_args = 0..=1, default_missing_value = "main", require_equals = true)]
    changed: Option<String>,
    /// Write how long it took into tests/durations.csv, with which later runs compare.
    #[arg(long)]
    keep_durations: bool,
}

/// A named step.
struct Step {
    name: &'static str,
    run: fn(&Reach) -> Result<Outcome>,
}

/// Steps that check only the source.
const OF_SOURCE: [&str; 4] = ["format", "tidy", "lints", "licences"];

/// The last and longest step. If KVM runs no guests, it mostly waits for the emulated processor of a host of its own.
/// So it begins there as soon as everything is built, in a process beside the other steps. When it is its turn, the
/// remaining tests are shared with a second host, and the output of the first one is shown. On hardware it would share
/// its host with the machine tests.
const BESIDE: &str = "service tests";

const STEPS: &[Step] = &[
    Step {
        name: "format",
        run: |_| run_step(workspace::cargo().args(["fmt", "--all", "--check"])),
    },
    Step {
        name: "tidy",
        run: |_| run_step(Command::new(std::env::current_exe()?).arg("tidy")),
    },
    Step {
        name: "lints",
        run: |_| {
            run_step(workspace::cargo().args([
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))
        },
    },
    Step {
        name: "licences",
        run: |_| licences(),
    },
    Step {
        name: "unit tests",
        run: unit_tests,
    },
    Step {
        name: "contract tests",
        run: |_| contract::run(),
    },
    Step {
        name: "package",
        run: |_| package::test(),
    },
    Step {
        name: "machine tests",
        run: machine_tests,
    },
    Step {
        name: "service tests",
        run: |_| service::run(),
    },
];

/// The command `test`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !workspace::builds_with_tests() {
        return become_tester();
    }
    setup::ensure()?;
    // Deaths of earlier runs are no business of this one.
    let _ = fs::remove_file(lab::deaths_file());
    let reach = match &arguments.changed {
        Some(revision) => Reach::since(revision)?,
        None => Reach::Everything,
    };
    say_what_is_left_out(&reach);
    let is_wanted = |step: &&Step| {
        let is_named = |word: &String| step.name.contains(word);
        (arguments.only.is_empty() || arguments.only.iter().any(is_named))
            && reach.includes(step.name)
    };
    let steps: Vec<&Step> = STEPS.iter().filter(is_wanted).collect();
    let begins = steps
        .iter()
        .position(|step| !OF_SOURCE.contains(&step.name))
        .filter(|first| steps[first + 1..].iter().any(|step| step.name == BESIDE));
    let mut beside = None;
    let mut results = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        if begins == Some(number) {
            // What keeps it from starting fails the steps that need the same, and each says so.
            beside = Beside::start(BESIDE).unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                None
            });
        }
        println!("\n=== {}", step.name);
        let began = Instant::now();
        let ended = match beside.take_if(|beside| beside.name == step.name) {
            Some(beside) => share_service_tests(beside),
            None => (step.run)(&reach).map(|outcome| (outcome, began.elapsed())),
        };
        let (outcome, duration) = ended.unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            (Outcome::one(false), began.elapsed())
        });
        results.push((step.name, outcome, duration));
    }
    let total = summarise(&results);
    if std::env::var_os(BESIDE_VARIABLE).is_none() {
        keep_durations(&results, arguments.keep_durations)?;
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn say_what_is_left_out(reach: &Reach) {
    let Reach::Only { packages, .. } = reach else {
        return;
    };
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    println!("reached packages: {}", packages.join(" "));
    for step in STEPS.iter().filter(|step| !reach.includes(step.name)) {
        println!("left out: {}", step.name);
    }
}

/// Runs remaining service tests on a second host, and waits for the first one.
fn share_service_tests(first: Beside) -> Result<(Outcome, Duration)> {
    let outcome = service::run_share(Share::Second).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Outcome::one(false)
    });
    println!("\n--- what ran beside the other steps");
    let (beside, duration) = first.finish()?;
    Ok((outcome.plus(beside), duration))
}

/// Prints the sums of all steps, and other facts about the run.
fn summarise(results: &[(&str, Outcome, Duration)]) -> Outcome {
    println!("\n=== summary");
    let mut total = Outcome::default();
    for (name, outcome, duration) in results {
        println!(
            "{name:<14} {:>5} passed {:>4} failed {:>7.1} s",
            outcome.passed,
            outcome.failed,
            duration.as_secs_f64()
        );
        total = total.plus(outcome.clone());
    }
    for death in fs::read_to_string(lab::deaths_file())
        .unwrap_or_default()
        .lines()
    {
        println!("the emulated host died on the way, and what ran was repeated: {death}");
    }
    total
}

/// Records the durations, and prints what has changed.
fn keep_durations(results: &[(&str, Outcome, Duration)], is_to_compare: bool) -> Result<()> {
    let mut durations = Durations::default();
    for (name, outcome, duration) in results {
        durations.add(name, *duration, &outcome.times);
    }
    let written = durations.write()?;
    println!("\nthe slowest tests, of all in {}:", written.display());
    for line in durations.summary()? {
        println!("{line}");
    }
    if is_to_compare {
        println!("written: {}", durations.keep()?.display());
    }
    Ok(())
}

/// Continues as a copy of this program, as building the whole workspace replaces this program.
fn become_tester() -> Result<ExitCode> {
    let own = std::env::current_exe().context("cannot find xtask itself")?;
    let copy = own.with_file_name("xtask-test");
    let unfinished = own.with_file_name("xtask-test.unfinished");
    fs::copy(&own, &unfinished)
        .and_then(|_| fs::rename(&unfinished, &copy))
        .with_context(|| format!("cannot write {}", copy.display()))?;
    let error = Command::new(&copy)
        .args(std::env::args_os().skip(1))
        .env(WITH_TESTS_VARIABLE, "1")
        .exec();
    Err(error).with_context(|| format!("cannot run {}", copy.display()))
}

/// A step that runs in a process of its own.
struct Beside {
    name: &'static str,
    /// Its exit status, and its duration.
    ended: JoinHandle<io::Result<(ExitStatus, Duration)>>,
    output: PathBuf,
}

impl Beside {
    /// Starts it, if the tests run in the emulated host.
    fn start(name: &'static str) -> Result<Option<Self>> {
        // What both sides need: they would wait for each other's cargo, and write over each other's Python clients.
        let binaries = Binaries::build()?;
        python::environment()?;
        if place::find(&binaries)? == Place::Here {
            return Ok(None);
        }
        service::fill_queue()?;
        let output = workspace::target_dir().join("beside.log");
        let file = File::create(&output)?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["test", name])
            .env(BESIDE_VARIABLE, "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let began = Instant::now();
        let ended = thread::spawn(move || Ok((process.wait()?, began.elapsed())));
        Ok(Some(Self {
            name,
            ended,
            output,
        }))
    }

    /// Waits for it, and prints its output. Also answers its duration.
    fn finish(self) -> Result<(Outcome, Duration)> {
        let (status, duration) = self
            .ended
            .join()
            .map_err(|_| anyhow!("waiting for the {} panicked", self.name))??;
        let outcome = counted(File::open(&self.output)?);
        let outcome = match status.success() || outcome.failed > 0 {
            true => outcome,
            false => outcome.plus(Outcome::one(false)),
        };
        Ok((outcome, duration))
    }
}

/// cargo-deny knows more than `tidy` (which has checked the same lists already), but takes minutes to build,
/// so it runs only where somebody has installed it.
fn licences() -> Result<Outcome> {
    let is_installed = Command::new("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_installed {
        println!("cargo-deny is not installed; tidy has checked licences, bans and sources");
        return Ok(Outcome::default());
    }
    run_step(workspace::cargo().args(["deny", "check", "licenses", "bans", "sources"]))
}

fn unit_tests(reach: &Reach) -> Result<Outcome> {
    // The tests of the emulated host boot the agent, which cargo builds for no test.
    Binaries::build()?;
    if nextest::is_installed() {
        let machine_tests = nextest::integration_tests_of(KVM_PACKAGES);
        return run_counted(
            workspace::cargo()
                .args(["nextest", "run", "--workspace", "--no-fail-fast"])
                .args(["--no-tests=pass", "-E"])
                .arg(format!(
                    "(not ({machine_tests}) or {SANDBOX_TESTS}) and ({})",
                    reach.filter()
                )),
        );
    }
    let mut outcome = run_counted(workspace::cargo().args([
        "test",
        "--workspace",
        "--no-fail-fast",
        "--lib",
        "--bins",
    ]))?;
    let mut others = workspace::cargo();
    others.args(["test", "--workspace", "--no-fail-fast", "--test", "*"]);
    for package in KVM_PACKAGES {
        others.args(["--exclude", package]);
    }
    outcome = outcome.plus(run_counted(&mut others)?);
    Ok(outcome)
}

fn machine_tests(reach: &Reach) -> Result<Outcome> {
    let binaries = Binaries::build()?;
    let place = place::find(&binaries)?;
    println!(
        "{}",
        match place {
            Place::Here => "KVM runs guests here",
            Place::Lab => "KVM runs no guests here: testing inside the emulated host",
        }
    );
    // Not within the first test that needs them; without them, those tests fail and tell why.
    if let Err(error) = lab::prepare_bases() {
        eprintln!("the image builder's bases cannot be prepared: {error:#}");
    }
    if let Err(error) = lab::prepare_runtimes() {
        eprintln!("the runtime of functions cannot be built: {error:#}");
    }
    let mut command = if nextest::is_installed() {
        let mut command = workspace::cargo();
        command
            .args([
                "nextest",
                "run",
                "--workspace",
                "--profile",
                "lab",
                "--no-tests=pass",
                "-E",
            ])
            .arg(format!(
                "({}) and ({})",
                nextest::integration_tests_of(KVM_PACKAGES),
                reach.filter()
            ));
        command
    } else {
        let mut command = workspace::cargo();
        command.args(["test", "--no-fail-fast", "--test", "*"]);
        for package in KVM_PACKAGES {
            command.args(["--package", package]);
        }
        command
    };
    if !nextest::is_installed() {
        // One emulated processor: side by side, tests would make each other miss their deadlines.
        command.args(["--", "--test-threads=1"]);
    }
    nextest::through_runner(&mut command, &binaries, place)?;
    Ok(run_counted(&mut command)?.plus(lab_documents()?))
}

/// Runs the documents' commands for the emulated host, as a reader would type them.
fn lab_documents() -> Result<Outcome> {
    run_counted(
        Command::new(python::environment()?.join("bin/pytest"))
            .args(["lab", "--durations=0"])
            .current_dir(workspace::root().join("tests")),
    )
}
