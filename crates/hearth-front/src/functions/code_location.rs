//! Addresses at which the code of functions and layers can be fetched without a signature, for ten minutes.
//!
//! The address has a token that names the zip and the time, under the MAC of page tokens. Whoever has it may fetch that
//! zip, as with AWS's presigned addresses.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::unfold;
use hearth_functions::{CodeFile, Owner};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use super::service::now_ms;
use crate::fault::Fault;
use crate::function_service::{CODE_PATH, FunctionService};
use crate::lambda::Context;
use crate::lambda::page::PageTokens;
use crate::uri::query_pairs;
use crate::wire::json::{Family, rest_fault};
use crate::wire::{Body, BodyError, Reply, reply};

/// How long an address can be used, in milliseconds: as long as on AWS.
const LIFETIME_MS: i64 = 10 * 60 * 1000;

/// What tokens of code are, to tell them from those of pages.
const KIND: &str = "function code";

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Token {
    account: String,
    region: String,
    sha256: String,
    end_ms: i64,
}

/// The address of a zip of this owner.
pub(super) fn location(
    context: &Context<'_>,
    owner: &Owner,
    sha256: &str,
) -> Result<String, Fault> {
    let token = Token {
        account: owner.account.clone(),
        region: owner.region.clone(),
        sha256: sha256.to_owned(),
        end_ms: now_ms().saturating_add(LIFETIME_MS),
    };
    let token = serde_json::to_string(&token).map_err(|error| Fault::internal(&error))?;
    let token = context.pages.seal(KIND, &token);
    // Padding would have to be encoded.
    let token = token.trim_end_matches('=');
    Ok(format!("{}{CODE_PATH}?token={token}", context.base_url))
}

/// Answers a request for code.
pub(crate) async fn answer(functions: &FunctionService, pages: &PageTokens, head: &Parts) -> Reply {
    let answer = match open(pages, head.uri.query().unwrap_or_default()) {
        Some(token) if head.method == http::Method::GET => read(functions, token).await,
        _ => Err(denied()),
    };
    answer.unwrap_or_else(|fault| rest_fault(Family::Functions, &fault))
}

async fn read(functions: &FunctionService, token: Token) -> Result<Reply, Fault> {
    let store = Arc::clone(&functions.store);
    let account = token.account.clone();
    let found = functions.places.run(&account, move || {
        let owner = Owner {
            account: token.account,
            region: token.region,
        };
        store.code(&owner, &token.sha256)
    });
    let found = found.await.map_err(|error| Fault::internal(&error))?;
    let found = found.map_err(|error| Fault::internal(&error))?;
    let code = found.ok_or_else(denied)?;
    let mut answer = reply(200, "application/zip", "");
    let length = HeaderValue::from(code.bytes);
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    *answer.body_mut() = body(&code).await?;
    Ok(answer)
}

fn denied() -> Fault {
    Fault::access_denied("Request has expired or is not valid.")
}

fn open(pages: &PageTokens, query: &str) -> Option<Token> {
    let (_, text) = query_pairs(query).find(|(name, _)| name == "token")?;
    let padding = "=".repeat(text.len().wrapping_neg() % 4);
    let opened = pages.open(KIND, &format!("{text}{padding}"))?;
    let token: Token = serde_json::from_str(&opened).ok()?;
    (now_ms() < token.end_ms).then_some(token)
}

/// The bytes of a zip. It stays readable when it is removed.
async fn body(code: &CodeFile) -> Result<Body, Fault> {
    let file = tokio::fs::File::open(&code.path).await;
    let file = file.map_err(|error| Fault::internal(&error))?;
    let frames = unfold(file, |mut file| async {
        let mut buffer = vec![0; READ_BYTES];
        match file.read(&mut buffer).await {
            Ok(0) => None,
            Ok(length) => {
                buffer.truncate(length);
                Some((Ok(Frame::data(Bytes::from(buffer))), file))
            }
            Err(error) => Some((Err(BodyError::from(error)), file)),
        }
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}
