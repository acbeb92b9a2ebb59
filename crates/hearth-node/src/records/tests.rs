//! Files that a power cut, a bad disk or a hand have damaged: each harms what it belongs to and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use hearth_snapshot::{Capture, MemoryKind, OpenSnapshot, Ram};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;
use vm_memory::{Bytes as _, GuestAddress};

use super::*;
use crate::node::{Node, NodeOptions, Standing};
use crate::record::{DiskStack, PREFETCH_FILE, ProcessRecord, SnapshotShape};

const RAM_BYTES: u64 = 1 << 20;
const DISK: &str = "disk-0.qcow2";

/// Files of a snapshot whose content is looked at only when it is opened.
const SEALED: [&str; 4] = ["state", "hashes", "memory", DISK];

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Emptied,
    Halved,
    Changed,
    Removed,
}

const HARMS: [Harm; 4] = [Harm::Emptied, Harm::Halved, Harm::Changed, Harm::Removed];

impl Harm {
    fn inflict(self, path: &Path) {
        if self == Self::Removed {
            return fs::remove_file(path).unwrap();
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        let bytes = file.metadata().unwrap().len();
        assert!(bytes > 1, "{}", path.display());
        match self {
            Self::Emptied => file.set_len(0).unwrap(),
            Self::Halved => file.set_len(bytes / 2).unwrap(),
            Self::Changed => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, bytes / 2).unwrap();
                file.write_all_at(&[byte[0] ^ 1], bytes / 2).unwrap();
            }
            Self::Removed => unreachable!(),
        }
    }
}

fn name(text: &str) -> MachineName {
    text.parse().unwrap()
}

/// A data directory.
///
/// ```text
/// template (full, of build-1) ◄── step (of first) ◄── first's layer       first is suspended
///                             ◄── second's layer                          second is suspended
/// dead      its record names a process that is gone
/// waiting   a fork that was not launched
/// ```
struct Fixture {
    data: TempDir,
    template: SnapshotId,
    step: SnapshotId,
    first: SnapshotId,
    second: SnapshotId,
}

impl Fixture {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let layout = Layout::new(data.path().to_owned());
        for directory in [layout.machines(), layout.snapshots()] {
            fs::create_dir(directory).unwrap();
        }
        let program = data.path().join("program");
        fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

        let records = Records::load(layout).unwrap();
        let template = seal(&records, "build-1", Purpose::Template, &[]);
        let step = seal(&records, "first", Purpose::Step, &[template]);
        let first = seal(&records, "first", Purpose::Suspended, &[step, template]);
        let second = seal(&records, "second", Purpose::Suspended, &[template]);
        let prefetch = records.layout().snapshot(template).join(PREFETCH_FILE);
        record::write(&prefetch, &[(0, 10), (20, 30)]).unwrap();

        records.make_directory(&name("dead")).unwrap();
        records
            .write_machine(&name("dead"), dead(template), Durability::Durable)
            .unwrap();
        let own = records.layout().own(&name("dead"));
        fs::create_dir(&own).unwrap();
        fs::write(own.join("serial.log"), "said before").unwrap();
        records.reserve(&name("waiting"), template).unwrap();
        Self {
            data,
            template,
            step,
            first,
            second,
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.data.path().to_owned())
    }

    /// The node after a start, with a VMM that fails.
    async fn start(&self) -> Node {
        let data = self.data.path().to_owned();
        let program = data.join("program");
        let node = Node::open(NodeOptions {
            users: None,
            ..NodeOptions::new(data, program)
        })
        .unwrap();
        node.sweep().await.unwrap();
        node
    }
}

/// Seals one more snapshot above `ancestors`, nearest first, each of which changes other pages.
fn seal(records: &Records, of: &str, purpose: Purpose, ancestors: &[SnapshotId]) -> SnapshotId {
    let layout = records.layout();
    let incoming = layout.data().join("incoming");
    capture(layout, &incoming, of, ancestors);
    let info = describe(&incoming, of, purpose);
    record::write(&incoming.join(NODE_FILE), &info.record).unwrap();
    records.place(&incoming, info).unwrap()
}

