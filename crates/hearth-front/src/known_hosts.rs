//! Which names a browser may have called this service by.
//!
//! A page of somebody else's can have its own name mean 127.0.0.1 ("DNS rebinding"): the browser of whoever looks at it
//! then reads what is answered here without a signature, and takes it for the page's own. Such a request has the page's
//! name in `Host`. It cannot have an address there, nor a name that is not the page's.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

/// Names that this service is called by, beside addresses and `localhost`.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts(Vec<String>);

impl KnownHosts {
    /// These names, and those that are always known.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether the request was meant for one of them.
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
        // `localhost` and what is below it is nobody's (RFC 6761 section 6.3).
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
