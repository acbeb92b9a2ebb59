//! Memory that a guest has beyond its baseline, and gives back when it is asked to.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use hearth_machine_tests::guest::{self, ask, exec, name};
use hearth_node::{CloneRequest, DiskRequest, Machine};
use hearth_wire::agent::ExitStatus;

use crate::fixture::node;

const MIB: u64 = 1 << 20;

/// What the guest reads of its disk, and so has in its page cache: more than its baseline.
const CACHED_MIB: u64 = 96;

/// What must come back of that: a guest keeps some pages of its own choice.
const GIVEN_MIB: u64 = 64;

/// The emulated host takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is the process's alone.
fn held(machine: &Machine) -> u64 {
    machine.record().process.memory().unwrap().private_bytes
}

#[tokio::test]
async fn a_guest_gives_back_its_caches_and_keeps_what_it_works_with() {
    let node = node().await;
    let image = guest::scratch().join("lent.img");
    File::create(&image)
        .unwrap()
        .set_len(CACHED_MIB * MIB)
        .unwrap();
    let disk = DiskRequest {
        serial: "lent".to_owned(),
        image: image.clone(),
        overlays: Vec::new(),
        is_writable: false,
    };
    let lent = name("lent");
    let booted = node.boot(&lent, node.boot_request(1, vec![disk]));
    let mut machine = booted.await.unwrap().machine;
    machine.start_application(guest::serve()).await.unwrap();
    guest::wait_until_serving(&machine).await;
    let (id, _) = machine.snapshot().await.unwrap();
    machine.terminate().await.unwrap();
    let clone = node.clone_snapshot(&lent, CloneRequest::new(id));
    let machine = clone.await.unwrap().machine;

    assert_eq!(ask(&machine, "dirty 16 7").await, "ok");
    let read = ["/bin/busybox", "dd", "if=/dev/vda", "of=/dev/null", "bs=1M"];
    let (status, output) = exec(&machine, &read).await;
    assert_eq!(status, ExitStatus::Code(0), "{output}");
    let baseline = node.baseline_bytes(&lent).unwrap();
    assert_eq!(baseline, u64::from(guest::MEMORY_MIB) / 4 * MIB);
    let before = held(&machine);
    assert!(before > baseline + 32 * MIB, "{before}");

    node.ask_back(&lent).await.unwrap();
    let began = Instant::now();
    while held(&machine) + GIVEN_MIB * MIB > before {
        let now = held(&machine);
        assert!(began.elapsed() < PATIENCE, "{before} became {now}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ask(&machine, "check 16 7").await, "ok");

    // It may have it again, and works with it: a check needs as much as it checks.
    node.lend_again(&lent).await.unwrap();
    assert_eq!(ask(&machine, "dirty 64 8").await, "ok");
    assert_eq!(ask(&machine, "check 64 8").await, "ok");
    machine.terminate().await.unwrap();
    node.delete_snapshot(id).await.unwrap();
    fs::remove_file(image).unwrap();
}
