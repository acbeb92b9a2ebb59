use std::sync::Arc;
use std::time::Duration;

use super::super::{SqliteStore, schema};
use crate::account::KeyStatus;
use crate::connector::{Connector, ConnectorState};
use crate::id::{AccountId, ConnectorId, EndpointId, MicrovmId, VersionNumber};
use crate::image::MemoryTier;
use crate::life::{Life, Origin, Phase};
use crate::managed_policy::PolicyArn;
use crate::microvm::{Activity, LaunchTerms, Microvm, RunInput};
use crate::store::{Batch, Change, IntentSubject, Store as _, StoreError, Verdict};
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_unix_ms(1);

fn open(directory: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&directory.path().join("control.sqlite")).unwrap()
}

fn microvm() -> Microvm {
    let image: crate::arn::ImageArn = "arn:aws:lambda:us-east-1:000000000000:microvm-image:hello"
        .parse()
        .unwrap();
    Microvm {
        id: MicrovmId::generate(),
        scope: image.scope.clone(),
        image,
        version: VersionNumber::from_major(1).unwrap(),
        endpoint_id: EndpointId::generate(),
        origin: Origin::Version,
        terms: Arc::new(LaunchTerms {
            endpoint: "x.example".to_owned(),
            tier: MemoryTier::Mib512,
            hooks: None,
            execution_role_arn: None,
            idle_policy: None,
            max_duration: Duration::from_secs(60),
            ingress: Vec::new(),
            egress: Vec::new(),
            logging: None,
            run_input: RunInput::default(),
        }),
        started_at: START,
        life: Life::NEW,
        generation: 0,
        activity: Activity::default(),
        terminated_at: None,
    }
}

fn moved(id: MicrovmId, from_generation: u64, phase: Phase) -> Change {
    let life = Life {
        phase,
        wish: None,
        reason: None,
    };
    Change::MoveMicrovm {
        id,
        from_generation,
        life,
        terminated_at: None,
    }
}

#[tokio::test]
async fn a_microvm_moves_only_from_the_generation_that_was_decided_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let added = microvm();
    let id = added.id;
    let add = Batch::new().change(Change::AddMicrovm(added.clone()));
    store.commit(add).await.unwrap();
    assert_eq!(store.microvm(id).await.unwrap(), Some(added));

    let first = Batch::new().change(moved(id, 0, Phase::Running));
    assert_eq!(
        store.commit(first.clone()).await.unwrap(),
        Verdict::Committed
    );
    let running = store.microvm(id).await.unwrap().unwrap();
    assert_eq!(
        (running.generation, running.life.phase),
        (1, Phase::Running)
    );

    // The same move again, one from the future, and one of a microVM that does not exist: none has any effect.
    let other = MicrovmId::generate();
    for (id, from) in [(id, 0), (id, 2), (other, 0)] {
        let late = Batch::new()
            .change(Change::RemoveMicrovm(running.id))
            .change(moved(id, from, Phase::Removing));
        let error = store.commit(late).await.unwrap_err();
        assert!(
            matches!(error, StoreError::MovedElsewhere { id: of, from_generation } if of == id && from_generation == from),
            "{error}"
        );
    }
    assert_eq!(store.microvm(id).await.unwrap(), Some(running));
}

/// Of callers who decided on the same generation exactly one wins.
#[tokio::test]
async fn moves_at_once_have_one_winner() {
    let directory = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(open(&directory));
    let added = microvm();
    let id = added.id;
    store
        .commit(Batch::new().change(Change::AddMicrovm(added)))
        .await
        .unwrap();
    let mut moves = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = std::sync::Arc::clone(&store);
        moves.spawn(async move {
            let batch = Batch::new().change(moved(id, 0, Phase::Running));
            store.commit(batch).await.is_ok()
        });
    }
    let winners = moves.join_all().await.into_iter().filter(|won| *won);
    assert_eq!(winners.count(), 1);
    assert_eq!(store.microvm(id).await.unwrap().unwrap().generation, 1);
}

