//! The operations on a microVM and on an image, by method and path.

use http::header::CONTENT_TYPE;
use http::request::Parts;

use crate::uri::decode;

/// One JSON object per line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// The prefixes of every path. The microVM's id, or the image's name, and the operation's word follow.
const MICROVMS: &str = "/hearth/v1/microvms/";
const IMAGES: &str = "/hearth/v1/images/";

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
    CancelBuild,
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

/// The same for operations on an image.
pub(super) const IMAGE_OPERATIONS: [(&str, &str, Operation); 1] =
    [("POST", "cancel-build", Operation::CancelBuild)];

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
            Self::CancelBuild => "CancelMicrovmImageBuild",
        }
    }
}

/// The operation, and the microVM or image that a request names.
pub(super) fn find(method: &str, path: &str) -> Option<(Operation, String)> {
    let (operations, rest) = match path.strip_prefix(MICROVMS) {
        Some(rest) => (OPERATIONS.as_slice(), rest),
        None => (IMAGE_OPERATIONS.as_slice(), path.strip_prefix(IMAGES)?),
    };
    let (name, word) = rest.split_once('/')?;
    let (.., operation) = operations
        .iter()
        .find(|(known, last, _)| *known == method && *last == word)?;
    let name = decode(name).filter(|name| !name.is_empty())?;
    Some((*operation, name))
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
