//! The host sweep without CAP_NET_RAW: a datagram to each host makes the kernel ask for its hardware
//! address, and the neighbour table tells who answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use super::arp::Seen;
use super::interfaces::Interface;
use super::pace::Pace;
use crate::sys::neighbours;
use crate::wire::neigh::{Neighbour, State};

/// The discard service (RFC 863): nobody acts on what comes there.
const PORT: u16 = 9;
/// Hosts that may be unresolved at the same time. A dead one keeps its entry for three seconds, and the
/// table holds about a thousand for the whole machine.
const WAITING_MAX: usize = 256;
/// The kernel asks again after one second.
const ANSWER_LIMIT: Duration = Duration::from_millis(1200);
/// Reading the table costs: after the last datagram the pauses between two looks grow.
const LOOK_FIRST: Duration = Duration::from_millis(40);
const LOOK_LAST: Duration = Duration::from_millis(400);
/// A socket whose buffer is full takes nothing for seconds.
const SEND_LIMIT: Duration = Duration::from_millis(20);
/// A host for which the table had no room is tried this often.
const TRIES_MAX: u32 = 8;

/// Touches every host on this interface and tells who is there.
///
/// # Errors
/// No socket, or no neighbour table to read. Hosts that were not told are unknown.
pub async fn sweep(
    interface: &Interface,
    hosts: Vec<Ipv4Addr>,
    pace: &Pace,
    tell: impl Fn(Seen) + Sync,
) -> io::Result<()> {
    let mut left: VecDeque<(Ipv4Addr, u32)> = hosts.into_iter().map(|host| (host, 1)).collect();
    let mut waiting = Waiting::default();
    let mut pause = LOOK_FIRST;
    while !(left.is_empty() && waiting.hosts.is_empty()) {
        // A new one each time: datagrams to the dead fill its buffer for three seconds.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        while waiting.hosts.len() < WAITING_MAX
            && let Some((host, tries)) = left.pop_front()
        {
            pace.turn().await;
            // Whether it went out is seen in the table: a full one drops the datagram without a word.
            let _ = timeout(SEND_LIMIT, socket.send_to(&[], (host, PORT))).await;
            waiting.hosts.insert(host, (Instant::now(), tries));
            pause = LOOK_FIRST;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_LAST);
        waiting.look(&neighbours::table()?, interface.index, &tell);
        left.extend(waiting.unasked.drain(..));
    }
    if waiting.given_up > 0 {
        tracing::warn!(
            "{} hosts on {} could not be asked: the kernel's neighbour table is full; raise net.ipv4.neigh.default.gc_thresh3",
            waiting.given_up,
            interface.name
        );
    }
    Ok(())
}

/// Hosts that were touched.
#[derive(Debug, Default)]
struct Waiting {
    /// Since when, and for which time.
    hosts: HashMap<Ipv4Addr, (Instant, u32)>,
    /// To be tried again, and for which time.
    unasked: Vec<(Ipv4Addr, u32)>,
    given_up: usize,
}

impl Waiting {
    /// Takes out who answered, who never got an entry, and who was waited for long enough.
    fn look(&mut self, table: &[Neighbour], interface: u32, tell: &impl Fn(Seen)) {
        let mut asked = HashSet::new();
        for neighbour in table.iter().filter(|n| n.interface == interface) {
            let IpAddr::V4(ip) = neighbour.ip else {
                continue;
            };
            asked.insert(ip);
            let Some(mac) = neighbour.mac.filter(|_| self.hosts.contains_key(&ip)) else {
                continue;
            };
            let seen = match neighbour.state {
                State::Reachable | State::Fixed => Seen::Alive {
                    ip,
                    mac,
                    round_trip: None,
                },
                // The kernel lets an old entry serve for five seconds before it asks anew.
                State::Stale => Seen::Known { ip, mac },
                State::Incomplete | State::Failed => continue,
            };
            self.hosts.remove(&ip);
            tell(seen);
        }
        let Self {
            hosts,
            unasked,
            given_up,
        } = self;
        hosts.retain(|ip, (since, tries)| {
            if since.elapsed() < ANSWER_LIMIT {
                return true;
            }
            match (asked.contains(ip), *tries < TRIES_MAX) {
                (true, _) => tell(Seen::Silent { ip: *ip }),
                (false, true) => unasked.push((*ip, *tries + 1)),
                (false, false) => *given_up += 1,
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mac;

    #[tokio::test(start_paused = true)]
    async fn the_table_tells_who_is_there() {
        let mac = Mac([4; 6]);
        let ip = |n| Ipv4Addr::new(10, 77, 0, n);
        let entry = |n, interface, mac, state| Neighbour {
            ip: IpAddr::V4(ip(n)),
            interface,
            mac,
            state,
        };
        let table = [
            entry(1, 2, Some(mac), State::Reachable),
            entry(2, 2, Some(mac), State::Stale),
            entry(3, 2, None, State::Incomplete),
            entry(4, 2, Some(mac), State::Failed),
            entry(5, 9, Some(mac), State::Reachable),
            entry(6, 2, Some(mac), State::Reachable),
        ];
        let now = Instant::now();
        let mut waiting = Waiting::default();
        waiting.hosts.extend((1..=5).map(|n| (ip(n), (now, 1))));
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |seen| told.borrow_mut().push(seen);
        waiting.look(&table, 2, &tell);
        let alive = Seen::Alive {
            ip: ip(1),
            mac,
            round_trip: None,
        };
        assert_eq!(told.take(), [alive, Seen::Known { ip: ip(2), mac }]);
        assert_eq!(waiting.hosts.len(), 3, "the rest is waited for");
        tokio::time::advance(ANSWER_LIMIT).await;
        waiting.look(&table, 2, &tell);
        let mut silent = told.take();
        silent.sort_unstable_by_key(|seen| format!("{seen:?}"));
        assert_eq!(
            silent,
            [Seen::Silent { ip: ip(3) }, Seen::Silent { ip: ip(4) }]
        );
        assert_eq!(
            waiting.unasked,
            [(ip(5), 2)],
            "no entry: it was not asked, not dead"
        );
        waiting.hosts.insert(ip(5), (now, TRIES_MAX));
        waiting.look(&table, 2, &tell);
        assert_eq!((told.take(), waiting.given_up), (Vec::new(), 1));
    }
}