/// Seals into a directory.
fn capture(layout: &Layout, directory: &Path, of: &str, ancestors: &[SnapshotId]) {
    let (ram, kind) = match ancestors {
        [] => (Ram::anonymous(RAM_BYTES).unwrap(), MemoryKind::Full),
        [parent, others @ ..] => {
            let others: Vec<PathBuf> = others.iter().map(|id| layout.snapshot(*id)).collect();
            let parent = OpenSnapshot::open(&layout.snapshot(*parent), &others).unwrap();
            (Ram::restored(&parent).unwrap(), MemoryKind::Layer)
        }
    };
    // No page of zeros: it would be a hole.
    let bytes = if ancestors.is_empty() {
        RAM_BYTES
    } else {
        8192
    };
    let content = vec![of.as_bytes()[0] ^ ancestors.len() as u8; bytes as usize];
    let memory = ram.guest_memory().unwrap();
    memory.write_slice(&content, GuestAddress(0)).unwrap();
    let disk = layout.data().join("disk");
    fs::write(&disk, content).unwrap();
    let mut capture = Capture::begin(directory).unwrap();
    capture.memory(&ram, kind).unwrap();
    capture.adopt(DISK, &disk).unwrap();
    capture.seal(of.as_bytes().to_vec()).unwrap();
    fs::remove_file(&disk).unwrap();
}

fn describe(incoming: &Path, of: &str, purpose: Purpose) -> SnapshotInfo {
    let description = hearth_snapshot::describe(incoming).unwrap();
    let mut files = description.files.clone();
    for file in ["state", "hashes"] {
        let bytes = fs::metadata(incoming.join(file)).unwrap().len();
        files.push((file.to_owned(), bytes));
    }
    SnapshotInfo {
        id: description.id,
        ancestors: description.ancestors.clone(),
        record: SnapshotRecord {
            memory_mib: 1,
            vcpus: 1,
            disks: vec![DiskStack {
                serial: "root".to_owned(),
                base: "/dev/null".into(),
                overlays: Vec::new(),
                is_writable: true,
                sealed: vec![(description.id.to_string(), DISK.to_owned())],
            }],
            egress: None,
            has_application: false,
            purpose,
            machine: of.to_owned(),
            created_at: 1,
            shape: Some(SnapshotShape {
                ancestors: description
                    .ancestors
                    .iter()
                    .map(SnapshotId::to_string)
                    .collect(),
                files,
                runs: description.runs,
                memory_bytes: description.memory_bytes,
            }),
        },
    }
}

/// The record of an instance whose process is gone.
fn dead(parent: SnapshotId) -> MachineRecord {
    MachineRecord {
        process: ProcessRecord {
            pid: 4_000_000,
            start_ticks: 1,
        },
        user: None,
        memory_mib: 1,
        vcpus: 1,
        disks: Vec::new(),
        parent: Some(parent.to_string()),
        network: None,
        has_application: false,
        pending: None,
        folds: Vec::new(),
        overlay_generation: 0,
        have_disks_diverged: false,
    }
}

/// Asserts that an instance is suspended and that nothing is wrong with it.
async fn assert_sound(node: &Node, text: &str, case: &str) {
    let failed = node.resume(&name(text)).await.unwrap_err();
    assert!(
        !matches!(failed, NodeError::Damaged { .. }),
        "{case}: {text}: {failed}"
    );
    assert_eq!(node.standing(&name(text)).await, Standing::Suspended);
}

/// Asserts that a resume says which file is damaged, and changes nothing.
async fn assert_says(node: &Node, text: &str, file: &str, case: &str) {
    match node.resume(&name(text)).await {
        Err(NodeError::Damaged { name, reason }) => {
            assert_eq!(name, text, "{case}");
            assert!(reason.contains(file), "{case}: {reason}");
        }
        other => panic!("{case}: {other:?}"),
    }
    assert_eq!(node.standing(&name(text)).await, Standing::Suspended);
}

/// Asserts that one thing was set aside, and what is said about it.
fn assert_set_aside(node: &Node, of: &str, file: &str, case: &str) {
    let damaged = node.damaged().unwrap();
    let [damage] = damaged.as_slice() else {
        panic!("{case}: {damaged:?}");
    };
    assert_eq!(damage.instance.as_deref(), Some(of), "{case}");
    assert!(damage.reason.contains(file), "{case}: {}", damage.reason);
    assert!(damage.path.is_dir(), "{case}");
}

#[tokio::test]
async fn a_sound_directory_has_no_damage() {
    let fixture = Fixture::new();
    let node = fixture.start().await;
    assert_eq!(node.damaged().unwrap(), []);
    assert_sound(&node, "first", "sound").await;
    assert_sound(&node, "second", "sound").await;
    assert_eq!(node.names(), [], "what has no process was swept");
}

