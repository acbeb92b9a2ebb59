//! Kernel modules: those that every guest loads when it boots, and those that are loaded when something asks for them.
//!
//! ```text
//! application ── mount, ip link, iptables ──> kernel ── /init -q -- fs-nfs ──> this program, once more ──> finit_module
//! ```
//!
//! The second kind is for applications with all capabilities. For all others the kernel has no program that it could ask, so that no
//! module comes in which they could attack.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::boot;
use crate::fault::{Fault, Step};

/// Directory of the modules; `order` in it lists the files of those to load at boot, `on-demand` the others, as hearth-base writes
/// them.
const MODULES: &str = "/modules";

/// What the kernel runs for a module that is not there. It passes `-q -- NAME`.
const HELPER_SETTING: &str = "/proc/sys/kernel/modprobe";

/// The path of this program in a guest, as the kernel's own threads see it.
const HELPER: &str = "/init";

/// For `finit_module`: the kernel unpacks the file (`MODULE_INIT_COMPRESSED_FILE`, linux/module.h).
const COMPRESSED: i32 = 4;

/// Loads the modules of the first kind, in their order.
pub(crate) fn load_all() {
    let Ok(order) = fs::read_to_string(Path::new(MODULES).join("order")) else {
        return;
    };
    for name in order.lines().filter(|name| !name.is_empty()) {
        if let Err(error) = load(name) {
            // For example KVM's module for the processor of the other vendor.
            boot::say(&format!("module {name} is not loaded: {error}"));
        }
    }
}

/// Lets the kernel ask for modules of the second kind.
pub(crate) fn allow_on_demand() -> Result<(), Fault> {
    fs::write(HELPER_SETTING, HELPER).step("let the kernel load modules")
}

/// The module that the kernel asks for, where it has started this program for that.
pub(crate) fn asked_for(arguments: impl IntoIterator<Item = OsString>) -> Option<OsString> {
    let mut arguments = arguments.into_iter().skip(1);
    let is_asked = arguments.next()? == "-q" && arguments.next()? == "--";
    arguments.next().filter(|_| is_asked)
}

/// Loads what the kernel asks for, if it is of the second kind.
pub(crate) fn answer(asked: &OsStr) -> ExitCode {
    let list = fs::read_to_string(Path::new(MODULES).join("on-demand"));
    let (Ok(list), Some(asked)) = (list, asked.to_str()) else {
        return ExitCode::FAILURE;
    };
    let mut has_loaded = false;
    for files in files_of(&list, asked) {
        if files.iter().try_for_each(|file| load(file)).is_err() {
            return ExitCode::FAILURE;
        }
        has_loaded = true;
    }
    match has_loaded {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The files of each module with this name, in the order in which they are loaded.
fn files_of<'a>(list: &'a str, asked: &str) -> Vec<Vec<&'a str>> {
    // Dashes and underscores are equivalent in names.
    let asked = asked.replace('-', "_");
    let modules = list.lines().filter_map(|line| line.split_once('\t'));
    modules
        .filter(|(names, _)| names.split(' ').any(|name| name == asked))
        .map(|(_, files)| files.split(' ').filter(|file| !file.is_empty()).collect())
        .collect()
}

/// Loads a module, unless it is loaded already.
fn load(file: &str) -> io::Result<()> {
    let flags = if file.ends_with(".ko") { 0 } else { COMPRESSED };
    let path = Path::new(MODULES).join(file);
    let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::system::finit_module(opened, c"", flags) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_question_is_understood() {
        let asked = |arguments: &[&str]| asked_for(arguments.iter().map(OsString::from));
        assert_eq!(
            asked(&["/init", "-q", "--", "fs-nfs"]),
            Some("fs-nfs".into())
        );
        for arguments in [
            &["/init"][..],
            &["/init", "-q", "--"],
            &["/init", "--", "-q", "x"],
        ] {
            assert_eq!(asked(arguments), None);
        }
    }

    #[test]
    fn modules_are_found_by_every_name() {
        let list = "nfsv4 fs_nfs4\tsunrpc.ko.xz nfs.ko.xz nfsv4.ko.xz\n\
                    bridge rtnl_link_bridge\tstp.ko.xz bridge.ko.xz\n\
                    br_netfilter rtnl_link_bridge\tbr_netfilter.ko.xz\nloaded fs_x\t\n";
        assert_eq!(
            files_of(list, "fs-nfs4"),
            [["sunrpc.ko.xz", "nfs.ko.xz", "nfsv4.ko.xz"]]
        );
        assert_eq!(
            files_of(list, "rtnl-link-bridge"),
            [
                vec!["stp.ko.xz", "bridge.ko.xz"],
                vec!["br_netfilter.ko.xz"]
            ]
        );
        assert_eq!(files_of(list, "br_netfilter").len(), 1);
        assert_eq!(files_of(list, "fs-x"), [Vec::<&str>::new()]);
        assert!(files_of(list, "kvm").is_empty());
        assert!(files_of(list, "").is_empty());
    }
}
