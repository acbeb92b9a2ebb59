use super::*;
use crate::test_versions::version;

fn report(status: Status, init: Option<u64>) -> Record {
    Record::Report(Report {
        request_id: "7f".to_owned(),
        took: Duration::from_micros(12_340),
        init: init.map(Duration::from_micros),
        status,
    })
}

fn shown(record: &Record) -> String {
    render(
        record,
        &version("f"),
        Some(36 << 20),
        jiff::Timestamp::UNIX_EPOCH,
    )
    .unwrap()
}

#[test]
fn text_is_that_of_the_service() {
    assert_eq!(
        shown(&report(Status::Success, Some(100_550))),
        "REPORT RequestId: 7f\tDuration: 12.34 ms\tBilled Duration: 113 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 100.55 ms\t"
    );
    assert_eq!(
        shown(&report(Status::Timeout, None)),
        "REPORT RequestId: 7f\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tStatus: timeout\t"
    );
    assert_eq!(
        shown(&Record::Start("7f".to_owned())),
        "START RequestId: 7f Version: $LATEST"
    );
    assert_eq!(
        shown(&Record::InitReport {
            took: Duration::from_micros(1_236_040),
            phase: InitPhase::Init,
            status: Status::Timeout
        }),
        "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout"
    );
}

#[test]
fn an_error_that_the_runtime_reported_is_a_normal_report() {
    let text = shown(&report(Status::FunctionError("Runtime.X".to_owned()), None));
    assert!(!text.contains("Status"), "{text}");
    let text = shown(&report(Status::Error("Runtime.ExitError".to_owned()), None));
    assert!(
        text.ends_with("Status: error\tError Type: Runtime.ExitError\t"),
        "{text}"
    );
}

#[test]
fn json_respects_the_level() {
    let mut version = version("f");
    version.logging.format = LogFormat::Json;
    let shown = |record: &Record, version: &FunctionVersion| {
        render(record, version, None, jiff::Timestamp::UNIX_EPOCH)
    };
    let start = Record::Start("7f".to_owned());
    assert_eq!(
        shown(&start, &version).as_deref(),
        Some(
            r#"{"record":{"requestId":"7f","version":"$LATEST"},"time":"1970-01-01T00:00:00.000Z","type":"platform.start"}"#
        )
    );
    version.logging.system_level = SystemLogLevel::Warn;
    assert_eq!(shown(&start, &version), None);
    let failed = report(Status::Timeout, None);
    assert!(shown(&failed, &version).unwrap().contains("timeout"));
    assert_eq!(shown(&report(Status::Success, None), &version), None);
}
