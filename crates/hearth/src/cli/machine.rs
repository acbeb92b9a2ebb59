//! `hearth machine`, `hearth snapshot`, `hearth vmm`: what can be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hearth_node::MachineName;

/// Arguments of `hearth vmm`.
#[derive(Debug, Args)]
pub(crate) struct VmmArguments {
    /// Unix socket on which to listen for later nodes; the first one is standard input.
    #[arg(long)]
    pub(crate) listen: PathBuf,
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
    #[command(visible_alias = "rm")]
    Terminate {
        /// The microVMs.
        #[arg(required_unless_present = "all")]
        names: Vec<MachineName>,
        /// All that run.
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// List microVMs, running and suspended.
    #[command(visible_alias = "list")]
    Ls,
    /// Print what the guest's kernel said on its serial port.
    Serial {
        /// The microVM.
        name: MachineName,
    },
    /// Finish what a crash cut in two, and remove what belongs to nobody.
    Sweep,
}

impl MachineCommand {
    /// Whether it changes what the service keeps in memory of its node while it runs.
    pub(crate) fn changes_something(&self) -> bool {
        !matches!(self, Self::Exec { .. } | Self::Ls | Self::Serial { .. })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// List snapshots.
    #[command(visible_alias = "list")]
    Ls,
    /// Read every byte of a snapshot and its ancestors, and say what is wrong.
    Verify {
        /// Ids or their beginnings; without any, all snapshots.
        snapshots: Vec<String>,
    },
    /// Delete snapshots that nothing needs.
    #[command(visible_alias = "delete")]
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

    #[test]
    fn disks_are_read_as_they_are_written() {
        let disk: DiskArgument = "scratch=/d/x.ext4:rw".parse().unwrap();
        assert_eq!((disk.serial.as_str(), disk.is_writable), ("scratch", true));
        assert_eq!(disk.file, PathBuf::from("/d/x.ext4"));
        assert!("nothing".parse::<DiskArgument>().is_err());
        assert!("=x".parse::<DiskArgument>().is_err());
    }
}
