//! Which addresses a probe may go to (`security.allowed_networks`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 or IPv6 network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, unmapped(ip)) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                u32::from(net) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                u128::from(net) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    /// `192.168.1.0/24`, or one address.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("`{text}` is not a network such as 192.168.1.0/24"))?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => widest,
            Some(p) => p.parse().ok().filter(|p| *p <= widest).ok_or_else(|| {
                format!("`{text}`: the prefix length is a number from 0 to {widest}")
            })?,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The addresses that probes may go to. The default allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks {
    private: bool,
    loopback: bool,
    networks: Vec<Network>,
    /// Listeners of our own: never a target.
    own_listeners: Vec<std::net::SocketAddr>,
}

impl AllowedNetworks {
    /// Reads `private`, `loopback` and CIDR entries.
    ///
    /// # Errors
    /// One sentence that names the bad entry.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, String> {
        let mut allowed = Self {
            private: false,
            loopback: false,
            networks: vec![],
            own_listeners: vec![],
        };
        for entry in entries {
            match entry.as_ref() {
                "private" => allowed.private = true,
                "loopback" => allowed.loopback = true,
                cidr => allowed.networks.push(cidr.parse().map_err(|e: String| {
                    format!("{e}; \"private\" and \"loopback\" are the two words that stand for networks")
                })?),
            }
        }
        Ok(allowed)
    }

    /// For one-shot commands of the operator: private networks and loopback.
    pub fn with_loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    pub fn with_own_listeners(mut self, listeners: Vec<std::net::SocketAddr>) -> Self {
        self.own_listeners = listeners;
        self
    }

    pub fn own_listeners(&self) -> &[std::net::SocketAddr] {
        &self.own_listeners
    }

    /// May a probe dial this address?
    pub fn allows(&self, target: std::net::SocketAddr) -> bool {
        let ip = unmapped(target.ip());
        let is_own = |own: &std::net::SocketAddr| {
            own.port() == target.port()
                && (unmapped(own.ip()) == ip || (own.ip().is_unspecified() && ip.is_loopback()))
        };
        if ip.is_unspecified() || ip.is_multicast() || self.own_listeners.iter().any(is_own) {
            return false;
        }
        if ip.is_loopback() {
            return self.loopback || self.networks.iter().any(|n| n.contains(ip));
        }
        (self.private && is_private(ip)) || self.networks.iter().any(|n| n.contains(ip))
    }
}

/// RFC 1918, 100.64/10, 169.254/16 without the cloud metadata address, fc00::/7, fe80::/10.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let link_local = ip.is_link_local() && ip != Ipv4Addr::new(169, 254, 169, 254);
            ip.is_private() || shared || link_local
        }
        IpAddr::V6(ip) => is_unique_local(ip) || ip.is_unicast_link_local(),
    }
}

fn is_unique_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xfe00 == 0xfc00
}

/// `::ffff:10.0.0.1` is 10.0.0.1: an IPv6 spelling opens no door.
fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entries: &[&str], target: &str) -> bool {
        AllowedNetworks::parse(entries)
            .unwrap()
            .allows(target.parse().unwrap())
    }

    #[test]
    fn private_is_the_lan_and_nothing_else() {
        for yes in [
            "10.1.2.3:554",
            "172.31.0.1:80",
            "192.168.1.100:554",
            "100.64.0.1:80",
            "169.254.3.4:80",
            "[fd00::1]:80",
            "[fe80::1]:80",
            "[::ffff:10.0.0.1]:80",
        ] {
            assert!(allows(&["private"], yes), "{yes}");
        }
        for no in [
            "8.8.8.8:80",
            "172.32.0.1:80",
            "169.254.169.254:80",
            "127.0.0.1:80",
            "0.0.0.0:80",
            "224.0.0.1:80",
            "[::1]:80",
            "[2001:db8::1]:80",
            "[::ffff:8.8.8.8]:80",
        ] {
            assert!(!allows(&["private"], no), "{no}");
        }
    }

    #[test]
    fn entries_add_up() {
        assert!(allows(&["loopback"], "127.0.0.1:80"));
        assert!(!allows(&["loopback"], "10.0.0.1:80"));
        assert!(allows(&["203.0.113.0/24"], "203.0.113.9:554"));
        assert!(allows(&["0.0.0.0/0"], "8.8.8.8:1"));
        assert!(
            AllowedNetworks::parse(&["10.0.0.0/33"])
                .unwrap_err()
                .contains("0 to 32")
        );
        assert!(
            AllowedNetworks::parse(&["lan"])
                .unwrap_err()
                .contains("\"private\"")
        );
    }

    #[test]
    fn our_own_listeners_are_no_targets() {
        let own = vec!["0.0.0.0:8000".parse().unwrap()];
        let allowed = AllowedNetworks::parse(&["loopback"])
            .unwrap()
            .with_own_listeners(own);
        assert!(!allowed.allows("127.0.0.1:8000".parse().unwrap()));
        assert!(allowed.allows("127.0.0.1:8001".parse().unwrap()));
    }
}
