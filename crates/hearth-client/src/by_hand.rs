//! Requests that are written by hand: for who tries what no client of HTTP sends.

use hearth_sigv4::{Signer, UNSIGNED_PAYLOAD, payload_hash};
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use jiff::Timestamp;

use crate::client::Client;
use crate::connection::{Address, Stream};
use crate::error::ClientError;

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// The signing name of the service.
    pub service: &'static str,
    /// The method.
    pub method: Method,
    /// Path and query, encoded.
    pub path: String,
    /// Headers, beside `host` and those of the signature.
    pub headers: Vec<(&'static str, String)>,
}

impl Head {
    /// A head without headers of its own.
    #[must_use]
    pub fn new(service: &'static str, method: Method, path: String) -> Self {
        Self {
            service,
            method,
            path,
            headers: Vec::new(),
        }
    }

    /// The same with one more header, which is signed too.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn parts(&self, host: &str) -> Result<Parts, ClientError> {
        let request = Request::builder().method(&self.method).uri(&self.path);
        let (mut head, ()) = request.body(())?.into_parts();
        let value = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value(host)?);
        for (name, text) in &self.headers {
            headers.insert(HeaderName::from_static(name), value(text)?);
        }
        head.headers = headers;
        Ok(head)
    }
}

impl Client {
    /// A connection to the service, on which nothing was said yet.
    ///
    /// # Errors
    ///
    /// When it does not come about.
    pub async fn open(&self) -> Result<Box<dyn Stream>, ClientError> {
        let address = Address::of_url(&self.settings().endpoint_url)?;
        self.connector.connect(&address).await
    }

    /// A connection to an endpoint, on which nothing was said yet.
    ///
    /// # Errors
    ///
    /// When it does not come about.
    pub async fn open_endpoint(&self, endpoint: &str) -> Result<Box<dyn Stream>, ClientError> {
        self.connector
            .connect(&Address::of_endpoint(endpoint)?)
            .await
    }

    /// What the `host` header of the service is.
    ///
    /// # Errors
    ///
    /// When the address of the service cannot be read.
    pub fn host(&self) -> Result<String, ClientError> {
        Ok(Address::of_url(&self.settings().endpoint_url)?.authority())
    }

    /// A head, signed at a time, as it goes over the wire: all lines but the empty one behind it. `payload` is the hash of the body,
    /// or what stands for it.
    ///
    /// # Errors
    ///
    /// When it cannot be put into HTTP or signed.
    pub fn signed_head(
        &self,
        head: &Head,
        payload: &str,
        at: Timestamp,
    ) -> Result<String, ClientError> {
        let mut parts = head.parts(&self.host()?)?;
        self.signer(head.service).sign(&mut parts, payload, at)?;
        let mut text = format!("{} {} HTTP/1.1\r\n", head.method, head.path);
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        Ok(text)
    }

    /// The path and query of a request that whoever has them may make for `expires_s` seconds from the time `at`.
    ///
    /// # Errors
    ///
    /// When it cannot be put into HTTP or signed.
    pub fn presigned(
        &self,
        head: &Head,
        body: &[u8],
        expires_s: u32,
        at: Timestamp,
    ) -> Result<String, ClientError> {
        let hash = match head.service {
            // S3 takes the body as it comes.
            "s3" => UNSIGNED_PAYLOAD.to_owned(),
            _ => payload_hash(body),
        };
        let parts = head.parts(&self.host()?)?;
        let signer = self.signer(head.service);
        Ok(signer.presign(parts, &hash, expires_s, at)?)
    }

    fn signer(&self, service: &'static str) -> Signer<'_> {
        let settings = self.settings();
        Signer {
            access_key_id: &settings.access_key_id,
            secret_access_key: &settings.secret_access_key,
            region: &settings.region,
            service,
        }
    }
}
