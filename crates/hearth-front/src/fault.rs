//! An error answer before it is shaped for a protocol: status, AWS code and text.

use std::time::Duration;

use crate::sigv4::SignatureError;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    /// The AWS error type, for example `ValidationException`.
    pub(crate) code: &'static str,
    /// AWS answers some refusals with `"message": null`.
    pub(crate) message: Option<String>,
    /// Whether the text is spelled `Message` where the family would spell it otherwise.
    pub(crate) is_capitalised: bool,
    pub(crate) retry_after_s: Option<u32>,
    /// Which limit was exceeded, where a family tells it.
    pub(crate) reason: Option<&'static str>,
}

impl Fault {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: Some(message.into()),
            is_capitalised: false,
            retry_after_s: None,
            reason: None,
        }
    }

    pub(crate) fn silent(status: u16, code: &'static str) -> Self {
        Self {
            message: None,
            ..Self::new(status, code, "")
        }
    }

    /// Too many requests in a short time. The client may ask again after this time, which it is told in whole seconds.
    pub(crate) fn rate_exceeded(status: u16, code: &'static str, retry_after: Duration) -> Self {
        let seconds = u32::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Self::new(status, code, "Rate exceeded").retry_after(seconds.max(1))
    }

    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    /// The answer of AWS to input that it cannot parse: 400 without a text.
    pub(crate) fn unparseable() -> Self {
        Self::silent(400, "SerializationException")
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    /// A failure of the service. The cause goes to the log, never to the client.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        // The cause may contain parts of the request, which may contain line feeds.
        let cause = cause.to_string();
        tracing::error!(?cause, "request failed");
        Self::new(
            500,
            "InternalFailure",
            "The service encountered an internal error.",
        )
    }

    /// A denial by a policy, in the form of the JSON services.
    pub(crate) fn access_denied(message: impl Into<String>) -> Self {
        Self::new(403, "AccessDeniedException", message)
    }
}

/// The two spellings of authentication errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureCodes {
    /// JSON services: `InvalidSignatureException`.
    Json,
    /// Query services: `SignatureDoesNotMatch`.
    Query,
}

impl SignatureCodes {
    pub(crate) fn fault(self, error: &SignatureError) -> Fault {
        use SignatureError as E;
        let (json, query) = match error {
            E::Missing => (
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
            ),
            E::Incomplete(_) => ("IncompleteSignatureException", "IncompleteSignature"),
            E::UnknownKey => ("UnrecognizedClientException", "InvalidClientTokenId"),
            E::ExpiredToken => ("ExpiredTokenException", "ExpiredToken"),
            E::Scope | E::Expired(_) | E::NotYetCurrent(_) | E::Mismatch => {
                ("InvalidSignatureException", "SignatureDoesNotMatch")
            }
        };
        let status = if matches!(error, E::Incomplete(_)) {
            400
        } else {
            403
        };
        let code = if self == Self::Json { json } else { query };
        Fault::new(status, code, error.to_string())
    }
}
