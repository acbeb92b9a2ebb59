//! Why a signature is not accepted, in the words AWS uses.

/// A refused signature. The front maps each variant to the code of the service asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Neither an `Authorization` header nor a presigned query.
    #[error("Missing Authentication Token")]
    Missing,
    /// An `Authorization` header that lacks a part.
    #[error("Authorization header requires '{0}' parameter.")]
    Incomplete(&'static str),
    /// A credential whose scope is not `date/region/service/aws4_request` of this request.
    #[error("Credential should be scoped to correct service, region and date.")]
    Scope,
    /// No such access key, or it is disabled, or its session token is another one's.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// A session token of a microVM that has ended, or one whose time is over.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// Signed too long ago, or presigned and no longer valid.
    #[error("Signature expired: {0}")]
    Expired(String),
    /// Signed in the future.
    #[error("Signature not yet current: {0}")]
    NotYetCurrent(String),
    /// Anything of the request differs from what was signed.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}
