//! STS: the account of a key.

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;

use crate::client::{Call, Client};
use crate::error::{ClientError, element};
use crate::payload::Payload;

impl Client {
    /// The number of the account that this client's key belongs to.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn account(&self) -> Result<String, ClientError> {
        let operation = "GetCallerIdentity";
        let form = Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15");
        let answer = self.call_text(Call {
            operation,
            service: "sts",
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")],
            payload: Payload::from(form),
        });
        element(&answer.await?, "Account").ok_or(ClientError::CutOff(operation))
    }
}
