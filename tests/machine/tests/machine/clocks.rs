//! What a guest's clocks say after a sleep of hours, which the VMM pretends.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearth_node::{CloneRequest, Machine};

use hearth_machine_tests::guest::{self, Fixture, ask, exec, name, wait_for_progress};

use crate::fixture::node;

/// More than the kernel's clock can count between two of its updates, and the longest life of a microVM on AWS.
const ASLEEP: Duration = Duration::from_secs(8 * 3600);

/// What a test may take on a host that is twenty times slower than real ones.
const SLOWNESS: Duration = Duration::from_secs(120);

/// What the kernel says of processors or clocks that it takes for broken.
const ALARMS: [&str; 6] = [
    "lockup",
    "stall",
    "blocked for more than",
    "clocksource",
    "watchdog",
    "sched: RT throttling",
];

#[tokio::test]
async fn clocks_have_moved_on_after_a_sleep_and_timers_that_were_due_fire() {
    for source in ["kvm-clock", "tsc"] {
        sleep_twice(source).await;
    }
}

/// With a guest whose kernel reads the time from that source.
async fn sleep_twice(source: &str) {
    let node = node().await;
    let mut request = node.boot_request(2, Vec::new());
    // A time stamp counter that is emulated would not be trusted by itself.
    request.command_line += &format!(" clocksource={source} tsc=reliable");
    let mut launched = node.boot(&name("sleeper"), request).await.unwrap();
    launched
        .machine
        .start_application(guest::serve())
        .await
        .unwrap();
    guest::wait_until_serving(&launched.machine).await;
    let mut machine = launched.machine;
    // It finds the instance that is there, and alone changes it from here on.
    let late = with_sleepy_vmms(&node);
    let kernel_log = dmesg(&machine).await;
    let current = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    assert_eq!(ask(&machine, &format!("read {current}")).await, source);

    for round in 1..=2 {
        // Due in the middle of the sleep, and long after all of them.
        let (due, later) = (ASLEEP / 2, ASLEEP * 10);
        for time in [due, later] {
            assert_eq!(
                ask(&machine, &format!("nap {}", time.as_millis())).await,
                "ok"
            );
        }
        let (before, begun) = (clocks(&machine).await, Instant::now());
        late.suspend(&name("sleeper")).await.unwrap();
        machine = late.resume(&name("sleeper")).await.unwrap().machine;
        let resumed = Instant::now();
        while ask(&machine, "naps").await != round.to_string() {
            assert!(
                resumed.elapsed() < SLOWNESS,
                "round {round}: no timer fired"
            );
        }
        println!(
            "{source}, round {round}: the timer was seen after {:?}",
            resumed.elapsed()
        );
        let after = clocks(&machine).await;
        let (least, most) = (ASLEEP, ASLEEP + begun.elapsed() + Duration::from_secs(1));
        for (clock, before, after) in [
            ("monotonic", before.0, after.0),
            ("boottime", before.1, after.1),
        ] {
            let moved = after.saturating_sub(before);
            println!("{source}, round {round}: {clock} moved by {moved:?}");
            assert!(
                moved >= least && moved <= most,
                "{clock}: {moved:?}, {most:?}"
            );
        }
        assert_agrees(&machine).await;
        wait_for_progress(&machine).await;
    }

    let alarms = news(&kernel_log, &dmesg(&machine).await);
    assert_eq!(alarms, Vec::<String>::new());
    machine.terminate().await.unwrap();
}

/// A clone of a template was never asleep.
#[tokio::test]
async fn the_clocks_of_a_clone_go_on_where_the_template_stood() {
    let node = node().await;
    let template = guest::template(&node).await;
    let late = with_sleepy_vmms(&node);
    let request = CloneRequest::new(template);
    let clone = late.clone_snapshot(&name("awake"), request).await.unwrap();
    let (monotonic, _) = clocks(&clone.machine).await;
    assert!(monotonic < ASLEEP / 2, "{monotonic:?}");
    assert_agrees(&clone.machine).await;
    clone.machine.terminate().await.unwrap();
}

/// The same node, whose VMMs believe that a guest was asleep for longer than it was.
fn with_sleepy_vmms(node: &Fixture) -> Fixture {
    let program = vmm_program();
    let script = guest::scratch().join("sleepy-vmm");
    let text = format!(
        "#!/bin/busybox sh\nexec {} \"$@\" --pretend-asleep {}\n",
        program.display(),
        ASLEEP.as_secs()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    node.with(|options| options.vmm_program = script)
}

fn vmm_program() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap();
    let mut programs = std::env::split_paths(&paths).map(|path| path.join("hearth-vmm"));
    programs.find(|program| Path::exists(program)).unwrap()
}

/// CLOCK_MONOTONIC and CLOCK_BOOTTIME.
async fn clocks(machine: &Machine) -> (Duration, Duration) {
    let answer = ask(machine, "clocks").await;
    let (monotonic, boottime) = answer.split_once(' ').unwrap();
    let time = |text: &str| Duration::from_millis(text.parse().unwrap());
    (time(monotonic), time(boottime))
}

/// The guest's wall clock is the host's.
async fn assert_agrees(machine: &Machine) {
    let host = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = host();
    let guest = Duration::from_nanos(ask(machine, "clock").await.parse().unwrap());
    let after = host();
    let tolerance = Duration::from_secs(1);
    assert!(
        guest + tolerance >= before && guest <= after + tolerance,
        "{before:?} {guest:?} {after:?}"
    );
}

async fn dmesg(machine: &Machine) -> Vec<String> {
    let (_, text) = exec(machine, &["/bin/busybox", "dmesg"]).await;
    text.lines().map(str::to_owned).collect()
}

/// Lines of alarm that the kernel has written since.
fn news(before: &[String], now: &[String]) -> Vec<String> {
    let new: Vec<&String> = now.iter().filter(|line| !before.contains(line)).collect();
    new.iter().for_each(|line| println!("kernel: {line}"));
    let is_alarm = |line: &&&String| ALARMS.iter().any(|alarm| line.contains(alarm));
    new.iter()
        .filter(is_alarm)
        .map(|line| (**line).clone())
        .collect()
}
