//! One scan: sweep and multicast at the same time, identification behind them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::interfaces::Interface;
use super::multicast::Answer;
use super::pace::{Pace, Rates};
use super::sweep::{Host, HostSweep, Order};
use super::targets::Targets;
use super::{multicast, sweep, unicast};
use crate::detect::{Detector, Identity};
use crate::model::{Mac, percent_decode};
use crate::policy::networks::Network;
use crate::sys::neighbours;
use crate::vendor::{self, Maker};
use crate::wire::onvif::address::device_service;
use crate::wire::wsd::Match;

/// Devices that are identified at the same time.
const IDENTIFY_AT_ONCE: usize = 32;
/// Longest look at one device.
const IDENTIFY_LIMIT: Duration = Duration::from_secs(8);
/// Ports worth a look on a live host.
pub const PORTS: [u16; 18] = [
    80, 88, 322, 443, 554, 2020, 5554, 7070, 7441, 8000, 8080, 8322, 8443, 8554, 8800, 8899, 10554,
    34567,
];

/// What to scan.
#[derive(Debug, Clone)]
pub struct Plan {
    pub networks: Vec<Network>,
    pub interfaces: Vec<Interface>,
    pub ports: Arc<[u16]>,
    /// Whether [`PORTS`] are meant: then a host that may be a camera is asked for all of the catalogue.
    pub usual_ports: bool,
    /// Ask the own links who lives, by the way that this process may use.
    pub arp: bool,
    pub tcp: bool,
    pub ws_discovery: bool,
    pub identify: bool,
    pub window: Duration,
    pub rates: Rates,
}

impl Plan {
    /// How hosts are looked for; `None` where only multicast asks.
    pub fn host_sweep(&self) -> Option<HostSweep> {
        (self.arp || self.tcp).then(|| HostSweep::for_methods(self.arp))
    }

    /// Usable hosts of the networks.
    pub fn total(&self) -> u64 {
        self.networks.iter().map(Network::usable_hosts).sum()
    }
}

/// A device on the network, as the REST contract shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    pub ip: IpAddr,
    pub mac: Option<String>,
    /// Who the MAC prefix belongs to.
    pub vendor: Option<String>,
    pub manufacturer: Option<String>,
    pub manufacturer_id: Option<String>,
    pub model: Option<String>,
    pub firmware_version: Option<String>,
    pub serial_number: Option<String>,
    pub hostname: Option<String>,
    pub is_camera: bool,
    pub confidence: f64,
    pub is_onvif: bool,
    pub onvif_url: Option<String>,
    pub open_ports: Vec<u16>,
    /// The maker's main stream, without a login.
    pub rtsp_url: Option<String>,
    pub needs_credentials: bool,
    /// It lives on our link with an address of another network: reachable only after its address or ours
    /// is changed.
    pub off_subnet: bool,
    /// Where it was seen; the zone of a link-local address.
    pub interface: Option<String>,
    pub found_by: Vec<&'static str>,
    pub evidence: Vec<String>,
    pub camera_id: Option<crate::model::CameraId>,
}

/// What tells devices apart: the address, and for guests from other subnets the MAC too.
pub type DeviceKey = (IpAddr, Option<String>);

impl Device {
    /// Nothing is known yet but where it is.
    pub fn at(ip: IpAddr) -> Self {
        Self {
            ip,
            mac: None,
            vendor: None,
            manufacturer: None,
            manufacturer_id: None,
            model: None,
            firmware_version: None,
            serial_number: None,
            hostname: None,
            is_camera: false,
            confidence: 0.0,
            is_onvif: false,
            onvif_url: None,
            open_ports: Vec::new(),
            rtsp_url: None,
            needs_credentials: false,
            found_by: Vec::new(),
            evidence: Vec::new(),
            off_subnet: false,
            interface: None,
            camera_id: None,
        }
    }

    pub fn key(&self) -> DeviceKey {
        (self.ip, self.mac.clone().filter(|_| self.off_subnet))
    }
}

/// What a scan tells while it runs.
#[derive(Debug)]
pub enum Told {
    /// This many hosts more were looked at.
    Scanned(u64),
    Found(Box<Device>),
}

