//! `hearth logs`: what applications and builds wrote, through CloudWatch Logs.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use hearth_client::{Client, LogEvent, LogQuery};
use serde_json::{Value, json};

use crate::cli::microvm::LogsArguments;
use crate::names::log_group;
use crate::shared::Shared;
use crate::view::{harmless, text, time};
use crate::{names, output};

/// Pause between two reads.
const POLL: Duration = Duration::from_millis(500);

/// How late an event may appear in the log store after events with later times.
const LATE_MS: i64 = 10_000;

/// Most lines of a microVM whose output goes to another log group or stream than the default.
const MAX_LINES: usize = 10_000;

/// Longest line that is buffered until its end.
const MAX_LINE_BYTES: usize = 1 << 20;

pub(crate) async fn logs(
    shared: &Shared,
    client: &Client,
    arguments: LogsArguments,
) -> Result<ExitCode> {
    let mut source = find(client, &arguments.of).await?;
    let mut tail = Tail::default();
    let mut skips = arguments.tail;
    loop {
        // Read the state before the events, so that the last lines are read after the end is known.
        let has_ended = source.has_ended(client).await?;
        let mut events = tail
            .read(client, &source.group, source.stream.as_deref())
            .await?;
        if let Some(kept) = skips.take() {
            events.drain(..events.len().saturating_sub(kept));
        }
        if tail.has_read_nothing()
            && let Some(id) = &source.microvm
        {
            let lines = arguments.tail.unwrap_or(MAX_LINES).clamp(1, MAX_LINES);
            if !arguments.follow {
                for line in client.output(id, lines).await?.lines() {
                    print_line(shared, line)?;
                }
            } else if !client.output(id, 1).await?.is_empty() {
                return follow_elsewhere(shared, client, id, lines).await;
            }
        }
        print(shared, &source, &events)?;
        if !arguments.follow || has_ended {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Follows a microVM whose output goes to another log group or stream than the default. Only the service knows which.
async fn follow_elsewhere(
    shared: &Shared,
    client: &Client,
    id: &str,
    lines: usize,
) -> Result<ExitCode> {
    let mut pieces = client.follow_output(id, lines).await?;
    let mut begun = Vec::new();
    while let Some(piece) = pieces.next().await? {
        begun.extend_from_slice(&piece);
        for line in take_lines(&mut begun) {
            print_line(shared, &line)?;
        }
    }
    if !begun.is_empty() {
        print_line(shared, &String::from_utf8_lossy(&begun))?;
    }
    if text(&client.microvm(id).await?, "state") == "TERMINATED" {
        return Ok(ExitCode::SUCCESS);
    }
    bail!(
        "the service ended the stream, as it does after an hour, and the microVM goes on: follow it again"
    )
}

/// Takes complete lines, and a line that is too long. An incomplete line stays in the buffer.
fn take_lines(begun: &mut Vec<u8>) -> Vec<String> {
    let end = match begun.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if begun.len() > MAX_LINE_BYTES => begun.len(),
        None => return Vec::new(),
    };
    let ended: Vec<u8> = begun.drain(..end).collect();
    let ended = String::from_utf8_lossy(&ended);
    ended.lines().map(str::to_owned).collect()
}

/// The log group and stream to read.
struct Source {
    group: String,
    stream: Option<String>,
    /// The microVM whose end is the end of the output.
    microvm: Option<String>,
}

impl Source {
    async fn has_ended(&mut self, client: &Client) -> Result<bool> {
        match &self.microvm {
            None => Ok(false),
            Some(id) => Ok(text(&client.microvm(id).await?, "state") == "TERMINATED"),
        }
    }
}

/// The logs of an image by its full name, else of a microVM by a prefix of its id.
async fn find(client: &Client, typed: &str) -> Result<Source> {
    let is_image = typed.starts_with("arn:")
        || (!typed.starts_with("microvm-") && names::find_image(client, typed).await?.is_some());
    if is_image {
        return Ok(Source {
            group: log_group(names::image_name(typed)),
            stream: None,
            microvm: None,
        });
    }
    let id = names::microvm(client, typed).await?;
    let microvm = client.microvm(&id).await?;
    Ok(Source {
        group: log_group(names::image_name(text(&microvm, "imageArn"))),
        stream: Some(stream(&microvm)),
        microvm: Some(id),
    })
}

/// The default stream of a microVM: `YYYY/MM/DD[VERSION]ID`.
fn stream(microvm: &Value) -> String {
    let day = time(microvm, "startedAt").unwrap_or_default();
    format!(
        "{}[{}]{}",
        day.strftime("%Y/%m/%d"),
        text(microvm, "imageVersion"),
        text(microvm, "microvmId")
    )
}

fn print(shared: &Shared, source: &Source, events: &[LogEvent]) -> Result<()> {
    for event in events {
        if shared.json {
            output::say(&serde_json::to_string(event)?)?;
            continue;
        }
        let message = shown(&event.message);
        output::say(&match source.stream {
            Some(_) => message,
            None => format!("{} | {message}", writer(&event.log_stream_name)),
        })?;
    }
    Ok(())
}

/// Prints a line without time and writer.
fn print_line(shared: &Shared, line: &str) -> Result<()> {
    if shared.json {
        output::say(&json!({ "message": line }).to_string())
    } else {
        output::say(&shown(line))
    }
}

/// Text for standard output: harmless for a terminal, unchanged for a pipe or file.
pub(crate) fn shown(message: &str) -> String {
    if std::io::stdout().is_terminal() {
        harmless(message)
    } else {
        message.to_owned()
    }
}

/// The writer of a stream: the part of its name after the version, shortened.
fn writer(stream: &str) -> &str {
    let name = stream.rsplit_once(']').map_or(stream, |(_, name)| name);
    // "build-" and "microvm-" with eight digits of the id.
    let end = name.find('-').map_or(name.len(), |dash| dash + 9);
    name.get(..end).unwrap_or(name)
}

/// Reads the events since the last read.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    start_ms: Option<i64>,
    /// Ids of events that may be read again, with their times.
    seen: HashMap<String, i64>,
}

impl Tail {
    /// Events that were written after this time.
    pub(crate) fn since(start_ms: i64) -> Self {
        Self {
            start_ms: Some(start_ms),
            ..Self::default()
        }
    }

    pub(crate) async fn read(
        &mut self,
        client: &Client,
        group: &str,
        stream: Option<&str>,
    ) -> Result<Vec<LogEvent>> {
        let query = LogQuery {
            group,
            stream,
            start_ms: self.start_ms,
        };
        let events = client.log_events(&query).await?;
        Ok(self.fresh(events))
    }

    fn has_read_nothing(&self) -> bool {
        self.seen.is_empty()
    }

    fn fresh(&mut self, mut events: Vec<LogEvent>) -> Vec<LogEvent> {
        events.retain(|event| {
            let known = self.seen.insert(event.event_id.clone(), event.timestamp);
            known.is_none()
        });
        if let Some(newest) = self.seen.values().max() {
            let start_ms = newest - LATE_MS;
            self.start_ms = Some(self.start_ms.unwrap_or(start_ms).max(start_ms));
            self.seen.retain(|_, time_ms| *time_ms >= start_ms);
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u32, timestamp: i64) -> LogEvent {
        LogEvent {
            event_id: id.to_string(),
            log_stream_name: "2026/11/22[1.0]build-0123456789".to_owned(),
            timestamp,
            message: String::new(),
        }
    }

    fn ids(events: &[LogEvent]) -> Vec<&str> {
        events.iter().map(|event| event.event_id.as_str()).collect()
    }

    #[test]
    fn every_event_is_told_once_also_late_ones() {
        let mut tail = Tail::default();
        assert_eq!(
            ids(&tail.fresh(vec![event(1, 50_000), event(2, 60_000)])),
            ["1", "2"]
        );
        assert_eq!(tail.start_ms, Some(50_000));
        let more = vec![event(1, 50_000), event(3, 55_000), event(2, 60_000)];
        assert_eq!(ids(&tail.fresh(more)), ["3"]);
        assert_eq!(ids(&tail.fresh(vec![event(4, 90_000)])), ["4"]);
        assert_eq!(tail.seen.len(), 1);
        assert_eq!(tail.start_ms, Some(80_000));
    }

    #[test]
    fn lines_are_taken_when_they_have_ended() {
        let mut begun = b"one\ntwo\r\nthr".to_vec();
        assert_eq!(take_lines(&mut begun), ["one", "two"]);
        assert_eq!(take_lines(&mut begun), [""; 0]);
        begun.extend_from_slice(b"ee\n");
        assert_eq!(take_lines(&mut begun), ["three"]);
        assert!(begun.is_empty());
        let mut endless = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(take_lines(&mut endless).len(), 1);
        assert!(endless.is_empty());
    }

    #[test]
    fn streams_are_called_by_who_writes_them() {
        assert_eq!(writer("2026/11/22[1.0]build-0123456789"), "build-01234567");
        assert_eq!(
            writer("2026/11/22[1.0]microvm-0123456789"),
            "microvm-01234567"
        );
        assert_eq!(writer("other"), "other");
        let microvm =
            json!({"startedAt": 1_763_856_000.5, "imageVersion": "1.0", "microvmId": "microvm-x"});
        assert_eq!(stream(&microvm), "2025/11/23[1.0]microvm-x");
    }
}
