//! Attacks on S3 by requests that exceed their signature.

use anyhow::Result;
use bytes::Bytes;
use hearth_client::{Client, Head, UNSIGNED_PAYLOAD, payload_hash};
use http::Method;
use jiff::{SignedDuration, Timestamp};

use super::super::attempt::Attempt;
use super::super::fixture::{BUCKET, Fixture};
use super::super::wire::{is_good, pour, say};

/// Most bytes that are sent of a body that should be refused at its beginning: more than the buffers on the way hold.
const OFFERED_BYTES: usize = 48 << 20;

const PIECE: &[u8] = &[0; 256 << 10];

/// Sends a browser's upload form with a key's id and no signature. The attack succeeds if the service reads all of it
/// before it answers.
pub(super) async fn form_before_signature(fixture: &Fixture) -> Result<Attempt> {
    let client = &fixture.tenant;
    let form = concat!(
        "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nx\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"policy\"\r\n\r\ne30=\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"signature\"\r\n\r\nc2lnbmF0dXJl\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"AWSAccessKeyId\"\r\n\r\nKEY\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"
    );
    let form = form.replace("KEY", &client.settings().access_key_id);
    let head = format!(
        "POST /{BUCKET} HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n{form}",
        client.host()?,
        form.len() + 2 * OFFERED_BYTES,
    );
    let taken_bytes = pour(client.open().await?, &head, PIECE, OFFERED_BYTES).await;
    let content = Bytes::from(vec![0; 4 << 20]).into();
    Ok(Attempt {
        attack: taken_bytes >= OFFERED_BYTES,
        control: client
            .put_object(BUCKET, "mine/whole", content)
            .await
            .is_ok(),
    })
}

/// Uploads in chunks, of which the first declares four gigabytes. The attack succeeds if the service accepts it.
pub(super) async fn chunk_without_end(fixture: &Fixture) -> Result<Attempt> {
    const CLAIM: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    /// The CRC32 of 1,024 times `x`.
    const TRAILER: &str = "x-amz-checksum-crc32:SNfwYw==";
    let client = &fixture.tenant;
    let upload = |decoded_bytes: usize| {
        let path = format!("/{BUCKET}/mine/chunks");
        let head = Head::new("s3", Method::PUT, path)
            .with("content-encoding", "aws-chunked")
            .with("transfer-encoding", "chunked")
            .with("x-amz-trailer", "x-amz-checksum-crc32")
            .with("x-amz-decoded-content-length", decoded_bytes.to_string());
        client.signed_head(&head, CLAIM, Timestamp::now())
    };
    let head = upload(0xffff_ffff)?;
    // One piece of HTTP for each piece of the body.
    let mut piece = format!("{:x}\r\n", PIECE.len()).into_bytes();
    piece.extend_from_slice(PIECE);
    piece.extend_from_slice(b"\r\n");
    let first = "ffffffff\r\n";
    let head = format!("{head}\r\n{:x}\r\n{first}\r\n", first.len());
    let taken_bytes = pour(client.open().await?, &head, &piece, OFFERED_BYTES).await;
    let content = format!("400\r\n{}\r\n0\r\n{TRAILER}\r\n\r\n", "x".repeat(0x400));
    let whole = format!(
        "{}connection: close\r\n\r\n{:x}\r\n{content}\r\n0\r\n\r\n",
        upload(0x400)?,
        content.len()
    );
    let answer = say(&mut *client.open().await?, whole.as_bytes()).await;
    Ok(Attempt {
        attack: taken_bytes >= OFFERED_BYTES,
        control: is_good(&answer),
    })
}

/// Reads an object with a signature that is twenty minutes old.
pub(super) async fn old_signature(fixture: &Fixture) -> Result<Attempt> {
    let client = &fixture.tenant;
    let read = async |at: Timestamp| -> Result<bool> {
        let head = Head::new("s3", Method::GET, format!("/{BUCKET}/mine/a"));
        let head = client.signed_head(&head, &payload_hash(b""), at)?;
        let request = format!("{head}connection: close\r\n\r\n");
        Ok(is_good(
            &say(&mut *client.open().await?, request.as_bytes()).await,
        ))
    };
    let now = Timestamp::now();
    Ok(Attempt {
        attack: read(now - SignedDuration::from_mins(20)).await?,
        control: read(now).await?,
    })
}

/// Uses a presigned URL of an upload with headers that it does not sign: they turn the upload into a copy of another
/// object, or set its metadata.
pub(super) async fn more_headers(fixture: &Fixture) -> Result<Attempt> {
    let client = &fixture.tenant;
    let head = Head::new("s3", Method::PUT, format!("/{BUCKET}/mine/uploaded"));
    let address = client.presigned(&head, b"", 300, Timestamp::now())?;
    let copy = format!("x-amz-copy-source: /{BUCKET}/closed/b\r\n");
    let mut attack = false;
    for more in [
        copy.as_str(),
        "x-amz-meta-owner: nobody\r\n",
        "x-amz-tagging: a=b\r\n",
        "x-amz-acl: public-read\r\n",
        "x-amz-storage-class: GLACIER\r\n",
    ] {
        attack |= put(client, &address, more).await?;
    }
    Ok(Attempt {
        attack,
        control: put(client, &address, "").await?,
    })
}

async fn put(client: &Client, address: &str, headers: &str) -> Result<bool> {
    let request = format!(
        "PUT {address} HTTP/1.1\r\nhost: {}\r\nx-amz-content-sha256: {UNSIGNED_PAYLOAD}\r\ncontent-length: 0\r\nconnection: close\r\n{headers}\r\n",
        client.host()?
    );
    let mut stream = client.open().await?;
    Ok(is_good(&say(&mut *stream, request.as_bytes()).await))
}