#[tokio::test]
async fn a_damaged_file_of_a_suspended_instance_harms_that_one_alone() {
    for file in [NODE_FILE].into_iter().chain(SEALED) {
        for harm in HARMS {
            let case = format!("{file} {harm:?}");
            let fixture = Fixture::new();
            harm.inflict(&fixture.layout().snapshot(fixture.first).join(file));
            let node = fixture.start().await;
            if harm == Harm::Changed && file != NODE_FILE {
                assert_eq!(node.damaged().unwrap(), [], "{case}");
                assert_says(&node, "first", file, &case).await;
                let reason = "as told".to_owned();
                node.set_aside(&name("first"), reason).await.unwrap();
                assert_set_aside(&node, "first", "as told", &case);
            } else {
                assert_set_aside(&node, "first", file, &case);
            }
            assert_eq!(node.standing(&name("first")).await, Standing::Gone);
            assert_sound(&node, "second", &case).await;
            drop(node);
            // It is told once, and again by each later node.
            let later = fixture.start().await;
            assert_eq!(later.damaged().unwrap().len(), 1, "{case}");
            assert_sound(&later, "second", &case).await;
        }
    }
}

#[tokio::test]
async fn children_of_a_damaged_template_say_what_is_wrong_with_it() {
    for file in [NODE_FILE].into_iter().chain(SEALED) {
        for harm in HARMS {
            let case = format!("{file} {harm:?}");
            let fixture = Fixture::new();
            harm.inflict(&fixture.layout().snapshot(fixture.template).join(file));
            let node = fixture.start().await;
            if harm != Harm::Changed || file == NODE_FILE {
                assert_set_aside(&node, "build-1", file, &case);
            }
            assert_says(&node, "first", file, &case).await;
            assert_says(&node, "second", file, &case).await;
        }
    }
}

#[tokio::test]
async fn a_damaged_record_of_a_process_is_set_aside() {
    for harm in HARMS {
        let case = format!("{harm:?}");
        let fixture = Fixture::new();
        let directory = fixture.layout().machine(&name("dead"));
        harm.inflict(&directory.join(MACHINE_FILE));
        let node = fixture.start().await;
        assert_set_aside(&node, "dead", MACHINE_FILE, &case);
        assert!(!directory.exists(), "{case}");
        assert_sound(&node, "first", &case).await;
        assert_sound(&node, "second", &case).await;
    }
}

/// What its VMM has sealed and nobody has put into place yet is all that is left of an instance.
#[tokio::test]
async fn a_damaged_suspend_that_was_not_put_into_place_is_set_aside() {
    for harm in [None].into_iter().chain(HARMS.map(Some)) {
        let case = format!("{harm:?}");
        let fixture = Fixture::new();
        let outgoing = saved(&fixture);
        if let Some(harm) = harm {
            harm.inflict(&outgoing.join("state"));
        }
        let node = fixture.start().await;
        let third = name("third");
        if harm.is_none() {
            assert_eq!(node.standing(&third).await, Standing::Suspended);
            assert_sound(&node, "third", &case).await;
            continue;
        }
        assert_eq!(node.standing(&third).await, Standing::Gone, "{case}");
        assert_set_aside(&node, "third", "incoming/state", &case);
        let damage = node.damage_of(&third).await.unwrap().unwrap();
        assert!(damage.path.join("incoming/memory").exists(), "{case}");
        assert_sound(&node, "second", &case).await;
    }
}

/// A VMM that was taken over may seal what is sound in itself, and not what it was asked for: here a disk that its instance does not
/// have, as it would be with another instance's disk, and memory above a snapshot that its instance does not stand on.
#[tokio::test]
async fn a_suspend_that_is_not_what_was_asked_for_is_set_aside() {
    for foreign in ["disk", "parent"] {
        let fixture = Fixture::new();
        let (disks, parent) = match foreign {
            "disk" => (vec![], Some(fixture.template.to_string())),
            _ => (vec![writable_disk()], None),
        };
        let record = MachineRecord {
            pending: Some(Purpose::Suspended),
            disks,
            parent,
            ..dead(fixture.template)
        };
        saved_of(&fixture, record);
        let node = fixture.start().await;
        assert_eq!(node.standing(&name("third")).await, Standing::Gone);
        let damage = node.damage_of(&name("third")).await.unwrap().unwrap();
        let reason = &damage.reason;
        assert!(
            reason.contains("not what its VMM was asked for"),
            "{reason}"
        );
        assert_sound(&node, "second", foreign).await;
    }
}

