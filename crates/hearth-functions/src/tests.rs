//! Tests of the store as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use rawzip::ZipArchiveWriter;
use rawzip::path::EntryPath;

use super::*;

struct Place {
    functions: Functions,
    directory: tempfile::TempDir,
}

fn place() -> Place {
    place_within(FunctionLimits::default())
}

fn place_within(limits: FunctionLimits) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let functions = Functions::open_unsettled(directory.path(), limits).unwrap();
    Place {
        functions,
        directory,
    }
}

fn owner() -> Owner {
    Owner {
        account: "000000000001".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

fn zip(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = ZipArchiveWriter::new(Vec::new());
    let (entry, config) = zip
        .new_file(EntryPath::verbatim(b"index.py"))
        .start()
        .unwrap();
    let mut writer = config.wrap(entry);
    writer.write_all(content).unwrap();
    let (entry, descriptor) = writer.finish().unwrap();
    entry.finish(descriptor).unwrap();
    zip.finish().unwrap()
}

fn configuration() -> Configuration {
    Configuration {
        runtime: "python3.13".to_owned(),
        handler: "index.handler".to_owned(),
        role: "arn:aws:iam::000000000001:role/r".to_owned(),
        description: String::new(),
        timeout_s: 3,
        memory_mb: 128,
        ephemeral_storage_mb: 512,
        architectures: vec!["x86_64".to_owned()],
        environment: None,
        layers: Vec::new(),
        logging: Logging {
            format: LogFormat::Text,
            application_level: None,
            system_level: None,
            group: "/aws/lambda/f".to_owned(),
        },
        tracing: TracingMode::PassThrough,
        is_tenant_isolated: false,
    }
}

impl Place {
    fn code(&self, content: &[u8]) -> NewCode {
        let limit = self.functions.limits().zipped_bytes;
        self.functions
            .receive(&mut zip(content).as_slice(), limit)
            .unwrap()
    }

    fn create_with(
        &self,
        name: &str,
        layers: Vec<LayerArn>,
    ) -> Result<FunctionVersion, FunctionError> {
        let new = NewFunction {
            name: name.to_owned(),
            configuration: configuration(),
            layers,
            code: self.code(b"one"),
            tags: BTreeMap::new(),
            is_published: false,
        };
        self.functions.create(&owner(), new, 1)
    }

    fn create(&self, name: &str) -> FunctionVersion {
        let created = self.create_with(name, Vec::new()).unwrap();
        self.functions.settle().unwrap();
        created
    }

    fn latest(&self, name: &str) -> FunctionVersion {
        self.functions.version(&owner(), name, None).unwrap()
    }

    fn publish(&self, name: &str) -> FunctionVersion {
        self.functions
            .publish(&owner(), name, Publication::default())
            .unwrap()
    }

    fn update(&self, name: &str, content: &[u8]) -> Result<FunctionVersion, FunctionError> {
        let update = CodeUpdate {
            code: self.code(content),
            architectures: None,
            revision_id: None,
            is_published: false,
            is_dry_run: false,
        };
        self.functions.update_code(&owner(), name, update, 2)
    }

    fn describe(&self, name: &str, text: &'static str) -> Result<FunctionVersion, FunctionError> {
        let update = ConfigurationUpdate {
            change: Arc::new(move |configuration| {
                text.clone_into(&mut configuration.description);
                Ok(())
            }),
            layers: None,
            revision_id: None,
        };
        self.functions
            .update_configuration(&owner(), name, update, 3)
    }

    fn layer(&self, content: &[u8]) -> LayerVersion {
        let new = NewLayerVersion {
            name: "l".to_owned(),
            description: String::new(),
            license: None,
            runtimes: None,
            architectures: None,
            code: self.code(content),
        };
        self.functions.publish_layer(&owner(), new, 1).unwrap()
    }

    /// The zips that lie in the directory.
    fn zips(&self) -> usize {
        let spreads = std::fs::read_dir(self.directory.path().join("code")).unwrap();
        let count = |spread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_dir(spread.unwrap().path()).unwrap().count()
        };
        spreads.map(count).sum()
    }
}

#[test]
fn states_settle_with_new_revisions() {
    let place = place();
    let created = place.create_with("f", Vec::new()).unwrap();
    assert_eq!(
        (created.state, created.update_status),
        (State::Pending, None)
    );
    assert!(matches!(
        place.update("f", b"two"),
        Err(FunctionError::Pending(_))
    ));
    place.functions.settle().unwrap();
    let active = place.latest("f");
    let successful = Some(UpdateStatus::Successful);
    assert_eq!(
        (active.state, active.update_status),
        (State::Active, successful)
    );
    assert_ne!(active.revision_id, created.revision_id);

    let updated = place.update("f", b"two").unwrap();
    let in_progress = Some(UpdateStatus::InProgress);
    assert_eq!(
        (updated.state, updated.update_status),
        (State::Active, in_progress)
    );
    assert!(matches!(
        place.describe("f", "x"),
        Err(FunctionError::UpdateInProgress(_))
    ));
    place.functions.settle().unwrap();
    assert_eq!(place.latest("f").update_status, successful);
    assert!(matches!(
        place.create_with("f", Vec::new()),
        Err(FunctionError::FunctionExists(_))
    ));
}

#[test]
fn a_thread_settles_and_goes_on_after_a_restart() {
    let place = place();
    place.create_with("f", Vec::new()).unwrap();
    let Place {
        functions,
        directory,
    } = place;
    drop(functions);
    let functions = Functions::open(directory.path(), FunctionLimits::default()).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while functions.version(&owner(), "f", None).unwrap().state == State::Pending {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn versions_keep_what_they_were_and_numbers_are_never_given_again() {
    let place = place();
    place.create("f");
    let first = place.publish("f");
    assert_eq!(first.version, VersionId::Number(1));
    assert_eq!(place.publish("f").revision_id, first.revision_id);
    place.describe("f", "changed").unwrap();
    place.functions.settle().unwrap();
    assert_eq!(place.publish("f").version, VersionId::Number(2));
    place.update("f", b"two").unwrap();
    place.functions.settle().unwrap();
    assert_eq!(place.publish("f").version, VersionId::Number(3));

    let versions = place.functions.versions(&owner(), "f", 0, 50).unwrap();
    let descriptions: Vec<_> = versions
        .iter()
        .map(|version| {
            (
                version.version.to_string(),
                version.configuration.description.as_str(),
            )
        })
        .collect();
    let wanted = [
        ("$LATEST", "changed"),
        ("1", ""),
        ("2", "changed"),
        ("3", "changed"),
    ];
    assert_eq!(
        descriptions,
        wanted.map(|(version, text)| (version.to_owned(), text))
    );
    assert_eq!(versions[1].code_sha256, first.code_sha256);
    assert_ne!(versions[0].code_sha256, first.code_sha256);

    place.functions.delete(&owner(), "f", None).unwrap();
    place.create("f");
    assert_eq!(place.publish("f").version, VersionId::Number(4));
}

#[test]
fn a_description_of_a_publication_is_no_change() {
    let place = place();
    place.create("f");
    let publication = Publication {
        description: Some("first".to_owned()),
        ..Publication::default()
    };
    let published = place.functions.publish(&owner(), "f", publication).unwrap();
    assert_eq!(published.configuration.description, "first");
    assert_eq!(place.latest("f").configuration.description, "");
    assert_eq!(place.publish("f").version, VersionId::Number(1));
}

#[test]
fn an_alias_divides_between_two_versions() {
    let place = place();
    place.create("f");
    place.publish("f");
    place.update("f", b"two").unwrap();
    place.functions.settle().unwrap();
    place.publish("f");
    let routing = |number, weight| Routing {
        version: VersionId::Number(number),
        weight,
    };
    let alias = |routing| NewAlias {
        name: "live".to_owned(),
        version: VersionId::Number(1),
        routing,
        description: String::new(),
    };
    let create = |new| place.functions.create_alias(&owner(), "f", new);
    assert!(matches!(
        create(alias(Some(routing(1, 0.5)))),
        Err(FunctionError::VersionTwice(_))
    ));
    assert!(matches!(
        create(alias(Some(routing(9, 0.5)))),
        Err(FunctionError::NoFunction(_))
    ));
    create(alias(Some(routing(2, 0.25)))).unwrap();
    assert!(matches!(
        create(alias(None)),
        Err(FunctionError::AliasExists(_))
    ));

    let live = Qualifier::Alias("live".to_owned());
    let chosen = |chance| {
        let resolved = place.functions.resolve(&owner(), "f", Some(&live), chance);
        resolved.unwrap().version
    };
    assert_eq!(chosen(0.0), VersionId::Number(2));
    assert_eq!(chosen(0.249), VersionId::Number(2));
    assert_eq!(chosen(0.25), VersionId::Number(1));
    let delete = |number| {
        let version = Qualifier::Version(VersionId::Number(number));
        place.functions.delete(&owner(), "f", Some(&version))
    };
    assert!(matches!(delete(2), Err(FunctionError::VersionInUse(_))));
    assert!(delete(7).is_ok());
}

#[test]
fn what_is_resolved_names_files_that_are_there() {
    let place = place();
    let layer = place.layer(b"layer");
    place.create_with("f", vec![layer.arn.clone()]).unwrap();
    place.functions.delete_layer_version(&layer.arn).unwrap();
    let resolved = place.functions.resolve(&owner(), "f", None, 0.0).unwrap();
    assert_eq!(std::fs::read(&resolved.code.path).unwrap(), zip(b"one"));
    assert_eq!(
        std::fs::read(&resolved.layers[0].path).unwrap(),
        zip(b"layer")
    );
    assert_eq!(resolved.invoked_arn, resolved.function_arn);
    assert!(matches!(
        place.create_with("g", vec![layer.arn.clone()]),
        Err(FunctionError::NoLayerVersion(_))
    ));
    // Numbers of layers are never given again.
    assert_eq!(place.layer(b"layer").arn.version, 2);

    let missing = place.functions.resolve(&owner(), "nobody", None, 0.0);
    let Err(FunctionError::NoFunction(arn)) = missing else {
        panic!("resolved");
    };
    assert!(arn.ends_with(":function:nobody:$LATEST"), "{arn}");
}

#[test]
fn zips_go_with_their_last_record() {
    let place = place();
    place.create("f");
    place.create("g");
    assert_eq!(place.zips(), 1);
    place.update("f", b"two").unwrap();
    place.functions.settle().unwrap();
    assert_eq!(place.zips(), 2);
    place.functions.delete(&owner(), "g", None).unwrap();
    assert_eq!(place.zips(), 1);
    assert_eq!(
        place.functions.account_usage(&owner()).unwrap().functions,
        1
    );
    drop(place.code(b"three"));
    assert_eq!(place.zips(), 2);
    // What a crash left behind goes at the next start.
    drop(Functions::open_unsettled(place.directory.path(), FunctionLimits::default()).unwrap());
    assert_eq!(place.zips(), 1);
}

#[test]
fn bad_zips_are_refused_and_leave_nothing() {
    let limits = FunctionLimits {
        unzipped_bytes: 1000,
        ..FunctionLimits::default()
    };
    let place = place_within(limits);
    let receive = |bytes: &[u8], limit| place.functions.receive(&mut &*bytes, limit);
    assert!(matches!(
        receive(b"no zip", 100),
        Err(CodeError::Refused(_))
    ));
    let empty = ZipArchiveWriter::new(Vec::new()).finish().unwrap();
    assert!(matches!(receive(&empty, 100), Err(CodeError::Empty)));
    assert!(matches!(receive(&zip(&[1; 999]), 9999), Ok(NewCode { .. })));
    assert!(matches!(
        receive(&zip(&[1; 1000]), 9999),
        Err(CodeError::UnzippedTooLarge(1000))
    ));
    assert!(matches!(
        receive(&zip(&[1; 200]), 100),
        Err(CodeError::ZippedTooLarge(100))
    ));
    let mut damaged = zip(b"content of a file");
    let place_of_content = damaged.windows(7).position(|part| part == b"content");
    damaged[place_of_content.unwrap()] = b'C';
    assert!(matches!(receive(&damaged, 999), Err(CodeError::Refused(_))));
    assert_eq!(place.zips(), 1);
}

#[test]
fn layers_count_for_the_unzipped_size() {
    let limits = FunctionLimits {
        unzipped_bytes: 1000,
        ..FunctionLimits::default()
    };
    let place = place_within(limits);
    let layer = place.layer(&[1; 998]);
    let refused = place.create_with("f", vec![layer.arn.clone()]);
    assert!(matches!(
        refused,
        Err(FunctionError::UnzippedTooLarge(1000))
    ));
    let twice = place.create_with("f", vec![layer.arn.clone(), layer.arn]);
    assert!(matches!(twice, Err(FunctionError::SameLayer(..))));
}

#[test]
fn the_code_of_an_account_is_bounded() {
    let bytes = zip(b"one").len() as u64;
    let limits = FunctionLimits {
        code_storage_bytes: 2 * bytes,
        ..FunctionLimits::default()
    };
    let place = place_within(limits);
    place.create("f");
    place.publish("f");
    assert_eq!(
        place.functions.account_usage(&owner()).unwrap().code_bytes,
        2 * bytes
    );
    assert!(matches!(
        place.create_with("g", Vec::new()),
        Err(FunctionError::CodeStorageExceeded)
    ));
    // The same code in place of itself takes nothing.
    place.update("f", b"two").unwrap();
}

#[test]
fn a_hundred_executions_stay_unreserved() {
    let place = place();
    place.create("f");
    place.create("g");
    let reserve = |name, executions| {
        place
            .functions
            .reserve_concurrency(&owner(), name, executions)
    };
    assert!(matches!(
        reserve("f", 901),
        Err(FunctionError::ReservesTooMuch)
    ));
    assert_eq!(reserve("f", 900).unwrap(), 900);
    assert!(matches!(
        reserve("g", 1),
        Err(FunctionError::ReservesTooMuch)
    ));
    assert_eq!(reserve("f", 10).unwrap(), 10);
    assert_eq!(reserve("g", 890).unwrap(), 890);
    place.functions.release_concurrency(&owner(), "g").unwrap();
    let settings = place.functions.function_settings(&owner(), "g").unwrap();
    assert_eq!(settings.reserved, None);
}

#[test]
fn policies_are_of_one_qualifier_each() {
    let place = place();
    place.create("f");
    place.publish("f");
    let one = Qualifier::Version(VersionId::Number(1));
    let statement = |sid: &str| Statement {
        sid: sid.to_owned(),
        document: "{}".to_owned(),
        accounts: Vec::new(),
    };
    let add = |qualifier: Option<&Qualifier>, sid, revision: Option<String>| {
        place
            .functions
            .add_permission(&owner(), "f", qualifier, statement(sid), revision)
    };
    add(None, "a", None).unwrap();
    assert!(matches!(
        add(None, "a", None),
        Err(FunctionError::StatementExists(_))
    ));
    let policy = |qualifier| place.functions.policy(&owner(), "f", qualifier);
    assert!(matches!(policy(Some(&one)), Err(FunctionError::NoPolicy)));
    add(Some(&one), "a", None).unwrap();
    let revision = policy(None).unwrap().revision_id;
    add(None, "b", Some(revision.clone())).unwrap();
    assert!(matches!(
        add(None, "c", Some(revision)),
        Err(FunctionError::StaleRevision)
    ));
    let remove = |sid| {
        place
            .functions
            .remove_permission(&owner(), "f", None, sid, None)
    };
    remove("a").unwrap();
    assert!(matches!(remove("a"), Err(FunctionError::NoStatement(_))));
    remove("b").unwrap();
    assert!(matches!(policy(None), Err(FunctionError::NoPolicy)));
    assert!(policy(Some(&one)).is_ok());
}

#[test]
fn a_layer_is_used_by_those_whom_its_policy_lets() {
    let place = place();
    let layer = place.layer(b"layer");
    let other = Owner {
        account: "000000000002".to_owned(),
        ..owner()
    };
    let read = || place.functions.layer_version(&other, &layer.arn);
    assert!(matches!(read(), Err(FunctionError::LayerDenied(_))));
    let statement = Statement {
        sid: "s".to_owned(),
        document: "{}".to_owned(),
        accounts: vec![other.account.clone()],
    };
    let added = place
        .functions
        .add_layer_permission(&owner(), "l", 1, statement, None);
    added.unwrap();
    assert_eq!(read().unwrap().code, layer.code);
    let removed = place
        .functions
        .remove_layer_permission(&owner(), "l", 1, "s", None);
    removed.unwrap();
    assert!(matches!(read(), Err(FunctionError::LayerDenied(_))));
}

#[test]
fn lists_go_on_where_they_ended() {
    let place = place();
    for name in ["a", "b", "c"] {
        place.create(name);
        place.publish(name);
    }
    let list = |all, after| {
        let found = place.functions.functions(&owner(), all, after, 2).unwrap();
        let found = found.iter();
        let names = found.map(|version| format!("{}:{}", version.name, version.version));
        names.collect::<Vec<_>>()
    };
    assert_eq!(list(false, None), ["a:$LATEST", "b:$LATEST"]);
    assert_eq!(list(false, Some(("b", VersionId::Latest))), ["c:$LATEST"]);
    assert_eq!(list(true, None), ["a:$LATEST", "a:1"]);
    assert_eq!(
        list(true, Some(("a", VersionId::Number(1)))),
        ["b:$LATEST", "b:1"]
    );
}

#[test]
fn settings_of_events_are_completed_or_replaced() {
    let place = place();
    place.create("f");
    let settings = |retries, max_age_s| EventInvokeSettings { retries, max_age_s };
    let write = |write| {
        let written = place
            .functions
            .write_event_invoke(&owner(), "f", None, write, 5);
        written.map(|written| written.settings)
    };
    let complete = EventInvokeWrite::Complete(settings(Some(1), None));
    assert!(matches!(
        write(complete),
        Err(FunctionError::NoEventInvoke(_))
    ));
    write(EventInvokeWrite::Replace(settings(None, Some(60)))).unwrap();
    assert_eq!(write(complete).unwrap(), settings(Some(1), Some(60)));
    let resolved = place.functions.resolve(&owner(), "f", None, 0.0).unwrap();
    assert_eq!(resolved.event_invoke, settings(Some(1), Some(60)));
}

/// A record that this release wrote: later ones have to read it.
#[test]
fn a_stored_configuration_is_read() {
    let stored = r#"{"runtime":"python3.13","handler":"index.handler","role":"arn:aws:iam::000000000001:role/r",
        "description":"","timeout_s":3,"memory_mb":128,"ephemeral_storage_mb":512,"architectures":["x86_64"],
        "environment":null,"layers":[],"logging":{"format":"Text","application_level":null,"system_level":null,
        "group":"/aws/lambda/f"},"tracing":"PassThrough","is_tenant_isolated":false}"#;
    let read: Configuration = serde_json::from_str(stored).unwrap();
    assert_eq!(read, configuration());
}
