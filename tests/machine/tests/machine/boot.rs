//! Boot, exec, streams, and a disk that keeps what was synced.

use std::fs::{self, File};
use std::time::Duration;

use hearth_machine_tests::Pattern;
use hearth_node::{AgentClient, DiskRequest, Permitted, VmmClient};
use hearth_wire::agent::ExitStatus;
use hearth_wire::vmm::{BootSpec, Command, DeviceSpec, DiskImage, DiskSpec, Reply, VsockSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use hearth_machine_tests::guest::{self, exec, name, talk};

use crate::fixture::node;

/// Several times what all queues and buffers on the way hold.
const TRANSFER_BYTES: usize = 16 << 20;

#[tokio::test]
async fn one_and_two_vcpus_boot_to_the_agents_hello() {
    let node = node().await;
    for vcpus in [1, 2] {
        let name = name(&format!("boot-{vcpus}"));
        let machine = node
            .boot(&name, node.boot_request(vcpus, Vec::new()))
            .await
            .unwrap()
            .machine;
        let (status, output) = exec(&machine, &["/bin/busybox", "nproc"]).await;
        assert_eq!(
            (status, output.trim()),
            (ExitStatus::Code(0), vcpus.to_string().as_str())
        );
        let (status, output) = exec(
            &machine,
            &["/bin/busybox", "sh", "-c", "echo out; echo err >&2; exit 7"],
        )
        .await;
        assert_eq!(status, ExitStatus::Code(7));
        assert!(output.contains("out") && output.contains("err"), "{output}");
        machine.terminate().await.unwrap();
    }
}

#[tokio::test]
async fn many_mebibytes_pass_each_way_byte_exact() {
    let node = node().await;
    let machine = guest::clone(&node, "streams").await.machine;

    let mut stream = talk(&machine).await;
    stream
        .write_all(format!("sink {TRANSFER_BYTES} 5\n").as_bytes())
        .await
        .unwrap();
    let (mut pattern, mut buffer) = (Pattern::new(5), vec![0; 64 << 10]);
    for _ in 0..TRANSFER_BYTES / buffer.len() {
        pattern.fill(&mut buffer);
        stream.write_all(&buffer).await.unwrap();
    }
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ok\n");

    let mut stream = talk(&machine).await;
    stream
        .write_all(format!("source {TRANSFER_BYTES} 6\n").as_bytes())
        .await
        .unwrap();
    let (mut pattern, mut expected) = (Pattern::new(6), vec![0; 64 << 10]);
    for piece in 0..TRANSFER_BYTES / buffer.len() {
        stream.read_exact(&mut buffer).await.unwrap();
        pattern.fill(&mut expected);
        assert!(buffer == expected, "piece {piece} differs");
    }
    assert_eq!(
        stream.read(&mut buffer).await.unwrap(),
        0,
        "and then it ends"
    );
    machine.terminate().await.unwrap();
}

/// What a guest synced is in the overlay even when its VMM is killed at once.
#[tokio::test]
async fn a_disk_keeps_what_was_synced_when_the_vmm_is_killed() {
    let node = node().await;
    let image = guest::scratch().join("disk.raw");
    File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let disk = DiskRequest {
        serial: "data".to_owned(),
        image: image.clone(),
        overlays: Vec::new(),
        is_writable: true,
    };
    let machine = node
        .boot(&name("disk-before"), node.boot_request(1, vec![disk]))
        .await
        .unwrap()
        .machine;
    let (status, output) = exec(
        &machine,
        &["/bin/test-guest", "write-disk", "/dev/vda", "9"],
    )
    .await;
    assert_eq!(status, ExitStatus::Code(0), "{output}");
    let pid = i32::try_from(machine.record().process.pid).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let overlay = guest::scratch().join("survivor.qcow2");
    fs::copy(machine.own_directory().join("disk-0.0.qcow2"), &overlay).unwrap();
    machine.terminate().await.unwrap();
    assert!(
        fs::read(&image).unwrap().iter().all(|byte| *byte == 0),
        "the image below is untouched"
    );

    // A second machine, on a VMM of our own, finds the overlay below its own.
    let request = node.boot_request(1, Vec::new());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let log = File::create(path("vmm.log")).unwrap();
    let permitted = Permitted {
        readable: vec![
            request.kernel.clone(),
            request.initramfs.clone(),
            overlay.clone(),
            image.clone(),
        ],
        writable: vec![directory.path().to_owned()],
        ..Permitted::default()
    };
    let (mut vmm, _child) = VmmClient::spawn(
        &guest::program(),
        &path("control"),
        &permitted,
        None,
        log.into(),
    )
    .unwrap();
    let image = DiskImage::Overlay {
        path: path("own.qcow2"),
        backing: vec![overlay, image],
    };
    let spec = BootSpec {
        kernel: request.kernel,
        initramfs: Some(request.initramfs),
        command_line: request.command_line,
        vcpus: 1,
        memory_mib: request.memory_mib,
        devices: DeviceSpec {
            disks: vec![DiskSpec {
                serial: "data".to_owned(),
                image,
                rate_limit: None,
                is_replaced: false,
            }],
            vsock: Some(VsockSpec {
                path: path("vsock"),
            }),
            ..DeviceSpec::default()
        },
    };
    assert!(matches!(
        vmm.request(Command::Boot(Box::new(spec))).await,
        Ok(Reply::Started(_))
    ));
    let agent = AgentClient::new(path("vsock"));
    agent.hello(Duration::from_secs(120)).await.unwrap();
    let (status, output) =
        guest::exec_through(&agent, &["/bin/test-guest", "check-disk", "/dev/vda", "9"]).await;
    assert_eq!(status, ExitStatus::Code(0), "{output}");
    vmm.request(Command::Terminate).await.unwrap();
    vmm.closed().await;
}
