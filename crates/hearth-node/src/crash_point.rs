//! Named points at which a test kills this process, to show that nothing is lost there.
//!
//! Only builds with debug assertions do anything here. The file `<data>/crash-point` holds the name of one of [`POINTS`]; the process that
//! reaches that point removes the file and kills itself. A file that is gone afterwards shows that the point was reached.
//!
//! VMMs have points of their own (`hearth_wire::crash_point`). The next VMM that is started ends at the point in the
//! file `<data>/vmm-crash-point`, and is delayed at the point in `<data>/vmm-slow-point` (`seal.begun=1500`, in
//! milliseconds). Environment variables do the same for all VMMs of this process.

use std::ffi::OsString;

use crate::layout::Layout;

/// All points of the node, in the order in which operations reach them.
pub const POINTS: &[&str] = &[
    "launch.directory",
    "launch.spawned",
    "launch.recorded",
    "launch.started",
    "launch.unique",
    "seal.intent",
    "seal.frozen",
    "seal.answered",
    "finish.taken-in",
    "finish.recorded",
    "finish.placed",
    "finish.stands-on-it",
    "fork.sealed",
    "fork.reserved",
    "fork.launched",
    "resume.launched",
    "resume.confirmed",
    "remove.ended",
    "remove.marked",
    "remove.removed",
];

/// Name of the file that holds the node's crash point.
pub const FILE: &str = "crash-point";

/// Name of the file that holds the crash point of the next VMM.
pub const VMM_FILE: &str = "vmm-crash-point";

/// Name of the file that says at which point the next VMM is delayed, and for how long.
pub const VMM_SLOW_FILE: &str = "vmm-slow-point";

/// For each setting of VMMs: its argument, its environment variable, its file.
const OF_VMMS: [(&str, &str, Option<&str>); 3] = [
    ("--crash-point", "HEARTH_VMM_CRASH_POINT", Some(VMM_FILE)),
    ("--slow-point", "HEARTH_VMM_SLOW_POINT", Some(VMM_SLOW_FILE)),
    ("--pretend-asleep", "HEARTH_VMM_PRETEND_ASLEEP", None),
];

/// The arguments with which tests make a VMM end, be delayed, or believe that it was suspended for longer.
pub(crate) fn vmm_arguments(layout: &Layout) -> Vec<OsString> {
    if !cfg!(debug_assertions) {
        return Vec::new();
    }
    let take = |name: &str| {
        let file = layout.data().join(name);
        let wanted = std::fs::read_to_string(&file).ok()?;
        let _ = std::fs::remove_file(&file);
        Some(OsString::from(wanted.trim()))
    };
    let wanted = OF_VMMS.into_iter().filter_map(|(flag, variable, file)| {
        let wanted = std::env::var_os(variable).or_else(|| take(file?))?;
        Some([OsString::from(flag), wanted])
    });
    wanted.flatten().collect()
}

/// Says that the process is at `point`. Does not return if a test has chosen this point.
pub(crate) fn reach(layout: &Layout, point: &'static str) {
    if cfg!(debug_assertions) {
        end_at(layout, point);
    }
}

fn end_at(layout: &Layout, point: &'static str) {
    debug_assert!(POINTS.contains(&point), "{point} is not in the table");
    let file = layout.data().join(FILE);
    if std::fs::read_to_string(&file).is_ok_and(|wanted| wanted.trim() == point) {
        let _ = std::fs::remove_file(&file);
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
}
