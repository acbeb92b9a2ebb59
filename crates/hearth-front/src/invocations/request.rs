//! Reads a request to run a function: headers and body.

use bytes::Bytes;
use hearth_invoke::{Invocation, MAX_EVENT_BYTES, MAX_REQUEST_BYTES};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use serde::de::IgnoredAny;

use super::invoking::invalid_content;
use super::trace;
use crate::call::Call;
use crate::fault::Fault;

/// The longest client context, in bytes of base 64 (facts section 2.1).
const MAX_CONTEXT_BYTES: usize = 3583;

/// The longest id of a tenant, in characters (facts section 3.10).
const MAX_TENANT: usize = 256;

/// What functions of managed runtimes get for an empty body (facts section 2.1).
const EMPTY_EVENT: &[u8] = b"{}";

/// How a function is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvocationType {
    RequestResponse,
    Event,
    DryRun,
}

impl InvocationType {
    fn name(self) -> &'static str {
        match self {
            Self::RequestResponse => "RequestResponse",
            Self::Event => "Event",
            Self::DryRun => "DryRun",
        }
    }

    fn max_bytes(self) -> usize {
        match self {
            Self::RequestResponse | Self::DryRun => MAX_REQUEST_BYTES,
            Self::Event => MAX_EVENT_BYTES,
        }
    }
}

/// A request, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) invocation_type: InvocationType,
    pub(super) tenant: Option<String>,
    payload: Bytes,
    client_context: Option<String>,
    wants_log_tail: bool,
    pub(super) trace_id: String,
}

impl Request {
    /// Reads a request that may be of these types. The first one is the default.
    pub(super) fn read(call: &mut Call, types: &[InvocationType]) -> Result<Self, Fault> {
        let headers = &call.head.headers;
        let kind = one_of(
            headers,
            ("x-amz-invocation-type", "invocationType"),
            types.iter().map(|kind| (kind.name(), *kind)),
        )?;
        let log_types = [("None", false), ("Tail", true)];
        let log = one_of(
            headers,
            ("x-amz-log-type", "logType"),
            log_types.into_iter(),
        )?;
        check_content_type(headers)?;
        let kind = kind.unwrap_or(types[0]);
        let client_context = client_context(headers)?;
        let tenant = tenant(headers)?;
        let trace_id = trace::of_request(headers, jiff::Timestamp::now().as_second());
        let payload = payload(std::mem::take(&mut call.body), kind)?;
        Ok(Self {
            invocation_type: kind,
            tenant,
            payload,
            client_context: client_context.filter(|_| kind != InvocationType::Event),
            wants_log_tail: log == Some(true) && kind == InvocationType::RequestResponse,
            trace_id,
        })
    }

    /// The invocation itself.
    pub(super) fn invocation(self, request_id: String, invoked_arn: String) -> Invocation {
        Invocation {
            request_id,
            invoked_arn,
            payload: self.payload,
            client_context: self.client_context,
            trace_id: self.trace_id,
            wants_log_tail: self.wants_log_tail,
        }
    }
}

