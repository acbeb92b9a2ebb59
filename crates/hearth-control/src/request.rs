//! Idempotent requests: the same client token with the same input is the same request.
//!
//! Two requests are the same if their input is, as the caller wrote it, in a canonical text that the front makes. So
//! a member that is added to an operation cannot be forgotten here. Otherwise one request would be answered with the
//! result of another.
//!
//! Digests of releases before this one were made from typed requests and never equal these. A request that was made
//! there and is repeated here, within the day for which tokens are remembered, is refused with
//! [`Refusal::TokenConflict`]. It does not run a second time: that is the promise of a token. The caller finds the
//! result of the first one in the lists.
//!
//! [`Refusal::TokenConflict`]: crate::refusal::Refusal::TokenConflict

/// The client token of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientToken(pub String);

/// A digest that tells a request from others of the same operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// The digest of a request's canonical text, which has every member but the client token.
    #[must_use]
    pub fn of(canonical: &str) -> Self {
        Self(*blake3::hash(canonical.as_bytes()).as_bytes())
    }

    /// The stored form of the digest.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// A client token with the digest of its request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestToken {
    /// The token.
    pub token: ClientToken,
    /// The request.
    pub digest: RequestDigest,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored digests are compared for a day, also after an update of Hearth. The value is of BLAKE3's own test vectors.
    #[test]
    fn digests_are_those_of_earlier_releases() {
        let hex = RequestDigest::of("abc")
            .to_bytes()
            .map(|byte| format!("{byte:02x}"));
        let golden = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        assert_eq!(hex.concat(), golden);
    }
}
