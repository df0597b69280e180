//! The TCP sweep: who is there, and which of its ports are open. A host that refuses is alive; one
//! that says nothing on three ports is not asked for the rest.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::ErrorCode;
use crate::policy::networks::AllowedNetworks;
use crate::probe::net::open_ports;

/// Ports on which a live host answers or refuses; any of them tells.
const KNOCK: [u16; 3] = [554, 80, 443];
/// Hosts that are asked at the same time. The neighbour table of the kernel holds about a thousand.
const HOSTS_AT_ONCE: usize = 128;
/// A host on the LAN answers within this.
const KNOCK_LIMIT: Duration = Duration::from_millis(700);
const PORT_LIMIT: Duration = Duration::from_millis(1000);

/// One host that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub ip: IpAddr,
    pub is_alive: bool,
    pub open: Vec<u16>,
}

/// Looks at every host, in order, many at a time; tells each as it is done. Ends early on `stop`.
pub async fn sweep(
    hosts: impl Iterator<Item = IpAddr>,
    ports: Arc<[u16]>,
    networks: Arc<AllowedNetworks>,
    done: mpsc::Sender<Host>,
    stop: CancellationToken,
) {
    let mut running = tokio::task::JoinSet::new();
    for ip in hosts {
        while running.len() >= HOSTS_AT_ONCE {
            tokio::select! {
                _ = running.join_next() => {}
                () = stop.cancelled() => return,
            }
        }
        if stop.is_cancelled() {
            return;
        }
        let (ports, networks, done) = (ports.clone(), networks.clone(), done.clone());
        running.spawn(async move {
            let host = look_at(ip, &ports, &networks).await;
            let _ = done.send(host).await;
        });
    }
    tokio::select! {
        () = async { while running.join_next().await.is_some() {} } => {}
        () = stop.cancelled() => {}
    }
}

async fn look_at(ip: IpAddr, ports: &[u16], networks: &AllowedNetworks) -> Host {
    let at = |ports: &[u16]| -> Vec<SocketAddr> {
        ports.iter().map(|p| SocketAddr::new(ip, *p)).collect()
    };
    let knocked = open_ports(&at(&KNOCK), networks, KNOCK_LIMIT).await;
    let answers = |state: &Result<(), ErrorCode>| {
        matches!(state, Ok(()) | Err(ErrorCode::Refused | ErrorCode::Reset))
    };
    if !knocked.iter().any(|(_, state)| answers(state)) {
        return Host {
            ip,
            is_alive: false,
            open: Vec::new(),
        };
    }
    let is_open = |found: Vec<(u16, Result<(), ErrorCode>)>| {
        found
            .into_iter()
            .filter(|(_, state)| state.is_ok())
            .map(|(port, _)| port)
    };
    let rest: Vec<u16> = ports
        .iter()
        .copied()
        .filter(|p| !KNOCK.contains(p))
        .collect();
    let mut open: Vec<u16> = is_open(knocked).collect();
    open.extend(is_open(open_ports(&at(&rest), networks, PORT_LIMIT).await));
    open.sort_unstable();
    Host {
        ip,
        is_alive: true,
        open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_ends_a_sweep_at_once() {
        // Nothing is allowed: every host is told as silent without a packet.
        let networks = Arc::new(AllowedNetworks::default());
        let (done, mut told) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let hosts = (0..u32::MAX).map(|n| IpAddr::from(n.to_be_bytes()));
        let run = tokio::spawn(sweep(hosts, Arc::from([80]), networks, done, stop.clone()));
        let first = told.recv().await.unwrap();
        assert!(!first.is_alive);
        stop.cancel();
        while told.recv().await.is_some() {}
        run.await.unwrap();
    }

    #[tokio::test]
    async fn a_host_that_refuses_is_alive_and_open_ports_are_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let networks = AllowedNetworks::parse(&["loopback"]).unwrap();
        let host = look_at("127.0.0.1".parse().unwrap(), &[port, 1], &networks).await;
        assert!(host.is_alive);
        assert!(
            host.open.contains(&port) && !host.open.contains(&1),
            "{host:?}"
        );
    }
}
