//! Which hosts are asked where: those on our own links by ARP, the rest through routers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::arp::Ask;
use super::interfaces::Interface;
use crate::policy::networks::Network;

/// Hosts on one link.
#[derive(Debug, Clone)]
pub struct Link {
    pub interface: Interface,
    pub asks: Vec<Ask>,
}

/// The hosts of the networks to scan.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    pub links: Vec<Link>,
    /// By network.
    pub routed: Vec<Vec<IpAddr>>,
    /// Our own addresses among them, and those that are no host's: nobody is asked.
    pub own: u64,
}

impl Targets {
    /// A network that two interfaces share is asked for on both.
    pub fn of(networks: &[Network], interfaces: &[Interface]) -> Self {
        let mut targets = Self::default();
        // A link without hardware addresses has nobody to ask by ARP.
        let wired = interfaces.iter().filter(|i| i.hardware().is_some());
        targets.links.extend(wired.map(|interface| Link {
            interface: interface.clone(),
            asks: Vec::new(),
        }));
        let mut known = BTreeSet::new();
        for network in networks {
            let mut routed = Vec::new();
            for ip in network.hosts() {
                let IpAddr::V4(target) = ip else { continue };
                if !known.insert(target) {
                    continue;
                }
                let is_no_target =
                    |i: &Interface| i.has_address(target) || i.is_network_or_broadcast(target);
                if interfaces.iter().any(is_no_target) {
                    targets.own += 1;
                } else if !targets.note(target) {
                    routed.push(ip);
                }
            }
            if !routed.is_empty() {
                targets.routed.push(routed);
            }
        }
        targets.links.retain(|link| !link.asks.is_empty());
        targets
    }

    fn note(&mut self, target: Ipv4Addr) -> bool {
        let mut is_on_link = false;
        for link in &mut self.links {
            if let Some(source) = link.interface.source_for(target) {
                link.asks.push(Ask { target, source });
                is_on_link = true;
            }
        }
        is_on_link
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::interfaces::Ipv4Net;

    fn interface(name: &str, mac: Option<&str>, addresses: &[(&str, u8)]) -> Interface {
        let net = |(address, prefix): &(&str, u8)| Ipv4Net {
            address: address.parse().unwrap(),
            prefix: *prefix,
            network: String::new(),
            hosts: 0,
        };
        Interface {
            name: name.into(),
            mac: mac.map(str::to_owned),
            ipv4: addresses.iter().map(net).collect(),
            ..Interface::default()
        }
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn own_links_by_arp_and_the_rest_through_routers() {
        let interfaces = [
            interface("eth0", Some("02:00:00:00:00:01"), &[("10.77.0.1", 24)]),
            interface("eth0.20", Some("02:00:00:00:00:01"), &[("10.77.20.1", 24)]),
            interface("wg0", None, &[("10.99.0.2", 30)]),
        ];
        let wanted = networks(&["10.77.0.0/23", "10.77.20.8/30", "10.99.0.0/30"]);
        let targets = Targets::of(&wanted, &interfaces);
        let asks: Vec<usize> = targets.links.iter().map(|l| l.asks.len()).collect();
        assert_eq!(asks, [253, 2], "the /23 is half on the link");
        assert_eq!(targets.own, 3, "10.77.0.1, 10.77.0.255, 10.99.0.2");
        let routed: Vec<usize> = targets.routed.iter().map(Vec::len).collect();
        assert_eq!(routed, [510 - 255, 1], "no ARP in a tunnel");
        let source = targets.links[1].asks[0].source;
        assert_eq!(source, Ipv4Addr::new(10, 77, 20, 1));
    }

    #[test]
    fn each_address_once_and_a_shared_network_on_both() {
        let interfaces = [
            interface("eth0", Some("02:00:00:00:00:01"), &[("10.77.0.1", 24)]),
            interface("wlan0", Some("02:00:00:00:00:02"), &[("10.77.0.2", 24)]),
        ];
        let wanted = networks(&["10.77.0.0/24", "10.77.0.0/25"]);
        let targets = Targets::of(&wanted, &interfaces);
        let asks: Vec<usize> = targets.links.iter().map(|l| l.asks.len()).collect();
        assert_eq!((asks, targets.own), (vec![252, 252], 2));
        assert!(targets.routed.is_empty());
    }
}
