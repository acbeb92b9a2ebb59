use proptest::prelude::*;

use super::*;
use crate::connector::ConnectorState;
use crate::image::BuildState;
use crate::machine::{build, connector};

fn number(major: u32) -> VersionNumber {
    VersionNumber::from_major(major).unwrap()
}

fn walk(events: &[Event]) -> Life {
    let mut life = Life::new();
    for event in events {
        match step(&life, *event) {
            Transition::Moved(next) => life = next,
            other => panic!("{event:?} in {life:?}: {other:?}"),
        }
    }
    life
}

#[test]
fn versions_count_up_and_failures_use_a_number() {
    let mut events = vec![Event::Began, Event::Built];
    assert_eq!(walk(&events).state, ImageState::Created);
    events.extend([Event::Update, Event::Began, Event::BuildFailed]);
    let life = walk(&events);
    assert_eq!(life.state, ImageState::UpdateFailed);
    assert_eq!(
        (life.latest_active(), life.latest_failed()),
        (Some(number(1)), Some(number(2)))
    );
    events.extend([Event::Update, Event::Began, Event::Built]);
    let life = walk(&events);
    assert_eq!(
        (life.state, life.latest_active()),
        (ImageState::Updated, Some(number(3)))
    );
}

#[test]
fn switching_a_version_off_makes_the_one_before_the_latest() {
    let two = [
        Event::Began,
        Event::Built,
        Event::Update,
        Event::Began,
        Event::Built,
    ];
    let off = [
        &two[..],
        &[Event::SetStatus(number(2), VersionStatus::Inactive)],
    ]
    .concat();
    assert_eq!(walk(&off).latest_active(), Some(number(1)));
    let gone = [
        &off[..],
        &[Event::DeleteVersion(number(1)), Event::VersionFreed],
    ]
    .concat();
    let life = walk(&gone);
    assert_eq!(
        (life.state, life.latest_active()),
        (ImageState::Updated, None)
    );
    assert_eq!(
        step(&life, Event::DeleteVersion(number(2))),
        Transition::Refused(Denial::LastVersion)
    );
}

#[test]
fn a_busy_image_takes_no_change() {
    let life = Life::new();
    assert_eq!(
        step(&life, Event::Update),
        Transition::Refused(Denial::Busy)
    );
    assert_eq!(
        step(&life, Event::Delete),
        Transition::Refused(Denial::NotDeletable)
    );
    let status = Event::SetStatus(number(1), VersionStatus::Inactive);
    assert_eq!(step(&life, status), Transition::Refused(Denial::Busy));
    assert_eq!(
        step(&life, Event::DeleteVersion(number(9))),
        Transition::Refused(Denial::NoVersion)
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    let version = || (1_u32..5).prop_map(number);
    prop_oneof![
        Just(Event::Update),
        Just(Event::Began),
        Just(Event::Built),
        Just(Event::BuildFailed),
        (version(), any::<bool>()).prop_map(|(number, on)| {
            Event::SetStatus(
                number,
                if on {
                    VersionStatus::Active
                } else {
                    VersionStatus::Inactive
                },
            )
        }),
        version().prop_map(Event::DeleteVersion),
        Just(Event::VersionFreed),
        Just(Event::VersionNotFreed),
        Just(Event::Delete),
        Just(Event::DeleteFailed),
    ]
}

proptest! {
    #[test]
    fn an_image_is_busy_exactly_while_something_is_under_way(
        events in prop::collection::vec(any_event(), 0..80)
    ) {
        let mut life = Life::new();
        for event in events {
            let before = life.clone();
            if let Transition::Moved(next) = step(&life, event) {
                life = next;
            }
            prop_assert_eq!(life.state.is_transient(), operation(&life).is_some());
            prop_assert!(life.last >= before.last, "numbers are never used again");
            prop_assert!(!life.versions.is_empty());
            let unsettled = |version: &&Version| matches!(
                version.state,
                VersionState::Pending | VersionState::InProgress | VersionState::Deleting
            );
            prop_assert!(life.versions.values().filter(unsettled).count() <= 1);
            if let Some(active) = life.latest_active() {
                prop_assert!(life.versions[&active].is_launchable());
            }
        }
    }

    #[test]
    fn builds_end_after_a_bounded_number_of_attempts(
        events in prop::collection::vec(prop_oneof![
            Just(build::Event::Begin { max_attempts: 2 }),
            Just(build::Event::Built),
            Just(build::Event::Failed),
        ], 0..20)
    ) {
        let mut progress = build::Progress::NEW;
        for event in events {
            let before = progress;
            if let Some(next) = progress.step(event) {
                progress = next;
            }
            prop_assert!(progress.attempts <= 2);
            let ended = matches!(before.state, BuildState::Successful | BuildState::Failed);
            prop_assert!(!ended || progress == before);
        }
    }

    #[test]
    fn connectors_keep_a_version_in_force(
        events in prop::collection::vec(prop::sample::select(vec![
            connector::Event::Accepted,
            connector::Event::Rejected,
            connector::Event::Update,
            connector::Event::UpdateToSame,
            connector::Event::Delete,
        ]), 0..40)
    ) {
        let mut standing = connector::Standing::NEW;
        for event in events {
            let before = standing;
            if let Some(next) = standing.step(event) {
                standing = next;
            }
            prop_assert!(standing.latest <= standing.last);
            prop_assert!(before.state != ConnectorState::Deleting || standing == before);
            prop_assert!(standing.state == ConnectorState::Active || standing.last == before.last);
        }
    }
}
