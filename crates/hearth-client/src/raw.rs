//! A signed request as it is: for services and operations that have no method of their own here.

use bytes::Bytes;
use http::Method;

use crate::client::{Call, Client, read};
use crate::error::ClientError;

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What is sent.
#[derive(Debug, Clone)]
pub struct RawRequest {
    /// The signing name of the service: `lambda`, `s3`, `logs`, `iam`.
    pub service: &'static str,
    /// The method.
    pub method: Method,
    /// Path and query, encoded.
    pub path: String,
    /// Headers, beside those of the signature.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Bytes,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body; of a refusal, what it says.
    pub body: String,
}

impl Client {
    /// Sends a request; a refusal is an answer too.
    ///
    /// # Errors
    ///
    /// When nothing was answered.
    pub async fn raw(&self, request: RawRequest) -> Result<RawAnswer, ClientError> {
        const OPERATION: &str = "the request";
        let call = Call {
            operation: OPERATION,
            service: request.service,
            method: request.method,
            path: request.path,
            headers: request.headers,
            payload: request.body.into(),
        };
        let answer = match self.send(call).await {
            Ok(answer) => answer,
            Err(ClientError::Refused(refusal)) => {
                return Ok(RawAnswer {
                    status: refusal.status,
                    body: format!("{}: {}", refusal.code, refusal.message),
                });
            }
            Err(error) => return Err(error),
        };
        let status = answer.status().as_u16();
        let body = read(OPERATION, answer, MAX_ANSWER_BYTES).await?;
        Ok(RawAnswer {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}
