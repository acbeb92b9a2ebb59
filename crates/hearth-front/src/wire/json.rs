//! REST-JSON of the three Lambda families, and JSON 1.1 of CloudWatch Logs.
//!
//! `lambda-microvms` sends absent optional members as null, `lambda-core` leaves them out. Both put the error type
//! into a header, not into the body (facts sections 1 and 4). Keys are sorted because maps of `serde_json` are.

use http::HeaderValue;
use serde_json::{Map, Value, json};

use super::{Label, Reply, add_retry_after, reply};
use crate::fault::Fault;

/// The families, which differ in the form of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Microvms,
    Core,
    Functions,
}

const REST: &str = "application/json";
const JSON_1_1: &str = "application/x-amz-json-1.1";

/// A REST-JSON result.
pub(crate) fn rest(status: u16, body: Option<&Value>) -> Reply {
    let text = body.map(Value::to_string).unwrap_or_default();
    reply(status, REST, text)
}

/// A REST-JSON error.
pub(crate) fn rest_fault(family: Family, fault: &Fault) -> Reply {
    let body = match family {
        Family::Microvms => microvms_body(fault),
        Family::Core => core_body(fault),
        Family::Functions => functions_body(fault),
    };
    let mut answer = reply(fault.status, REST, Value::Object(body).to_string());
    answer
        .headers_mut()
        .insert("x-amzn-errortype", HeaderValue::from_static(fault.code));
    Label::of(&mut answer).error = Some(fault.code);
    add_retry_after(&mut answer, fault);
    answer
}

fn microvms_body(fault: &Fault) -> Map<String, Value> {
    let mut body = Map::new();
    let key = if fault.is_capitalised {
        "Message"
    } else {
        "message"
    };
    body.insert(key.to_owned(), json!(fault.message));
    let details: &[&str] = match fault.code {
        "ResourceNotFoundException" | "ConflictException" => &["resourceId", "resourceType"],
        "ServiceQuotaExceededException" => {
            &["quotaCode", "resourceId", "resourceType", "serviceCode"]
        }
        "ThrottlingException" => &["quotaCode", "serviceCode"],
        _ => &[],
    };
    for detail in details {
        body.insert((*detail).to_owned(), Value::Null);
    }
    body
}

fn core_body(fault: &Fault) -> Map<String, Value> {
    let capitalised = fault.is_capitalised
        || matches!(
            fault.code,
            "ResourceNotFoundException" | "ServiceException" | "ServiceQuotaExceededException"
        );
    let key = if capitalised { "Message" } else { "message" };
    let mut body = Map::new();
    if let Some(message) = &fault.message {
        body.insert(key.to_owned(), json!(message));
    }
    body
}

/// The errors of `lambda` that spell their text with a small letter (facts section 1.2).
const SMALL: &[&str] = &[
    "AliasLimitExceededException",
    "CodeStorageExceededException",
    "InvalidParameterValueException",
    "InvalidRequestContentException",
    "PolicyLengthExceededException",
    "PreconditionFailedException",
    "ProvisionedConcurrencyConfigNotFoundException",
    "RequestEntityTooLargeException",
    "RequestTooLargeException",
    "ResourceConflictException",
    "ResourceNotReadyException",
    "SerializationException",
    "TooManyRequestsException",
    "UnsupportedMediaTypeException",
];

fn functions_body(fault: &Fault) -> Map<String, Value> {
    let mut body = Map::new();
    if fault.code == "ValidationException" {
        body.insert("message".to_owned(), json!(fault.message));
        return body;
    }
    let key = if SMALL.contains(&fault.code) {
        "message"
    } else {
        "Message"
    };
    body.insert(key.to_owned(), json!(fault.message));
    let side = if fault.status < 500 {
        "User"
    } else {
        "Service"
    };
    body.insert("Type".to_owned(), json!(side));
    if fault.code == "TooManyRequestsException" {
        let reason = fault.reason.unwrap_or("CallerRateLimitExceeded");
        body.insert("Reason".to_owned(), json!(reason));
    }
    body
}

/// A JSON 1.1 result.
pub(crate) fn rpc(body: &Value) -> Reply {
    reply(200, JSON_1_1, body.to_string())
}

/// A JSON 1.1 error, with type and message in the body.
pub(crate) fn rpc_fault(fault: &Fault) -> Reply {
    let body = json!({"__type": fault.code, "message": fault.message});
    let mut answer = reply(fault.status, JSON_1_1, body.to_string());
    Label::of(&mut answer).error = Some(fault.code);
    add_retry_after(&mut answer, fault);
    answer
}
