//! One account's signed requests, each on a connection of its own.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hearth_sigv4::{Signer, payload_hash};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long a call may take: one that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) host: String,
    pub(crate) region: String,
    pub(crate) number: String,
    pub(crate) key_id: String,
    pub(crate) secret: String,
    /// The address that it comes from. 127.0.0.1 is taken for many clients; any other one has a part of the places.
    pub(crate) from: Ipv4Addr,
}

/// A request before it is signed.
pub(crate) struct Call<'a> {
    pub(crate) service: &'a str,
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    pub(crate) body: Bytes,
}

impl<'a> Call<'a> {
    pub(crate) fn s3(method: Method, path: &'a str, body: Bytes) -> Self {
        Self {
            service: "s3",
            method,
            path,
            headers: &[],
            body,
        }
    }
}

impl Account {
    /// A connection from its address.
    pub(crate) async fn connect(&self) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let stream = socket.connect(self.host.parse()?).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Makes a call and reads the answer whole; any other status than a good one is an error.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Bytes> {
        timeout(PATIENCE, self.call_once(call))
            .await
            .context("it took too long")?
    }

    /// An operation of CloudWatch Logs.
    pub(crate) async fn logs(&self, operation: &str, input: &serde_json::Value) -> Result<Bytes> {
        let target = format!("Logs_20140328.{operation}");
        self.call(Call {
            service: "logs",
            method: Method::POST,
            path: "/",
            headers: &[
                ("x-amz-target", &target),
                ("content-type", "application/x-amz-json-1.1"),
            ],
            body: input.to_string().into(),
        })
        .await
    }

    /// `PutLogEvents` with an input that is made already.
    pub(crate) async fn put_events(&self, input: &Bytes) -> Result<()> {
        let call = Call {
            service: "logs",
            method: Method::POST,
            path: "/",
            headers: &[
                ("x-amz-target", "Logs_20140328.PutLogEvents"),
                ("content-type", "application/x-amz-json-1.1"),
            ],
            body: input.clone(),
        };
        self.call(call).await.map(drop)
    }

    /// A request as it goes over the wire, for whoever sends it piece by piece: all lines of its head but the empty one.
    pub(crate) fn head(&self, call: &Call<'_>) -> Result<String> {
        let head = self.signed(call)?;
        let mut text = format!("{} {} HTTP/1.1\r\n", head.method, head.uri);
        for (name, value) in &head.headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str()?));
        }
        Ok(text)
    }

    fn signed(&self, call: &Call<'_>) -> Result<http::request::Parts> {
        let request = Request::builder().method(&call.method).uri(call.path);
        let (mut head, ()) = request.header(HOST, &self.host).body(())?.into_parts();
        for (name, value) in call.headers {
            let name = HeaderName::from_static(name);
            head.headers.insert(name, HeaderValue::from_str(value)?);
        }
        let signer = Signer {
            access_key_id: &self.key_id,
            secret_access_key: &self.secret,
            region: &self.region,
            service: call.service,
        };
        signer.sign(&mut head, &payload_hash(&call.body), Timestamp::now())?;
        Ok(head)
    }

    async fn call_once(&self, call: Call<'_>) -> Result<Bytes> {
        let mut head = self.signed(&call)?;
        head.headers
            .insert(CONTENT_LENGTH, (call.body.len() as u64).into());
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::from_parts(head, Full::new(call.body));
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        driver.abort();
        ensure!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

/// A member of a JSON object that is a text.
pub(crate) fn member(body: &Bytes, name: &str) -> Result<String> {
    let value: serde_json::Value = serde_json::from_slice(body)?;
    let Some(text) = value[name].as_str() else {
        bail!("the answer has no {name}");
    };
    Ok(text.to_owned())
}
