use proptest::prelude::*;

use super::*;
use crate::record::ProcessRecord;

fn id(number: u8) -> SnapshotId {
    SnapshotId([number; 32])
}

fn name(number: u8) -> MachineName {
    format!("m{number}").parse().unwrap()
}

fn snapshot(number: u8, of: u8, purpose: Purpose, ancestors: &[u8]) -> SnapshotInfo {
    SnapshotInfo {
        id: id(number),
        ancestors: ancestors.iter().map(|number| id(*number)).collect(),
        record: SnapshotRecord {
            memory_mib: 1,
            vcpus: 1,
            disks: Vec::new(),
            egress: None,
            has_application: false,
            purpose,
            machine: name(of).to_string(),
            created_at: 0,
            shape: None,
        },
    }
}

fn running_on(parent: u8) -> InstanceEntry {
    let record = MachineRecord {
        process: ProcessRecord {
            pid: 1,
            start_ticks: 1,
        },
        user: None,
        memory_mib: 1,
        vcpus: 1,
        disks: Vec::new(),
        parent: Some(id(parent).to_string()),
        network: None,
        has_application: true,
        pending: None,
        folds: Vec::new(),
        overlay_generation: 0,
        have_disks_diverged: false,
    };
    InstanceEntry {
        record: Some(Arc::new(record)),
        origin: None,
    }
}

#[test]
fn a_step_is_idle_once_its_last_user_is_gone() {
    let mut index = Index::default();
    index.put_snapshot(snapshot(1, 1, Purpose::Template, &[]));
    index.put_snapshot(snapshot(2, 1, Purpose::Step, &[1]));
    assert_eq!(index.idle_steps(), [id(2)]);
    index.put_instance(name(1), running_on(2));
    index.put_snapshot(snapshot(3, 1, Purpose::Suspended, &[2, 1]));
    assert_eq!(index.idle_steps(), []);
    index.remove_instance(&name(1));
    assert_eq!(index.idle_steps(), [], "the layer above needs it");
    assert_eq!(
        index.begin_removal(id(2)).unwrap_err(),
        User::Snapshot(id(3))
    );
    let removed = index.begin_removal(id(3)).unwrap().unwrap();
    assert!(index.suspended("m1").is_none());
    assert_eq!(index.idle_steps(), [], "until its files are gone");
    index.finish_removal(&removed);
    assert_eq!(index.idle_steps(), [id(2)]);
}

#[test]
fn a_suspended_instance_is_found_by_its_name_until_it_goes_on() {
    let mut index = Index::default();
    index.put_snapshot(snapshot(2, 7, Purpose::Suspended, &[1]));
    assert_eq!(index.suspended("m7").unwrap().id, id(2));
    index.put_instance(name(7), running_on(2));
    index.put_snapshot(snapshot(2, 7, Purpose::Step, &[1]));
    assert!(index.suspended("m7").is_none());
    assert_eq!(
        index.begin_removal(id(2)).unwrap_err(),
        User::Instance(name(7))
    );
}

#[test]
fn a_later_suspend_is_the_one_that_is_found() {
    let mut index = Index::default();
    index.put_snapshot(snapshot(2, 7, Purpose::Suspended, &[1]));
    index.put_snapshot(snapshot(3, 7, Purpose::Suspended, &[2, 1]));
    assert_eq!(index.suspended("m7").unwrap().id, id(3));
    index.put_snapshot(snapshot(2, 7, Purpose::Step, &[1]));
    assert_eq!(index.suspended("m7").unwrap().id, id(3));
}

#[test]
fn a_pinned_snapshot_is_not_removed() {
    let mut index = Index::default();
    index.put_snapshot(snapshot(1, 1, Purpose::Step, &[]));
    index.pin(id(1));
    assert_eq!(index.begin_removal(id(1)).unwrap_err(), User::Operation);
    assert_eq!(index.idle_steps(), []);
    index.unpin(id(1));
    assert_eq!(index.idle_steps(), [id(1)]);
}

#[test]
fn a_removal_that_failed_changes_nothing() {
    let mut index = Index::default();
    index.put_snapshot(snapshot(1, 1, Purpose::Step, &[]));
    index.put_snapshot(snapshot(2, 1, Purpose::Suspended, &[1]));
    let removed = index.begin_removal(id(2)).unwrap().unwrap();
    index.undo_removal(&removed);
    assert_eq!(index.suspended("m1").unwrap().id, id(2));
    assert_eq!(
        index.begin_removal(id(1)).unwrap_err(),
        User::Snapshot(id(2))
    );
}

#[derive(Debug, Clone)]
enum Move {
    Put(u8, u8, Purpose, Vec<u8>),
    Remove(u8),
    Run(u8, u8),
    End(u8),
    Pin(u8),
    Unpin(u8),
}

fn any_move() -> impl Strategy<Value = Move> {
    let number = 0..6_u8;
    let purpose = prop_oneof![
        Just(Purpose::Template),
        Just(Purpose::Suspended),
        Just(Purpose::Step)
    ];
    prop_oneof![
        (
            number.clone(),
            number.clone(),
            purpose,
            proptest::collection::vec(number.clone(), 0..3)
        )
            .prop_map(|(id, of, purpose, on)| Move::Put(id, of, purpose, on)),
        number.clone().prop_map(Move::Remove),
        (number.clone(), number.clone()).prop_map(|(name, on)| Move::Run(name, on)),
        number.clone().prop_map(Move::End),
        number.clone().prop_map(Move::Pin),
        number.prop_map(Move::Unpin),
    ]
}

proptest! {
    /// Against a count that looks at everything each time.
    #[test]
    fn counts_agree_with_a_look_at_everything(moves in proptest::collection::vec(any_move(), 0..60)) {
        let mut index = Index::default();
        let mut pins: Vec<u8> = Vec::new();
        for one in moves {
            match one {
                Move::Put(number, of, purpose, on) => {
                    index.put_snapshot(snapshot(number, of, purpose, &on));
                }
                Move::Remove(number) => {
                    if let Ok(Some(info)) = index.begin_removal(id(number)) {
                        index.finish_removal(&info);
                    }
                }
                Move::Run(number, on) => index.put_instance(name(number), running_on(on)),
                Move::End(number) => index.remove_instance(&name(number)),
                Move::Pin(number) => {
                    index.pin(id(number));
                    pins.push(number);
                }
                Move::Unpin(number) => {
                    if let Some(place) = pins.iter().position(|pin| *pin == number) {
                        pins.remove(place);
                        index.unpin(id(number));
                    }
                }
            }
            for number in 0..6 {
                let by_instances = index.instances.values().filter(|entry| entry.uses().contains(&id(number)));
                let by_snapshots = index.snapshots.values().filter(|info| info.needs().contains(&id(number)));
                let by_pins = pins.iter().filter(|pin| **pin == number);
                let users = by_instances.count() + by_snapshots.count() + by_pins.count();
                prop_assert_eq!(index.users.get(&id(number)).copied().unwrap_or(0), users);
                let is_step = index.snapshot(id(number)).is_some_and(|info| info.record.purpose == Purpose::Step);
                prop_assert_eq!(index.idle.contains(&id(number)), is_step && users == 0);
            }
        }
    }
}
