use super::*;
use crate::arn::ImageArn;
use crate::id::{ConnectorId, MicrovmId};
use crate::life::{Life, Phase};
use crate::store::primitive::{IfNone, Test, Value};

fn image() -> ImageArn {
    "arn:aws:lambda:us-east-1:000000000007:microvm-image:hello"
        .parse()
        .unwrap()
}

#[test]
fn tags_fit_if_the_others_leave_room_for_them() {
    let room = |keys: usize, max| {
        let guard = Guard::TagsFit {
            resource: crate::arn::TaggedArn::Image(image()),
            keys: (0..keys).map(|number| number.to_string()).collect(),
            max,
        };
        match guard.expects().as_slice() {
            [Expect::Fewer(_, room)] => *room,
            other => panic!("{other:?}"),
        }
    };
    // Of at most 50 tags 48 are new: there may be 2 others, which is fewer than 3.
    assert_eq!(room(48, 50), 3);
    assert_eq!(room(50, 50), 1);
    assert_eq!(room(51, 50), 0);
    assert_eq!(room(60, 50), 0);
}

#[test]
fn a_move_expects_its_generation_and_takes_the_next() {
    let id = MicrovmId::generate();
    let change = Change::MoveMicrovm {
        id,
        from_generation: 4,
        life: Life {
            phase: Phase::Running,
            wish: None,
            reason: None,
        },
        terminated_at: None,
    };
    let writes = change.writes().unwrap();
    let [
        Write::Update {
            rows,
            columns,
            if_none: IfNone::Fails,
        },
    ] = writes.as_slice()
    else {
        panic!("{writes:?}");
    };
    assert!(
        rows.tests
            .contains(&("generation", Test::Is(Value::Integer(4))))
    );
    assert!(columns.contains(&("generation", Value::Integer(5))));
    assert!(matches!(
        change.nothing_found(),
        StoreError::MovedElsewhere {
            from_generation: 4,
            ..
        }
    ));
}

/// A connector may be named by what runs and by what may be launched.
#[test]
fn an_unused_connector_is_named_by_nothing() {
    let tables: Vec<_> = Guard::ConnectorUnused(ConnectorId::generate())
        .expects()
        .into_iter()
        .map(|expect| match expect {
            Expect::Absent(rows) => rows.table,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tables, ["microvm", "version"]);
}
