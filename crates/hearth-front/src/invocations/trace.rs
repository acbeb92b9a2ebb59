//! The trace header of an invocation.

use http::HeaderMap;

/// The header that clients send and read.
pub(super) const HEADER: &str = "x-amzn-trace-id";

/// The longest header that is passed on, in bytes: it has three short fields, and some of vendors.
const MAX_BYTES: usize = 1024;

/// What the function gets: the caller's header with what is missing in it.
pub(super) fn of_request(headers: &HeaderMap, now_s: i64) -> String {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let given = given
        .filter(|text| text.len() <= MAX_BYTES)
        .unwrap_or_default();
    let mut trace = given.to_owned();
    let random = uuid::Uuid::new_v4().simple().to_string();
    let missing = [
        ("Root", format!("1-{:08x}-{}", now_s.max(0), &random[..24])),
        (
            "Parent",
            uuid::Uuid::new_v4().simple().to_string()[..16].to_owned(),
        ),
        ("Sampled", "0".to_owned()),
    ];
    for (name, value) in missing {
        let has_it = given.split(';').any(|field| {
            let name_of = field.trim().split('=').next().unwrap_or_default();
            name_of.eq_ignore_ascii_case(name)
        });
        if !has_it {
            if !trace.is_empty() {
                trace.push(';');
            }
            trace = format!("{trace}{name}={value}");
        }
    }
    trace
}

/// What the caller is answered: the same with small letters.
pub(super) fn answered(trace: &str) -> String {
    trace
        .replace("Root=", "root=")
        .replace("Parent=", "parent=")
        .replace("Sampled=", "sampled=")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_missing_is_made() {
        let mut headers = HeaderMap::new();
        let made = of_request(&headers, 0x5bef_4de7);
        assert!(made.starts_with("Root=1-5bef4de7-"), "{made}");
        assert!(made.ends_with(";Sampled=0"), "{made}");
        assert_eq!(answered("Root=1;Sampled=0"), "root=1;sampled=0");
        let given = HeaderValue::from_static("Root=1-2-3;Sampled=1");
        headers.insert(HEADER, given);
        let made = of_request(&headers, 0);
        assert!(made.starts_with("Root=1-2-3;Sampled=1;Parent="), "{made}");
        assert_eq!(made.matches("Sampled").count(), 1);
    }
}
