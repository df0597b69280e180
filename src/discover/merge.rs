//! Sightings of one device become one: a device may have several addresses, answer several protocols
//! and be seen on several interfaces. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::ask::Heard;
use super::sweep::Host;
use crate::model::Mac;
use crate::wire::discovery::Method;

/// A MAC, serial number or endpoint with more addresses than this names no single device: a bridge that
/// answers ARP for all behind it, a number that a whole series carries.
const ADDRESSES_MAX: usize = 4;
/// Shorter serial numbers and names are no proof.
const ID_CHARS_MIN: usize = 6;

/// Everything seen of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Sightings {
    /// Where it is best reached, with the open ports there.
    pub host: Host,
    /// Was it there when the networks were swept?
    pub was_swept: bool,
    pub also_at: Vec<IpAddr>,
    pub heard: Vec<Heard>,
}

/// What is known at one address.
struct Place {
    host: Host,
    was_swept: bool,
    heard: Vec<Heard>,
}

/// Factory addresses are the same on every camera of a maker: one from another subnet is told by its MAC
/// too.
type At = (IpAddr, Option<Mac>);

/// An id that two addresses may share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Mac(Mac),
    /// With the protocol: two makers may count alike.
    Serial(&'static str, String),
    Endpoint(String),
}

/// Joins the hosts that the sweep found and what was heard into devices, by MAC, serial number and
/// endpoint. Two cameras that wrongly carry the same endpoint stay two.
pub fn merged(
    hosts: Vec<Host>,
    heard: Vec<Heard>,
    link_mac: impl Fn(IpAddr) -> Option<Mac>,
) -> Vec<Sightings> {
    let mut places: BTreeMap<At, Place> = BTreeMap::new();
    for host in hosts {
        let place = Place {
            was_swept: true,
            heard: Vec::new(),
            host,
        };
        places.insert(
            (
                place.host.address.ip(),
                place.host.mac.filter(|_| place.host.off_subnet),
            ),
            place,
        );
    }
    // A name finds nobody: it goes to who is there.
    let (names, heard): (Vec<Heard>, Vec<Heard>) = heard
        .into_iter()
        .partition(|heard| heard.protocol.method == Method::Dhcp);
    for heard in without_twins(heard).into_iter().chain(names) {
        let sender = &heard.sender;
        let at = (sender.ip, sender.mac.filter(|_| sender.off_subnet));
        let is_name = heard.protocol.method == Method::Dhcp;
        if is_name && places.get(&at).and_then(|place| place.host.mac) != heard.facts.mac {
            continue;
        }
        let place = places.entry(at).or_insert_with(|| Place {
            host: Host {
                interface: sender.interface.clone(),
                mac: sender.mac,
                off_subnet: sender.off_subnet,
                ..Host::at(SocketAddr::new(sender.ip, 0), heard.protocol.method.name())
            },
            was_swept: false,
            heard: Vec::new(),
        });
        place.host.interface = place
            .host
            .interface
            .take()
            .or_else(|| sender.interface.clone());
        place.heard.push(heard);
    }
    let mut places: Vec<Place> = places.into_values().collect();
    for place in &mut places {
        let ip = place.host.address.ip();
        let known = || link_mac(ip).filter(|_| !place.host.off_subnet);
        place.host.mac = place.host.mac.or_else(|| mac_inside(ip)).or_else(known);
    }
    joined(places)
}

/// An answer from another subnet comes twice where the IP layer lets it through: the captured one, with
/// its hardware address, is kept.
fn without_twins(heard: Vec<Heard>) -> Vec<Heard> {
    let captured: Vec<Heard> = heard
        .iter()
        .filter(|h| h.sender.mac.is_some())
        .cloned()
        .collect();
    let is_twin = |h: &Heard| {
        let is_same = |other: &Heard| other.sender.ip == h.sender.ip && other.facts == h.facts;
        h.sender.mac.is_none() && h.sender.off_subnet && captured.iter().any(is_same)
    };
    heard.into_iter().filter(|h| !is_twin(h)).collect()
}

fn joined(places: Vec<Place>) -> Vec<Sightings> {
    let mut groups: Vec<usize> = (0..places.len()).collect();
    for (key, members) in keys(&places) {
        if members.len() > ADDRESSES_MAX {
            continue;
        }
        for (n, a) in members.iter().enumerate() {
            for b in members.iter().skip(n + 1) {
                if is_one(&key, *a, *b, &members, &places) {
                    join(&mut groups, *a, *b);
                }
            }
        }
    }
    let mut joined: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
    for (place, group) in places.into_iter().zip(groups) {
        joined.entry(group).or_default().push(place);
    }
    joined.into_values().filter_map(sightings).collect()
}

