//! Files of releases: today's writer writes the newest one to the byte, and today's reader reads all of them.
//!
//! `goldens/schema-<n>.sql` is a file with schema `n` as SQL text. It holds a row of every kind, and every stored form with
//! all of its members and with as few as it can have. A released file is never changed: a new schema or a new member gets a
//! new file, and the old one stays to be read.

use rusqlite::Connection;

use super::*;
use crate::life::Life;
use crate::microvm::Activity;
use crate::store::Change;

mod records;

use records::{Records, is_of_forks, records};
pub(super) use records::{
    account, at, builds, connector_id, connector_versions, connectors, image_arn, images,
    managed_versions, microvm_id, policy_arn, role, token_key, version_number, versions,
};

pub(super) const NEWEST: &str = include_str!("goldens/schema-6.sql");

/// Files of older schemas, which lack the forks, then what counts as activity, then generations, then an index, then
/// managed policies and tags of roles.
const OLDER: [&str; 5] = [
    include_str!("goldens/schema-1.sql"),
    include_str!("goldens/schema-2.sql"),
    include_str!("goldens/schema-3.sql"),
    include_str!("goldens/schema-4.sql"),
    include_str!("goldens/schema-5.sql"),
];

/// The changes that write records.
fn changes(records: &Records) -> Vec<Change> {
    let role = records.roles[0].name.clone();
    let mut changes: Vec<_> = records
        .accounts
        .iter()
        .cloned()
        .map(Change::AddAccount)
        .collect();
    changes.extend(records.keys.iter().cloned().map(Change::AddAccessKey));
    changes.extend(records.roles.iter().cloned().map(Change::PutRole));
    let policies = records.policies.iter().cloned();
    changes.extend(policies.map(|policy| Change::PutRolePolicy(account(), role.clone(), policy)));
    for found in &records.managed {
        let arn = found.policy.arn.clone();
        changes.push(Change::PutPolicy(found.policy.clone()));
        if arn == policy_arn("kept") {
            let versions = records.managed_versions.iter().cloned();
            changes.extend(versions.map(|version| Change::AddPolicyVersion(arn.clone(), version)));
        }
    }
    let attachments = records.attachments.iter().cloned();
    changes.extend(attachments.map(|arn| Change::AttachRolePolicy(account(), role.clone(), arn)));
    changes.extend(records.images.iter().cloned().map(Change::PutImage));
    let versions = records.versions.iter().cloned();
    changes.extend(versions.map(|version| Change::PutVersion(Box::new(version))));
    changes.extend(records.builds.iter().cloned().map(Change::PutBuild));
    for microvm in &records.microvms {
        changes.push(Change::AddMicrovm(Microvm {
            life: Life::NEW,
            generation: 0,
            terminated_at: None,
            ..microvm.clone()
        }));
        changes.push(Change::MoveMicrovm {
            id: microvm.id,
            from_generation: 0,
            life: microvm.life.clone(),
            terminated_at: microvm.terminated_at,
        });
    }
    changes.extend(records.connectors.iter().cloned().map(Change::PutConnector));
    let versions = records.connector_versions.iter().cloned();
    changes.extend(versions.map(Change::PutConnectorVersion));
    let tagged = TaggedArn::Image(image_arn());
    changes.push(Change::PutTags(tagged, records.tags.clone()));
    let token = records.token.clone();
    changes.extend(token.map(|token| Change::UseToken(token_key(), token)));
    // Of each subject one intent that was replaced, one that is concluded, and one that is open.
    for intent in &records.intents {
        let before = |what: &str| {
            Change::Intend(Intent {
                what: what.to_owned(),
                ..intent.clone()
            })
        };
        changes.push(before("Suspend"));
        changes.push(before("Seal"));
        let done = Change::Conclude(intent.subject.clone(), "Running".to_owned(), at(50));
        changes.push(done);
        changes.push(Change::Intend(intent.clone()));
    }
    changes
}

async fn read(store: &SqliteStore) -> Records {
    let (account, image, scope) = (account(), image_arn(), image_arn().scope);
    let role = "app".parse().unwrap();
    let mut builds = Vec::new();
    for major in [1, 2] {
        let number = version_number(major);
        builds.extend(store.builds(&image, number, None, 9).await.unwrap());
    }
    let every = MicrovmFilter::default();
    let connector = connector_id(1);
    Records {
        accounts: store.accounts().await.unwrap(),
        keys: store.access_keys(account).await.unwrap(),
        roles: store.roles(account, "", None, 9).await.unwrap(),
        policies: store.role_policies(account, &role).await.unwrap(),
        attachments: store.role_attachments(account, &role).await.unwrap(),
        managed: store
            .policies(account, &PolicyFilter::default(), None, 9)
            .await
            .unwrap(),
        managed_versions: store.policy_versions(&policy_arn("kept")).await.unwrap(),
        images: store.images(&scope, None, 9).await.unwrap(),
        versions: store.versions(&image, None, 9).await.unwrap(),
        builds,
        microvms: store.microvms(&scope, &every, None, 99).await.unwrap(),
        connectors: store.connectors(&scope, None, None, 9).await.unwrap(),
        connector_versions: store
            .connector_versions(connector, None, None, 9)
            .await
            .unwrap(),
        tags: store.tags(&TaggedArn::Image(image)).await.unwrap(),
        token: store.token(&token_key()).await.unwrap(),
        intents: store.open_intents().await.unwrap(),
    }
}

fn path(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("control.db")
}

pub(super) fn text(directory: &tempfile::TempDir) -> String {
    let db = Connection::open(path(directory)).unwrap();
    hearth_sqlite::dump(&db).unwrap()
}

/// Makes a file of a text and opens it.
pub(super) fn open(directory: &tempfile::TempDir, text: &str) -> SqliteStore {
    let db = Connection::open(path(directory)).unwrap();
    db.execute_batch(text).unwrap();
    drop(db);
    SqliteStore::open(&path(directory)).unwrap()
}

#[tokio::test]
async fn todays_writer_writes_the_newest_file_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&path(&directory)).unwrap();
    let changes = changes(&records());
    let batch = changes.into_iter().fold(Batch::new(), Batch::change);
    assert_eq!(store.commit(batch).await.unwrap(), Verdict::Committed);
    drop(store);
    assert_same(&text(&directory), NEWEST);
}

/// Line by line, so that a difference can be read.
pub(super) fn assert_same(text: &str, golden: &str) {
    for (line, golden) in text.lines().zip(golden.lines()) {
        assert_eq!(line, golden);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

/// A file of the current release is read whole and opened without any change to it.
#[tokio::test]
async fn todays_reader_reads_the_newest_file_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, NEWEST);
    assert_eq!(read(&store).await, records());
    drop(store);
    assert_same(&text(&directory), NEWEST);
}

#[tokio::test]
async fn todays_reader_reads_files_of_older_releases() {
    for (schema, text) in (1..).zip(OLDER) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory, text);
        let mut expected = records();
        if schema < 6 {
            expected.managed.clear();
            expected.managed_versions.clear();
            expected
                .attachments
                .retain(|arn| arn.contains(":aws:policy"));
            expected.roles.iter_mut().for_each(|role| role.tags.clear());
        }
        if schema < 2 {
            let microvms = &mut expected.microvms;
            microvms.retain(|microvm| !is_of_forks(microvm.life.phase));
        }
        for microvm in &mut expected.microvms {
            if schema < 4 {
                microvm.generation = 0;
            }
            if schema < 3 {
                microvm.activity = Activity::default();
            }
        }
        assert_eq!(read(&store).await, expected, "schema {schema}");
    }
}
