//! Ids as the endpoint sees them: plain UUIDs, so that this crate knows neither the control plane nor the node.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a microVM: the UUID after `microvm-` in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MicrovmId(pub Uuid);

impl fmt::Display for MicrovmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "microvm-{}", self.0.hyphenated())
    }
}

/// The first label of a microVM's endpoint name. Unrelated to its [`MicrovmId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub Uuid);

impl EndpointId {
    /// The endpoint that a host name stands for: its first label, under any domain.
    #[must_use]
    pub fn from_host(host: &str) -> Option<Self> {
        let label = host.split('.').next()?;
        // Only the hyphenated form is ever given out. The parser would accept others as well.
        if label.len() != 36 {
            return None;
        }
        Uuid::try_parse(label).ok().map(Self)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_names_the_endpoint() {
        let id = EndpointId(Uuid::new_v4());
        assert_eq!(EndpointId::from_host(&id.to_string()), Some(id));
        assert_eq!(
            EndpointId::from_host(&format!("{id}.lambda-microvm.us-east-1.on.aws")),
            Some(id)
        );
        let upper = id.to_string().to_uppercase();
        assert_eq!(EndpointId::from_host(&upper), Some(id));
    }

    #[test]
    fn other_hosts_name_none() {
        let simple = Uuid::new_v4().simple().to_string();
        for host in ["", ".", "127.0.0.1", "localhost", "[::1]", simple.as_str()] {
            assert_eq!(EndpointId::from_host(host), None, "{host}");
        }
    }
}