fn keys(places: &[Place]) -> BTreeMap<Key, Vec<usize>> {
    let mut keys: BTreeMap<Key, BTreeSet<usize>> = BTreeMap::new();
    for (at, place) in places.iter().enumerate() {
        let mut note = |key| keys.entry(key).or_default().insert(at);
        for mac in place.macs() {
            note(Key::Mac(mac));
        }
        for heard in &place.heard {
            if let Some(serial) = heard.facts.serial.as_ref().filter(|s| is_id(s)) {
                note(Key::Serial(heard.protocol.name, serial.clone()));
            }
            if let Some(endpoint) = heard.facts.endpoint.as_ref().filter(|e| is_id(e)) {
                note(Key::Endpoint(endpoint.clone()));
            }
        }
    }
    let several = keys.into_iter().filter(|(_, at)| at.len() > 1);
    several
        .map(|(key, at)| (key, at.into_iter().collect()))
        .collect()
}

/// Long enough, and not one character over and over.
fn is_id(text: &str) -> bool {
    let first = text.chars().next();
    text.len() >= ID_CHARS_MIN && text.chars().any(|c| Some(c) != first)
}

/// Are these two addresses, which share `key`, one device's?
fn is_one(key: &Key, a: usize, b: usize, members: &[usize], places: &[Place]) -> bool {
    let (Some(a), Some(b)) = (places.get(a), places.get(b)) else {
        return false;
    };
    match key {
        // Behind a bridge that answers for others, cameras differ in what they say.
        Key::Mac(_) => !a.differs(b),
        Key::Serial(..) => true,
        Key::Endpoint(_) => {
            let (mine, theirs) = (a.macs(), b.macs());
            if mine.intersection(&theirs).next().is_some() || a.names(b.ip()) || b.names(a.ip()) {
                return true;
            }
            let is_unknown = mine.is_empty() || theirs.is_empty();
            let family = |ip: IpAddr| {
                let all = members.iter().filter_map(|at| places.get(*at));
                all.filter(|place| place.ip().is_ipv4() == ip.is_ipv4())
                    .count()
            };
            // One address of each family: a camera with both.
            is_unknown && family(a.ip()) == 1 && family(b.ip()) == 1
        }
    }
}

impl Place {
    fn ip(&self) -> IpAddr {
        self.host.address.ip()
    }

    fn macs(&self) -> BTreeSet<Mac> {
        let said = self.heard.iter().filter_map(|heard| heard.facts.mac);
        said.chain(self.host.mac).collect()
    }

    /// True where both answered one protocol as different devices.
    fn differs(&self, other: &Self) -> bool {
        self.heard.iter().any(|mine| {
            let differ =
                |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
            other
                .heard
                .iter()
                .filter(|theirs| theirs.protocol == mine.protocol)
                .any(|theirs| {
                    differ(&mine.facts.serial, &theirs.facts.serial)
                        || differ(&mine.facts.endpoint, &theirs.facts.endpoint)
                })
        })
    }

    /// Does it say that it has this address too?
    fn names(&self, ip: IpAddr) -> bool {
        let text = match ip {
            IpAddr::V4(_) => format!("/{ip}"),
            IpAddr::V6(_) => format!("[{ip}"),
        };
        let is_end =
            |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
        self.heard.iter().any(|heard| {
            let onvif = heard.facts.onvif.iter();
            let mut listed = onvif.flat_map(|answer| &answer.xaddrs);
            heard.facts.ip == Some(ip)
                || listed.any(|url| url.split_once(&text).is_some_and(|(_, rest)| is_end(rest)))
        })
    }
}

fn join(groups: &mut [usize], a: usize, b: usize) {
    let (Some(to), Some(from)) = (groups.get(a).copied(), groups.get(b).copied()) else {
        return;
    };
    let (to, from) = (to.min(from), to.max(from));
    for group in groups.iter_mut().filter(|group| **group == from) {
        *group = to;
    }
}

fn sightings(mut places: Vec<Place>) -> Option<Sightings> {
    // Open ports first, then our own subnet, then IPv4, then what is no link-local address.
    places.sort_by_key(|place| {
        let (host, ip) = (&place.host, place.ip());
        (
            host.open.is_empty(),
            host.off_subnet,
            ip.is_ipv6(),
            is_link_local(ip),
            ip,
        )
    });
    let mut places = places.into_iter();
    let Place {
        host,
        was_swept,
        heard,
    } = places.next()?;
    let mut all = Sightings {
        host,
        was_swept,
        also_at: Vec::new(),
        heard,
    };
    for place in places {
        all.also_at.push(place.ip());
        all.host.mac = all.host.mac.or(place.host.mac);
        all.host.evidence.extend(place.host.evidence);
        all.heard.extend(place.heard);
    }
    all.heard
        .sort_by_key(|heard| (heard.protocol.rank(), heard.protocol.name));
    all.host.mac = all
        .host
        .mac
        .or_else(|| all.heard.iter().find_map(|heard| heard.facts.mac));
    Some(all)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The MAC that an address on the link is made of (RFC 4291, appendix A).
fn mac_inside(ip: IpAddr) -> Option<Mac> {
    let IpAddr::V6(ip) = ip else { return None };
    let [.., a, b, c, 0xff, 0xfe, d, e, f] = ip.octets() else {
        return None;
    };
    let mac = Mac([a ^ 2, b, c, d, e, f]);
    (ip.is_unicast_link_local() && mac.is_unicast()).then_some(mac)
}

#[cfg(test)]
mod tests;
