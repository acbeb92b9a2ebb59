//! Requests to endpoints.

use anyhow::Result;
use hearth_client::{Client, EndpointRequest};
use http::Method;

/// Whether an endpoint gives what is behind it to whoever has this token.
pub(super) async fn reach(
    client: &Client,
    endpoint: &str,
    token: &str,
    port: Option<u16>,
) -> Result<bool> {
    let request = EndpointRequest {
        method: Method::GET,
        path: "/".to_owned(),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        port,
    };
    let answer = client.request(endpoint, token, request).await?;
    Ok(answer.status().as_u16() < 300)
}
