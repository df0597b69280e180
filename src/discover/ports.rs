//! Which ports of a host are open. Only hosts that live are asked; waits follow the measured round trips.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::pace::Pace;
use crate::policy::networks::AllowedNetworks;
use crate::policy::round_trip::RoundTrip;

/// Sockets of one scan that connect at the same time.
pub const SOCKETS: usize = 256;
/// The second wait for a port that said nothing.
const SECOND_LIMIT: Duration = Duration::from_millis(400);
/// The same where no port of the host said anything: the kernel's own ARP may have got lost, and it
/// asks again after a second.
const SILENT_LIMIT: Duration = Duration::from_millis(1200);

/// What a port said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Open,
    /// Refused: the host lives.
    Closed,
    Silent,
    /// We had no socket, no buffer or no neighbour entry left: nothing is known.
    Unknown,
}

impl Port {
    /// Did the host itself answer?
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Open | Self::Closed)
    }
}

/// Round trips of one network, measured by all who ask there.
#[derive(Debug, Default)]
pub struct Trips(Mutex<RoundTrip>);

impl Trips {
    pub fn note(&self, trip: Duration) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(trip);
    }

    fn limit(&self) -> Duration {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .limit()
    }
}

/// Connects for the whole scan: one budget of sockets, one pace.
#[derive(Debug)]
pub struct Dialler {
    networks: Arc<AllowedNetworks>,
    sockets: Semaphore,
    pace: Pace,
}

impl Dialler {
    pub fn new(networks: Arc<AllowedNetworks>, connects_per_second: u32) -> Self {
        Self {
            networks,
            sockets: Semaphore::new(SOCKETS),
            pace: Pace::per_second(connects_per_second),
        }
    }

    /// Asks each port once, all at once; nothing is sent where the configuration forbids it.
    pub async fn ask(
        self: &Arc<Self>,
        host: SocketAddr,
        ports: &[u16],
        trips: &Arc<Trips>,
        least: Duration,
    ) -> Vec<(u16, Port)> {
        let mut asking = JoinSet::new();
        let mut said = Vec::with_capacity(ports.len());
        for port in ports {
            let mut address = host;
            address.set_port(*port);
            if !self.networks.allows(address) {
                said.push((*port, Port::Silent));
                continue;
            }
            let (dialler, trips) = (self.clone(), trips.clone());
            asking
                .spawn(async move { (address.port(), dialler.dial(address, &trips, least).await) });
        }
        while let Some(done) = asking.join_next().await {
            said.extend(done);
        }
        said
    }

    /// Asks a host that lives: a port that says nothing is asked once more.
    pub async fn ports(
        self: &Arc<Self>,
        host: SocketAddr,
        ports: &[u16],
        trips: &Arc<Trips>,
    ) -> Vec<(u16, Port)> {
        let mut said = self.ask(host, ports, trips, Duration::ZERO).await;
        let silent: Vec<u16> = said
            .iter()
            .filter(|(_, state)| !state.is_answer())
            .map(|(port, _)| *port)
            .collect();
        if silent.is_empty() {
            return said;
        }
        let least = match silent.len() == said.len() {
            true => SILENT_LIMIT,
            false => SECOND_LIMIT,
        };
        let again = self.ask(host, &silent, trips, least).await;
        said.retain(|(_, state)| state.is_answer());
        said.extend(again);
        said
    }

    async fn dial(&self, address: SocketAddr, trips: &Trips, least: Duration) -> Port {
        let Ok(_socket) = self.sockets.acquire().await else {
            return Port::Unknown;
        };
        self.pace.turn().await;
        let started = Instant::now();
        let limit = trips.limit().max(least);
        let state = match timeout(limit, TcpStream::connect(address)).await {
            Ok(result) => state_of(&result),
            Err(_) => Port::Silent,
        };
        if state.is_answer() {
            trips.note(started.elapsed());
        }
        state
    }
}

fn state_of(result: &io::Result<TcpStream>) -> Port {
    match result.as_ref().map_err(io::Error::kind) {
        Ok(_) => Port::Open,
        Err(io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) => Port::Closed,
        Err(io::ErrorKind::TimedOut) => Port::Silent,
        Err(_) => Port::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn listener() -> (tokio::net::TcpListener, u16) {
        let listener = tokio::net::TcpListener::bind(LOOPBACK).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn open_and_closed_ports_and_their_round_trips() {
        let (_listener, port) = listener().await;
        let networks = Arc::new(AllowedNetworks::parse(&["loopback"]).unwrap());
        let dialler = Arc::new(Dialler::new(networks, 10_000));
        let trips = Arc::new(Trips::default());
        assert_eq!(trips.limit(), Duration::from_secs(1));
        let mut said = dialler.ports(LOOPBACK, &[port, 1], &trips).await;
        said.sort_unstable_by_key(|(port, _)| *port);
        assert_eq!(said, vec![(1, Port::Closed), (port, Port::Open)]);
        assert_eq!(trips.limit(), Duration::from_millis(200));
    }

    #[tokio::test]
    async fn nothing_goes_where_it_may_not() {
        let (listener, port) = listener().await;
        let dialler = Arc::new(Dialler::new(Arc::new(AllowedNetworks::default()), 10_000));
        let said = dialler.ports(LOOPBACK, &[port], &Arc::default()).await;
        assert_eq!(said, vec![(port, Port::Silent)]);
        let nobody = timeout(Duration::from_millis(20), listener.accept()).await;
        assert!(nobody.is_err());
    }
}
