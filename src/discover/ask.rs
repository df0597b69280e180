//! Asks every interface in every protocol of the table at once, and reads what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::capture::{Capture, Captured};
use super::interfaces::Interface;
use super::pace::Pace;
use super::udp::{LinkSocket, Waiting};
use crate::model::Mac;
use crate::policy::networks::{AllowedNetworks, Network};
use crate::wire::discovery::{
    Asker, DHCP, DHCP_PORT, Destination, Facts, Method, PROTOCOLS, Protocol,
};

/// When the questions are sent: devices and switches lose single datagrams.
const SEND_AT: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
];
/// Sockets of one discovery; each interface takes about thirty.
const SOCKETS_MAX: usize = 512;
/// Sockets that share the answers to one question, where all cameras of a site answer at once: about
/// ninety answers fill the buffer that the kernel gives to one by default.
const TWINS: usize = 3;
/// Answers that are kept, since they can be forged; and of one address in one protocol.
const HEARD_MAX: usize = 16_384;
const HEARD_PER_HOST_MAX: usize = 8;
/// Answers that wait for whoever collects them.
pub const QUEUE: usize = 1024;
/// Answers that are read before others get their turn.
const READ_AT_ONCE: usize = 16;

/// What to ask, and where.
#[derive(Debug, Clone)]
pub struct Question {
    pub interfaces: Vec<Interface>,
    /// Families of protocols.
    pub methods: Vec<Method>,
    /// Addresses that may be asked and heard.
    pub networks: Arc<AllowedNetworks>,
    pub queries_per_second_max: u32,
}

/// Who sent a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub ip: IpAddr,
    /// Name of the interface on which it came; unknown behind a router.
    pub interface: Option<Arc<str>>,
    /// Known where the packet itself was seen.
    pub mac: Option<Mac>,
    /// Its address is of no network of the interface.
    pub off_subnet: bool,
}

/// What one device said.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub protocol: &'static Protocol,
    pub sender: Sender,
    pub facts: Facts,
}

/// One socket: a protocol on an interface.
#[derive(Debug)]
struct Line {
    protocol: &'static Protocol,
    interface: Interface,
    name: Arc<str>,
    socket: LinkSocket,
    /// On the same port.
    twins: Vec<LinkSocket>,
    mac: Mac,
    /// Our address, and where to send from it.
    ways: Vec<(IpAddr, Vec<SocketAddr>)>,
}

/// Open sockets, ready to ask.
#[derive(Debug)]
pub struct Ask {
    lines: Vec<Line>,
    captures: Vec<Capture>,
    own: BTreeSet<IpAddr>,
    networks: Arc<AllowedNetworks>,
    pace: Pace,
}

/// Whom to believe.
#[derive(Debug)]
struct Ears {
    own: BTreeSet<IpAddr>,
    networks: Arc<AllowedNetworks>,
}

/// Reads a payload of this protocol, however it was received.
pub fn decode(protocol: &'static Protocol, payload: &[u8], sender: &Sender) -> Vec<Heard> {
    let all = (protocol.decode)(payload).into_iter();
    let heard = all.map(|facts| Heard {
        protocol,
        sender: sender.clone(),
        facts,
    });
    heard.collect()
}

impl Ask {
    /// Binds every socket, so that no answer can come before somebody listens. Interfaces without an
    /// allowed address stay silent; what cannot be opened is told in the log and left out.
    pub fn open(question: &Question) -> Self {
        let own = question.interfaces.iter().flat_map(Interface::addresses);
        let mut ask = Self {
            lines: Vec::new(),
            captures: Vec::new(),
            own: own.collect(),
            networks: question.networks.clone(),
            pace: Pace::per_second(question.queries_per_second_max),
        };
        let wanted = PROTOCOLS
            .iter()
            .filter(|p| question.methods.contains(&p.method));
        // The protocols that find most are first in the table and first on every interface.
        for protocol in wanted {
            for interface in question
                .interfaces
                .iter()
                .filter(|i| i.is_up && i.index != 0)
            {
                ask.open_line(protocol, interface);
            }
        }
        for interface in question.interfaces.iter().filter(|i| !i.ipv4.is_empty()) {
            let ports = ask.source_ports(&interface.name).into_keys();
            // Requests for an address pass by on every link.
            let ports: Vec<u16> = ports.chain([DHCP_PORT]).collect();
            match Capture::open(interface, &ports) {
                Ok(capture) => ask.captures.extend(capture),
                Err(error) => tracing::debug!("nothing is captured on {}: {error}", interface.name),
            }
        }
        ask
    }

