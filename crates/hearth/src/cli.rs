//! What can be typed.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hearth_control::id::Region;
use hearth_node::MachineName;

use crate::account::{AccountCommand, KeyCommand};

/// AWS Lambda MicroVMs on your own hardware.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shared {
    /// Data directory: base images, snapshots, microVMs.
    #[arg(
        long,
        global = true,
        env = "HEARTH_DATA",
        default_value = "/var/lib/hearth"
    )]
    pub(crate) data: PathBuf,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service: the AWS API, S3, logs and the endpoints of microVMs, until Ctrl-C.
    ///
    /// Where KVM cannot run guests, an emulated host is started and the service runs in it.
    Up(UpArguments),
    /// Print shell exports that make AWS clients use the service: eval "$(hearth env)".
    Env,
    /// Accounts of the service: create, list.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Access keys of accounts: create, list, disable, enable, delete.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Guest kernels and agents: build, list.
    #[command(subcommand)]
    Base(BaseCommand),
    /// Find out whether KVM on this host runs guests, by running a small one; if not, start the emulated host.
    Host {
        #[command(subcommand)]
        command: Option<HostCommand>,
    },
    /// MicroVMs of this host, by hand: boot, clone, suspend, resume, fork.
    #[command(subcommand)]
    Machine(MachineCommand),
    /// Sealed snapshots: list, verify, delete.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Run one microVM (started by a node, not by people).
    #[command(hide = true)]
    Vmm(VmmArguments),
}

/// Arguments of `hearth up`.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Where the API listens; plain HTTP, so only on the loopback.
    #[arg(long, env = "HEARTH_LISTEN", default_value = "127.0.0.1:4580")]
    pub(crate) listen: SocketAddr,
    /// The region that it answers for.
    #[arg(long, env = "HEARTH_REGION", default_value = "us-east-1")]
    pub(crate) region: Region,
    /// Ports of the loopback for the endpoints of microVMs, one each.
    #[arg(long, default_value = "20000-20063", value_name = "FIRST-LAST")]
    pub(crate) endpoint_ports: PortRange,
    /// Name endpoints <uuid>.DOMAIN instead, all behind --endpoint-listen.
    #[arg(long, value_name = "DOMAIN", requires = "endpoint_listen")]
    pub(crate) endpoint_domain: Option<String>,
    /// Where endpoints listen that are named by domain.
    #[arg(long, value_name = "ADDRESS", requires = "endpoint_domain")]
    pub(crate) endpoint_listen: Option<SocketAddr>,
    /// Let FROM NAME mean a base image, for example
    /// public.ecr.aws/lambda/microvms:al2023-minimal=hearth/python:3.11.
    #[arg(long = "image-alias", value_name = "NAME=BASE")]
    pub(crate) image_aliases: Vec<ImageAlias>,
    /// Lift the limits on connections, bandwidth and requests that endpoints have by size, as on AWS.
    #[arg(long)]
    pub(crate) no_endpoint_limits: bool,
    /// We are inside the emulated host that another `hearth up` started.
    #[arg(long, hide = true)]
    pub(crate) in_emulated_host: bool,
}

/// A name in `FROM` and what it means.
#[derive(Debug, Clone)]
pub(crate) struct ImageAlias {
    pub(crate) name: String,
    pub(crate) base: String,
}

impl std::str::FromStr for ImageAlias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, base)) if !name.is_empty() && !base.is_empty() => Ok(Self {
                name: name.to_owned(),
                base: base.to_owned(),
            }),
            _ => Err("write NAME=BASE, for example python:3.11=hearth/python:3.11".to_owned()),
        }
    }
}

/// Ports as they are typed: `20000-20063`.
#[derive(Debug, Clone)]
pub(crate) struct PortRange(pub(crate) RangeInclusive<u16>);

impl std::str::FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match parsed {
            Some((first, last)) if 0 < first && first <= last => Ok(Self(first..=last)),
            _ => Err("write FIRST-LAST, for example 20000-20063".to_owned()),
        }
    }
}

