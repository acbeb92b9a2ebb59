//! `hearth function invoke`: an event in, an answer out.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hearth_client::{Client, InvokeAnswer, InvokeRequest, InvokeWait};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::cli::function::InvokeArguments;
use crate::output;
use crate::refused::{FunctionFailed, Unfit};
use crate::shared::Shared;
use crate::view::{harmless, text};

/// Largest event that the service takes, with a margin: it judges.
const MAX_EVENT_BYTES: u64 = 8 << 20;

pub(super) async fn run(
    shared: &Shared,
    client: &Client,
    arguments: &InvokeArguments,
) -> Result<ExitCode> {
    let payload = event(arguments)?;
    check_json(&payload)?;
    let wait = match (arguments.is_async, arguments.log) {
        (true, _) => InvokeWait::Stored,
        (false, true) => InvokeWait::AnswerAndLog,
        (false, false) => InvokeWait::Answer,
    };
    let request = InvokeRequest {
        function: &arguments.function,
        qualifier: arguments.qualifier.as_deref(),
        payload,
        wait,
    };
    let answer = client.invoke(request).await?;
    if let Some(log) = &answer.log_tail {
        print_log(log);
    }
    if shared.json {
        output::json(&described(&answer))?;
    } else {
        print_payload(&answer.payload)?;
    }
    match failed(&answer) {
        Some(failed) => Err(failed.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The event that was typed, or that of a file, or nothing, which is `{}`.
fn event(arguments: &InvokeArguments) -> Result<Bytes> {
    match (&arguments.payload, &arguments.event) {
        (Some(text), _) if text == "-" => read(std::io::stdin(), "standard input"),
        (Some(text), _) => Ok(text.clone().into()),
        (None, Some(path)) if path == Path::new("-") => read(std::io::stdin(), "standard input"),
        (None, Some(path)) => event_of_file(path),
        (None, None) => Ok(Bytes::new()),
    }
}

/// The event in a file.
pub(super) fn event_of_file(path: &Path) -> Result<Bytes> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    read(file, &name)
}

fn read(source: impl Read, name: &str) -> Result<Bytes> {
    let mut bytes = Vec::new();
    source
        .take(MAX_EVENT_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > MAX_EVENT_BYTES {
        bail!("{name} has more than 6 MiB, which no event may have");
    }
    Ok(bytes.into())
}

/// Refuses an event that is no JSON, which the service would refuse in other words.
pub(super) fn check_json(event: &[u8]) -> Result<(), Unfit> {
    if event.is_empty() {
        return Ok(());
    }
    let read = serde_json::from_slice::<IgnoredAny>(event);
    read.map(drop).map_err(|error| {
        Unfit(format!(
            "the event is no JSON ({error}); a text has quotes of its own: '\"text\"'"
        ))
    })
}

/// What the service said, for programs.
pub(super) fn described(answer: &InvokeAnswer) -> Value {
    let mut told = json!({"StatusCode": answer.status});
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            told[name] = value;
        }
    };
    let word = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    set("ExecutedVersion", word(&answer.executed_version));
    set("FunctionError", word(&answer.function_error));
    set("Log", word(&answer.log_tail));
    let payload = (!answer.payload.is_empty()).then(|| {
        // An answer need not be JSON.
        serde_json::from_slice(&answer.payload)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&answer.payload)))
    });
    set("Payload", payload);
    told
}

/// The failure of the function, if it is one.
pub(super) fn failed(answer: &InvokeAnswer) -> Option<FunctionFailed> {
    answer.function_error.as_ref()?;
    let error: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    let words = [text(&error, "errorType"), text(&error, "errorMessage")];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    Some(FunctionFailed(match words.as_slice() {
        [] => "the function failed, and its answer does not say why".to_owned(),
        words => harmless(&words.join(": ").replace('\n', " ")),
    }))
}

/// Prints an answer unchanged. The prompt of a shell does not stand behind it.
fn print_payload(payload: &[u8]) -> Result<()> {
    output::bytes(payload)?;
    if std::io::stdout().is_terminal() && !payload.is_empty() && !payload.ends_with(b"\n") {
        output::bytes(b"\n")?;
    }
    Ok(())
}

/// Prints the end of a log on standard error.
pub(super) fn print_log(log: &str) {
    for line in log.lines() {
        eprintln!("| {}", harmless(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: Option<&str>, payload: &'static str) -> InvokeAnswer {
        InvokeAnswer {
            status: 200,
            executed_version: Some("$LATEST".to_owned()),
            function_error: error.map(str::to_owned),
            log_tail: None,
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    #[test]
    fn failures_are_told_in_the_words_of_the_function() {
        let told = |payload| failed(&answer(Some("Unhandled"), payload)).map(|failed| failed.0);
        let raised = r#"{"errorMessage": "no\nsuch\u001b thing", "errorType": "KeyError"}"#;
        assert_eq!(told(raised).unwrap(), "KeyError: no such thing");
        let timeout = r#"{"errorMessage": "Task timed out"}"#;
        assert_eq!(told(timeout).unwrap(), "Task timed out");
        assert!(told("garbage").unwrap().contains("does not say why"));
        // An object that looks like an error is an answer where the service says so.
        assert_eq!(failed(&answer(None, raised)), None);
    }

    #[test]
    fn programs_get_the_payload_as_what_it_is() {
        let told = described(&answer(None, r#"{"a":1}"#));
        assert_eq!(
            told,
            json!({"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": {"a": 1}})
        );
        assert_eq!(described(&answer(None, "no json"))["Payload"], "no json");
        assert!(described(&answer(None, "")).get("Payload").is_none());
    }

    #[test]
    fn events_are_json_or_nothing() {
        for good in ["", "{}", " [1]\n", "\"text\"", "null"] {
            check_json(good.as_bytes()).unwrap();
        }
        for wrong in ["text", "{", "{} {}"] {
            let told = check_json(wrong.as_bytes()).unwrap_err().to_string();
            assert!(told.contains("no JSON"), "{told}");
        }
    }
}
