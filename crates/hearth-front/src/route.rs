//! Finds the service that a request is for.
//!
//! AWS gives each service its own host name. Behind one endpoint URL, the SigV4 scope says which service the client
//! meant, and for unsigned requests the path does.

use http::request::Parts;

use crate::function_service::CODE_PATH;
use crate::sigv4::access_key_hint;

/// The path prefix of Hearth's own operations.
const HEARTH_PREFIX: &str = "/hearth/v1/";

/// What follows the date in paths of the Lambda API.
const LAMBDA_FOLDERS: &[&str] = &[
    "account-settings",
    "capacity-providers",
    "code-signing-configs",
    "durable-execution-callbacks",
    "durable-executions",
    "event-source-mappings",
    "functions",
    "layers",
    "managed-microvm-images",
    "microvm-images",
    "microvms",
    "network-connectors",
    "resource-policy",
    "runtimes",
    "tags",
];

/// A service behind the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `lambda-microvms` and `lambda-core`, which share a signing name.
    Lambda,
    /// Hearth's own operations, signed as `lambda`.
    Hearth,
    Logs,
    Sts,
    Iam,
    S3,
    /// Code of functions and layers, for whoever has its address.
    FunctionCode,
    /// Metrics and health, for the operator.
    Operator,
}

impl Service {
    pub(crate) fn of(head: &Parts) -> Self {
        match access_key_hint(head) {
            Some((_, scope)) => Self::of_scope(&scope.service, head.uri.path()),
            None => Self::of_unsigned(head),
        }
    }

    /// A service that Hearth does not have is taken for S3, where any path can be a bucket name.
    fn of_scope(service: &str, path: &str) -> Self {
        match service {
            "lambda" if path.starts_with(HEARTH_PREFIX) => Self::Hearth,
            "lambda" => Self::Lambda,
            "logs" => Self::Logs,
            "sts" => Self::Sts,
            "iam" => Self::Iam,
            _ => Self::S3,
        }
    }

    fn of_unsigned(head: &Parts) -> Self {
        let path = head.uri.path();
        if path == "/metrics" || path == "/health" {
            Self::Operator
        } else if path == CODE_PATH {
            Self::FunctionCode
        } else if path.starts_with(HEARTH_PREFIX) {
            Self::Hearth
        } else if is_of_lambda(path) {
            Self::Lambda
        } else if head.headers.contains_key("x-amz-target") {
            Self::Logs
        } else {
            Self::S3
        }
    }

    /// The name in metrics and the audit log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Hearth => "hearth",
            Self::Logs => "logs",
            Self::Sts => "sts",
            Self::Iam => "iam",
            Self::S3 => "s3",
            Self::FunctionCode => "function-code",
            Self::Operator => "operator",
        }
    }

    /// The service name in the scope of a signature.
    pub(crate) fn signing_name(self) -> &'static str {
        match self {
            Self::Hearth => Self::Lambda.name(),
            other => other.name(),
        }
    }

    /// Whether the service has resources of a region. Clients of every region ask STS, IAM and S3.
    pub(crate) fn is_regional(self) -> bool {
        matches!(self, Self::Lambda | Self::Hearth | Self::Logs)
    }
}

/// Whether a path begins with a date and a folder of the Lambda API. A bucket may have such a name: then the second part
/// tells.
fn is_of_lambda(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let date = parts.next().unwrap_or_default();
    let is_digit = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let is_date = date.len() == 10 && date.bytes().enumerate().all(is_digit);
    is_date
        && parts
            .next()
            .is_some_and(|folder| LAMBDA_FOLDERS.contains(&folder))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(path: &str, authorization: Option<&str>) -> Parts {
        let mut request = Request::builder().uri(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_scope_decides() {
        let scope = |service| {
            format!(
                "AWS4-HMAC-SHA256 Credential=K/20260101/eu-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
            )
        };
        for (name, service) in [
            ("lambda", Service::Lambda),
            ("logs", Service::Logs),
            ("sts", Service::Sts),
            ("iam", Service::Iam),
            ("s3", Service::S3),
        ] {
            assert_eq!(Service::of(&head("/", Some(&scope(name)))), service);
        }
        assert_eq!(
            Service::of(&head("/hearth/v1/microvms/m/exec", Some(&scope("lambda")))),
            Service::Hearth
        );
        assert_eq!(
            Service::of(&head("/hearth/v1/key", Some(&scope("s3")))),
            Service::S3
        );
        let presigned = head(
            "/b/k?X-Amz-Credential=K%2F20260101%2Feu-1%2Fs3%2Faws4_request",
            None,
        );
        assert_eq!(Service::of(&presigned), Service::S3);
    }

    #[test]
    fn the_path_decides_for_the_unsigned() {
        assert_eq!(
            Service::of(&head("/2025-09-09/microvms", None)),
            Service::Lambda
        );
        for path in [
            "/2015-03-31/functions",
            "/2018-10-31/layers?find=LayerVersion",
            "/2016-08-19/account-settings/",
        ] {
            assert_eq!(Service::of(&head(path, None)), Service::Lambda, "{path}");
        }
        assert_eq!(Service::of(&head("/2015-03-31/a", None)), Service::S3);
        let code = head("/hearth/v1/function-code?token=t", None);
        assert_eq!(Service::of(&code), Service::FunctionCode);
        assert_eq!(Service::of(&head("/metrics", None)), Service::Operator);
        assert_eq!(Service::of(&head("/bucket/key", None)), Service::S3);
    }
}
