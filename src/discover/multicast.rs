//! WS-Discovery over multicast: one socket for each interface, all asked at once.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::interfaces::Interface;
use crate::wire::wsd::{self, Match};

/// When the probe is sent: devices and switches lose single datagrams.
const SEND_AT: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
];
/// Devices that are kept: answers can be forged.
const DEVICES_MAX: usize = 4096;
/// A discovery must not leave the site.
const TTL: u32 = 4;

/// Asks on every interface and collects what comes within `window`, by endpoint: the address that
/// answered, and what it said.
pub async fn discover(interfaces: &[Interface], window: Duration) -> Vec<(IpAddr, Match)> {
    let mut asks = JoinSet::new();
    for address in interfaces
        .iter()
        .filter(|i| i.scannable)
        .flat_map(|i| &i.ipv4)
    {
        let address = address.address;
        asks.spawn(async move { ask(address, window).await });
    }
    let mut found: BTreeMap<String, (IpAddr, Match)> = BTreeMap::new();
    while let Some(done) = asks.join_next().await {
        match done {
            Ok(Ok(matches)) => {
                for (from, device) in matches.into_iter().filter(|(_, m)| !m.is_bye) {
                    let key = if device.endpoint.is_empty() {
                        from.to_string()
                    } else {
                        device.endpoint.clone()
                    };
                    found.entry(key).or_insert((from, device));
                }
            }
            Ok(Err(error)) => tracing::warn!("WS-Discovery on one interface failed: {error}"),
            Err(error) => tracing::error!("WS-Discovery broke off: {error}"),
        }
    }
    found.into_values().collect()
}

async fn ask(interface: Ipv4Addr, window: Duration) -> io::Result<Vec<(IpAddr, Match)>> {
    let socket = open(interface)?;
    let group = SocketAddr::V4(SocketAddrV4::new(wsd::GROUP_V4, wsd::PORT));
    let start = Instant::now();
    let end = start + window;
    let mut sends: VecDeque<Instant> = SEND_AT.map(|at| start + at).into();
    sends.retain(|at| *at < end);
    let mut buffer = vec![0; wsd::DATAGRAM_BYTES_MAX];
    let mut found = Vec::new();
    loop {
        if sends.front().is_some_and(|at| *at <= Instant::now()) {
            sends.pop_front();
            for typed in [true, false] {
                let probe = wsd::probe(Uuid::now_v7(), typed);
                socket.send_to(probe.as_bytes(), group).await?;
            }
        }
        let until = sends.front().copied().unwrap_or(end);
        match timeout_at(until, socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, from))) if found.len() < DEVICES_MAX => {
                // What is no WS-Discovery on this port is nobody's device.
                let matches = wsd::parse(&buffer[..length]).unwrap_or_default();
                found.extend(matches.into_iter().map(|device| (from.ip(), device)));
            }
            Ok(Ok(_)) => return Ok(found),
            Ok(Err(error)) => return Err(error),
            Err(_) if until == end => return Ok(found),
            Err(_) => {}
        }
    }
}

/// Bound to no address: some stacks lose multicast answers otherwise.
fn open(interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&interface)?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    UdpSocket::from_std(socket.into())
}
