//! `cargo xtask package --try`: the package on a machine whose KVM runs guests.
//!
//! The machine is a QEMU with its own KVM, like the emulated host. It runs an ordinary Debian with systemd, which boots
//! from a disk and has only the package, a guest's kernel and the base images. A unit runs `trial.sh` there and powers
//! off.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::lab;
use crate::python::checked;
use crate::workspace::{self, Binaries};

/// The newest stable release: operators run its kernel.
const SUITE: &str = "trixie";

/// Packages of a server, and the dependencies of the package: the machine has no network to fetch them from.
const PACKAGES: &str = "busybox-static,dbus,e2fsprogs,initramfs-tools,iproute2,linux-image-amd64,mmdebstrap,mount,nftables,\
                        procps,systemd,systemd-sysv,udev,zstd";

const SCRIPT: &str = "xtask/src/package/trial.sh";

/// The application that is built there.
const APPLICATION: &str = "examples/hello";

/// The unit that would hang up the terminal to which the trial writes.
const LOGIN: &str = "etc/systemd/system/serial-getty@ttyS0.service";

/// Prefix of the line on the console with the trial's result.
const VERDICT: &str = "trial: ";

/// The unit that runs the script, prints its exit status, and powers the machine off. The timeout is long enough for
/// one emulated processor.
const UNIT: &str = r#"[Unit]
After=multi-user.target

[Service]
Type=oneshot
TimeoutStartSec=40min
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c '{ sh /trial.sh 2>&1; echo "trial: status $$?"; } | cat'
ExecStopPost=/bin/systemctl poweroff --force
"#;

/// Link that starts the unit: the target that the machine boots to wants the unit.
const WANTED: &str = "etc/systemd/system/graphical.target.wants/trial.service";

const DISK_BYTES: &str = "24G";
const MEMORY_MIB: &str = "4096";

/// Makes the machine below `output`, runs it, and fails unless the script passed.
pub(super) fn run(package: &Path, output: &Path) -> Result<()> {
    let directory = output.join("trial");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    println!("making a Debian ({SUITE}) ...");
    let machine = Machine::make(&directory, package)?;
    println!("booting it; its kernel and the trial follow");
    let verdict = machine.boot().with_context(|| {
        format!(
            "the package failed its trial: the console above says where; the machine's disk is kept in {}",
            directory.display()
        )
    })?;
    // The disk is large, and tells nothing after a trial that passed.
    fs::remove_dir_all(&directory)?;
    println!("{verdict}");
    Ok(())
}

struct Machine {
    kernel: PathBuf,
    initramfs: PathBuf,
    disk: PathBuf,
}

impl Machine {
    fn make(directory: &Path, package: &Path) -> Result<Self> {
        let root = directory.join("root");
        let bases = lab::prepare_bases()?;
        lab::build_base(&Binaries::build()?)?;
        checked(
            Command::new("mmdebstrap")
                .args(["--variant=minbase", "--quiet"])
                .arg(format!("--include={PACKAGES}"))
                .arg(SUITE)
                .arg(&root),
        )?;
        let data = root.join("var/lib/hearth");
        fs::create_dir_all(&data)?;
        let kernels = lab::data_dir().join("kernels");
        for source in [&bases, &kernels] {
            // Disk images are mostly holes.
            checked(
                Command::new("cp")
                    .args(["-a", "--sparse=always"])
                    .args([source, &data]),
            )?;
        }
        fs::copy(package, root.join("hearth.deb"))?;
        fs::copy(workspace::root().join(SCRIPT), root.join("trial.sh"))?;
        let application = workspace::root().join(APPLICATION);
        checked(
            Command::new("cp")
                .arg("-r")
                .args([&application, &root.join("hello")]),
        )?;
        fs::write(root.join("etc/hostname"), "trial\n")?;
        fs::write(root.join("etc/fstab"), "/dev/vda / ext4 rw 0 1\n")?;
        fs::write(root.join("etc/systemd/system/trial.service"), UNIT)?;
        symlink("/dev/null", root.join(LOGIN))?;
        let wanted = root.join(WANTED);
        fs::create_dir_all(wanted.parent().context("it is in a directory")?)?;
        symlink("../trial.service", wanted)?;
        let machine = Self {
            kernel: take(&root, "vmlinuz", directory)?,
            initramfs: take(&root, "initrd.img", directory)?,
            disk: directory.join("disk.raw"),
        };
        checked(
            Command::new("mke2fs")
                .args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1", "-d"])
                .args([&root, &machine.disk])
                .arg(DISK_BYTES),
        )?;
        fs::remove_dir_all(&root)?;
        Ok(machine)
    }

    /// Boots the machine and prints its console until it ends. Fails unless the script passed.
    fn boot(&self) -> Result<String> {
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-M", "q35", "-accel", "tcg,thread=single"])
            // What the emulated host has, for the same reasons.
            .args(["-cpu", "max,+svm,+npt,-erms,-fsrm", "-smp", "1"])
            .args(["-m", MEMORY_MIB, "-display", "none", "-nodefaults"])
            .args(["-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-append", &command_line()?])
            .arg("-drive")
            .arg(format!("if=virtio,format=raw,file={}", self.disk.display()))
            .args(["-device", "virtio-rng-pci"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let console = qemu.stdout.take().context("its console is piped")?;
        let mut verdict = None;
        for line in BufReader::new(console).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            println!("  {line}");
            if line.starts_with(VERDICT) {
                verdict = Some(line.to_owned());
            }
        }
        qemu.wait()?;
        match verdict {
            Some(verdict) if verdict == "trial: status 0" => Ok(verdict),
            Some(verdict) => bail!("{verdict}"),
            None => bail!("the machine ended before the trial did"),
        }
    }
}

/// Copies the target of the link `name` out of the root; Debian has such links to its newest kernel.
fn take(root: &Path, name: &str, directory: &Path) -> Result<PathBuf> {
    let target = directory.join(name);
    fs::copy(root.join(name), &target).with_context(|| format!("there is no {name}"))?;
    Ok(target)
}

/// The kernel command line: parameters for QEMU's processor as in the emulated host, and no messages of systemd.
fn command_line() -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let mut words =
        "root=/dev/vda rw console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check tsc=reliable \
                     cryptomgr.notests systemd.show_status=no"
            .to_owned();
    if let Some(khz) = hearth_emulated::tsc_khz(&cpuinfo) {
        words += &format!(" tsc_early_khz={khz}");
    }
    Ok(words)
}
