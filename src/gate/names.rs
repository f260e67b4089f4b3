//! By which names a server without keys is asked. A page of some web site can have its name resolve to this machine:
//! then its scripts may read what the server answers, as if it were that site. But the browser sends along what name
//! it asked for, and whose page asks. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// What a request says of where it came to and where it came from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// The host that it asked for, with or without a port; none where the client names none, which browsers do.
    pub host: Option<&'a str>,
    /// The page that it came from, which browsers alone say.
    pub origin: Option<&'a str>,
}

/// A name that is none of this server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign<'a> {
    /// The host.
    Host(&'a str),
    /// The page.
    Origin(&'a str),
}

impl<'a> Names<'a> {
    /// The one of them that is foreign, if one is: a host that is neither an address, nor loopback's name, nor one of
    /// these; a page of another host than the one that was asked for, unless that is of this machine.
    pub fn foreign(self, own: &[String]) -> Option<Foreign<'a>> {
        let is_own = |name: &str| is_loopback_name(name) || own.iter().any(|own| own.eq_ignore_ascii_case(name));
        if let Some(host) = self.host
            // Nobody can have an address resolve to another one.
            && !host_of(host).is_some_and(|name| address(name).is_some() || is_own(name))
        {
            return Some(Foreign::Host(host));
        }
        let origin = self.origin?;
        let page = origin.split_once("://").map(|(_, authority)| authority);
        let is_of_host = page.zip(self.host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host));
        let is_local = |name: &str| address(name).is_some_and(|address| address.is_loopback()) || is_own(name);
        let is_fine = is_of_host || page.and_then(host_of).is_some_and(is_local);
        (!is_fine).then_some(Foreign::Origin(origin))
    }
}

/// The host of an authority: without its port, and without the dot that ends a whole name.
fn host_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let has_port = port.is_empty() || port.strip_prefix(':')?.bytes().all(|byte| byte.is_ascii_digit());
    has_port.then(|| host.strip_suffix('.').unwrap_or(host))
}

fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Browsers and resolvers never look these names up anywhere else.
fn is_loopback_name(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_loopback_or_named_in_the_settings() {
        let own = ["driftline.internal".to_owned()];
        let check = |host: &str, is_fine: bool| {
            let found = Names { host: Some(host), origin: None }.foreign(&own);
            assert_eq!(found, (!is_fine).then_some(Foreign::Host(host)));
        };
        for host in ["localhost", "LocalHost:7717", "localhost.:7717", "a.localhost", "127.0.0.1", "127.0.0.1:7717"] {
            check(host, true);
        }
        for host in ["[::1]", "[::1]:7717", "10.0.0.7:80", "[2001:db8::1]:7717", "Driftline.Internal:7717"] {
            check(host, true);
        }
        for host in ["evil.example", "evil.example:7717", "localhost.evil.example", "evillocalhost", ""] {
            check(host, false);
        }
        for host in ["127.0.0.1.evil.example", "[::1].evil.example", "[::1", "localhost:evil", "a@localhost"] {
            check(host, false);
        }
        assert_eq!(Names::default().foreign(&own), None);
    }

    #[test]
    fn pages_are_of_the_host_that_is_asked_or_of_this_machine() {
        let check = |host: Option<&str>, origin: &str, is_fine: bool| {
            let found = Names { host, origin: Some(origin) }.foreign(&[]);
            assert_eq!(found, (!is_fine).then_some(Foreign::Origin(origin)), "{host:?}");
        };
        check(Some("127.0.0.1:7717"), "http://127.0.0.1:7717", true);
        check(Some("10.0.0.7:7717"), "http://10.0.0.7:7717", true);
        check(Some("127.0.0.1:7717"), "http://localhost:3000", true);
        check(None, "http://[::1]:3000", true);
        check(Some("127.0.0.1:7717"), "https://evil.example", false);
        check(Some("127.0.0.1:7717"), "http://10.0.0.8", false);
        check(Some("127.0.0.1:7717"), "null", false);
        check(Some("127.0.0.1:7717"), "127.0.0.1:7717", false);
    }
}
