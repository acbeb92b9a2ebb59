//! Named points at which a test ends this process, to show that nothing is lost there.
//!
//! Only in builds with debug assertions. The file `<data>/crash-point` holds the name of one of [`POINTS`]; the process that
//! reaches that point removes the file and kills itself. A file that is gone afterwards shows that the point was reached.

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

/// Name of the file that says where to end.
pub const FILE: &str = "crash-point";

/// Does not return when this point is the one.
#[cfg(debug_assertions)]
pub(crate) fn reach(layout: &Layout, point: &'static str) {
    debug_assert!(POINTS.contains(&point), "{point} is not in the table");
    let file = layout.data().join(FILE);
    if std::fs::read_to_string(&file).is_ok_and(|wanted| wanted.trim() == point) {
        let _ = std::fs::remove_file(&file);
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn reach(_layout: &Layout, _point: &'static str) {}
