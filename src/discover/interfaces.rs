//! This machine's interfaces and the networks behind them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use serde::Serialize;

use crate::model::Mac;
use crate::policy::networks::Network;
use crate::vendor;

/// One interface with its addresses.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Interface {
    pub name: String,
    pub mac: Option<String>,
    pub ipv4: Vec<Ipv4Net>,
    pub ipv6: Vec<String>,
    pub is_up: bool,
    /// The default route leads out here.
    pub is_default: bool,
    /// Up, no loopback, with an IPv4 network.
    pub scannable: bool,
    #[serde(skip)]
    pub index: u32,
}

impl Interface {
    /// The hardware address, where it has one of Ethernet.
    pub fn hardware(&self) -> Option<Mac> {
        self.mac.as_deref().and_then(vendor::parse_mac).map(Mac)
    }

    /// Where multicast can be sent: up, no loopback, with a network of IPv4 or an address on the link.
    pub fn can_multicast(&self) -> bool {
        self.is_up && (self.scannable || self.link_local().is_some())
    }

    /// Its IPv6 address on the link.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        let all = self.ipv6.iter().filter_map(|text| text.parse().ok());
        all.into_iter().find(Ipv6Addr::is_unicast_link_local)
    }

    /// All of its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v6 = self.ipv6.iter().filter_map(|text| text.parse().ok());
        self.ipv4.iter().map(|net| net.address.into()).chain(v6)
    }

    /// Is this address in one of the interface's networks?
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        self.source_for(ip).is_some()
    }

    pub fn has_address(&self, ip: Ipv4Addr) -> bool {
        self.ipv4.iter().any(|net| net.address == ip)
    }

    /// Is it the address of one of the interface's networks itself, or of all its hosts?
    pub fn is_network_or_broadcast(&self, ip: Ipv4Addr) -> bool {
        self.ipv4.iter().any(|net| {
            let host_bits = u32::MAX.checked_shr(net.prefix.into()).unwrap_or(0);
            let host = u32::from(ip) & host_bits;
            let is_inside = (u32::from(ip) ^ u32::from(net.address)) & !host_bits == 0;
            net.prefix < 31 && is_inside && (host == 0 || host == host_bits)
        })
    }

    /// Our address in the network that holds this one.
    pub fn source_for(&self, ip: Ipv4Addr) -> Option<Ipv4Addr> {
        let holds = |net: &&Ipv4Net| {
            Network::new(IpAddr::V4(net.address), net.prefix).contains(IpAddr::V4(ip))
        };
        self.ipv4.iter().find(holds).map(|net| net.address)
    }
}

/// An IPv4 address with its network.
#[derive(Debug, Clone, Serialize)]
pub struct Ipv4Net {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub network: String,
    /// Usable hosts, our own included.
    pub hosts: u64,
}

/// Every interface, by name.
pub fn list() -> Vec<Interface> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let Ok(addresses) = getifaddrs() else {
        return Vec::new();
    };
    let default =
        default_interface(&std::fs::read_to_string("/proc/net/route").unwrap_or_default());
    for item in addresses {
        let flags = item.flags;
        let entry = found
            .entry(item.interface_name.clone())
            .or_insert_with(|| Interface {
                name: item.interface_name.clone(),
                is_up: flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
                is_default: default.as_deref() == Some(item.interface_name.as_str()),
                index: nix::net::if_::if_nametoindex(item.interface_name.as_str()).unwrap_or(0),
                ..Interface::default()
            });
        let Some(address) = item.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            let mac = link.addr().filter(|mac| *mac != [0; 6]);
            entry.mac = mac.map(|mac| Mac(mac).to_string());
        } else if let Some(v4) = address.as_sockaddr_in() {
            let mask = item
                .netmask
                .and_then(|m| m.as_sockaddr_in().map(|m| m.ip()));
            let prefix = mask.map_or(32, |mask| u32::from(mask).count_ones() as u8);
            let network = Network::new(IpAddr::V4(v4.ip()), prefix);
            let hosts = network.usable_hosts();
            entry.ipv4.push(Ipv4Net {
                address: v4.ip(),
                prefix,
                network: network.to_string(),
                hosts,
            });
            entry.scannable = entry.is_up && !flags.contains(InterfaceFlags::IFF_LOOPBACK);
        } else if let Some(v6) = address.as_sockaddr_in6() {
            entry.ipv6.push(v6.ip().to_string());
        }
    }
    found.into_values().collect()
}

/// The gateway of the default route.
pub fn default_gateway() -> Option<Ipv4Addr> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    default_route(&table).map(|(_, gateway)| gateway)
}

fn default_interface(table: &str) -> Option<String> {
    default_route(table).map(|(name, _)| name)
}

/// Reads `/proc/net/route`: interface, destination, gateway, all in little-endian hexadecimal.
fn default_route(table: &str) -> Option<(String, Ipv4Addr)> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let (name, destination, gateway) = (columns.next()?, columns.next()?, columns.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && gateway != 0)
            .then(|| (name.to_owned(), Ipv4Addr::from(gateway.to_le_bytes())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_read() {
        let table = "Iface\tDestination\tGateway\tFlags\neth0\t0001A8C0\t00000000\t0001\neth0\t00000000\t0101A8C0\t0003\n";
        assert_eq!(
            default_route(table),
            Some(("eth0".to_owned(), Ipv4Addr::new(192, 168, 1, 1)))
        );
        assert_eq!(default_route(""), None);
    }

    #[test]
    fn ends_of_networks_are_no_hosts() {
        let net = |address, prefix| Ipv4Net {
            address,
            prefix,
            network: String::new(),
            hosts: 0,
        };
        let interface = Interface {
            ipv4: vec![
                net(Ipv4Addr::new(10, 77, 0, 1), 24),
                net(Ipv4Addr::new(10, 9, 0, 1), 32),
            ],
            ..Interface::default()
        };
        let is_end = |ip: [u8; 4]| interface.is_network_or_broadcast(ip.into());
        assert!(is_end([10, 77, 0, 0]) && is_end([10, 77, 0, 255]));
        assert!(!is_end([10, 77, 0, 9]) && !is_end([10, 77, 1, 255]) && !is_end([10, 9, 0, 1]));
        assert_eq!(
            interface.source_for(Ipv4Addr::new(10, 77, 0, 9)),
            Some(Ipv4Addr::new(10, 77, 0, 1))
        );
        assert!(!interface.contains(Ipv4Addr::new(192, 168, 1, 64)));
    }

    #[test]
    fn loopback_is_there_and_not_scanned() {
        let all = list();
        let lo = all.iter().find(|i| i.name == "lo").unwrap();
        assert!(!lo.scannable);
        assert!(
            lo.ipv4
                .iter()
                .any(|net| net.address.is_loopback() && net.prefix == 8)
        );
    }
}
