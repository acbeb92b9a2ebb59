//! IAM, as far as an execution role needs it.

use bytes::Bytes;
use hearth_sigv4::uri::encode;
use http::Method;
use http::header::CONTENT_TYPE;

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::payload::Payload;

impl Client {
    /// `CreateRole`, unless there is one with that name. `trust` is the policy of who may assume it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn ensure_role(&self, name: &str, trust: &str) -> Result<(), ClientError> {
        let form = format!(
            "Action=CreateRole&Version=2010-05-08&RoleName={}&AssumeRolePolicyDocument={}",
            encode(name),
            encode(trust)
        );
        let made = self.call_text(Call {
            operation: "CreateRole",
            service: "iam",
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")],
            payload: Payload::from(Bytes::from(form)),
        });
        match made.await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .refusal()
                    .is_some_and(|refusal| refusal.code.starts_with("EntityAlreadyExists")) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
