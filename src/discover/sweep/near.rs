//! Hosts on our links, as they are heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::prober::Prober;
use super::{HOSTS_AT_ONCE, Heard, Host};
use crate::discover::arp::Seen;
use crate::discover::echo;
use crate::discover::interfaces::Interface;
use crate::discover::ports::Trips;
use crate::discover::scan::Told;
use crate::discover::targets::Link;
use crate::model::Mac;

/// Asks those who were heard on the links for their ports.
pub(super) async fn near_hosts(
    mut near: Near,
    heard: (JoinSet<()>, mpsc::Receiver<Heard>),
    told: &mpsc::Sender<Told>,
) -> Vec<Host> {
    let (_links, mut heard) = heard;
    let mut is_over = false;
    loop {
        near.begin_ipv6(is_over);
        let has_room = near.probing.len() < HOSTS_AT_ONCE;
        tokio::select! {
            news = heard.recv(), if !is_over && has_room => match news {
                Some(news) => if near.hear(news) {
                    let _ = told.send(Told::Scanned(1)).await;
                },
                None => is_over = true,
            },
            Some(done) = near.probing.join_next() => {
                let Ok(look) = done else { continue };
                if look.counts {
                    let _ = told.send(Told::Scanned(1)).await;
                }
                if look.is_certain || look.host.has_answered_tcp {
                    near.book.hosts.push(look.host);
                }
            }
            else => return near.book.finished(),
        }
    }
}

/// The hosts on our links, while they are asked.
pub(super) struct Near {
    prober: Arc<Prober>,
    /// By link: the interface, and what its round trips are.
    links: Vec<(Arc<str>, Arc<Trips>)>,
    own_macs: Vec<Mac>,
    book: Book,
    probing: JoinSet<Look>,
    /// IPv6 hosts of links whose IPv4 hosts are not known yet.
    ipv6: Vec<(usize, echo::Found)>,
    /// Links whose hosts were all asked.
    asked: BTreeSet<usize>,
}

impl Near {
    pub(super) fn new(prober: Arc<Prober>, links: &[Link], interfaces: &[Interface]) -> Self {
        let link = |link: &Link| (link.interface.name.as_str().into(), Arc::default());
        Self {
            prober,
            links: links.iter().map(link).collect(),
            own_macs: interfaces.iter().filter_map(Interface::hardware).collect(),
            book: Book::default(),
            probing: JoinSet::new(),
            ipv6: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// Takes the news in; true where an asked host is done with.
    fn hear(&mut self, news: Heard) -> bool {
        let (link, seen) = match news {
            Heard::Ipv6(link, found) => {
                self.ipv6.push((link, found));
                return false;
            }
            Heard::Link(link, Seen::Asked) => {
                self.asked.insert(link);
                return false;
            }
            Heard::Link(link, seen) => (link, seen),
        };
        let Some((name, trips)) = self.links.get(link) else {
            return false;
        };
        if let Seen::Alive {
            round_trip: Some(trip),
            ..
        } = &seen
        {
            trips.note(*trip);
        }
        match self.book.note(seen, name, &self.own_macs) {
            Next::Probe(look) => self.probe(link, look),
            Next::Keep(host) => self.book.hosts.push(host),
            Next::Done => return true,
            Next::Nothing => {}
        }
        false
    }

    /// A host that has an IPv4 address too is found by that one: so IPv4 comes first.
    fn begin_ipv6(&mut self, all_links: bool) {
        while self.probing.len() < HOSTS_AT_ONCE {
            let is_due = |(link, _): &(usize, _)| all_links || self.asked.contains(link);
            let Some(index) = self.ipv6.iter().position(is_due) else {
                return;
            };
            let (link, found) = self.ipv6.swap_remove(index);
            let Some((name, _)) = self.links.get(link) else {
                continue;
            };
            if !found.mac.is_some_and(|mac| self.book.has(mac)) {
                let host = Host {
                    interface: Some(name.clone()),
                    mac: found.mac,
                    ..Host::at(SocketAddr::V6(found.address), "ipv6_neighbours")
                };
                let look = Look {
                    host,
                    is_certain: found.has_answered,
                    counts: false,
                };
                self.probe(link, look);
            }
        }
    }

    fn probe(&mut self, link: usize, look: Look) {
        let Some((_, trips)) = self.links.get(link) else {
            return;
        };
        let (prober, trips) = (self.prober.clone(), trips.clone());
        self.probing.spawn(async move {
            let host = prober.looked_at(look.host, &trips).await;
            Look { host, ..look }
        });
    }
}

/// A host whose ports are asked for.
struct Look {
    host: Host,
    /// It lives, whatever its ports say.
    is_certain: bool,
    /// It is one of the hosts to scan, and not yet done.
    counts: bool,
}

/// Who was heard so far.
#[derive(Debug, Default)]
struct Book {
    hosts: Vec<Host>,
    /// First hardware address of each asked host.
    macs: BTreeMap<Ipv4Addr, Mac>,
    done: BTreeSet<Ipv4Addr>,
    conflicts: Vec<(Ipv4Addr, Mac)>,
}

enum Next {
    /// Ask for its ports.
    Probe(Look),
    /// Nothing can be asked.
    Keep(Host),
    /// An asked host that nobody answers for.
    Done,
    Nothing,
}

impl Book {
    fn note(&mut self, seen: Seen, interface: &Arc<str>, own_macs: &[Mac]) -> Next {
        let host = |ip: Ipv4Addr, mac, off_subnet| Host {
            interface: Some(interface.clone()),
            mac: Some(mac),
            off_subnet,
            ..Host::at(SocketAddr::new(IpAddr::V4(ip), 0), "arp")
        };
        match seen {
            Seen::Alive { ip, mac, .. } => self.probe(ip, host(ip, mac, false), true),
            Seen::Known { ip, mac } => self.probe(ip, host(ip, mac, false), false),
            Seen::Conflict { ip, mac } => {
                self.conflicts.push((ip, mac));
                Next::Nothing
            }
            Seen::Guest { ip, mac } if !own_macs.contains(&mac) => Next::Keep(host(ip, mac, true)),
            Seen::Silent { ip } if self.done.insert(ip) => Next::Done,
            Seen::Guest { .. } | Seen::Silent { .. } | Seen::Asked => Next::Nothing,
        }
    }

    /// Has a host with this hardware address answered by IPv4?
    fn has(&self, mac: Mac) -> bool {
        self.macs.values().any(|known| *known == mac)
    }

    fn probe(&mut self, ip: Ipv4Addr, host: Host, is_certain: bool) -> Next {
        let mac = host.mac.unwrap_or(Mac::BROADCAST);
        match self.macs.insert(ip, mac) {
            // The same network on a second interface.
            Some(first) => {
                if first != mac {
                    self.conflicts.push((ip, mac));
                }
                self.macs.insert(ip, first);
                Next::Nothing
            }
            // One that was given up and answers late lives all the same.
            None => Next::Probe(Look {
                host,
                is_certain,
                counts: self.done.insert(ip),
            }),
        }
    }

    fn finished(mut self) -> Vec<Host> {
        for (ip, mac) in self.conflicts {
            let ip = IpAddr::V4(ip);
            if let Some(host) = self.hosts.iter_mut().find(|h| h.address.ip() == ip) {
                host.evidence
                    .push(format!("address conflict: {mac} answers for {ip} too"));
            }
        }
        self.hosts
    }
}

#[cfg(test)]
mod tests;
