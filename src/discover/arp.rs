//! The ARP sweep: who lives on a link, in half a second and without an entry in the kernel's table for
//! those who do not.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::capture::is_host;
use super::interfaces::Interface;
use super::pace::Pace;
use crate::model::Mac;
use crate::sys::packet::PacketSocket;
use crate::wire::{arp, bpf};

/// What is waited after each question; frames get lost, so silent hosts are asked twice. An answer to the
/// first is still heard behind the second: cameras on Wi-Fi sleep between beacons.
const WAITS: [Duration; 2] = [Duration::from_millis(60), Duration::from_millis(200)];
/// Hosts from elsewhere that are told: senders can be forged.
pub const GUESTS_MAX: usize = 256;
/// Questions that one call of the system sends.
const TOGETHER_MAX: usize = 32;
/// A full queue of the interface empties within this.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// What a sweep sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// An asked host answered, the first time it did. `round_trip` only where it is certain.
    Alive {
        ip: Ipv4Addr,
        mac: Mac,
        round_trip: Option<Duration>,
    },
    /// The kernel remembers an asked host, which may have gone since.
    Known { ip: Ipv4Addr, mac: Mac },
    /// A second hardware address answers for the same address.
    Conflict { ip: Ipv4Addr, mac: Mac },
    /// A host with an address outside the interface's networks.
    Guest { ip: Ipv4Addr, mac: Mac },
    /// Asked in every round and never heard.
    Silent { ip: Ipv4Addr },
    /// Every host was asked for and told; only guests may follow.
    Asked,
}

/// One question: for this host, in the name of this address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub target: Ipv4Addr,
    /// Unspecified: an address probe, which hosts answer from any subnet.
    pub source: Ipv4Addr,
}

/// Asks for every host on this interface and tells what is seen; then listens for guests on, until
/// `listen_until`.
///
/// # Errors
/// No CAP_NET_RAW, or the interface is gone, down, or no Ethernet. Hosts that were not told are unknown.
pub async fn sweep(
    interface: &Interface,
    asks: Vec<Ask>,
    pace: &Pace,
    listen_until: Instant,
    tell: impl Fn(Seen) + Sync,
) -> io::Result<()> {
    let mac = interface
        .hardware()
        .ok_or_else(|| io::Error::other("no Ethernet interface"))?;
    let socket = PacketSocket::open(interface.index, arp::ETHERTYPE, &bpf::arp())?;
    let course = Course::new(interface, mac, asks);
    let ask = async {
        course.ask(&socket, pace).await?;
        course.silent().into_iter().for_each(&tell);
        tell(Seen::Asked);
        sleep_until(listen_until).await;
        Ok(())
    };
    let hear = async {
        let mut buffer = [0; 2 * arp::FRAME_BYTES];
        loop {
            let length = socket.receive(&mut buffer).await?;
            let Some(heard) = buffer.get(..length).and_then(arp::Arp::parse) else {
                continue;
            };
            course.hear(heard).into_iter().for_each(&tell);
            // A host outside our networks asks for us because it wants to answer us. The kernel's
            // reverse-path filter would leave it waiting.
            if course.is_question_of_guest(heard) {
                let _ = socket.send(&heard.answered_by(mac).frame()).await;
            }
        }
    };
    tokio::select! {
        done = ask => done,
        broken = hear => broken,
    }
}

/// Where a sweep stands.
struct Course<'i> {
    interface: &'i Interface,
    mac: Mac,
    /// By target.
    hosts: Mutex<Vec<Host>>,
    guests: Mutex<Vec<(Ipv4Addr, Mac)>>,
}

#[derive(Debug)]
struct Host {
    ask: Ask,
    sent: Option<Instant>,
    times: usize,
    answer: Option<Mac>,
    has_conflict: bool,
}

impl<'i> Course<'i> {
    fn new(interface: &'i Interface, mac: Mac, mut asks: Vec<Ask>) -> Self {
        asks.sort_unstable_by_key(|ask| ask.target);
        asks.dedup_by_key(|ask| ask.target);
        let host = |ask| Host {
            ask,
            sent: None,
            times: 0,
            answer: None,
            has_conflict: false,
        };
        Self {
            interface,
            mac,
            hosts: Mutex::new(asks.into_iter().map(host).collect()),
            guests: Mutex::new(Vec::new()),
        }
    }