    fn open_line(&mut self, protocol: &'static Protocol, interface: &Interface) {
        let open: usize = self.lines.iter().map(|line| 1 + line.twins.len()).sum();
        if open + 2 * (1 + TWINS) > SOCKETS_MAX {
            let (name, interface) = (protocol.name, &interface.name);
            tracing::warn!(
                "too many interfaces: {name} is not asked on {interface}; name those to scan"
            );
            return;
        }
        let allowed = |ip: &IpAddr| self.networks.allows(SocketAddr::new(*ip, 0));
        let v4: Vec<(IpAddr, Vec<SocketAddr>)> = interface
            .ipv4
            .iter()
            .map(|net| (net.address, net.prefix))
            .filter(|(address, _)| allowed(&IpAddr::V4(*address)))
            .map(|(address, prefix)| (address.into(), destinations(protocol, address, prefix)))
            .collect();
        let v6 = interface.link_local().map(IpAddr::V6).filter(allowed);
        let v6 = v6.map(|address| (address, destinations_v6(protocol, interface.index)));
        let v6: Vec<(IpAddr, Vec<SocketAddr>)> =
            v6.into_iter().filter(|(_, to)| !to.is_empty()).collect();
        if !v4.is_empty() {
            self.add(protocol, interface, v4, open_v4(protocol, interface));
        }
        if !v6.is_empty() {
            self.add(protocol, interface, v6, LinkSocket::v6(interface, 0, &[]));
        }
    }

    fn add(
        &mut self,
        protocol: &'static Protocol,
        interface: &Interface,
        ways: Vec<(IpAddr, Vec<SocketAddr>)>,
        socket: std::io::Result<LinkSocket>,
    ) {
        match socket {
            Ok(socket) => self.lines.push(Line {
                protocol,
                interface: interface.clone(),
                name: interface.name.as_str().into(),
                twins: twins(protocol, interface, &socket),
                socket,
                mac: interface.hardware().unwrap_or(Mac([0; 6])),
                ways,
            }),
            Err(error) => {
                tracing::warn!(
                    "{} cannot be asked on {}: {error}",
                    protocol.name,
                    interface.name
                );
            }
        }
    }

    /// Our source ports on one interface, and what is spoken on each: answers that the IP layer drops
    /// are read elsewhere by these.
    pub fn source_ports(&self, interface: &str) -> BTreeMap<u16, &'static Protocol> {
        let lines = self.lines.iter().filter(|line| &*line.name == interface);
        lines
            .map(|line| (line.socket.port(), line.protocol))
            .collect()
    }

    /// Sends every question three times within 300 ms, and tells what is heard until `stop`.
    pub async fn run(self, tell: mpsc::Sender<Heard>, stop: CancellationToken) {
        let ears = Arc::new(Ears {
            own: self.own,
            networks: self.networks,
        });
        let mut readers = JoinSet::new();
        for capture in self.captures {
            let spoken = self
                .lines
                .iter()
                .filter(|line| line.name == *capture.name());
            let spoken = spoken
                .map(|line| (line.socket.port(), line.protocol))
                .collect();
            readers.spawn(overhear(capture, spoken, ears.clone(), tell.clone()));
        }
        let lines: Vec<Arc<Line>> = self.lines.into_iter().map(Arc::new).collect();
        for line in &lines {
            for socket in 0..=line.twins.len() {
                readers.spawn(read(line.clone(), socket, ears.clone(), tell.clone()));
            }
        }
        drop(tell);
        let work = async {
            let start = Instant::now();
            for at in SEND_AT {
                sleep_until(start + at).await;
                for line in &lines {
                    send(line, &self.pace).await;
                }
            }
            while readers.join_next().await.is_some() {}
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }
}

fn twins(protocol: &Protocol, interface: &Interface, socket: &LinkSocket) -> Vec<LinkSocket> {
    let count = match protocol.method {
        Method::WsDiscovery => TWINS,
        Method::Ssdp | Method::Mdns | Method::Vendor | Method::Dhcp => 0,
    };
    let opened = (0..count).map(|_| socket.twin(interface));
    // Without them a burst may lose answers; the questions are sent three times.
    opened.filter_map(Result::ok).collect()
}

/// On the prescribed port; on any where another program holds that: some devices answer to it.
fn open_v4(protocol: &Protocol, interface: &Interface) -> std::io::Result<LinkSocket> {
    let groups: Vec<Ipv4Addr> = protocol
        .to
        .iter()
        .filter_map(|to| match to {
            Destination::Group(group, _) | Destination::AnswerGroup(group) => Some(*group),
            _ => None,
        })
        .collect();
    if protocol.from == 0 {
        return LinkSocket::v4(interface, 0, &[]);
    }
    LinkSocket::v4(interface, protocol.from, &groups).or_else(|error| {
        let (name, port) = (protocol.name, protocol.from);
        tracing::debug!("UDP port {port} is taken ({error}): {name} is asked from another one");
        LinkSocket::v4(interface, 0, &[])
    })
}

