//! The host names by which browsers may ask this service.
//!
//! A web site can let its own name resolve to 127.0.0.1 ("DNS rebinding"). The visitor's browser then reads unsigned
//! answers of this service and takes them for those of the site. Such a request has the site's name in `Host`. It
//! cannot have an IP address there, or a name that is not the site's.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

/// Names of this service, in addition to IP addresses and `localhost`.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts(Vec<String>);

impl KnownHosts {
    /// These names, in addition to those that are always known.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether the request's host is one of them.
    pub(crate) fn have(&self, head: &Parts) -> bool {
        let mut hosts = head.headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let host = host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok());
        host.is_some_and(|host| self.has(host.host()))
    }

    fn has(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let is_address = host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[');
        // Nobody can register `localhost` and the names below it (RFC 6761 section 6.3).
        is_address || host == "localhost" || host.ends_with(".localhost") || self.0.contains(&host)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn knows(hosts: &[&str]) -> bool {
        let mut request = Request::get("/metrics");
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        KnownHosts::new(&["Hearth.example.org".to_owned()]).have(&head)
    }

    /// Finding M13: any name was answered, also that of a page which means 127.0.0.1 by it.
    #[test]
    fn names_of_others_are_not_known() {
        for host in [
            "127.0.0.1:4580",
            "127.0.0.1",
            "10.0.2.15:4580",
            "localhost:4580",
            "LOCALHOST",
            "bucket.localhost:4580",
            "[::1]:4580",
            "hearth.example.org",
            "HEARTH.example.org:4580",
        ] {
            assert!(knows(&[host]), "{host}");
        }
        for host in [
            "attacker.example",
            "attacker.example:4580",
            "127.0.0.1.attacker.example",
            "localhost.attacker.example",
            "x.hearth.example.org",
            "127.0.0.1@attacker.example",
            "",
        ] {
            assert!(!knows(&[host]), "{host}");
        }
        assert!(!knows(&[]));
        assert!(!knows(&["127.0.0.1", "attacker.example"]));
    }
}
