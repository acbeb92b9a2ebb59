//! Attacks of clients that have a presigned URL, or no credentials at all.

use anyhow::Result;
use hearth_client::{Client, Head, Settings};
use http::Method;
use jiff::{SignedDuration, Timestamp};

use super::super::attempt::Attempt;
use super::super::fixture::Fixture;
use super::super::wire::{is_good, say, status};
use crate::view::text;

const EXEC: &str = r#"{"command": ["id"]}"#;

/// Age of the URL of the attack: longer than URLs are valid that do not name an object.
const AGE: SignedDuration = SignedDuration::from_mins(20);

/// Runs a command by a URL that was presigned for a day twenty minutes ago. Only URLs of objects may be valid for so
/// long.
pub(super) async fn presigned_exec(fixture: &Fixture) -> Result<Attempt> {
    let client = &fixture.tenant;
    let path = format!("/hearth/v1/microvms/{}/exec", fixture.open.id);
    let head = Head::new("lambda", Method::POST, path);
    let address = client.presigned(&head, EXEC.as_bytes(), 24 * 3600, Timestamp::now() - AGE)?;
    Ok(Attempt {
        attack: ask(client, "POST", &address, EXEC).await?,
        control: ask(client, "GET", &presigned_get(fixture, client)?, "").await?,
    })
}

/// Uses a presigned URL whose key was deleted.
pub(super) async fn deleted_key(fixture: &Fixture) -> Result<Attempt> {
    let account = fixture.tenant.account().await?;
    let key = fixture.operator.create_key(&account).await?;
    let id = text(&key, "accessKeyId").to_owned();
    let client = Client::new(Settings {
        access_key_id: id.clone(),
        secret_access_key: text(&key, "secretAccessKey").to_owned(),
        ..fixture.tenant.settings().clone()
    })?;
    let address = presigned_get(fixture, &client)?;
    let control = ask(&client, "GET", &address, "").await?;
    fixture.operator.delete_key(&id).await?;
    Ok(Attempt {
        attack: ask(&client, "GET", &address, "").await?,
        control,
    })
}

fn presigned_get(fixture: &Fixture, client: &Client) -> Result<String> {
    let path = format!("/2025-09-09/microvms/{}", fixture.open.id);
    let head = Head::new("lambda", Method::GET, path);
    Ok(client.presigned(&head, b"", 300, Timestamp::now())?)
}

async fn ask(client: &Client, method: &str, address: &str, body: &str) -> Result<bool> {
    let request = format!(
        "{method} {address} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        client.host()?,
        body.len()
    );
    let mut stream = client.open().await?;
    Ok(is_good(&say(&mut *stream, request.as_bytes()).await))
}

/// Reads metrics without a key: by the service's own name, where the metrics must not name microVMs of tenants, and by
/// another host name, as in DNS rebinding.
pub(super) async fn metrics(fixture: &Fixture) -> Result<Attempt> {
    let client = &fixture.tenant;
    let get = async |path: &str, host: &str| -> Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        Ok(say(&mut *client.open().await?, request.as_bytes()).await)
    };
    let own = get("/metrics", &client.host()?).await?;
    let foreign = get("/metrics", "rebound.example").await?;
    // A listener that is there answers, whatever it says.
    let is_there = status(&get("/health", &client.host()?).await?).is_some();
    Ok(Attempt {
        attack: own.contains("microvm-") || is_good(&foreign),
        control: is_there,
    })
}