fn destinations(protocol: &Protocol, own: Ipv4Addr, prefix: u8) -> Vec<SocketAddr> {
    let directed = Network::new(own.into(), prefix).broadcast();
    let mut all = Vec::new();
    for to in protocol.to {
        match *to {
            Destination::Group(group, port) => all.push(SocketAddr::from((group, port))),
            Destination::Broadcast(port) => {
                all.push(SocketAddr::from((Ipv4Addr::BROADCAST, port)));
                all.extend(directed.map(|ip| SocketAddr::from((ip, port))));
            }
            Destination::GroupV6(..) | Destination::AnswerGroup(_) => {}
        }
    }
    all
}

fn destinations_v6(protocol: &Protocol, index: u32) -> Vec<SocketAddr> {
    let on_link = |to: &Destination| match *to {
        Destination::GroupV6(group, port) => {
            Some(SocketAddr::V6(SocketAddrV6::new(group, port, 0, index)))
        }
        _ => None,
    };
    protocol.to.iter().filter_map(on_link).collect()
}

async fn send(line: &Line, pace: &Pace) {
    for (source, destinations) in &line.ways {
        let asker = Asker {
            id: Uuid::now_v7(),
            ip: *source,
            mac: line.mac,
            port: line.socket.port(),
        };
        for question in (line.protocol.encode)(&asker) {
            for to in destinations {
                pace.turn().await;
                if let Err(error) = line.socket.send(&question, *source, *to).await {
                    let (name, interface) = (line.protocol.name, &line.name);
                    tracing::debug!("{name} to {to} on {interface}: {error}");
                }
            }
        }
    }
}

/// Reads one socket of a line (0 is the one that asks) for ever. What arrives is taken before each answer is decoded, so that a burst
/// never waits in the kernel's small buffer.
async fn read(line: Arc<Line>, socket: usize, ears: Arc<Ears>, tell: mpsc::Sender<Heard>) {
    let twin = socket.checked_sub(1).and_then(|at| line.twins.get(at));
    let socket = twin.unwrap_or(&line.socket);
    let mut waiting = Waiting::default();
    let mut read = 0;
    loop {
        let taken = match waiting.pop() {
            None => socket.receive(&mut waiting).await,
            Some(datagram) => {
                let ip = datagram.from.ip();
                let sender = Sender {
                    ip,
                    interface: Some(line.name.clone()),
                    mac: None,
                    off_subnet: matches!(ip, IpAddr::V4(ip) if !line.interface.contains(ip)),
                };
                if ears
                    .hear(line.protocol, &datagram.payload, &sender, &tell)
                    .await
                    .is_err()
                {
                    return;
                }
                read += 1;
                if read % READ_AT_ONCE == 0 {
                    tokio::task::yield_now().await;
                }
                socket.drain(&mut waiting)
            }
        };
        if let Err(error) = taken {
            let (name, interface) = (line.protocol.name, &line.name);
            tracing::debug!("{name} on {interface}: {error}");
            // An interface that is down says so again and again.
            tokio::time::sleep(SEND_AT[1]).await;
        }
    }
}

/// Reads what the IP layer drops on one interface: answers from other subnets.
/// The name that comes with a request for an address, as told by who will have that address.
fn names_asked_for(captured: &Captured) -> Vec<Heard> {
    let sender = Sender {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        interface: Some(captured.interface.clone()),
        mac: None,
        off_subnet: false,
    };
    let mut heard = decode(&DHCP, &captured.payload, &sender);
    // Whoever sends it speaks for itself alone.
    heard.retain(|heard| heard.facts.mac == Some(captured.mac));
    for heard in &mut heard {
        heard.sender.ip = heard.facts.ip.unwrap_or(heard.sender.ip);
    }
    heard
}

async fn overhear(
    mut capture: Capture,
    spoken: BTreeMap<u16, &'static Protocol>,
    ears: Arc<Ears>,
    tell: mpsc::Sender<Heard>,
) {
    loop {
        let captured = match capture.next().await {
            Ok(captured) => captured,
            Err(error) => {
                tracing::debug!("the capture on {} ends: {error}", capture.name());
                return;
            }
        };
        if captured.to_port == DHCP_PORT {
            for name in names_asked_for(&captured) {
                if tell.send(name).await.is_err() {
                    return;
                }
            }
            continue;
        }
        let Some(protocol) = spoken.get(&captured.to_port) else {
            continue;
        };
        let sender = Sender {
            ip: IpAddr::V4(*captured.from.ip()),
            interface: Some(captured.interface),
            mac: Some(captured.mac),
            off_subnet: true,
        };
        if ears
            .hear(protocol, &captured.payload, &sender, &tell)
            .await
            .is_err()
        {
            return;
        }
    }
}