/// A VMM that was taken over may leave what leads elsewhere, or what whoever opens it waits for.
#[tokio::test]
async fn a_suspend_that_is_no_directory_of_files_is_set_aside() {
    let elsewhere = tempfile::tempdir().unwrap();
    let link = |to: &Path, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
    for hostile in ["a link", "a link in it", "a fifo in it"] {
        let fixture = Fixture::new();
        let outgoing = saved(&fixture);
        let state = outgoing.join("state");
        if hostile == "a link" {
            fs::remove_dir_all(&outgoing).unwrap();
            let others = fixture.layout().snapshot(fixture.second);
            link(&others, &outgoing);
        } else {
            fs::remove_file(&state).unwrap();
        }
        match hostile {
            "a link in it" => link(elsewhere.path(), &state),
            "a fifo in it" => mkfifoat(CWD, &state, Mode::RUSR).unwrap(),
            _ => {}
        }
        let node = fixture.start().await;
        assert_set_aside(&node, "third", "incoming", hostile);
        assert_sound(&node, "second", hostile).await;
    }
}

/// An instance whose VMM has sealed its suspend and ended, as the node ended too. Answers where the snapshot lies.
fn saved(fixture: &Fixture) -> PathBuf {
    let record = MachineRecord {
        pending: Some(Purpose::Suspended),
        disks: vec![writable_disk()],
        ..dead(fixture.template)
    };
    saved_of(fixture, record)
}

fn writable_disk() -> DiskStack {
    DiskStack {
        serial: "root".to_owned(),
        base: "/dev/null".into(),
        overlays: Vec::new(),
        is_writable: true,
        sealed: Vec::new(),
    }
}

/// The same of an instance with this record.
fn saved_of(fixture: &Fixture, record: MachineRecord) -> PathBuf {
    let (layout, third) = (fixture.layout(), name("third"));
    let records = Records::load(layout.clone()).unwrap();
    records.make_directory(&third).unwrap();
    records
        .write_machine(&third, record, Durability::Durable)
        .unwrap();
    fs::create_dir(layout.own(&third)).unwrap();
    let outgoing = layout.outgoing(&third);
    capture(&layout, &outgoing, "third", &[fixture.template]);
    outgoing
}

/// The node ended between the record of an instance that goes on and the place of the snapshot that it stands on.
#[tokio::test]
async fn a_damaged_snapshot_that_a_running_instance_stands_on_wedges_nothing() {
    for file in [NODE_FILE, "state"] {
        for harm in HARMS {
            let case = format!("{file} {harm:?}");
            let fixture = Fixture::new();
            let (layout, third) = (fixture.layout(), name("third"));
            let records = Records::load(layout.clone()).unwrap();
            records.make_directory(&third).unwrap();
            let incoming = layout.incoming(&third);
            capture(&layout, &incoming, "third", &[fixture.template]);
            let info = describe(&incoming, "third", Purpose::Step);
            record::write(&incoming.join(NODE_FILE), &info.record).unwrap();
            let record = MachineRecord {
                // This one runs.
                process: ProcessRecord::of(std::process::id()).unwrap(),
                disks: info.record.disks,
                ..dead(info.id)
            };
            records
                .write_machine(&third, record, Durability::Durable)
                .unwrap();
            harm.inflict(&incoming.join(file));
            let node = fixture.start().await;
            assert_set_aside(&node, "third", file, &case);
            assert_eq!(node.standing(&third).await, Standing::Runs, "{case}");
            // Its disk stands on what is damaged.
            assert!(
                node.machine(&third).unwrap().record().have_disks_diverged,
                "{case}"
            );
            assert!(!incoming.exists(), "{case}");
        }
    }
}

#[tokio::test]
async fn a_damaged_origin_of_a_fork_is_set_aside() {
    for harm in HARMS {
        let case = format!("{harm:?}");
        let fixture = Fixture::new();
        let directory = fixture.layout().machine(&name("waiting"));
        harm.inflict(&directory.join(ORIGIN_FILE));
        let node = fixture.start().await;
        match harm {
            // As a crash before it was written; no fork is launched a second time anyway.
            Harm::Removed => assert_eq!(node.damaged().unwrap(), []),
            _ => assert_set_aside(&node, "waiting", ORIGIN_FILE, &case),
        }
        assert!(!directory.exists(), "{case}");
        assert_sound(&node, "first", &case).await;
        assert_sound(&node, "second", &case).await;
    }
}

#[tokio::test]
async fn a_damaged_list_of_pages_does_not_matter() {
    for harm in HARMS {
        let case = format!("{harm:?}");
        let fixture = Fixture::new();
        harm.inflict(
            &fixture
                .layout()
                .snapshot(fixture.template)
                .join(PREFETCH_FILE),
        );
        let node = fixture.start().await;
        assert_eq!(node.damaged().unwrap(), [], "{case}");
        assert_sound(&node, "first", &case).await;
        assert_sound(&node, "second", &case).await;
    }
}

