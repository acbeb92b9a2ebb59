//! Endpoint tokens for the front, made by the endpoint's key ring.

use std::sync::Arc;
use std::time::SystemTime;

use hearth_endpoint::TokenKeys;
use hearth_front::{Access, EndpointTokens, Grant, MintError};

pub(crate) struct Tokens(pub(crate) Arc<TokenKeys>);

impl EndpointTokens for Tokens {
    fn mint(&self, grant: &Grant) -> Result<String, MintError> {
        let access = match &grant.access {
            Access::Ports(ranges) => hearth_endpoint::Access::Ports(ranges.clone()),
            Access::Shell => hearth_endpoint::Access::Shell,
        };
        let bound = hearth_endpoint::Grant {
            microvm: hearth_endpoint::MicrovmId(grant.microvm.uuid()),
            access,
        };
        self.0
            .issue(&bound, grant.lifetime, SystemTime::now())
            .map(|token| token.reveal().to_owned())
            .map_err(|error| MintError(Box::new(error)))
    }
}
