//! WS-Discovery over multicast: one socket for each interface, all asked at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::capture::{Capture, Captured};
use super::interfaces::Interface;
use crate::model::Mac;
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

/// One answer to WS-Discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub from: IpAddr,
    /// Where it came in; unknown behind a router.
    pub interface: Option<Arc<str>>,
    /// Known where the packet itself was seen.
    pub mac: Option<Mac>,
    /// The sender's address is of no network of the interface.
    pub off_subnet: bool,
    pub device: Match,
}

/// Asks on every interface and collects what comes within `window`, by endpoint: the address that
/// answered, and what it said.
pub async fn discover(interfaces: &[Interface], window: Duration) -> Vec<Answer> {
    let mut asks = JoinSet::new();
    for interface in interfaces.iter().filter(|i| i.scannable) {
        for net in &interface.ipv4 {
            let (interface, address) = (interface.clone(), net.address);
            asks.spawn(async move { ask(&interface, address, window).await });
        }
    }
    let mut found: BTreeMap<(IpAddr, Option<Mac>, String), Answer> = BTreeMap::new();
    while let Some(done) = asks.join_next().await {
        match done {
            Ok(Ok(answers)) => {
                for answer in answers.into_iter().filter(|a| !a.device.is_bye) {
                    let endpoint = answer.device.endpoint.clone();
                    found
                        .entry((answer.from, answer.mac, endpoint))
                        .or_insert(answer);
                }
            }
            Ok(Err(error)) => tracing::warn!("WS-Discovery on one interface failed: {error}"),
            Err(error) => tracing::error!("WS-Discovery broke off: {error}"),
        }
    }
    without_twins(found.into_values().collect())
}

/// An answer from another subnet comes twice where the IP layer lets it through: the captured one, with
/// its hardware address, is kept.
fn without_twins(answers: Vec<Answer>) -> Vec<Answer> {
    let captured: BTreeSet<(IpAddr, String)> = answers
        .iter()
        .filter(|a| a.mac.is_some())
        .map(|a| (a.from, a.device.endpoint.clone()))
        .collect();
    let is_twin = |a: &Answer| {
        a.mac.is_none() && a.off_subnet && captured.contains(&(a.from, a.device.endpoint.clone()))
    };
    answers.into_iter().filter(|a| !is_twin(a)).collect()
}

/// The next captured answer; never where nothing is captured.
async fn captured(capture: &mut Option<Capture>) -> io::Result<Captured> {
    match capture {
        Some(capture) => capture.next().await,
        None => std::future::pending().await,
    }
}

async fn ask(
    interface: &Interface,
    address: Ipv4Addr,
    window: Duration,
) -> io::Result<Vec<Answer>> {
    let socket = open(address)?;
    let mut capture = Capture::open(interface, &[socket.local_addr()?.port()])?;
    let name: Arc<str> = interface.name.as_str().into();
    let group = SocketAddr::V4(SocketAddrV4::new(wsd::GROUP_V4, wsd::PORT));
    let start = Instant::now();
    let end = start + window;
    let mut sends: VecDeque<Instant> = SEND_AT.map(|at| start + at).into();
    sends.retain(|at| *at < end);
    let mut buffer = vec![0; wsd::DATAGRAM_BYTES_MAX];
    let mut found = Vec::new();
    let mut last;
    loop {
        if sends.front().is_some_and(|at| *at <= Instant::now()) {
            sends.pop_front();
            for typed in [true, false] {
                let probe = wsd::probe(Uuid::now_v7(), typed);
                socket.send_to(probe.as_bytes(), group).await?;
            }
        }
        let until = sends.front().copied().unwrap_or(end);
        let (from, mac, payload) = tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (length, from) = received?;
                (from.ip(), None, buffer.get(..length).unwrap_or_default())
            }
            received = captured(&mut capture) => {
                last = received?;
                (IpAddr::V4(*last.from.ip()), Some(last.mac), &last.payload[..])
            }
            () = sleep_until(until) => {
                if until == end {
                    return Ok(found);
                }
                continue;
            }
        };
        // What is no WS-Discovery on this port is nobody's device.
        for device in wsd::parse(payload).unwrap_or_default() {
            if found.len() >= DEVICES_MAX {
                return Ok(found);
            }
            found.push(Answer {
                from,
                interface: Some(name.clone()),
                mac,
                off_subnet: matches!(from, IpAddr::V4(ip) if !interface.contains(ip)),
                device,
            });
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
