//! S3, as far as artifacts need it: a bucket, and an object in it.

use hearth_sigv4::uri::encode;
use http::Method;

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::payload::Payload;

impl Client {
    /// `CreateBucket`, unless it is there already.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn ensure_bucket(&self, bucket: &str) -> Result<(), ClientError> {
        let path = format!("/{}", encode(bucket));
        let made = self.call_text(s3("CreateBucket", path, Payload::empty()));
        match made.await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .refusal()
                    .is_some_and(|refusal| refusal.code == "BucketAlreadyOwnedByYou") =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// `PutObject`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn put_object(
        &self,
        bucket: &str,
        key: &str,
        payload: Payload,
    ) -> Result<(), ClientError> {
        let key: Vec<_> = key.split('/').map(encode).collect();
        let path = format!("/{}/{}", encode(bucket), key.join("/"));
        self.call_text(s3("PutObject", path, payload)).await?;
        Ok(())
    }
}

fn s3(operation: &'static str, path: String, payload: Payload) -> Call {
    Call {
        operation,
        service: "s3",
        method: Method::PUT,
        path,
        headers: Vec::new(),
        payload,
    }
}
