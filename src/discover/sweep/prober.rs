//! Which ports of a host are open, and hosts that only their ports tell of.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{HOSTS_AT_ONCE, Host, IsCameraMac, OnHost};
use crate::discover::ports::{Dialler, Port, Trips};
use crate::discover::scan::Told;

/// Ports on which a live host answers or refuses; any of them tells.
const KNOCK: [u16; 3] = [554, 80, 443];

/// Knocks at hosts that ARP does not reach, and asks those who answer for their ports.
pub(super) async fn far_hosts(
    prober: Arc<Prober>,
    networks: Vec<Vec<IpAddr>>,
    told: &mpsc::Sender<Told>,
) -> Vec<Host> {
    let mut found = Vec::new();
    let mut knocking: JoinSet<Option<Host>> = JoinSet::new();
    let mut note = |done: Result<Option<Host>, _>| found.extend(done.ok().flatten());
    for network in networks {
        let trips: Arc<Trips> = Arc::default();
        for ip in network {
            if knocking.len() >= HOSTS_AT_ONCE
                && let Some(done) = knocking.join_next().await
            {
                note(done);
                let _ = told.send(Told::Scanned(1)).await;
            }
            let (prober, trips) = (prober.clone(), trips.clone());
            knocking.spawn(async move { prober.knocked_at(ip, &trips).await });
        }
    }
    while let Some(done) = knocking.join_next().await {
        note(done);
        let _ = told.send(Told::Scanned(1)).await;
    }
    found
}

/// Asks hosts for their ports.
pub(super) struct Prober {
    pub(super) dialler: Arc<Dialler>,
    pub(super) ports: Arc<[u16]>,
    /// Asked for where the host may be a camera.
    pub(super) more: Arc<[u16]>,
    pub(super) is_camera: IsCameraMac,
    pub(super) found: OnHost,
}

impl Prober {
    pub(super) async fn looked_at(&self, mut host: Host, trips: &Arc<Trips>) -> Host {
        let said = self.dialler.ports(host.address, &self.ports, trips).await;
        take(&mut host, &said);
        let may_be_camera = host.mac.is_some_and(|mac| (self.is_camera)(mac));
        if host.has_answered_tcp && (may_be_camera || !host.open.is_empty()) {
            let said = self.dialler.ports(host.address, &self.more, trips).await;
            take(&mut host, &said);
        }
        host.open.sort_unstable();
        (self.found)(&host);
        host
    }

    async fn knocked_at(&self, ip: IpAddr, trips: &Arc<Trips>) -> Option<Host> {
        let mut host = Host::at(SocketAddr::new(ip, 0), "tcp");
        let knock: Vec<u16> = match self.ports.iter().any(|port| KNOCK.contains(port)) {
            true => self
                .ports
                .iter()
                .copied()
                .filter(|p| KNOCK.contains(p))
                .collect(),
            false => self.ports.iter().copied().take(KNOCK.len()).collect(),
        };
        let said = self
            .dialler
            .ask(host.address, &knock, trips, Duration::ZERO)
            .await;
        take(&mut host, &said);
        if !host.has_answered_tcp {
            return None;
        }
        let asked = |port: &u16| said.iter().any(|(p, state)| p == port && state.is_answer());
        let rest: Vec<u16> = self.ports.iter().copied().filter(|p| !asked(p)).collect();
        let said = self.dialler.ports(host.address, &rest, trips).await;
        take(&mut host, &said);
        if !host.open.is_empty() {
            let said = self.dialler.ports(host.address, &self.more, trips).await;
            take(&mut host, &said);
        }
        host.open.sort_unstable();
        (self.found)(&host);
        Some(host)
    }
}

fn take(host: &mut Host, said: &[(u16, Port)]) {
    host.has_answered_tcp |= said.iter().any(|(_, state)| state.is_answer());
    let open = said.iter().filter(|(_, state)| *state == Port::Open);
    host.open.extend(open.map(|(port, _)| *port));
}
