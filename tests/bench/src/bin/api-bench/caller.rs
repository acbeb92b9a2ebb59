//! One caller with one connection that is kept.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hearth_sigv4::{Signer, payload_hash};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::front::Front;

const API: &str = "/2025-09-09";

pub(crate) struct Caller<'a> {
    front: &'a Front,
    connection: SendRequest<Full<Bytes>>,
}

impl<'a> Caller<'a> {
    pub(crate) async fn connect(front: &'a Front) -> Result<Self> {
        let stream = TcpStream::connect(front.authority()).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self { front, connection })
    }

    pub(crate) async fn create_image(&mut self, name: &str) -> Result<String> {
        let input = serde_json::json!({
            "name": name,
            "baseImageArn": "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1",
            "buildRoleArn": "arn:aws:iam::000000000000:role/build",
            "codeArtifact": {"uri": "s3://bucket/app.zip"},
            "resources": [{"minimumMemoryInMiB": 512}],
        });
        let made = self
            .call(Method::POST, "/microvm-images", Some(&input))
            .await?;
        Ok(made["imageArn"].as_str().context("no image")?.to_owned())
    }

    pub(crate) async fn image_state(&mut self, arn: &str) -> Result<String> {
        let path = format!("/microvm-images/{}", hearth_sigv4::uri::encode(arn));
        let image = self.call(Method::GET, &path, None).await?;
        Ok(image["state"].as_str().context("no state")?.to_owned())
    }

    /// Answers the microVM's id.
    pub(crate) async fn run(&mut self, image: &str) -> Result<String> {
        let input = serde_json::json!({"imageIdentifier": image});
        let started = self.call(Method::POST, "/microvms", Some(&input)).await?;
        Ok(started["microvmId"]
            .as_str()
            .context("no microVM")?
            .to_owned())
    }

    pub(crate) async fn get(&mut self, microvm: &str) -> Result<()> {
        self.call(Method::GET, &format!("/microvms/{microvm}"), None)
            .await?;
        Ok(())
    }

    /// A page of fifty, which is what a caller gets who does not say how many.
    pub(crate) async fn list(&mut self) -> Result<()> {
        self.call(Method::GET, "/microvms", None).await?;
        Ok(())
    }

    pub(crate) async fn terminate(&mut self, microvm: &str) -> Result<()> {
        self.call(Method::DELETE, &format!("/microvms/{microvm}"), None)
            .await?;
        Ok(())
    }

    async fn call(&mut self, method: Method, path: &str, input: Option<&Value>) -> Result<Value> {
        let body = input
            .map(|input| Bytes::from(input.to_string()))
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{API}{path}"))
            .header(HOST, self.front.authority())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(())?;
        let (mut head, ()) = request.into_parts();
        let key = self.front.key()?;
        let signer = Signer {
            access_key_id: &key.id,
            secret_access_key: &key.secret,
            region: self.front.region(),
            service: "lambda",
        };
        signer.sign(&mut head, &payload_hash(&body), Timestamp::now())?;
        self.connection.ready().await?;
        let request = Request::from_parts(head, Full::new(body));
        let answer = self.connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).context("an answer is not JSON")
    }
}
