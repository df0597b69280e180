//! Devices that tell by themselves that they come or go: Hello and Bye of WS-Discovery, on every
//! interface (WS-Discovery, sections 4.1 and 4.2).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::interfaces::{self, Interface};
use super::udp::{LinkSocket, Waiting};
use crate::policy::networks::AllowedNetworks;
use crate::wire::wsd::{self, Match};

/// Interfaces come and go too; so often they are looked at anew.
const REFRESH: Duration = Duration::from_secs(30);
/// Messages of one interface that are read per second: a device that starts says Hello twice.
const PER_SECOND_MAX: u32 = 200;

/// What a device did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It started, or its address changed.
    Hello,
    /// It says that it leaves. Devices that lose power say nothing.
    Bye,
}

/// One such message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub what: Move,
    pub from: IpAddr,
    /// Name of the interface.
    pub interface: Arc<str>,
    /// A Hello may lack addresses: ask the sender then.
    pub device: Match,
}

/// Listens on the named interfaces, or on all, until `stop`. Senders outside of `networks` are not
/// heard. Whoever is too slow for `tell` loses news, not the listener.
pub async fn listen(
    names: Vec<String>,
    networks: Arc<AllowedNetworks>,
    tell: mpsc::Sender<News>,
    stop: CancellationToken,
) {
    let mut before: Vec<String> = Vec::new();
    let mut listeners = JoinSet::new();
    loop {
        let mut chosen = interfaces::list();
        chosen.retain(|i| i.can_multicast() && (names.is_empty() || names.contains(&i.name)));
        let now: Vec<String> = chosen.iter().map(signature).collect();
        if now != before || listeners.is_empty() {
            listeners.abort_all();
            while listeners.join_next().await.is_some() {}
            for (interface, socket) in chosen.iter().flat_map(open) {
                listeners.spawn(hear(interface, socket, networks.clone(), tell.clone()));
            }
            before = now;
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            () = stop.cancelled() => return,
            () = tell.closed() => return,
        }
    }
}

/// Changes with whatever a membership depends on.
fn signature(interface: &Interface) -> String {
    let addresses: Vec<String> = interface.addresses().map(|ip| ip.to_string()).collect();
    format!("{} {} {addresses:?}", interface.index, interface.name)
}

fn open(interface: &Interface) -> Vec<(Arc<str>, LinkSocket)> {
    let mut sockets = Vec::new();
    if !interface.ipv4.is_empty() {
        sockets.push(LinkSocket::v4(interface, wsd::PORT, &[wsd::GROUP_V4]));
    }
    if interface.link_local().is_some() {
        sockets.push(LinkSocket::v6(interface, wsd::PORT, &[wsd::GROUP_V6]));
    }
    let mut opened = Vec::new();
    for socket in sockets {
        match socket {
            Ok(socket) => opened.push((interface.name.as_str().into(), socket)),
            Err(error) => tracing::warn!(
                "Hello of cameras is not heard on {}: UDP port {}: {error}",
                interface.name,
                wsd::PORT
            ),
        }
    }
    opened
}

async fn hear(
    interface: Arc<str>,
    socket: LinkSocket,
    networks: Arc<AllowedNetworks>,
    tell: mpsc::Sender<News>,
) {
    let mut waiting = Waiting::default();
    let (mut second, mut count) = (Instant::now(), 0);
    loop {
        if socket.receive(&mut waiting).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        while let Some(datagram) = waiting.pop() {
            if second.elapsed() >= Duration::from_secs(1) {
                (second, count) = (Instant::now(), 0);
            }
            count += 1;
            if count > PER_SECOND_MAX || !networks.allows(SocketAddr::new(datagram.from.ip(), 0)) {
                continue;
            }
            for news in read(&datagram.payload, datagram.from.ip(), &interface) {
                // A full queue: those who ask for news are behind, and the next scan finds the rest.
                let _ = tell.try_send(news);
            }
        }
    }
}

/// Hello and Bye of one datagram; Probes and answers of others are none.
fn read(payload: &[u8], from: IpAddr, interface: &Arc<str>) -> Vec<News> {
    let all = wsd::parse(payload).unwrap_or_default();
    let news = all.into_iter().filter_map(|device| {
        let what = match (device.is_hello, device.is_bye) {
            (true, _) => Move::Hello,
            (_, true) => Move::Bye,
            _ => return None,
        };
        Some(News {
            what,
            from,
            interface: interface.clone(),
            device,
        })
    });
    news.collect()
}

/// Waits for the next news until `deadline`; `None` when it is over or nobody listens any more.
pub async fn next(news: &mut mpsc::Receiver<News>, deadline: Instant) -> Option<News> {
    timeout_at(deadline, news.recv()).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"<e:Envelope xmlns:e='s'><e:Body><d:Hello xmlns:d='x'><a:EndpointReference xmlns:a='y'><a:Address>urn:uuid:1</a:Address></a:EndpointReference><d:XAddrs>http://10.0.0.9/onvif/device_service</d:XAddrs></d:Hello></e:Body></e:Envelope>";

    #[test]
    fn hello_bye_and_nothing_else() {
        let from = "10.0.0.9".parse().unwrap();
        let one = |payload: &[u8]| read(payload, from, &"eth0".into());
        let hello = one(HELLO);
        assert_eq!((hello.len(), hello[0].what), (1, Move::Hello));
        assert_eq!(hello[0].device.endpoint, "urn:uuid:1");
        let bye = String::from_utf8_lossy(HELLO).replace("Hello", "Bye");
        assert_eq!(one(bye.as_bytes())[0].what, Move::Bye);
        let answer = String::from_utf8_lossy(HELLO).replace("Hello", "ProbeMatch");
        assert!(one(answer.as_bytes()).is_empty());
        assert!(one(b"no xml").is_empty());
    }

    #[tokio::test]
    async fn a_stop_ends_the_listener() {
        let (tell, mut news) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let networks = Arc::new(AllowedNetworks::default());
        let listener = tokio::spawn(listen(vec!["lo".into()], networks, tell, stop.clone()));
        stop.cancel();
        listener.await.unwrap();
        assert!(news.recv().await.is_none());
    }
}
