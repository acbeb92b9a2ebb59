//! The records that the platform writes into a function's log, in text and JSON (facts sections 2.5 and 2.6).

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::failure::Status;
use crate::version::{FunctionVersion, LogFormat, SystemLogLevel};

/// Bytes of a megabyte, as the service counts memory.
const MEGABYTE: u64 = 1 << 20;

/// What the platform has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// An environment begins its first init.
    InitStart,
    /// An init failed.
    InitReport {
        /// How long it took.
        took: Duration,
        /// Whether an invocation paid for it.
        phase: InitPhase,
        /// What happened.
        status: Status,
    },
    /// An extension is ready, registered or failed.
    Extension {
        /// Its name.
        name: String,
        /// `Ready`, `Registered`, `LaunchError`...
        state: &'static str,
        /// The events that it wants.
        events: Vec<&'static str>,
        /// What it said that went wrong.
        error_type: Option<String>,
    },
    /// An invocation begins.
    Start(String),
    /// An invocation is over.
    End(String),
    /// What an invocation took.
    Report(Report),
}

/// The numbers of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The request id.
    pub(crate) request_id: String,
    /// From the delivery of the event until runtime and extensions were done.
    pub(crate) took: Duration,
    /// The init before, if this was the first invocation after a good one.
    pub(crate) init: Option<Duration>,
    /// How it ended.
    pub(crate) status: Status,
}

/// When an init took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitPhase {
    /// Before the first invocation.
    Init,
    /// Within an invocation, on its time.
    Invoke,
}

impl InitPhase {
    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
        }
    }
}