/// What a damaged layer stood on is kept with it, so that a repaired one is whole.
#[tokio::test]
async fn a_repaired_snapshot_is_moved_back() {
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let home = layout.snapshot(fixture.first);
    let backup = fs::read(home.join(NODE_FILE)).unwrap();
    Harm::Emptied.inflict(&home.join(NODE_FILE));
    let node = fixture.start().await;
    assert!(
        node.snapshot(fixture.step).await.is_err(),
        "nothing needs it"
    );
    let damage = node.damaged().unwrap().remove(0);
    let aside = damage.path.clone();
    assert_eq!(layout.data().join(damage.home().unwrap()), home);
    drop(node);

    fs::write(aside.join(NODE_FILE), backup).unwrap();
    // Under the name that it had there: whoever moves it need not know more.
    let label = aside.file_name().unwrap();
    fs::rename(&aside, layout.snapshots().join(label)).unwrap();
    let node = fixture.start().await;
    assert_eq!(node.damaged().unwrap(), []);
    assert_eq!(node.suspended(&name("first")).unwrap().id, fixture.first);
    assert_eq!(node.suspended(&name("second")).unwrap().id, fixture.second);
    assert!(node.snapshot(fixture.step).await.is_ok());
    assert_sound(&node, "first", "repaired").await;
    assert!(!home.join("chain").exists());
}

/// A crash in the middle of a removal leaves nothing that looks like damage.
#[tokio::test]
async fn a_removal_that_was_cut_in_two_is_no_damage() {
    let fixture = Fixture::new();
    let layout = fixture.layout();
    fs::remove_dir_all(layout.own(&name("dead"))).unwrap();
    let node = fixture.start().await;
    assert_eq!(node.damaged().unwrap(), []);
    assert_eq!(node.names(), []);

    let fixture = Fixture::new();
    let layout = fixture.layout();
    fs::remove_dir_all(layout.own(&name("dead"))).unwrap();
    fs::remove_file(layout.machine(&name("dead")).join(MACHINE_FILE)).unwrap();
    let node = fixture.start().await;
    assert_eq!(node.damaged().unwrap(), []);
    assert_eq!(node.names(), []);
}

/// Where nothing can be set aside, the others still are served.
#[tokio::test]
async fn what_cannot_be_set_aside_stays_and_harms_nobody() {
    let fixture = Fixture::new();
    let layout = fixture.layout();
    fs::write(layout.damaged(), "no directory").unwrap();
    Harm::Emptied.inflict(&layout.snapshot(fixture.first).join(NODE_FILE));
    Harm::Emptied.inflict(&layout.machine(&name("dead")).join(MACHINE_FILE));
    let node = fixture.start().await;
    assert!(layout.snapshot(fixture.first).exists());
    assert!(layout.machine(&name("dead")).exists());
    assert_sound(&node, "second", "no room").await;
}

/// Of every byte of a record, one at a time.
#[test]
fn a_changed_byte_of_a_record_is_noticed_or_changes_nothing() {
    let fixture = Fixture::new();
    let path = fixture.layout().snapshot(fixture.first).join(NODE_FILE);
    let sound: SnapshotRecord = record::read(&path).unwrap().unwrap();
    let text = fs::read(&path).unwrap();
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        if let Ok(Some(read)) = record::read::<SnapshotRecord>(&path) {
            assert_eq!(read, sound, "byte {at}");
        }
    }
}

#[tokio::test]
async fn whoever_only_looks_changes_nothing() {
    let empty = tempfile::tempdir().unwrap();
    let options = |data: &Path| NodeOptions::new(data.join("data"), "hearth-vmm".into());
    let unused = Node::look_at(options(empty.path())).unwrap();
    assert!(unused.names().is_empty() && unused.snapshots().is_empty());

    // Another process is in the middle of a removal.
    let half = unused.layout().snapshots().join("0".repeat(64));
    fs::create_dir(&half).unwrap();
    let looking = Node::look_at(options(empty.path())).unwrap();
    assert!(looking.snapshots().is_empty());
    assert!(half.exists() && looking.damaged().unwrap().is_empty());
}

/// A sound snapshot must not be set aside because the disk was full for a moment.
#[test]
fn want_of_room_is_no_damage() {
    let of = |errno: Errno| failed("take in", Path::new("x"))(errno.into());
    for want in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::MFILE] {
        assert!(!damage::is_damage(&of(want)), "{want:?}");
    }
    for torn in [Errno::NOENT, Errno::IO, Errno::NOTDIR] {
        assert!(damage::is_damage(&of(torn)), "{torn:?}");
    }
}
