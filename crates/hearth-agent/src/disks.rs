//! Finds the guest's disks and their sizes in sysfs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hearth_wire::agent::DiskSize;
use rustix::io::Errno;

use crate::fault::Fault;

/// The kernel's directory of block devices.
const BLOCKS: &str = "/sys/block";

/// How long the driver may take to register a disk after its module is loaded.
const DISK_DEADLINE: Duration = Duration::from_secs(2);

/// How long the driver may take to notice a new size of a disk: an interrupt and a task of the kernel.
const SIZE_DEADLINE: Duration = Duration::from_secs(10);

/// Polling interval.
const PAUSE: Duration = Duration::from_millis(1);

/// The device node of the disk with this serial number (virtio-blk, VIRTIO 1.3 section 5.2.6.1). Blocks.
pub(crate) fn find(serial: &str) -> Result<String, Fault> {
    let deadline = Instant::now() + DISK_DEADLINE;
    loop {
        if let Some(name) = with_serial(Path::new(BLOCKS), serial) {
            return Ok(format!("/dev/{name}"));
        }
        if Instant::now() >= deadline {
            return Err(Fault::new(format!("find the disk {serial}"), Errno::NODEV));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until the kernel knows these sizes. After a restore with other disks, an interrupt notifies it of them.
pub(crate) async fn await_sizes(wanted: &[DiskSize]) -> Result<(), Fault> {
    let deadline = Instant::now() + SIZE_DEADLINE;
    for disk in wanted {
        while !has_size(Path::new(BLOCKS), disk) {
            if Instant::now() >= deadline {
                let step = format!("learn the size of the disk {}", disk.serial);
                return Err(Fault::new(step, Errno::TIMEDOUT));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

fn has_size(blocks: &Path, disk: &DiskSize) -> bool {
    let Some(name) = with_serial(blocks, &disk.serial) else {
        return false;
    };
    // In sectors of 512 bytes, whatever the disk's own.
    let size = fs::read_to_string(blocks.join(name).join("size"));
    size.is_ok_and(|size| size.trim().parse() == Ok(disk.sectors))
}

fn with_serial(blocks: &Path, serial: &str) -> Option<String> {
    let entries = fs::read_dir(blocks).ok()?;
    entries.flatten().find_map(|entry| {
        let found = fs::read_to_string(entry.path().join("serial")).ok()?;
        (found.trim_end_matches(['\n', '\0']) == serial)
            .then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_by_its_whole_serial() {
        let blocks = tempfile::tempdir().unwrap();
        for (name, serial) in [("vda", "base"), ("vdb", "layer1\n"), ("vdc", "layer10")] {
            fs::create_dir(blocks.path().join(name)).unwrap();
            fs::write(blocks.path().join(name).join("serial"), serial).unwrap();
        }
        fs::create_dir(blocks.path().join("loop0")).unwrap();
        let find = |serial| with_serial(blocks.path(), serial);
        assert_eq!(find("layer1").as_deref(), Some("vdb"));
        assert_eq!(find("base").as_deref(), Some("vda"));
        assert_eq!(find("bas"), None);

        fs::write(blocks.path().join("vda/size"), "2048\n").unwrap();
        let has = |serial: &str, sectors| {
            let serial = serial.to_owned();
            has_size(blocks.path(), &DiskSize { serial, sectors })
        };
        assert!(has("base", 2048));
        assert!(!has("base", 4096) && !has("layer1", 2048) && !has("other", 2048));
    }
}
