//! A thousand microVMs sleep on one node: what is done with one of them costs the same as beside ten.
//!
//! Work is counted, not timed: system calls that read and write and their bytes (`/proc/self/io`), and which files are opened
//! (inotify). VMMs are `fake-vmm`, so this needs no KVM.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::CStr;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use hearth_bench::{Sleepers, options};
use hearth_node::{MachineName, Node, Standing};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tempfile::TempDir;

const VMM: &str = env!("CARGO_BIN_EXE_fake-vmm");

const FEW: usize = 10;
const MANY: usize = 1000;

/// More than a node notes of one sleeper, and less than its state: 32 KiB.
const NOTED_MAX_BYTES: u64 = 4096;

/// What wakes the runtime's threads, and counting itself, which differ from one time to the next. It is far less than one call for
/// each sleeper.
const RUNTIME: Work = Work {
    calls: 8,
    bytes: 256,
};

/// So often is each thing done, with another sleeper. The cheapest is compared: what else the process does only adds.
const ROUNDS: usize = 5;

#[tokio::test]
async fn beside_a_thousand_sleepers_one_costs_the_same_as_beside_ten() {
    let (few, many) = (Place::new(FEW), Place::new(MANY));
    others_are_not_looked_at(&many).await;
    let (few, many) = (costs(&few).await, costs(&many).await);
    for ((what, few), (_, many)) in few.0.iter().zip(&many.0) {
        eprintln!("{what}: {few:?} beside {FEW}, {many:?} beside {MANY}");
        let limit = |cost: u64, of_runtime: u64| cost + (cost / 10).max(of_runtime);
        assert!(
            many.calls <= limit(few.calls, RUNTIME.calls)
                && many.bytes <= limit(few.bytes, RUNTIME.bytes),
            "{what} grows with the number of sleepers: {few:?} beside {FEW}, {many:?} beside {MANY}"
        );
    }
}

/// A data directory with sleepers.
struct Place {
    data: TempDir,
    sleepers: Sleepers,
}

impl Place {
    fn new(count: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        let sleepers = Sleepers::make(data.path(), count).unwrap();
        Self { data, sleepers }
    }

    fn open(&self) -> Node {
        Node::open(options(self.data.path(), VMM.as_ref())).unwrap()
    }

    fn names(&self) -> Vec<MachineName> {
        self.sleepers.names().cloned().collect()
    }
}

/// Calls that read or write, and bytes.
#[derive(Debug, Clone, Copy)]
struct Work {
    calls: u64,
    bytes: u64,
}

impl Work {
    /// Of this process since it was started.
    fn so_far() -> Self {
        let text = fs::read_to_string("/proc/self/io").unwrap();
        let of = |name: &str| -> u64 {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)).unwrap();
            value.trim().parse().unwrap()
        };
        Self {
            calls: of("syscr:") + of("syscw:"),
            bytes: of("rchar:") + of("wchar:"),
        }
    }

    fn since(before: Self) -> Self {
        let now = Self::so_far();
        Self {
            calls: now.calls - before.calls,
            bytes: now.bytes - before.bytes,
        }
    }
}

/// What was done, and what it cost.
#[derive(Debug)]
struct Costs(Vec<(&'static str, Work)>);

impl Costs {
    fn add(&mut self, what: &'static str, work: Work) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, cheapest)) => {
                cheapest.calls = cheapest.calls.min(work.calls);
                cheapest.bytes = cheapest.bytes.min(work.bytes);
            }
            None => self.0.push((what, work)),
        }
    }
}

/// What each operation costs on a node with so many sleepers.
async fn costs(place: &Place) -> Costs {
    let (node, names) = (place.open(), place.names());
    let mut costs = Costs(Vec::new());
    for name in names.iter().rev().take(ROUNDS) {
        let before = Work::so_far();
        node.resume(name).await.unwrap();
        costs.add("wake", Work::since(before));
        assert_eq!(node.look(name), Standing::Runs);

        let before = Work::so_far();
        node.suspend(name).await.unwrap();
        costs.add("suspend", Work::since(before));
        assert_eq!(node.look(name), Standing::Suspended);

        let before = Work::so_far();
        let snapshots = node.snapshots().len();
        node.damaged().unwrap();
        for name in node.names() {
            node.look(&name);
        }
        costs.add("inventory", Work::since(before));
        assert!(snapshots > names.len() - ROUNDS);

        let before = Work::so_far();
        node.erase(name).await.unwrap();
        costs.add("terminate", Work::since(before));
        assert_eq!(node.look(name), Standing::Gone);
    }
    costs
}

/// Tells which files are opened, and which directories are listed.
struct Watch(OwnedFd);

/// A watched file or directory that was touched: the name of a file in a directory of a sleeper, or nothing for a list of names.
type Touched = Option<String>;

impl Watch {
    fn new() -> Self {
        Self(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap())
    }

    fn files_of(&self, directory: &Path) {
        inotify::add_watch(&self.0, directory, WatchFlags::OPEN).unwrap();
    }

    fn list_of(&self, directory: &Path) {
        inotify::add_watch(&self.0, directory, WatchFlags::ACCESS).unwrap();
    }

    /// What was touched since the last call.
    fn touched(&self) -> Vec<Touched> {
        let mut space = [MaybeUninit::uninit(); 16 << 10];
        let mut events = inotify::Reader::new(&self.0, &mut space);
        let mut touched = Vec::new();
        loop {
            let event = match events.next() {
                Err(Errno::AGAIN) => return touched,
                event => event.unwrap(),
            };
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
            let name = event.file_name().map(CStr::to_string_lossy);
            if event.events().contains(ReadFlags::ACCESS) && name.is_some() {
                // Something in the directory, not its list of names.
                continue;
            }
            if !event.events().contains(ReadFlags::IGNORED) {
                touched.push(name.map(|name| name.into_owned()));
            }
        }
    }
}

/// Nothing opens a file of another sleeper, or looks for one.
async fn others_are_not_looked_at(place: &Place) {
    let watch = Watch::new();
    let woken = &place.names()[0];
    for (name, directory) in place.sleepers.directories() {
        if name != woken {
            watch.files_of(&directory);
        }
    }

    // A start reads what is noted of each sleeper, and nothing of its state.
    let before = Work::so_far();
    let node = place.open();
    node.sweep().await.unwrap();
    let work = Work::since(before);
    let opened: Vec<_> = watch.touched().into_iter().flatten().collect();
    assert_eq!(opened.len(), MANY - 1);
    assert!(opened.iter().all(|name| name == "node.json"), "{opened:?}");
    assert!(work.bytes / (MANY as u64) < NOTED_MAX_BYTES, "{work:?}");

    for directory in ["machines", "snapshots"] {
        watch.list_of(&place.data.path().join(directory));
    }
    node.resume(woken).await.unwrap();
    node.suspend(woken).await.unwrap();
    node.resume(woken).await.unwrap();
    node.erase(woken).await.unwrap();
    assert_eq!(node.standing(woken).await, Standing::Gone);
    assert_eq!(watch.touched(), Vec::<Touched>::new());

    let listed = fs::read_dir(place.data.path().join("snapshots")).unwrap();
    assert_eq!(listed.count(), MANY, "the template, and all others");
    let touched = watch.touched();
    assert!(!touched.is_empty() && touched.iter().all(Option::is_none));
}
