//! Compact JWE with `dir` and `A256GCM` (RFC 7516 section 7.1, RFC 7518 sections 4.5 and 5.3), and nothing else of JOSE.
//!
//! ```text
//! BASE64URL({"kid":<uuid>,"alg":"dir","enc":"A256GCM"}) . (no key) . nonce(12) . ciphertext . tag(16)
//! ```
//!
//! The algorithm is fixed. The header must match and selects nothing, so there are no algorithm confusion attacks.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand;
use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest token that is parsed: the API issues none that are longer.
const MAX_BYTES: usize = 8000;

const TAG_LEN: usize = 16;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    kid: Uuid,
    alg: &'a str,
    enc: &'a str,
}

/// A parsed token that is not decrypted yet.
pub(super) struct Sealed<'a> {
    /// The id of the key.
    pub(super) kid: Uuid,
    header: &'a str,
    nonce: [u8; NONCE_LEN],
    /// Ciphertext and tag.
    body: Vec<u8>,
}

impl<'a> Sealed<'a> {
    /// Parses a token. `None` if the text does not have the form of one.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut parts = text.split('.');
        let header = parts.next()?;
        let (key, nonce, ciphertext, tag) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || !key.is_empty() {
            return None;
        }
        let kid = key_id(header)?;
        let nonce = decode(nonce)?.try_into().ok()?;
        let mut body = decode(ciphertext)?;
        let tag = decode(tag)?;
        if tag.len() != TAG_LEN {
            return None;
        }
        body.extend_from_slice(&tag);
        Some(Self {
            kid,
            header,
            nonce,
            body,
        })
    }

    /// Decrypts the token. `None` if it was changed. AES-GCM compares the tag in constant time.
    pub(super) fn open(mut self, key: &LessSafeKey) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let length = key
            .open_in_place(nonce, Aad::from(self.header.as_bytes()), &mut self.body)
            .ok()?
            .len();
        self.body.truncate(length);
        Some(self.body)
    }
}

/// Encrypts a plaintext. `None` if the system has no randomness or the plaintext is too long.
///
/// Nonces are random: NIST SP 800-38D section 8.3 allows 2^32 of them per key, and a key is used for a day.
pub(super) fn seal(kid: Uuid, key: &LessSafeKey, mut plaintext: Vec<u8>) -> Option<String> {
    let header = serde_json::to_vec(&Header {
        kid,
        alg: "dir",
        enc: "A256GCM",
    })
    .ok()?;
    let header = URL_SAFE_NO_PAD.encode_to_string(header);
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).ok()?;
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header.as_bytes()),
            &mut plaintext,
        )
        .ok()?;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
    let (nonce, body, tag) = (encode(&nonce), encode(&plaintext), encode(tag.as_ref()));
    let text = format!("{header}..{nonce}.{body}.{tag}");
    (text.len() <= MAX_BYTES).then_some(text)
}

fn key_id(header: &str) -> Option<Uuid> {
    let json = decode(header)?;
    let header: Header<'_> = serde_json::from_slice(&json).ok()?;
    (header.alg == "dir" && header.enc == "A256GCM").then_some(header.kid)
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(part).ok()
}
