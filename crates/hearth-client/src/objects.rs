//! S3, as far as artifacts need it: a bucket, and an object in it.

use bytes::Bytes;
use hearth_sigv4::uri::encode;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::payload::Payload;

const GET_OBJECT: &str = "GetObject";

/// An object as it comes.
pub struct ObjectContent {
    body: Incoming,
    limit_bytes: u64,
    read_bytes: u64,
}

impl ObjectContent {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the object could not be read to its end, or is larger than what was asked for.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| ClientError::Broken {
                operation: GET_OBJECT,
                source,
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.read_bytes += data.len() as u64;
            if self.read_bytes > self.limit_bytes {
                return Err(ClientError::TooLarge {
                    operation: GET_OBJECT,
                    limit_bytes: self.limit_bytes,
                });
            }
            return Ok(Some(data));
        }
        Ok(None)
    }
}

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
        let path = object_path(bucket, key);
        self.call_text(s3("PutObject", path, payload)).await?;
        Ok(())
    }

    /// `GetObject`: its content, of at most so many bytes.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn get_object(
        &self,
        bucket: &str,
        key: &str,
        limit_bytes: u64,
    ) -> Result<ObjectContent, ClientError> {
        let call = Call {
            method: Method::GET,
            ..s3(GET_OBJECT, object_path(bucket, key), Payload::empty())
        };
        let answer = self.send(call).await?;
        Ok(ObjectContent {
            body: answer.into_body(),
            limit_bytes,
            read_bytes: 0,
        })
    }
}

/// Buckets are in the path: a name under the host's would need a certificate for it.
fn object_path(bucket: &str, key: &str) -> String {
    let key: Vec<_> = key.split('/').map(encode).collect();
    format!("/{}/{}", encode(bucket), key.join("/"))
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
