//! IPv6 hosts on a link: an echo to all nodes, and whom the kernel knows.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::interfaces::Interface;
use crate::model::Mac;
use crate::sys::neighbours;
use crate::wire::icmpv6;
use crate::wire::neigh::State;

/// All nodes of a link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// What is waited after each question, as for ARP.
const WAITS: [Duration; 2] = [Duration::from_millis(60), Duration::from_millis(200)];
/// Hosts of one link that are kept: answers can be forged.
pub const HOSTS_MAX: usize = 1024;

/// An IPv6 host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// With the interface as its scope, where it is link-local. The port is 0.
    pub address: SocketAddrV6,
    pub mac: Option<Mac>,
    /// It answered just now.
    pub has_answered: bool,
}

/// Hosts on this interface, each once, under the address that serves best. Where no ICMP socket is
/// allowed (no CAP_NET_RAW, and `net.ipv4.ping_group_range` without us) only those that the kernel knows.
///
/// # Errors
/// The interface is gone.
pub async fn neighbours(interface: &Interface) -> io::Result<Vec<Found>> {
    let mut answered = Vec::new();
    if interface.ipv6.iter().any(|ip| ip.starts_with("fe80:"))
        && let Ok(socket) = open(interface.index)
    {
        answered = ask(&socket, interface.index).await?;
    }
    let mut hosts: BTreeMap<Ipv6Addr, Found> = BTreeMap::new();
    for ip in answered {
        hosts.insert(ip, found(interface.index, ip, None, true));
    }
    for neighbour in neighbours::table()? {
        let (IpAddr::V6(ip), Some(mac)) = (neighbour.ip, neighbour.mac) else {
            continue;
        };
        let is_here = neighbour.interface == interface.index && neighbour.state != State::Failed;
        if is_here && !ip.is_multicast() && hosts.len() < HOSTS_MAX {
            let host = hosts
                .entry(ip)
                .or_insert_with(|| found(interface.index, ip, None, false));
            host.mac = Some(mac);
        }
    }
    hosts.retain(|ip, _| !interface.ipv6.contains(&ip.to_string()));
    Ok(once_each(hosts.into_values()))
}

fn found(interface: u32, ip: Ipv6Addr, mac: Option<Mac>, has_answered: bool) -> Found {
    let scope = if ip.is_unicast_link_local() {
        interface
    } else {
        0
    };
    Found {
        address: SocketAddrV6::new(ip, 0, 0, scope),
        mac,
        has_answered,
    }
}

/// A ping socket where the system gives one to everybody, else a raw one.
fn open(interface: u32) -> io::Result<UdpSocket> {
    let new = |kind| Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6));
    let socket = new(Type::DGRAM).or_else(|_| new(Type::RAW))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v6(interface)?;
    // Only its datagram calls are used, and those are the same for every kind of socket.
    UdpSocket::from_std(socket.into())
}

async fn ask(socket: &UdpSocket, interface: u32) -> io::Result<Vec<Ipv6Addr>> {
    let token = Uuid::now_v7().into_bytes();
    let everybody = SocketAddrV6::new(ALL_NODES, 0, 0, interface);
    let mut buffer = [0; 256];
    let mut answered: Vec<Ipv6Addr> = Vec::new();
    let mut until = Instant::now();
    for (sequence, wait) in (1..).zip(WAITS) {
        let question = icmpv6::echo_request(sequence, token);
        socket.send_to(&question, everybody).await?;
        until += wait;
        while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
            let (length, from) = received?;
            let message = buffer.get(..length).unwrap_or_default();
            if let SocketAddr::V6(from) = from
                && icmpv6::is_echo_reply(message, token)
                && !answered.contains(from.ip())
                && answered.len() < HOSTS_MAX
            {
                answered.push(*from.ip());
            }
        }
    }
    Ok(answered)
}

/// One address for each hardware address: unique local before link-local before the rest, which the
/// configuration seldom allows. A host without a known one stays as it is.
fn once_each(hosts: impl Iterator<Item = Found>) -> Vec<Found> {
    let mut by_mac: BTreeMap<Mac, Found> = BTreeMap::new();
    let mut others = Vec::new();
    for host in hosts {
        let Some(mac) = host.mac else {
            others.push(host);
            continue;
        };
        let kept = by_mac.entry(mac).or_insert(host);
        let has_answered = kept.has_answered || host.has_answered;
        if rank(*host.address.ip()) < rank(*kept.address.ip()) {
            *kept = host;
        }
        kept.has_answered = has_answered;
    }
    others.extend(by_mac.into_values());
    others
}

fn rank(ip: Ipv6Addr) -> u8 {
    match ip {
        ip if ip.is_unique_local() => 0,
        ip if ip.is_unicast_link_local() => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_address() {
        let camera = Mac([0x44, 0x19, 0xb6, 1, 2, 3]);
        let host = |ip: &str, mac, has_answered| found(3, ip.parse().unwrap(), mac, has_answered);
        let all = [
            host("2001:db8::9", Some(camera), false),
            host("fe80::9", Some(camera), true),
            host("fd00::9", Some(camera), false),
            host("fe80::a", None, true),
            host("fe80::b", Some(Mac([4; 6])), false),
        ];
        let kept: Vec<_> = once_each(all.into_iter())
            .iter()
            .map(|h| (h.address.to_string(), h.has_answered))
            .collect();
        let wanted = [
            ("[fe80::a%3]:0".to_owned(), true),
            ("[fe80::b%3]:0".to_owned(), false),
            ("[fd00::9]:0".to_owned(), true),
        ];
        assert_eq!(kept, wanted);
    }
}
