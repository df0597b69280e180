//! WS-Discovery to single hosts behind routers, where multicast does not come.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use uuid::Uuid;

use super::ask::{self, Heard, Sender};
use super::pace::Pace;
use crate::policy::networks::AllowedNetworks;
use crate::wire::discovery::Protocol;
use crate::wire::wsd;

/// Answers that are kept: they can be forged.
const ANSWERS_MAX: usize = 4096;

/// Asks each host once and collects what comes until `window` after the last question.
///
/// # Errors
/// No socket.
pub async fn discover(
    hosts: &[IpAddr],
    networks: &Arc<AllowedNetworks>,
    pace: &Pace,
    window: Duration,
) -> io::Result<Vec<Heard>> {
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let ask = async {
        for host in hosts {
            let address = (*host, wsd::PORT).into();
            if networks.allows(address) {
                pace.turn().await;
                let probe = wsd::probe(Uuid::now_v7(), true);
                // A host that cannot be reached is no end of the others.
                let _ = socket.send_to(probe.as_bytes(), address).await;
            }
        }
        tokio::time::sleep(window).await;
    };
    let mut ask = std::pin::pin!(ask);
    let mut buffer = vec![0; wsd::DATAGRAM_BYTES_MAX];
    let mut found = Vec::new();
    loop {
        let received = tokio::select! {
            () = &mut ask => return Ok(found),
            received = socket.recv_from(&mut buffer) => received,
        };
        // An error is an ICMP message about an earlier question.
        let Ok((length, from)) = received else {
            continue;
        };
        if found.len() < ANSWERS_MAX && hosts.contains(&from.ip()) {
            let bytes = buffer.get(..length).unwrap_or_default();
            let sender = Sender {
                ip: from.ip(),
                interface: None,
                mac: None,
                off_subnet: false,
            };
            found.extend(ask::decode(Protocol::ws_discovery(), bytes, &sender));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_where_it_may_and_not_for_ever() {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let pace = Pace::per_second(1000);
        let ask = |hosts| {
            let networks = Arc::new(AllowedNetworks::default());
            let pace = &pace;
            async move { discover(hosts, &networks, pace, Duration::from_millis(5)).await }
        };
        assert_eq!(ask(&loopback[..]).await.unwrap(), Vec::new());
        assert_eq!(ask(&[]).await.unwrap(), Vec::new());
    }
}