/// Runs a scan to its end, or until `stop`; what was found is told as it is found.
pub async fn run(
    plan: Plan,
    detector: Arc<Detector>,
    told: mpsc::Sender<Told>,
    stop: CancellationToken,
) {
    let work = async {
        let slots = Arc::new(Semaphore::new(IDENTIFY_AT_ONCE));
        let mut identifying = JoinSet::new();
        let targets = Targets::of(&plan.networks, &plan.interfaces);
        let answers = answers_of(&plan, &targets, &detector);
        let hosts = hosts_of(&plan, targets.clone(), &detector, &told);
        let (answers, hosts) = tokio::join!(answers, hosts);
        for (_, seen) in merged(hosts, answers) {
            let (detector, told, slots, plan) =
                (detector.clone(), told.clone(), slots.clone(), plan.clone());
            identifying.spawn(async move {
                let _slot = slots.acquire().await;
                let found = identify(&detector, seen, &plan).await;
                let _ = told.send(Told::Found(Box::new(found))).await;
            });
        }
        while identifying.join_next().await.is_some() {}
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// WS-Discovery by multicast on the links, and host by host behind routers.
async fn answers_of(plan: &Plan, targets: &Targets, detector: &Detector) -> Vec<Answer> {
    if !plan.ws_discovery {
        return Vec::new();
    }
    let routed: Vec<IpAddr> = targets.routed.iter().flatten().copied().collect();
    let pace = Pace::per_second(plan.rates.udp_queries);
    let (mut answers, far) = tokio::join!(
        multicast::discover(&plan.interfaces, plan.window),
        unicast::discover(&routed, &detector.networks, &pace, plan.window)
    );
    match far {
        Ok(far) => answers.extend(far),
        Err(error) => tracing::warn!("no WS-Discovery behind routers: {error}"),
    }
    answers
}

/// Sweeps the networks: hosts that live, with their open ports.
async fn hosts_of(
    plan: &Plan,
    targets: Targets,
    detector: &Arc<Detector>,
    told: &mpsc::Sender<Told>,
) -> Vec<Host> {
    if !plan.tcp && !plan.arp {
        let _ = told.send(Told::Scanned(plan.total())).await;
        return Vec::new();
    }
    let usual: &[u16] = if plan.tcp { &plan.ports } else { &[] };
    let more: Vec<u16> = match plan.tcp && plan.usual_ports {
        true => detector.catalogue.tcp_ports(),
        false => Vec::new(),
    };
    let order = Order {
        interfaces: plan.interfaces.clone(),
        host_sweep: HostSweep::for_methods(plan.arp),
        ports: usual.into(),
        more_ports: more.into_iter().filter(|p| !usual.contains(p)).collect(),
        rates: plan.rates,
        guests_for: if plan.ws_discovery {
            plan.window
        } else {
            Duration::ZERO
        },
    };
    let makers = detector.clone();
    let is_camera = Arc::new(move |mac: Mac| makers.catalogue.by_oui(mac.0).is_some());
    sweep::sweep(order, targets, detector.networks.clone(), is_camera, told).await
}

/// One device before it is identified.
#[derive(Debug, Clone)]
struct Seen {
    host: Host,
    answer: Option<Match>,
}

/// Addresses from other subnets may be there several times: factory addresses are the same on every
/// camera of a maker.
type Key = (IpAddr, Option<Mac>);

fn merged(hosts: Vec<Host>, answers: Vec<Answer>) -> BTreeMap<Key, Seen> {
    let key = |host: &Host| (host.address.ip(), host.mac.filter(|_| host.off_subnet));
    let mut all: BTreeMap<Key, Seen> = hosts
        .into_iter()
        .map(|host| (key(&host), Seen { host, answer: None }))
        .collect();
    for answer in answers {
        let host = Host::of_answer(&answer);
        let seen = all.entry(key(&host)).or_insert(Seen { host, answer: None });
        seen.host.off_subnet |= answer.off_subnet;
        if !seen.answer.as_ref().is_some_and(Match::is_onvif) {
            seen.answer = Some(answer.device);
        }
    }
    all
}

async fn identify(detector: &Detector, seen: Seen, plan: &Plan) -> Device {
    let Seen {
        host: found,
        answer,
    } = seen;
    let (ip, open) = (found.address.ip(), found.open);
    let mut identity = Identity::new(None);
    let host = match &found.interface {
        Some(zone) if is_link_local(ip) => format!("{ip}%{zone}"),
        _ => ip.to_string(),
    };
    if let Some(answer) = &answer {
        note_scopes(&mut identity, detector, answer);
    }
    if plan.identify && !open.is_empty() {
        identity
            .read(detector, ip, &host, &open, Instant::now() + IDENTIFY_LIMIT)
            .await;
    } else if let Some(mac) = found.mac {
        let hint = detector.catalogue.by_oui(mac.0);
        identity.note("mac", format!("mac {mac}"), hint);
    }
    let mac = found.mac.map(|mac| mac.to_string());
    let mac = mac
        .or(identity.mac.clone())
        .or_else(|| neighbours::mac_of(ip));
    let owner = mac
        .as_deref()
        .and_then(vendor::parse_mac)
        .and_then(|mac| detector.catalogue.by_oui(mac));
    let maker = identity.maker();
    let answer = answer.filter(Match::is_onvif);
    let is_onvif = answer.is_some() || identity.onvif.is_some();
    let told = identity.information.clone();
    let mut found_by = Vec::new();
    if found.found_by != "ws_discovery" {
        found_by.push(found.found_by);
    }
    if !open.is_empty() && !found_by.contains(&"tcp") {
        found_by.push("tcp");
    }
    if answer.is_some() {
        found_by.push("ws_discovery");
    }
    let mut evidence = identity.evidence.clone();
    evidence.extend(found.evidence);
    Device {
        ip,
        vendor: owner.map(|hint| hint.maker.name().to_owned()),
        manufacturer: maker.map(|m| m.name().to_owned()),
        manufacturer_id: maker.map(|m| m.id().to_owned()),
        model: told
            .model
            .or_else(|| answer.as_ref().and_then(|a| scope_value(a, "hardware"))),
        firmware_version: told.firmware_version,
        serial_number: told.serial_number,
        hostname: None,
        is_camera: is_onvif || identity.speaks_rtsp || maker.is_some(),
        confidence: identity.confidence(),
        is_onvif,
        onvif_url: answer
            .as_ref()
            .and_then(|a| own_address(a, ip))
            .or_else(|| {
                identity
                    .onvif
                    .as_ref()
                    .map(|url| device_service(url).to_string())
            }),
        rtsp_url: rtsp_url(detector, maker, &host, &open),
        needs_credentials: identity.asks_for_login,
        off_subnet: found.off_subnet,
        interface: found.interface.map(|name| name.to_string()),
        open_ports: open,
        found_by,
        evidence,
        mac,
        camera_id: None,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn note_scopes<'c>(identity: &mut Identity<'c>, detector: &'c Detector, answer: &Match) {
    identity
        .evidence
        .push(format!("onvif endpoint {}", answer.endpoint));
    if let Some(name) = scope_value(answer, "name") {
        let hint = detector.catalogue.by_vendor_name(&name);
        identity.note("onvif", format!("onvif name \"{name}\""), hint);
    }
    for scope in &answer.scopes {
        if let Some(hint) = detector.catalogue.by_onvif_scope(scope) {
            identity.note("onvif", "onvif scope".to_owned(), Some(hint));
        }
    }
}

/// `onvif://www.onvif.org/hardware/DS-2CD2042WD` -> `DS-2CD2042WD`.
fn scope_value(answer: &Match, key: &str) -> Option<String> {
    let prefix = format!("onvif://www.onvif.org/{key}/");
    let value = answer
        .scopes
        .iter()
        .find_map(|scope| scope.strip_prefix(&prefix))?;
    Some(
        percent_decode(value)
            .chars()
            .filter(|c| !c.is_control())
            .take(80)
            .collect(),
    )
}

/// The device's service at the address that answered; devices list others too.
fn own_address(answer: &Match, ip: IpAddr) -> Option<String> {
    let ours = ip.to_string();
    let own = answer.services().find(|address| address.contains(&ours));
    own.or(answer.services().next()).map(str::to_owned)
}

fn rtsp_url(
    detector: &Detector,
    maker: Option<Maker<'_>>,
    host: &str,
    open: &[u16],
) -> Option<String> {
    let site = vendor::Site {
        ip: host,
        channel: 1,
        ports: open,
    };
    let candidates = detector.catalogue.candidates(Some(maker?), &site).ok()?;
    let first = candidates
        .iter()
        .find(|c| c.url.scheme == crate::model::Scheme::Rtsp && open.contains(&c.url.port))?;
    (!first.url.has_placeholders()).then(|| first.url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_addresses_of_an_answer() {
        let answer = Match {
            scopes: vec![
                "onvif://www.onvif.org/hardware/DS-2CD%202".into(),
                "x".into(),
            ],
            xaddrs: vec![
                "http://192.168.0.64/onvif".into(),
                "http://10.0.0.9/onvif".into(),
            ],
            ..Match::default()
        };
        assert_eq!(
            scope_value(&answer, "hardware").as_deref(),
            Some("DS-2CD 2")
        );
        assert_eq!(scope_value(&answer, "name"), None);
        let ip = "10.0.0.9".parse().unwrap();
        assert_eq!(
            own_address(&answer, ip).as_deref(),
            Some("http://10.0.0.9/onvif")
        );
    }

    fn answer(ip: &str, mac: Option<Mac>) -> Answer {
        Answer {
            from: ip.parse().unwrap(),
            interface: Some("eth0".into()),
            mac,
            off_subnet: mac.is_some(),
            device: Match::default(),
        }
    }

    #[test]
    fn one_device_has_one_row() {
        let mut host = Host::of_answer(&answer("10.0.0.9", None));
        host.open = vec![554];
        let all = merged(
            vec![host],
            vec![answer("10.0.0.9", None), answer("10.0.0.8", None)],
        );
        assert_eq!(all.len(), 2);
        let first = &all[&("10.0.0.9".parse().unwrap(), None)];
        assert_eq!(
            (&first.host.open, first.answer.is_some()),
            (&vec![554], true)
        );
    }

    #[test]
    fn two_new_cameras_with_one_factory_address_are_two_rows() {
        let (first, second) = (Some(Mac([4; 6])), Some(Mac([6; 6])));
        let guest = Host::of_answer(&answer("192.168.1.64", first));
        let own = Host::of_answer(&answer("192.168.1.64", None));
        let all = merged(
            vec![guest, own],
            vec![
                answer("192.168.1.64", second),
                answer("192.168.1.64", first),
            ],
        );
        assert_eq!(all.len(), 3);
        let off_subnet = all.values().filter(|seen| seen.host.off_subnet).count();
        assert_eq!(off_subnet, 2);
    }
}