impl Report {
    /// Milliseconds to pay for: the invocation and the init before it.
    pub(crate) fn billed_ms(&self) -> u64 {
        let all = self.took + self.init.unwrap_or_default();
        u64::try_from(all.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

/// The text of a record, without a newline. `None` if the function's configuration does not ask for it.
pub(crate) fn render(
    record: &Record,
    version: &FunctionVersion,
    peak_memory_bytes: Option<u64>,
    now: jiff::Timestamp,
) -> Option<String> {
    match version.logging.format {
        LogFormat::Text => text(record, version, peak_memory_bytes),
        LogFormat::Json => json_text(record, version, peak_memory_bytes, now),
    }
}

fn text(record: &Record, version: &FunctionVersion, peak: Option<u64>) -> Option<String> {
    Some(match record {
        Record::InitStart => format!(
            "INIT_START Runtime Version: {}\tRuntime Version ARN: {}",
            version.runtime_version, version.runtime_version_arn
        ),
        Record::InitReport {
            status: Status::Success,
            ..
        } => return None,
        Record::InitReport {
            took,
            phase,
            status,
        } => format!(
            "INIT_REPORT Init Duration: {} ms\tPhase: {}\t{}",
            milliseconds(*took),
            phase.name(),
            status_text(status)
        ),
        Record::Extension {
            name,
            state,
            events,
            error_type,
        } => {
            let error = error_type
                .as_ref()
                .map(|error_type| format!("\tError Type: {error_type}"));
            format!(
                "EXTENSION\tName: {name}\tState: {state}\tEvents: [{}]{}",
                events.join(", "),
                error.unwrap_or_default()
            )
        }
        Record::Start(id) => format!("START RequestId: {id} Version: {}", version.spec.version),
        Record::End(id) => format!("END RequestId: {id}"),
        Record::Report(report) => report_text(report, version, peak),
    })
}

fn report_text(report: &Report, version: &FunctionVersion, peak: Option<u64>) -> String {
    let init = report
        .init
        .map(|init| format!("Init Duration: {} ms\t", milliseconds(init)));
    let status = match &report.status {
        Status::Success | Status::FunctionError(_) => String::new(),
        failed => format!("{}\t", status_text(failed)),
    };
    format!(
        "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t{}{status}",
        report.request_id,
        milliseconds(report.took),
        report.billed_ms(),
        version.spec.memory_mb,
        used_mb(version, peak),
        init.unwrap_or_default(),
    )
}

fn status_text(status: &Status) -> String {
    match status {
        Status::Success => "Status: success".to_owned(),
        Status::Timeout => "Status: timeout".to_owned(),
        Status::Error(error_type) | Status::FunctionError(error_type) => {
            format!("Status: error\tError Type: {error_type}")
        }
    }
}

/// Two digits, as the service prints them.
fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// Never more than the function has, even if the host counts caches.
fn used_mb(version: &FunctionVersion, peak_bytes: Option<u64>) -> u64 {
    let used = peak_bytes.unwrap_or_default().div_ceil(MEGABYTE);
    used.min(version.spec.memory_mb.into())
}

fn json_text(
    record: &Record,
    version: &FunctionVersion,
    peak: Option<u64>,
    now: jiff::Timestamp,
) -> Option<String> {
    if level(record) < version.logging.system_level {
        return None;
    }
    let (kind, mut body) = json_record(record, version, peak)?;
    if let Some(tenant) = &version.spec.tenant {
        body.insert("tenantId".to_owned(), tenant.as_str().into());
    }
    let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    Some(json!({"time": time, "type": kind, "record": body}).to_string())
}

/// The level of a record (facts section 2.6).
fn level(record: &Record) -> SystemLogLevel {
    let status = match record {
        Record::Report(report) => &report.status,
        Record::InitReport { status, .. } => status,
        Record::Extension {
            error_type: Some(_),
            ..
        } => return SystemLogLevel::Warn,
        // Only said to who asks for everything: `END` has become `platform.runtimeDone`.
        Record::End(_) => return SystemLogLevel::Debug,
        _ => return SystemLogLevel::Info,
    };
    match (status, record) {
        (Status::Success, Record::InitReport { .. }) => SystemLogLevel::Debug,
        (Status::Success, _) => SystemLogLevel::Info,
        _ => SystemLogLevel::Warn,
    }
}

fn json_record(
    record: &Record,
    version: &FunctionVersion,
    peak: Option<u64>,
) -> Option<(&'static str, Map<String, Value>)> {
    let (kind, body) = match record {
        Record::InitStart => (
            "platform.initStart",
            json!({
                "initializationType": "on-demand",
                "phase": "init",
                "runtimeVersion": version.runtime_version,
                "runtimeVersionArn": version.runtime_version_arn,
                "functionName": version.spec.function_name,
                "functionVersion": version.spec.version,
            }),
        ),
        Record::InitReport {
            took,
            phase,
            status,
        } => (
            "platform.initReport",
            with_status(
                json!({
                    "initializationType": "on-demand",
                    "phase": phase.name(),
                    "metrics": {"durationMs": rounded_ms(*took)},
                }),
                status,
            ),
        ),
        Record::Extension {
            name,
            state,
            events,
            error_type,
        } => (
            "platform.extension",
            json!({"name": name, "state": state, "events": events, "errorType": error_type}),
        ),
        Record::Start(id) => (
            "platform.start",
            json!({"requestId": id, "version": version.spec.version}),
        ),
        // In JSON, the report says all of it.
        Record::End(_) => return None,
        Record::Report(report) => ("platform.report", report_json(report, version, peak)),
    };
    let Value::Object(mut body) = body else {
        return None;
    };
    body.retain(|_, value| !value.is_null());
    Some((kind, body))
}

fn report_json(report: &Report, version: &FunctionVersion, peak: Option<u64>) -> Value {
    let mut metrics = json!({
        "durationMs": rounded_ms(report.took),
        "billedDurationMs": report.billed_ms(),
        "memorySizeMB": version.spec.memory_mb,
        "maxMemoryUsedMB": used_mb(version, peak),
    });
    if let Some(init) = report.init {
        metrics["initDurationMs"] = rounded_ms(init).into();
    }
    with_status(
        json!({"requestId": report.request_id, "metrics": metrics}),
        &report.status,
    )
}

fn with_status(mut body: Value, status: &Status) -> Value {
    let (name, error_type) = match status {
        Status::Success => ("success", None),
        Status::Timeout => ("timeout", None),
        Status::Error(error_type) | Status::FunctionError(error_type) => {
            ("error", Some(error_type.as_str()))
        }
    };
    body["status"] = name.into();
    body["errorType"] = error_type.into();
    body
}

/// Milliseconds with three digits.
fn rounded_ms(time: Duration) -> f64 {
    let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    f64::from(microseconds) / 1000.0
}

#[cfg(test)]
mod tests;
