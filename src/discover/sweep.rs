//! The sweep of all networks at once: who lives, and which of their ports are open. On our own links
//! ARP tells who lives, and only those are connected to; behind routers three ports are knocked at.

mod near;
mod prober;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::arp::{self, Ask, Seen};
use super::interfaces::Interface;
use super::pace::{Pace, Rates};
use super::ports::Dialler;
use super::scan::Told;
use super::targets::{Link, Targets};
use super::{echo, touch};
use crate::model::Mac;
use crate::policy::networks::AllowedNetworks;
use crate::sys::packet;
use crate::vendor::FACTORY_ADDRESSES;
use near::{Near, near_hosts};
use prober::{Prober, far_hosts};

/// Hosts that are knocked at, or whose ports are asked for, at the same time.
const HOSTS_AT_ONCE: usize = 128;
/// A router that answers ARP for others does so for many.
const PROXY_ADDRESSES: usize = 16;

/// How the hosts on our own links were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostSweep {
    /// Own ARP requests, with CAP_NET_RAW.
    Arp,
    /// The kernel's ARP, read from its neighbour table.
    NeighbourTable,
    /// TCP alone: `arp` was not among the methods.
    Tcp,
}

impl HostSweep {
    /// What this process may do, where `arp` is wanted.
    pub fn for_methods(wants_arp: bool) -> Self {
        match (wants_arp, packet::is_allowed()) {
            (true, true) => Self::Arp,
            (true, false) => Self::NeighbourTable,
            (false, _) => Self::Tcp,
        }
    }
}

/// A host that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// With the interface as scope where it is IPv6 link-local. The port is 0.
    pub address: SocketAddr,
    /// On one of our links.
    pub interface: Option<Arc<str>>,
    pub mac: Option<Mac>,
    pub open: Vec<u16>,
    pub has_answered_tcp: bool,
    /// Its address is of no network of the link where it was seen.
    pub off_subnet: bool,
    pub found_by: &'static str,
    pub evidence: Vec<String>,
}

impl Host {
    /// A host of which nothing is known but where it is.
    pub fn at(address: SocketAddr, found_by: &'static str) -> Self {
        Self {
            address,
            interface: None,
            mac: None,
            open: Vec::new(),
            has_answered_tcp: false,
            off_subnet: false,
            found_by,
            evidence: Vec::new(),
        }
    }
}

/// What to look for.
#[derive(Debug, Clone)]
pub struct Order {
    pub interfaces: Vec<Interface>,
    pub host_sweep: HostSweep,
    /// Asked for on every live host; none: only who lives is told.
    pub ports: Arc<[u16]>,
    /// Asked for on hosts that may be cameras.
    pub more_ports: Arc<[u16]>,
    pub rates: Rates,
    /// How long hosts from other subnets are listened for.
    pub guests_for: Duration,
}

/// Says whether a hardware address is a camera maker's.
pub type IsCameraMac = Arc<dyn Fn(Mac) -> bool + Send + Sync>;

/// Told of each live host as soon as its open ports are known.
pub type OnHost = Arc<dyn Fn(&Host) + Send + Sync>;

enum Heard {
    Link(usize, Seen),
    Ipv6(usize, echo::Found),
}

/// Looks at every target; tells how many hosts are done, and returns those that live. IPv6 hosts on the
/// same links are found without being named. Dropped, it ends at once.
pub async fn sweep(
    order: Order,
    targets: Targets,
    networks: Arc<AllowedNetworks>,
    is_camera: IsCameraMac,
    found: OnHost,
    told: &mpsc::Sender<Told>,
) -> Vec<Host> {
    let dialler = Arc::new(Dialler::new(networks.clone(), order.rates.connects));
    let Targets {
        mut links,
        mut routed,
        own,
    } = targets;
    let _ = told.send(Told::Scanned(own)).await;
    if order.host_sweep == HostSweep::Tcp {
        // Without ARP every host is like one behind a router.
        let named = |link: &mut Link| std::mem::take(&mut link.asks);
        let asks: Vec<Ask> = links.iter_mut().flat_map(named).collect();
        routed.push(asks.iter().map(|ask| IpAddr::V4(ask.target)).collect());
        links.clear();
    }
    let prober = Arc::new(Prober {
        dialler,
        ports: order.ports.clone(),
        more: order.more_ports.clone(),
        is_camera,
        found,
    });
    let near = Near::new(prober.clone(), &links, &order.interfaces);
    let heard = listen(&order, links, &networks);
    let (near, far) = tokio::join!(
        near_hosts(near, heard, told),
        far_hosts(prober, routed, told)
    );
    let mut hosts = near;
    hosts.extend(far);
    without_proxies(hosts)
}

