//! Requests through the endpoint of a microVM.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;

use crate::client::Client;
use crate::connection::Address;
use crate::error::ClientError;
use crate::payload::Payload;

/// The header that carries the token.
pub(crate) const AUTH: &str = "x-aws-proxy-auth";

/// The header that names a port of the application.
pub(crate) const PORT: &str = "x-aws-proxy-port";

/// A request to an application.
#[derive(Debug, Clone)]
pub struct EndpointRequest {
    /// The method.
    pub method: Method,
    /// Path and query, encoded.
    pub path: String,
    /// Headers, beside those that the endpoint needs.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
    /// The application's port; 8080 when missing.
    pub port: Option<u16>,
}

impl Client {
    /// Sends a request through an endpoint with a token, and reads the head of the answer. Wakes a suspended microVM.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; no status of the application is an error.
    pub async fn request(
        &self,
        endpoint: &str,
        token: &str,
        request: EndpointRequest,
    ) -> Result<Response<Incoming>, ClientError> {
        let address = Address::of_endpoint(endpoint)?;
        let mut sent = Request::builder()
            .method(request.method)
            .uri(&request.path)
            .header(HOST, address.authority())
            .header(AUTH, token);
        if let Some(port) = request.port {
            sent = sent.header(PORT, port);
        }
        let payload = Payload::from(request.body);
        if let Some(length) = payload.length.filter(|length| *length > 0) {
            sent = sent.header(CONTENT_LENGTH, length);
        }
        let mut sent = sent.body(payload.into_body())?;
        for (name, value) in request.headers {
            sent.headers_mut().insert(name, value);
        }
        self.connector.send("the request", &address, sent).await
    }
}
