//! Why a signature is refused, in the words of AWS.

/// A refused signature. The front maps each variant to the code of the requested service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The request has neither an `Authorization` header nor a presigned query.
    #[error("Missing Authentication Token")]
    Missing,
    /// The `Authorization` header lacks a part.
    #[error("Authorization header requires '{0}' parameter.")]
    Incomplete(&'static str),
    /// The scope of the credential is not `date/region/service/aws4_request` of this request.
    #[error("Credential should be scoped to correct service, region and date.")]
    Scope,
    /// The access key does not exist or is disabled, or the session token belongs to another key.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The microVM of the session token has ended, or the token has expired.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The request was signed too long ago, or its presigned lifetime is over.
    #[error("Signature expired: {0}")]
    Expired(String),
    /// The request was signed in the future.
    #[error("Signature not yet current: {0}")]
    NotYetCurrent(String),
    /// Something in the request differs from what was signed.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}
