//! From a canonical request to its signature.

use sha2::{Digest, Sha256};

use crate::scope::{CredentialScope, TERMINATOR};

/// The one algorithm of version 4.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// In place of the hash of a body that is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The signature of a canonical request at a time (`YYYYMMDDTHHMMSSZ`), in lower-case hexadecimal.
#[must_use]
pub fn signature(secret: &str, time: &str, scope: &CredentialScope, canonical: &str) -> String {
    let string_to_sign = format!(
        "{ALGORITHM}\n{time}\n{scope}\n{}",
        payload_hash(canonical.as_bytes())
    );
    hex(&hmac(
        &signing_key(secret, scope),
        string_to_sign.as_bytes(),
    ))
}

/// The signature of the policy of a form (in base64, as it is sent), in lower-case hexadecimal.
///
/// Reference: "Creating an HTML form (using AWS Signature Version 4)", S3 API Reference.
#[must_use]
pub fn policy_signature(secret: &str, scope: &CredentialScope, policy: &str) -> String {
    hex(&hmac(&signing_key(secret, scope), policy.as_bytes()))
}

/// The key of one day, region and service.
fn signing_key(secret: &str, scope: &CredentialScope) -> [u8; 32] {
    [&scope.date, &scope.region, &scope.service, TERMINATOR]
        .into_iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).to_vec()
        })
        .try_into()
        .unwrap_or_default()
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    use hmac::{KeyInit, Mac};
    // HMAC takes keys of any length (RFC 2104 section 2): the error case does not exist.
    hmac::Hmac::<Sha256>::new_from_slice(key)
        .map(|mut mac| {
            mac.update(message);
            mac.finalize().into_bytes().into()
        })
        .unwrap_or_default()
}

/// The hash of a body, as it is signed: SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn payload_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}
