//! Which addresses a probe may go to (`security.allowed_networks`), and which folders it may read
//! (`security.file_roots`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// An IPv4 or IPv6 network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of this length around an address.
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let address = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(prefix.min(32)))
                    .unwrap_or(0);
                IpAddr::V4((u32::from(ip) & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(prefix.min(128)))
                    .unwrap_or(0);
                IpAddr::V6((u128::from(ip) & mask).into())
            }
        };
        Self { address, prefix }
    }

    /// Addresses that a host may have: 254 in a /24, all in a /31 or /32.
    pub fn usable_hosts(&self) -> u64 {
        let bits = if self.address.is_ipv4() { 32 } else { 128 } - u32::from(self.prefix);
        let all = 1_u64.checked_shl(bits).unwrap_or(u64::MAX);
        if bits >= 2 { all - 2 } else { all }
    }

    /// Every usable IPv4 address, ascending; none for an IPv6 network.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> + Send + use<> {
        let count = if self.address.is_ipv4() {
            self.usable_hosts()
        } else {
            0
        };
        let first = match self.address {
            IpAddr::V4(ip) => u32::from(ip) + u32::from(self.prefix < 31),
            IpAddr::V6(_) => 0,
        };
        (0..u32::try_from(count).unwrap_or(u32::MAX))
            .map(move |n| IpAddr::V4((first.wrapping_add(n)).into()))
    }

    /// The address that all hosts of an IPv4 network hear; none in a /31 or /32.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(ip) if self.prefix < 31 => {
                let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Some((u32::from(ip) | hosts).into())
            }
            _ => None,
        }
    }

    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

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

/// The networks of a scan: the given ones, checked.
///
/// # Errors
/// One sentence that names the bad network, the limit and what to do.
pub fn scan_networks<S: AsRef<str>>(
    given: &[S],
    allowed: &AllowedNetworks,
    hosts_max: u64,
) -> Result<Vec<Network>, String> {
    let mut networks: Vec<Network> = Vec::new();
    for text in given {
        let text = text.as_ref();
        let network: Network = text.parse()?;
        let network = Network::new(network.address, network.prefix);
        if !network.is_ipv4() {
            return Err(format!(
                "`{text}`: only IPv4 networks can be scanned; IPv6 cameras are found by multicast"
            ));
        }
        let hosts = network.usable_hosts();
        if hosts > hosts_max {
            return Err(format!(
                "`{text}` has {hosts} hosts, one scan takes at most {hosts_max}: name a smaller network, or raise discovery.hosts_max"
            ));
        }
        let ends = [network.hosts().next(), network.hosts().last()];
        if !ends
            .into_iter()
            .flatten()
            .all(|ip| allowed.allows(std::net::SocketAddr::new(ip, 0)))
        {
            return Err(format!(
                "`{text}` is not in security.allowed_networks, nothing was sent"
            ));
        }
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    let total: u64 = networks.iter().map(Network::usable_hosts).sum();
    if total > hosts_max {
        return Err(format!(
            "the networks have {total} hosts together, one scan takes at most {hosts_max}"
        ));
    }
    Ok(networks)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Where cameras may be: the addresses that probes may go to, and the folders whose files may stand in for
/// cameras. The default allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks {
    private: bool,
    loopback: bool,
    networks: Vec<Network>,
    /// Listeners of our own: never a target.
    own_listeners: Vec<std::net::SocketAddr>,
    /// Absolute (`security.file_roots`).
    folders: Vec<PathBuf>,
}

impl AllowedNetworks {
    /// With the folders that files may be read from.
    pub fn with_folders(mut self, folders: Vec<PathBuf>) -> Self {
        self.folders = folders;
        self
    }

    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

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
            folders: Vec::new(),
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
    fn scans_go_only_where_they_may_and_stay_small() {
        let allowed = AllowedNetworks::parse(&["private"]).unwrap();
        let scan = |given: &[&str]| scan_networks(given, &allowed, 4096);
        let lan = scan(&["192.168.1.7/24", "192.168.1.0/24"]).unwrap();
        assert_eq!((lan.len(), lan[0].usable_hosts()), (1, 254));
        assert_eq!(lan[0].to_string(), "192.168.1.0/24");
        let ends = (lan[0].hosts().next(), lan[0].hosts().last());
        assert_eq!(
            ends,
            (
                Some("192.168.1.1".parse().unwrap()),
                Some("192.168.1.254".parse().unwrap())
            )
        );
        for (bad, wanted) in [
            ("0.0.0.0/0", "at most 4096"),
            ("10.0.0.0/8", "at most 4096"),
            ("8.8.8.0/24", "allowed_networks"),
            ("127.0.0.0/24", "allowed_networks"),
            ("192.168.1.0/33", "0 to 32"),
            ("192.168.1", "is not a network"),
            ("fd00::/64", "only IPv4"),
        ] {
            let error = scan(&[bad]).unwrap_err();
            assert!(error.contains(wanted), "{bad}: {error}");
        }
        assert!(
            scan(&["10.0.0.0/21", "10.1.0.0/21", "10.2.0.0/21"])
                .unwrap_err()
                .contains("together")
        );
        assert_eq!(scan(&["10.0.0.9"]).unwrap()[0].hosts().count(), 1);
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