/// Starts the sweep of every link; ends with the last of them, or when the receiver is dropped.
fn listen(
    order: &Order,
    links: Vec<Link>,
    networks: &AllowedNetworks,
) -> (JoinSet<()>, mpsc::Receiver<Heard>) {
    let arp_pace = Arc::new(Pace::per_second(order.rates.arp_frames));
    let udp_pace = Arc::new(Pace::per_second(order.rates.udp_queries));
    let guests_until = Instant::now() + order.guests_for;
    let asked: usize = links.iter().map(|l| l.asks.len()).sum();
    // Room for all that can be told: the tellers never wait.
    let room =
        3 * asked + links.len() * (arp::GUESTS_MAX + FACTORY_ADDRESSES.len() + echo::HOSTS_MAX);
    let (tell, heard) = mpsc::channel(room.max(1));
    let mut running = JoinSet::new();
    for (index, link) in links.into_iter().enumerate() {
        let tell_v6 = tell.clone();
        let interface = link.interface.clone();
        running.spawn(async move {
            match echo::neighbours(&interface).await {
                Ok(found) => found.into_iter().for_each(|host| {
                    let _ = tell_v6.try_send(Heard::Ipv6(index, host));
                }),
                Err(error) => tracing::debug!("no IPv6 sweep on {}: {error}", interface.name),
            }
        });
        let tell = tell.clone();
        let tell = move |seen| {
            let _ = tell.try_send(Heard::Link(index, seen));
        };
        if order.host_sweep == HostSweep::Arp && link.interface.hardware().is_some() {
            let (arp_pace, udp_pace) = (arp_pace.clone(), udp_pace.clone());
            let factory = factory_asks(&link, networks);
            running.spawn(async move {
                let asks = [&link.asks[..], &factory].concat();
                let swept = arp::sweep(&link.interface, asks, &arp_pace, guests_until, &tell).await;
                if let Err(error) = swept {
                    tracing::warn!("no ARP sweep on {}: {error}", link.interface.name);
                    touch_all(&link, &udp_pace, tell).await;
                }
            });
        } else {
            let udp_pace = udp_pace.clone();
            running.spawn(async move { touch_all(&link, &udp_pace, tell).await });
        }
    }
    (running, heard)
}

async fn touch_all(link: &Link, pace: &Pace, tell: impl Fn(Seen) + Sync) {
    let hosts: Vec<Ipv4Addr> = link.asks.iter().map(|ask| ask.target).collect();
    if let Err(error) = touch::sweep(&link.interface, hosts, pace, &tell).await {
        tracing::warn!("no host sweep on {}: {error}", link.interface.name);
    }
    tell(Seen::Asked);
}

/// Probes for the addresses that cameras ship with, where they are of no network of this link.
fn factory_asks(link: &Link, networks: &AllowedNetworks) -> Vec<Ask> {
    let is_elsewhere = |ip: &Ipv4Addr| {
        !link.interface.contains(*ip) && networks.allows(SocketAddr::new(IpAddr::V4(*ip), 0))
    };
    let probe = |target| Ask {
        target,
        source: Ipv4Addr::UNSPECIFIED,
    };
    FACTORY_ADDRESSES
        .into_iter()
        .filter(is_elsewhere)
        .map(probe)
        .collect()
}

/// A router that answers ARP for hosts that are not there invents none.
fn without_proxies(mut hosts: Vec<Host>) -> Vec<Host> {
    let mut addresses: BTreeMap<Mac, usize> = BTreeMap::new();
    for mac in hosts.iter().filter_map(|host| host.mac) {
        *addresses.entry(mac).or_default() += 1;
    }
    let is_proxied = |host: &Host| {
        let count = host.mac.and_then(|mac| addresses.get(&mac)).copied();
        count.unwrap_or(0) > PROXY_ADDRESSES
    };
    hosts.retain(|host| host.has_answered_tcp || !is_proxied(host));
    hosts
}

#[cfg(test)]
mod tests;