fn connector() -> Connector {
    Connector {
        id: ConnectorId::generate(),
        scope: microvm().scope,
        name: "office".parse().unwrap(),
        state: ConnectorState::Active,
        reason: None,
        fault: None,
        operator_role: "arn:aws:iam::000000000000:role/x".to_owned(),
        latest_version: 1,
        last_version: 1,
        update_status: None,
        update_reason: None,
        update_fault: None,
        created_at: START,
        updated_at: START,
    }
}

#[tokio::test]
async fn a_change_of_a_record_that_must_exist_fails_the_batch_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let (account, role) = (AccountId::FIRST, "app".parse().unwrap());
    let role: crate::id::RoleName = role;
    let key: crate::id::AccessKeyId = "AKIAAAAAAAAAAAAAAAAA".parse().unwrap();
    let image = microvm().image;
    let version = VersionNumber::from_major(1).unwrap();
    let policy: PolicyArn = "arn:aws:iam::000000000000:policy/p".parse().unwrap();
    let changes = [
        Change::SetActivity(MicrovmId::generate(), Activity::default()),
        Change::RemoveImage(image.clone()),
        Change::RemoveVersion(image, version),
        Change::RemoveConnector(connector()),
        Change::RemoveConnectorVersion(ConnectorId::generate(), 1),
        Change::SetAccessKey(key.clone(), KeyStatus::Disabled),
        Change::RemoveAccessKey(key),
        Change::RemoveRole(account, role.clone()),
        Change::RemoveRolePolicy(account, role.clone(), "logs".to_owned()),
        Change::DetachRolePolicy(account, role, "arn:aws:iam::aws:policy/X".to_owned()),
        Change::RemovePolicy(policy.clone()),
        Change::RemovePolicyVersion(policy, 1),
    ];
    for change in changes {
        let batch = Batch::new()
            .change(Change::AddMicrovm(microvm()))
            .change(change.clone());
        let error = store.commit(batch).await.unwrap_err();
        assert!(
            matches!(error, StoreError::NothingToChange(_)),
            "{change:?}: {error}"
        );
    }
    assert_eq!(store.living_microvms().await.unwrap(), Vec::new());
}

#[tokio::test]
async fn what_is_forgotten_by_age_need_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let subject = IntentSubject::Microvm(MicrovmId::generate());
    let batch = Batch::new()
        .change(Change::RemoveMicrovm(MicrovmId::generate()))
        .change(Change::Conclude(subject, "done".to_owned(), START))
        .change(Change::ForgetIntents(START))
        .change(Change::ForgetTokens(START));
    assert_eq!(store.commit(batch).await.unwrap(), Verdict::Committed);
}

/// The file of the release before generations: its microVMs begin to be counted at 0, and move.
#[tokio::test]
async fn microvms_of_an_older_file_begin_at_generation_0() {
    let directory = tempfile::tempdir().unwrap();
    let added = microvm();
    let id = added.id;
    let store = open(&directory);
    store
        .commit(Batch::new().change(Change::AddMicrovm(added)))
        .await
        .unwrap();
    drop(store);

    let path = directory.path().join("control.sqlite");
    let db = rusqlite::Connection::open(&path).unwrap();
    let before = schema::STEPS
        .iter()
        .position(|step| step.contains("COLUMN generation"))
        .unwrap();
    db.execute_batch(
        "DROP TABLE policy_version; DROP TABLE policy; DROP INDEX role_attachment_policy;
         ALTER TABLE role DROP COLUMN tags;
         DROP INDEX microvm_ended; ALTER TABLE microvm DROP COLUMN generation",
    )
    .unwrap();
    db.pragma_update(None, "user_version", u32::try_from(before).unwrap())
        .unwrap();
    drop(db);

    let store = open(&directory);
    assert_eq!(store.microvm(id).await.unwrap().unwrap().generation, 0);
    let batch = Batch::new().change(moved(id, 0, Phase::Running));
    assert_eq!(store.commit(batch).await.unwrap(), Verdict::Committed);
}