    fn hosts(&self) -> MutexGuard<'_, Vec<Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, socket: &PacketSocket, pace: &Pace) -> io::Result<()> {
        for wait in WAITS {
            let count = self.hosts().len();
            let mut has_sent = false;
            let mut index = 0;
            while index < count {
                if !self.is_silent(index) {
                    index += 1;
                    continue;
                }
                let turns = pace.turns(TOGETHER_MAX).await;
                let questions = (index..count).filter_map(|i| Some((i, self.question(i)?)));
                let (asked, frames): (Vec<usize>, Vec<_>) = questions.take(turns).unzip();
                let mut unsent = frames.as_slice();
                while !unsent.is_empty() {
                    let mut sent = socket.send_all(unsent).await;
                    if matches!(&sent, Err(e) if e.raw_os_error() == Some(libc::ENOBUFS)) {
                        sleep(QUEUE_PAUSE).await;
                        sent = socket.send_all(unsent).await;
                    }
                    let sent = sent?.max(1);
                    unsent = unsent.get(sent..).unwrap_or_default();
                }
                has_sent |= !asked.is_empty();
                index = asked.last().map_or(count, |last| last + 1);
            }
            if has_sent {
                sleep(wait).await;
            }
        }
        Ok(())
    }

    fn is_silent(&self, index: usize) -> bool {
        let hosts = self.hosts();
        hosts.get(index).is_some_and(|host| host.answer.is_none())
    }

    /// The frame for one host, unless it answered meanwhile.
    fn question(&self, index: usize) -> Option<[u8; arp::FRAME_BYTES]> {
        let mut hosts = self.hosts();
        let host = hosts.get_mut(index).filter(|host| host.answer.is_none())?;
        host.sent = Some(Instant::now());
        host.times += 1;
        let Ask { source, target } = host.ask;
        Some(arp::Arp::request(self.mac, source, target).frame())
    }

    fn hear(&self, heard: arp::Arp) -> Option<Seen> {
        let (ip, mac) = (heard.sender_ip, heard.sender_mac);
        if !mac.is_unicast() || mac == self.mac || !is_host(ip) {
            return None;
        }
        let is_guest = !self.interface.contains(ip);
        let mut hosts = self.hosts();
        let index = hosts.binary_search_by_key(&ip, |host| host.ask.target);
        let Some(host) = index.ok().and_then(|index| hosts.get_mut(index)) else {
            return if is_guest { self.guest(ip, mac) } else { None };
        };
        match host.answer {
            None => {
                host.answer = Some(mac);
                if is_guest {
                    return self.guest(ip, mac);
                }
                // After a second question nobody knows which one was answered (RFC 6298 section 3).
                let is_certain = host.times == 1 && heard.operation == arp::Operation::Reply;
                let sent = host.sent.filter(|_| is_certain);
                Some(Seen::Alive {
                    ip,
                    mac,
                    round_trip: sent.map(|at| at.elapsed()),
                })
            }
            Some(first) if first != mac && !host.has_conflict => {
                host.has_conflict = true;
                Some(Seen::Conflict { ip, mac })
            }
            Some(_) => None,
        }
    }

    fn guest(&self, ip: Ipv4Addr, mac: Mac) -> Option<Seen> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.contains(&(ip, mac)) || guests.len() >= GUESTS_MAX {
            return None;
        }
        guests.push((ip, mac));
        Some(Seen::Guest { ip, mac })
    }

    fn is_question_of_guest(&self, heard: arp::Arp) -> bool {
        heard.operation == arp::Operation::Request
            && heard.sender_mac.is_unicast()
            && is_host(heard.sender_ip)
            && self.interface.has_address(heard.target_ip)
            && !self.interface.contains(heard.sender_ip)
    }

    /// Probes for addresses from elsewhere are no hosts of the network that was asked for.
    fn silent(&self) -> Vec<Seen> {
        let hosts = self.hosts();
        let is_silent = |host: &&Host| {
            host.answer.is_none() && host.times > 0 && !host.ask.source.is_unspecified()
        };
        let told = |host: &Host| Seen::Silent {
            ip: host.ask.target,
        };
        hosts.iter().filter(is_silent).map(told).collect()
    }
}

#[cfg(test)]
mod tests;