/// The value of a header that has one of a few. An unknown one is refused as the model says.
fn one_of<T>(
    headers: &HeaderMap,
    (header, member): (&str, &str),
    values: impl Iterator<Item = (&'static str, T)>,
) -> Result<Option<T>, Fault> {
    let Some(text) = headers.get(header).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let mut names = Vec::new();
    for (name, value) in values {
        if name == text {
            return Ok(Some(value));
        }
        names.push(name);
    }
    let shown: String = text.chars().take(128).collect();
    Err(Fault::validation(format!(
        "1 validation error detected: Value '{shown}' at '{member}' failed to satisfy constraint: Member must satisfy \
         enum value set: [{}]",
        names.join(", ")
    )))
}

/// Clients send JSON, or say nothing. Some send every body without a model as bytes.
fn check_content_type(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = text.split(';').next().unwrap_or_default().trim();
    let is_json = kind.is_empty()
        || kind.contains("json")
        || kind == "application/octet-stream"
        || kind == "binary/octet-stream";
    if is_json {
        return Ok(());
    }
    let shown: String = kind.chars().take(128).collect();
    Err(Fault::new(
        415,
        "UnsupportedMediaTypeException",
        format!("Unsupported content type: {shown}"),
    ))
}

fn payload(body: Bytes, kind: InvocationType) -> Result<Bytes, Fault> {
    let limit = kind.max_bytes();
    if body.len() > limit {
        return Err(larger(body.len(), kind));
    }
    if body.is_empty() {
        return Ok(Bytes::from_static(EMPTY_EVENT));
    }
    match serde_json::from_slice::<IgnoredAny>(&body) {
        Ok(IgnoredAny) => Ok(body),
        Err(error) => Err(invalid_content(format!(
            "Could not parse request body into json: Could not parse payload into json: {error}"
        ))),
    }
}

/// The refusal of a request to run a function whose body is too large to be read. `None` for other requests.
pub(crate) fn too_large(head: &Parts) -> Option<Fault> {
    let folder = head.uri.path().rsplit('/').next()?;
    let kind = match folder {
        "invocations" | "response-streaming-invocations" => InvocationType::RequestResponse,
        "invoke-async" => InvocationType::Event,
        _ => return None,
    };
    let event = |headers: &HeaderMap| {
        let kind = headers.get("x-amz-invocation-type");
        kind.is_some_and(|value| value == InvocationType::Event.name())
    };
    let kind = match kind {
        InvocationType::RequestResponse if event(&head.headers) => InvocationType::Event,
        kind => kind,
    };
    let stated = head.headers.get(CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok()?.parse().ok());
    // A body without a length was read up to the limit.
    Some(larger(stated.unwrap_or(MAX_REQUEST_BYTES + 1), kind))
}

fn larger(bytes: usize, kind: InvocationType) -> Fault {
    let (name, limit) = (kind.name(), kind.max_bytes());
    Fault::new(
        413,
        "RequestTooLargeException",
        format!(
            "{bytes} byte payload is too large for the {name} invocation type (limit {limit} bytes)"
        ),
    )
}

/// The client context as JSON, which clients send as base 64.
fn client_context(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get("x-amz-client-context") else {
        return Ok(None);
    };
    if value.len() > MAX_CONTEXT_BYTES {
        return Err(invalid_content(format!(
            "Client context must be no more than {MAX_CONTEXT_BYTES} bytes when base64-encoded."
        )));
    }
    let malformed =
        || invalid_content("Client context must be a valid Base64-encoded JSON object.");
    let decoded = base64_simd::STANDARD.decode_to_vec(value.as_bytes());
    let decoded = decoded.map_err(|_| malformed())?;
    // Written anew: it goes into a header of the Runtime API, which has no line feeds.
    let json: serde_json::Value = serde_json::from_slice(&decoded).map_err(|_| malformed())?;
    if !json.is_object() {
        return Err(malformed());
    }
    Ok(Some(json.to_string()))
}

fn tenant(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get("x-amz-tenant-id") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let is_valid = (1..=MAX_TENANT).contains(&text.len())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "._:/=+-@ ".contains(letter));
    if is_valid {
        return Ok(Some(text));
    }
    let shown: String = text.chars().take(MAX_TENANT).collect();
    Err(Fault::validation(format!(
        "1 validation error detected: Value '{shown}' at 'tenantId' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z0-9\\._:\\/=+\\-@ ]+"
    )))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn an_empty_body_is_an_empty_event() {
        let read = payload(Bytes::new(), InvocationType::RequestResponse).unwrap();
        assert_eq!(&read[..], b"{}");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let refused = payload("{".into(), InvocationType::Event).unwrap_err();
        assert_eq!(
            (refused.status, refused.code),
            (400, "InvalidRequestContentException")
        );
    }

    #[test]
    fn limits_are_those_of_the_type() {
        let body = Bytes::from(format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES)));
        assert!(payload(body.clone(), InvocationType::RequestResponse).is_ok());
        let refused = payload(body, InvocationType::Event).unwrap_err();
        assert_eq!(
            refused.message.as_deref(),
            Some(
                "1048578 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
            )
        );
    }

    #[test]
    fn contexts_are_json_in_base_64() {
        let name = "x-amz-client-context";
        let encoded = base64_simd::STANDARD.encode_to_string(br#"{"a": 1}"#);
        let read = client_context(&with(name, &encoded)).unwrap();
        assert_eq!(read.as_deref(), Some(r#"{"a":1}"#));
        for bad in ["%", "e30", "MQ=="] {
            assert!(client_context(&with(name, bad)).is_err(), "{bad}");
        }
        assert!(client_context(&with(name, &"e".repeat(4000))).is_err());
    }

    #[test]
    fn content_types_are_json_or_bytes() {
        for good in [
            "application/json",
            "application/vnd.x+json",
            "application/octet-stream",
        ] {
            assert!(check_content_type(&with("content-type", good)).is_ok());
        }
        let refused = check_content_type(&with("content-type", "text/xml"));
        assert_eq!(refused.unwrap_err().status, 415);
    }

    #[test]
    fn tenants_have_an_alphabet() {
        let name = "x-amz-tenant-id";
        assert!(tenant(&with(name, "a b:c@d")).is_ok());
        assert!(tenant(&with(name, "a#b")).is_err());
    }
}
