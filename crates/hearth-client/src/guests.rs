//! Hearth's own operations on running guests: processes, files, forks (`docs/hearth-api.md`).

use bytes::Bytes;
use hearth_sigv4::uri::encode;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::exec::{Exec, ExecRequest};
use crate::microvms::with_query;
use crate::payload::Payload;

/// A file of a guest as it comes.
pub struct FileContent {
    body: Incoming,
}

const GET_FILE: &str = "GetMicrovmFile";

impl FileContent {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the file could not be read to its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| ClientError::Broken {
                operation: GET_FILE,
                source,
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl Client {
    /// Starts a process beside the application.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; also when the process cannot be started.
    pub async fn exec(&self, id: &str, request: &ExecRequest) -> Result<Exec, ClientError> {
        let call = Call::lambda("ExecMicrovm", Method::POST, operation(id, "exec"));
        let answer = self.send(call.json(&request.to_json())).await?;
        Ok(Exec::new(answer.into_body()))
    }

    /// One regular file.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn get_file(&self, id: &str, path: &str) -> Result<FileContent, ClientError> {
        let pairs = [("path", path)];
        let address = with_query(&operation(id, "files"), pairs.into_iter());
        let answer = self.send(Call::lambda(GET_FILE, Method::GET, address));
        Ok(FileContent {
            body: answer.await?.into_body(),
        })
    }

    /// Writes one file with these permissions, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn put_file(
        &self,
        id: &str,
        path: &str,
        mode: u32,
        payload: Payload,
    ) -> Result<Value, ClientError> {
        let mode = format!("{mode:04o}");
        let pairs = [("path", path), ("mode", &mode)];
        let address = with_query(&operation(id, "files"), pairs.into_iter());
        let mut call = Call::lambda("PutMicrovmFile", Method::PUT, address);
        call.payload = payload;
        self.call(call).await
    }

    /// What the application wrote, wherever its output goes: the newest lines, oldest first.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn output(&self, id: &str, lines: usize) -> Result<String, ClientError> {
        let limit = lines.to_string();
        let address = with_query(
            &operation(id, "logs"),
            [("limit", limit.as_str())].into_iter(),
        );
        self.call_text(Call::lambda("GetMicrovmLogs", Method::GET, address))
            .await
    }

    /// Makes a second microVM that begins where the first is now.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn fork(&self, id: &str, input: &Value) -> Result<Value, ClientError> {
        let call = Call::lambda("ForkMicrovm", Method::POST, operation(id, "fork"));
        self.call(call.json(input)).await
    }
}

fn operation(id: &str, word: &str) -> String {
    format!("/hearth/v1/microvms/{}/{word}", encode(id))
}
