use super::*;

const STEPS: &[&str] = &[
    "CREATE TABLE word (text TEXT PRIMARY KEY); INSERT INTO word VALUES ('first')",
    "ALTER TABLE word ADD COLUMN length INTEGER NOT NULL DEFAULT 5",
];

fn database() -> Connection {
    Connection::open_in_memory().unwrap()
}

fn version(db: &Connection) -> i64 {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

#[test]
fn a_file_goes_through_the_steps_that_it_lacks() {
    let mut db = database();
    migrate(&mut db, &STEPS[..1]).unwrap();
    assert_eq!(version(&db), 1);
    migrate(&mut db, STEPS).unwrap();
    migrate(&mut db, STEPS).unwrap();
    assert_eq!(version(&db), 2);
    let lengths: Vec<i64> = db
        .prepare("SELECT length FROM word")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lengths, [5]);
}

#[test]
fn a_file_of_a_newer_release_is_refused_untouched() {
    for found in [3, -1] {
        let mut db = database();
        db.pragma_update(None, "user_version", found).unwrap();
        let refused = migrate(&mut db, STEPS);
        assert!(
            matches!(refused, Err(Error::Newer { found: of, known: 2 }) if of == found),
            "{refused:?}"
        );
        assert_eq!(version(&db), found);
        assert!(db.prepare("SELECT * FROM word").is_err());
    }
}

#[test]
fn a_step_that_fails_leaves_the_file_at_the_step_before() {
    let mut db = database();
    let broken = [
        STEPS[0],
        "DROP TABLE word; INSERT INTO missing VALUES (1)",
        STEPS[1],
    ];
    assert!(matches!(migrate(&mut db, &broken), Err(Error::Sqlite(_))));
    assert_eq!(version(&db), 1);
    assert!(db.prepare("SELECT text FROM word").is_ok());
    migrate(&mut db, STEPS).unwrap();
}