impl Ears {
    /// Tells what somebody else said, if he may be heard; an error when nobody listens any more.
    async fn hear(
        &self,
        protocol: &'static Protocol,
        payload: &[u8],
        sender: &Sender,
        tell: &mpsc::Sender<Heard>,
    ) -> Result<(), mpsc::error::SendError<Heard>> {
        let is_allowed = self.networks.allows(SocketAddr::new(sender.ip, 0));
        if is_allowed && !self.own.contains(&sender.ip) {
            for heard in decode(protocol, payload, sender) {
                tell.send(heard).await?;
            }
        }
        Ok(())
    }
}

/// What was heard, each thing once, within bounds.
#[derive(Debug, Default)]
pub struct Gathered {
    hosts: BTreeMap<(IpAddr, Option<Mac>, &'static str), Vec<Heard>>,
    count: usize,
}

impl Gathered {
    /// Keeps it unless it is known or too much; true where it is new.
    pub fn add(&mut self, heard: Heard) -> bool {
        if self.count == HEARD_MAX {
            return false;
        }
        let of_host = self
            .hosts
            .entry((heard.sender.ip, heard.sender.mac, heard.protocol.name))
            .or_default();
        let is_new = of_host.len() < HEARD_PER_HOST_MAX && !of_host.contains(&heard);
        if is_new {
            self.count += 1;
            of_host.push(heard);
        }
        is_new
    }

    /// Keeps all that comes until `work` is done.
    pub async fn fill<T>(
        &mut self,
        answers: &mut mpsc::Receiver<Heard>,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(heard) = answers.recv() => { self.add(heard); }
            }
        }
    }

    /// Keeps what came meanwhile, without waiting.
    pub fn take_waiting(&mut self, answers: &mut mpsc::Receiver<Heard>) {
        while let Ok(heard) = answers.try_recv() {
            self.add(heard);
        }
    }

    pub fn into_all(self) -> Vec<Heard> {
        self.hosts.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(name: &str) -> &'static Protocol {
        PROTOCOLS.iter().find(|p| p.name == name).unwrap()
    }

    #[test]
    fn questions_go_to_groups_and_to_each_networks_broadcast() {
        let texts = |name| -> Vec<String> {
            let all = destinations(protocol(name), Ipv4Addr::new(10, 77, 0, 1), 24);
            all.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            texts("sadp"),
            [
                "239.255.255.250:37020",
                "255.255.255.255:37020",
                "10.77.0.255:37020"
            ]
        );
        assert_eq!(texts("ws_discovery"), ["239.255.255.250:3702"]);
        assert_eq!(
            texts("mhed"),
            ["234.55.55.55:23456"],
            "nothing goes to a group of answers"
        );
        let v6 = destinations_v6(protocol("ws_discovery"), 7);
        assert_eq!(v6, ["[ff02::c%7]:3702".parse::<SocketAddr>().unwrap()]);
        assert!(destinations_v6(protocol("sadp"), 7).is_empty());
        let alone = destinations(protocol("sunapi"), Ipv4Addr::new(10, 0, 0, 1), 32);
        assert_eq!(alone.len(), 1, "a network of one host has no broadcast");
    }

    #[test]
    fn each_thing_is_kept_once_and_floods_are_cut() {
        let heard = |n: usize, from: &str| Heard {
            protocol: protocol("sadp"),
            sender: Sender {
                ip: from.parse().unwrap(),
                interface: Some("eth0".into()),
                mac: None,
                off_subnet: false,
            },
            facts: Facts {
                serial: Some(n.to_string()),
                ..Facts::default()
            },
        };
        let mut gathered = Gathered::default();
        assert!(gathered.add(heard(1, "10.0.0.1")));
        assert!(!gathered.add(heard(1, "10.0.0.1")));
        assert!(gathered.add(heard(1, "10.0.0.2")));
        for n in 0..100 {
            gathered.add(heard(n, "10.0.0.1"));
        }
        assert_eq!(gathered.into_all().len(), HEARD_PER_HOST_MAX + 1);
    }

    #[tokio::test]
    async fn only_allowed_addresses_are_asked_from() {
        let lo = super::super::interfaces::list()
            .into_iter()
            .find(|i| i.name == "lo")
            .unwrap();
        let open = |entries: &[&str]| {
            Ask::open(&Question {
                interfaces: vec![lo.clone()],
                methods: vec![Method::WsDiscovery, Method::Vendor],
                networks: Arc::new(AllowedNetworks::parse(entries).unwrap()),
                queries_per_second_max: 1000,
            })
        };
        assert!(open(&["private"]).lines.is_empty());
        let ask = open(&["loopback"]);
        let ports = ask.source_ports("lo");
        assert_eq!(
            ports.len(),
            ask.lines.len(),
            "each protocol has a port of its own"
        );
        assert!(ports.values().any(|p| p.name == "dhip"));
        assert!(ask.source_ports("eth7").is_empty());
    }
}
