//! Errors of calls to the service.

use std::io;

use hearth_sigv4::SignError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address of the service cannot be read.
    #[error("{0:?} is no address of a service; one looks like http://127.0.0.1:4580")]
    Address(String),
    /// The certificates to trust cannot be read.
    #[error("the CA bundle has no certificates that can be used")]
    Bundle,
    /// No connection in time.
    #[error("nothing answers at {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The server's certificate is not trusted, or the server does not speak TLS.
    #[error("{address} did not prove who it is")]
    Handshake {
        /// Host and port.
        address: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The request cannot be put into HTTP.
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
    /// It cannot be signed.
    #[error("the request cannot be signed")]
    Sign(#[from] SignError),
    /// The connection ended before the answer did.
    #[error("the connection broke before the answer was complete")]
    Broken {
        /// What was asked.
        operation: &'static str,
        /// What failed.
        #[source]
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("the service did not answer in time")]
    Silent(&'static str),
    /// The service refuses the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer does not have the form that the API defines.
    #[error("the answer cannot be read; are this program and the service of the same release?")]
    Malformed {
        /// What was asked.
        operation: &'static str,
        /// What failed.
        #[source]
        source: serde_json::Error,
    },
    /// A streamed answer ended early.
    #[error("the answer was cut off")]
    CutOff(&'static str),
    /// An answer is larger than what was asked for.
    #[error("the answer has more than {limit_bytes} bytes")]
    TooLarge {
        /// What was asked.
        operation: &'static str,
        /// What would have been read.
        limit_bytes: u64,
    },
    /// The shell's WebSocket failed.
    #[error("the shell's connection failed")]
    Shell(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// A file of ours cannot be read.
    #[error("a local file cannot be read")]
    File(#[source] io::Error),
}

/// An error answer. Its text is the service's: people know what they typed, and not what operations it takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Refusal {
    /// What was asked, for logs.
    pub operation: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The code, such as `ResourceNotFoundException`.
    pub code: String,
    /// The service's message.
    pub message: String,
}

impl ClientError {
    /// The refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the service answered that the resource does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_not_found)
    }
}

impl Refusal {
    /// Whether the resource does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status == 404 || self.code == "ResourceNotFoundException"
    }

    /// Reads an error answer: JSON of the Lambda family or of logs, or XML of S3 and STS.
    pub(crate) fn read(
        operation: &'static str,
        status: u16,
        header_code: Option<&str>,
        body: &[u8],
    ) -> Self {
        let text = String::from_utf8_lossy(body);
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |names: &[&str]| {
            let found = names.iter().find_map(|name| json.get(name)?.as_str());
            found.map(str::to_owned)
        };
        let code = header_code
            .map(str::to_owned)
            .or_else(|| member(&["__type"]))
            .or_else(|| element(&text, "Code"));
        let message = member(&["message", "Message"]).or_else(|| element(&text, "Message"));
        Self {
            operation,
            status,
            // "code:address" in the header of some services.
            code: code
                .and_then(|code| code.split(':').next().map(str::to_owned))
                .unwrap_or_else(|| format!("HTTP {status}")),
            message: message
                .unwrap_or_else(|| format!("the service refused it with HTTP {status}")),
        }
    }
}

/// The text of the first XML element with that name. Enough for errors and for the few answers that are read here.
pub(crate) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ];
    Some(
        entities
            .iter()
            .fold(text.to_owned(), |text, (entity, character)| {
                text.replace(entity, character)
            }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>, body: &str) -> (String, String) {
        let refusal = Refusal::read("GetMicrovm", 400, header, body.as_bytes());
        (refusal.code, refusal.message)
    }

    #[test]
    fn every_family_words_its_errors_differently() {
        let pair = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        assert_eq!(
            read(Some("ConflictException"), r#"{"message":"not now"}"#),
            pair("ConflictException", "not now")
        );
        assert_eq!(
            read(
                None,
                r#"{"__type":"InvalidParameterException","message":"x"}"#
            ),
            pair("InvalidParameterException", "x")
        );
        assert_eq!(
            read(
                None,
                "<Error><Code>NoSuchBucket</Code><Message>a &lt;b&gt; &amp; c</Message></Error>"
            ),
            pair("NoSuchBucket", "a <b> & c")
        );
        assert_eq!(
            read(None, "gateway"),
            pair("HTTP 400", "the service refused it with HTTP 400")
        );
    }

    #[test]
    fn no_message_names_an_operation() {
        let refusal = Refusal::read(
            "PutMicrovmFile",
            400,
            None,
            br#"{"message":"/x is no file"}"#,
        );
        let operation = "PutMicrovmFile";
        for error in [
            ClientError::from(refusal),
            ClientError::Silent(operation),
            ClientError::CutOff(operation),
            ClientError::TooLarge {
                operation,
                limit_bytes: 1,
            },
        ] {
            assert!(!error.to_string().contains(operation), "{error}");
        }
    }
}
