//! Finds the microVM that a request is for: by its listener, or by the host name.
//!
//! ```text
//! own port          the listener decides; a host name of another microVM is refused
//! shared listener   first label of SNI and of Host; where they differ, the request belongs on another connection (421)
//! ```

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

use crate::id::EndpointId;
use crate::reply::Refusal;

/// Which microVMs a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerRoute {
    /// One microVM: the port is its own.
    Own(EndpointId),
    /// All microVMs: host names decide.
    Shared,
}

impl ListenerRoute {
    /// The endpoint that a request is for.
    pub(crate) fn endpoint(
        self,
        server_name: Option<&str>,
        authority: Option<&Authority>,
    ) -> Result<EndpointId, Refusal> {
        let by_listener = match self {
            Self::Own(id) => Some(id),
            Self::Shared => None,
        };
        let by_name = server_name.and_then(EndpointId::from_host);
        let by_host = authority.and_then(|authority| EndpointId::from_host(authority.host()));
        let mut named = [by_listener, by_name, by_host].into_iter().flatten();
        let id = named.next().ok_or(Refusal::AuthenticationFailed)?;
        // A request that names two microVMs is refused: an attacker may have chosen one, and the token is valid for
        // only one.
        if named.any(|other| other != id) {
            return Err(match self {
                Self::Own(_) => Refusal::AuthenticationFailed,
                Self::Shared => Refusal::Misdirected,
            });
        }
        // With a name in TLS, a request on the connection must not go to another host.
        if self == Self::Shared && by_name.is_some() && by_host.is_none() {
            return Err(Refusal::Misdirected);
        }
        Ok(id)
    }
}

/// The host that a request is for: `:authority` or an absolute target, else `Host` (RFC 9110 section 7.2). `None` if
/// a client of HTTP/1.0 named none.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => {
            Some(Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Malformed)?)
        }
        // RFC 9112 section 3.2: more than one Host is a 400.
        _ => return Err(Refusal::Malformed),
    };
    let authority = match (uri.authority(), host) {
        (Some(target), Some(host)) if *target != host => return Err(Refusal::Malformed),
        (Some(target), _) => Some(target.clone()),
        (None, host) => host,
    };
    if authority
        .as_ref()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(Refusal::Malformed);
    }
    Ok(authority)
}

#[cfg(test)]
mod tests;
