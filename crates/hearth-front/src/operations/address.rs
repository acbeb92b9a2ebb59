//! The operations on a microVM, by method and path.

use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::uri::decode;

/// One JSON object per line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// The prefix of every path. The microVM's id and the operation's word follow.
const PREFIX: &str = "/hearth/v1/microvms/";

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Exec,
    GetFile,
    PutFile,
    Fork,
    GetLogs,
    GetActivity,
    PutActivity,
    GetTimes,
}

/// Method, last segment of the path, operation.
pub(super) const OPERATIONS: [(&str, &str, Operation); 8] = [
    ("POST", "exec", Operation::Exec),
    ("GET", "files", Operation::GetFile),
    ("PUT", "files", Operation::PutFile),
    ("POST", "fork", Operation::Fork),
    ("GET", "logs", Operation::GetLogs),
    ("GET", "activity", Operation::GetActivity),
    ("PUT", "activity", Operation::PutActivity),
    ("GET", "times", Operation::GetTimes),
];

impl Operation {
    /// The name of the operation in metrics and the audit log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exec => "ExecMicrovm",
            Self::GetFile => "GetMicrovmFile",
            Self::PutFile => "PutMicrovmFile",
            Self::Fork => "ForkMicrovm",
            Self::GetLogs => "GetMicrovmLogs",
            Self::GetActivity => "GetMicrovmActivity",
            Self::PutActivity => "PutMicrovmActivity",
            Self::GetTimes => "GetMicrovmTimes",
        }
    }
}

/// The operation and the microVM that a request names.
pub(super) fn find(method: &str, path: &str) -> Option<(Operation, String)> {
    let (microvm, word) = path.strip_prefix(PREFIX)?.split_once('/')?;
    let (.., operation) = OPERATIONS
        .iter()
        .find(|(known, last, _)| *known == method && *last == word)?;
    let microvm = decode(microvm).filter(|microvm| !microvm.is_empty())?;
    Some((*operation, microvm))
}

/// Whether the body of a request is read while the operation works: a file, which may be too large for memory, or
/// input that comes later.
pub(crate) fn is_upload(head: &Parts) -> bool {
    match find(head.method.as_str(), head.uri.path()) {
        Some((Operation::PutFile, _)) => true,
        Some((Operation::Exec, _)) => has_lines(head),
        _ => false,
    }
}

/// Whether the body of an `exec` is lines of input, not one request.
pub(super) fn has_lines(head: &Parts) -> bool {
    let content_type = head.headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes() == NDJSON.as_bytes())
}
