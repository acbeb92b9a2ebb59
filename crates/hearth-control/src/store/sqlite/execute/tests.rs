use super::*;
use crate::arn::ImageArn;
use crate::id::{AccountId, MicrovmId};
use crate::store::sqlite::read_microvms::TERMINATED_BEYOND;
use crate::store::sqlite::schema;
use crate::store::{Change, Guard, IntentSubject};
use crate::time::Timestamp;

fn database() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    for step in schema::STEPS {
        db.execute_batch(step).unwrap();
    }
    db
}

fn plan(db: &Connection, statement: &Statement<'_>) -> String {
    let mut query = db
        .prepare(&format!("EXPLAIN QUERY PLAN {}", statement.text))
        .unwrap();
    let values = params_from_iter(&statement.values);
    let steps = query.query_map(values, |row| row.get(3)).unwrap();
    let steps: Vec<String> = steps.map(|step| step.unwrap()).collect();
    steps.join("; ")
}

/// Quotas are checked and old rows are forgotten by an index: a store with a long history is not read through.
#[test]
fn guards_and_changes_follow_an_index() {
    let db = database();
    let image: ImageArn = "arn:aws:lambda:us-east-1:000000000007:microvm-image:hello"
        .parse()
        .unwrap();
    let scope = image.scope.clone();
    let guards = [
        (Guard::OpenBuildsBelow(scope.clone(), 1), "build_open"),
        (Guard::NoLivingMicrovms(image, None), "microvm_living"),
        (
            Guard::AccessKeysBelow(AccountId::FIRST, 2),
            "access_key_account",
        ),
        (Guard::ConnectorsBelow(scope, 1), "connector_list"),
    ];
    for (guard, index) in guards {
        for expect in guard.expects() {
            let rows = match &expect {
                Expect::Present(rows) | Expect::Absent(rows) => rows,
                Expect::Fewer(tables, _) => &tables[0],
            };
            let text = format!("SELECT count(*) FROM {}", rows.table);
            let plan = plan(&db, &Statement::of_rows(&text, rows));
            assert!(plan.contains(index), "{guard:?}: {plan}");
        }
    }
    let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {TERMINATED_BEYOND}"));
    let query = query.as_mut().unwrap();
    let steps = query.query_map(("000000000007", 1, 1), |row| row.get::<_, String>(3));
    let steps: Vec<_> = steps.unwrap().map(|step| step.unwrap()).collect();
    assert!(
        steps.len() == 1 && steps[0].contains("microvm_ended"),
        "{steps:?}"
    );
    let now = Timestamp::from_unix_ms(1);
    let subject = IntentSubject::Microvm(MicrovmId::generate());
    let changes = [
        (Change::ForgetTokens(now), "client_token_age"),
        (Change::ForgetIntents(now), "journal_age"),
        (
            Change::Conclude(subject, "done".to_owned(), now),
            "journal_open",
        ),
    ];
    for (change, index) in changes {
        for write in change.writes().unwrap() {
            let plan = plan(&db, &statement(&write));
            assert!(plan.contains(index), "{change:?}: {plan}");
        }
    }
}
