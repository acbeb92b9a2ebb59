//! Formats values of the service's answers for people.

use jiff::Timestamp;
use serde_json::Value;

/// A member that is text; empty when it is missing or null.
pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A member of any kind, as one word: a dash when it is missing or null.
pub(crate) fn word(value: &Value, member: &str) -> String {
    match value.get(member) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A member that is a time in seconds since 1970, with a fraction.
pub(crate) fn time(value: &Value, member: &str) -> Option<Timestamp> {
    let seconds = value.get(member)?.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds of our era need 41 of 63 bits"
    )]
    Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()
}

/// How long ago that was: `12s`, `5m`, `3h`, `8d`.
pub(crate) fn age(time: Option<Timestamp>, now: Timestamp) -> String {
    let Some(time) = time else {
        return "-".to_owned();
    };
    let seconds = now.as_second().saturating_sub(time.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes with the unit that fits: `12.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "one digit after the point is shown"
    )]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Text of a guest or a build without escape sequences and control characters (except the tabulator), which a terminal
/// would obey.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control() || *character == '\t')
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_become_words() {
        let value = json!({"a": "x", "b": null, "c": 5, "d": ""});
        let words = ["a", "b", "c", "d", "e"].map(|member| word(&value, member));
        assert_eq!(words, ["x", "-", "5", "-", "-"]);
        assert_eq!(text(&value, "c"), "");
    }

    #[test]
    fn ages_and_sizes_have_a_fitting_unit() {
        let begun: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let at = |seconds| Timestamp::from_second(begun.as_second() + seconds).unwrap();
        let ages = [-5, 90, 300, 10_000, 400_000].map(|seconds| age(Some(begun), at(seconds)));
        assert_eq!(ages, ["0s", "90s", "5m", "2h", "4d"]);
        let sizes = [0, 1023, 1536, 5 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!(
            time(&json!({"t": 1.5}), "t").unwrap().as_millisecond(),
            1500
        );
    }

    #[test]
    fn terminals_obey_nothing_in_logs() {
        assert_eq!(harmless("a\x1b[2Jb\tc\r\n"), "a[2Jb\tc");
    }
}
