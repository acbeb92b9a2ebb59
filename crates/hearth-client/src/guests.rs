//! Hearth's own operations on running guests: processes, files, forks (`docs/hearth-api.md`).

use bytes::Bytes;
use hearth_sigv4::uri::encode;
use http::Method;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::exec::{ExecHandle, ExecRequest, ExecSender};
use crate::microvms::with_query;
use crate::payload::Payload;

/// A stream of bytes: a file of a guest, or the output of its application.
pub struct FileContent {
    body: Incoming,
    operation: &'static str,
}

const GET_FILE: &str = "GetMicrovmFile";
const GET_LOGS: &str = "GetMicrovmLogs";

impl FileContent {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the stream could not be read to its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| ClientError::Broken {
                operation: self.operation,
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
    pub async fn exec(&self, id: &str, request: &ExecRequest) -> Result<ExecHandle, ClientError> {
        let call = Call::lambda("ExecMicrovm", Method::POST, operation(id, "exec"));
        let answer = self.send(call.json(&request.to_json())).await?;
        Ok(ExecHandle::new(answer.into_body()))
    }

    /// The same, with input to the process while it runs.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; also when the process cannot be started.
    pub async fn converse(
        &self,
        id: &str,
        request: &ExecRequest,
    ) -> Result<(ExecHandle, ExecSender), ClientError> {
        let (input, lines) = ExecSender::new(request);
        let mut call = Call::lambda("ExecMicrovm", Method::POST, operation(id, "exec"));
        call.headers
            .push((CONTENT_TYPE.as_str(), "application/x-ndjson"));
        call.payload = Payload::lines(lines);
        let answer = self.send(call).await?;
        Ok((ExecHandle::new(answer.into_body()), input))
    }

    /// One regular file.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn get_file(&self, id: &str, path: &str) -> Result<FileContent, ClientError> {
        self.get(id, [("path", path)].into_iter()).await
    }

    /// The content of a directory, as a tar archive. The guest makes the archive, so it is not trusted.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn get_directory(&self, id: &str, path: &str) -> Result<FileContent, ClientError> {
        self.get(id, [("path", path), ("format", "tar")].into_iter())
            .await
    }

    async fn get<'a>(
        &self,
        id: &str,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<FileContent, ClientError> {
        let address = with_query(&operation(id, "files"), pairs);
        let answer = self.send(Call::lambda(GET_FILE, Method::GET, address));
        Ok(FileContent {
            body: answer.await?.into_body(),
            operation: GET_FILE,
        })
    }

    /// Writes one file with these permissions, atomically.
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
        self.put(id, pairs.into_iter(), payload).await
    }

    /// Unpacks a tar archive into a directory that exists.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; some of it may have been unpacked.
    pub async fn put_directory(
        &self,
        id: &str,
        path: &str,
        payload: Payload,
    ) -> Result<Value, ClientError> {
        let pairs = [("path", path), ("format", "tar")];
        self.put(id, pairs.into_iter(), payload).await
    }

    async fn put<'a>(
        &self,
        id: &str,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        payload: Payload,
    ) -> Result<Value, ClientError> {
        let address = with_query(&operation(id, "files"), pairs);
        let mut call = Call::lambda("PutMicrovmFile", Method::PUT, address);
        call.payload = payload;
        self.call(call).await
    }

    /// The newest lines of the application's output, oldest first, whichever log group they are in.
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
        self.call_text(Call::lambda(GET_LOGS, Method::GET, address))
            .await
    }

    /// The same, and later output, until the microVM is TERMINATED or an hour has passed.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn follow_output(&self, id: &str, lines: usize) -> Result<FileContent, ClientError> {
        let limit = lines.to_string();
        let pairs = [("limit", limit.as_str()), ("follow", "true")];
        let address = with_query(&operation(id, "logs"), pairs.into_iter());
        let answer = self.send(Call::lambda(GET_LOGS, Method::GET, address));
        Ok(FileContent {
            body: answer.await?.into_body(),
            operation: GET_LOGS,
        })
    }

    /// Forks a microVM: makes a second one with the present state of the first.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn fork(&self, id: &str, input: &Value) -> Result<Value, ClientError> {
        let call = Call::lambda("ForkMicrovm", Method::POST, operation(id, "fork"));
        self.call(call.json(input)).await
    }

    /// Where the time of a microVM's last start went.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn start_times(&self, id: &str) -> Result<Value, ClientError> {
        let path = operation(id, "times");
        self.call(Call::lambda("GetMicrovmTimes", Method::GET, path))
            .await
    }

    /// Sets which activity beside traffic keeps a microVM from being idle.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn set_activity(&self, id: &str, input: &Value) -> Result<Value, ClientError> {
        let path = operation(id, "activity");
        let call = Call::lambda("PutMicrovmActivity", Method::PUT, path);
        self.call(call.json(input)).await
    }
}

fn operation(id: &str, word: &str) -> String {
    format!("/hearth/v1/microvms/{}/{word}", encode(id))
}
