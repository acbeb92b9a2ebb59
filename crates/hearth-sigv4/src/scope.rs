//! The credential scope of a signature: a day, a region, a service.

use std::fmt;

/// The last word of every scope.
pub const TERMINATOR: &str = "aws4_request";

/// `date/region/service/aws4_request`, without the access key in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialScope {
    /// Eight digits.
    pub date: String,
    /// The region.
    pub region: String,
    /// The signing name of the service.
    pub service: String,
}

impl fmt::Display for CredentialScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{TERMINATOR}",
            self.date, self.region, self.service
        )
    }
}