/// Arguments of `hearth vmm`.
#[derive(Debug, Args)]
pub(crate) struct VmmArguments {
    /// Unix socket on which to listen for later nodes; the first one is standard input.
    #[arg(long)]
    pub(crate) listen: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Only say whether KVM runs guests; exit status 0 means that it does.
    Check,
    /// Keep an emulated host running here, whatever KVM does, until Ctrl-C.
    Start {
        /// Ports of the loopback that lead inside.
        #[arg(long, value_name = "PORT")]
        forward: Vec<u16>,
    },
    /// Run a command inside the emulated host that is running.
    Exec {
        /// Program and arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BaseCommand {
    /// Build the base version of the newest kernel and this agent, or find it in the cache.
    Build {
        /// A kernel of your own instead of the newest of Debian: a .deb, a bzImage or a vmlinux.
        #[arg(long)]
        kernel: Option<PathBuf>,
        /// Directory with the modules that belong to a bzImage or vmlinux.
        #[arg(long, requires = "kernel")]
        modules: Option<PathBuf>,
        /// The static agent; by default the one beside this program.
        #[arg(long)]
        agent: Option<PathBuf>,
    },
    /// List base versions: kernel package, agent, date.
    Ls,
    /// Make the base images that Dockerfiles stand on (hearth/debian:12, hearth/python:3.11, hearth/python-data:3.11), once; needs root.
    Prepare,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MachineCommand {
    /// Boot a microVM and wait until its agent answers.
    Boot {
        /// Its name.
        name: MachineName,
        /// Number of vCPUs.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
        vcpus: u8,
        /// RAM, in MiB.
        #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..=32768))]
        memory_mib: u32,
        /// A disk: SERIAL=FILE, read-only; SERIAL=FILE:rw gets an overlay that the guest may write.
        #[arg(long = "disk", value_name = "SERIAL=FILE[:rw]")]
        disks: Vec<DiskArgument>,
        /// Base version; by default the newest.
        #[arg(long)]
        base: Option<String>,
        /// Additions to the kernel's command line.
        #[arg(long, default_value = "")]
        command_line: String,
    },
    /// Start an application in a microVM, as a container.
    Start {
        /// The microVM.
        name: MachineName,
        /// Read-only layers of its root, top first: the serial of a disk, or of a disk and a directory on it. Without
        /// any, the agent's initramfs is the root.
        #[arg(long = "lower", value_name = "SERIAL[/DIRECTORY]")]
        lower: Vec<String>,
        /// Serial of the writable disk of its root; without it writes go to memory.
        #[arg(long)]
        upper: Option<String>,
        /// Environment, NAME=VALUE.
        #[arg(long = "env", short = 'e', value_name = "NAME=VALUE")]
        env: Vec<String>,
        /// Program and arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Run a command in a microVM; its exit status becomes ours.
    Exec {
        /// The microVM.
        name: MachineName,
        /// Beside the agent instead of in the application's container.
        #[arg(long)]
        agent: bool,
        /// Program and arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Seal a snapshot to make clones of; the microVM goes on. Prints the id.
    Snapshot {
        /// The microVM.
        name: MachineName,
    },
    /// Make microVMs from a snapshot, all at the same time.
    Clone {
        /// Id of the snapshot, or its beginning.
        snapshot: String,
        /// Name, or with --count the beginning of the names.
        name: MachineName,
        /// How many.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: Option<u32>,
    },
    /// Make a second microVM that begins where the first is now.
    Fork {
        /// The microVM that is there.
        name: MachineName,
        /// The name of the new one.
        child: MachineName,
    },
    /// Write to disk what changed, and end the process. Durable when this returns.
    Suspend {
        /// The microVM.
        name: MachineName,
    },
    /// Go on where a microVM was suspended.
    Resume {
        /// The microVM.
        name: MachineName,
    },
    /// End microVMs and remove what they had.
    Terminate {
        /// The microVMs.
        #[arg(required_unless_present = "all")]
        names: Vec<MachineName>,
        /// All that run.
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// List microVMs, running and suspended.
    Ls,
    /// Print what the guest's kernel said on its serial port.
    Serial {
        /// The microVM.
        name: MachineName,
    },
    /// Finish what a crash cut in two, and remove what belongs to nobody.
    Sweep,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// List snapshots.
    Ls,
    /// Read every byte of a snapshot and its ancestors, and say what is wrong.
    Verify {
        /// Ids or their beginnings; without any, all snapshots.
        snapshots: Vec<String>,
    },
    /// Delete snapshots that nothing needs.
    Rm {
        /// Ids or their beginnings.
        #[arg(required = true)]
        snapshots: Vec<String>,
    },
}

/// A disk as it is typed.
#[derive(Debug, Clone)]
pub(crate) struct DiskArgument {
    pub(crate) serial: String,
    pub(crate) file: PathBuf,
    pub(crate) is_writable: bool,
}

impl std::str::FromStr for DiskArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (serial, file) = text
            .split_once('=')
            .ok_or("write SERIAL=FILE, for example base=/srv/root.ext4")?;
        if serial.is_empty() || serial.len() > 20 || !serial.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a serial has 1 to 20 printable ASCII characters".to_owned());
        }
        let (file, is_writable) = file
            .strip_suffix(":rw")
            .map_or((file, false), |file| (file, true));
        let file = std::path::absolute(file).map_err(|error| error.to_string())?;
        Ok(Self {
            serial: serial.to_owned(),
            file,
            is_writable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ports_are_a_range_that_goes_up() {
        assert_eq!("1-2".parse::<PortRange>().unwrap().0, 1..=2);
        for bad in ["", "5", "0-3", "9-8", "1-70000"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn disks_are_read_as_they_are_written() {
        let disk: DiskArgument = "scratch=/d/x.ext4:rw".parse().unwrap();
        assert_eq!((disk.serial.as_str(), disk.is_writable), ("scratch", true));
        assert_eq!(disk.file, PathBuf::from("/d/x.ext4"));
        assert!("nothing".parse::<DiskArgument>().is_err());
        assert!("=x".parse::<DiskArgument>().is_err());
    }
}
