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
use super::{multicast, sweep};
use crate::detect::{Detector, Identity};
use crate::model::percent_decode;
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
    pub tcp: bool,
    pub ws_discovery: bool,
    pub identify: bool,
    pub window: Duration,
}

impl Plan {
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
    pub found_by: Vec<&'static str>,
    pub evidence: Vec<String>,
    pub camera_id: Option<crate::model::CameraId>,
}

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
            camera_id: None,
        }
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
        let answers = async {
            match plan.ws_discovery {
                true => multicast::discover(&plan.interfaces, plan.window).await,
                false => Vec::new(),
            }
        };
        let hosts = hosts_of(&plan, &detector, &told, &stop);
        let (answers, hosts) = tokio::join!(answers, hosts);
        for (ip, (open, device)) in merged(hosts, answers) {
            let (detector, told, slots, plan) =
                (detector.clone(), told.clone(), slots.clone(), plan.clone());
            identifying.spawn(async move {
                let _slot = slots.acquire().await;
                let found = identify(&detector, ip, open, device, &plan).await;
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

/// Sweeps the networks; live hosts with open ports.
async fn hosts_of(
    plan: &Plan,
    detector: &Detector,
    told: &mpsc::Sender<Told>,
    stop: &CancellationToken,
) -> BTreeMap<IpAddr, Vec<u16>> {
    let mut found = BTreeMap::new();
    if !plan.tcp {
        let _ = told.send(Told::Scanned(plan.total())).await;
        return found;
    }
    let (done, mut hosts) = mpsc::channel(256);
    let all: Vec<Network> = plan.networks.clone();
    let every = all.into_iter().flat_map(|network| network.hosts());
    let sweep = sweep::sweep(
        every,
        plan.ports.clone(),
        detector.networks.clone(),
        done,
        stop.clone(),
    );
    let collect = async {
        while let Some(host) = hosts.recv().await {
            if host.is_alive && !host.open.is_empty() {
                found.insert(host.ip, host.open);
            }
            let _ = told.send(Told::Scanned(1)).await;
        }
    };
    tokio::join!(sweep, collect);
    found
}

type Seen = (Vec<u16>, Option<Match>);

fn merged(
    hosts: BTreeMap<IpAddr, Vec<u16>>,
    answers: Vec<(IpAddr, Match)>,
) -> BTreeMap<IpAddr, Seen> {
    let mut all: BTreeMap<IpAddr, Seen> = hosts
        .into_iter()
        .map(|(ip, open)| (ip, (open, None)))
        .collect();
    for (ip, answer) in answers {
        all.entry(ip).or_default().1 = Some(answer);
    }
    all
}

async fn identify(
    detector: &Detector,
    ip: IpAddr,
    open: Vec<u16>,
    onvif: Option<Match>,
    plan: &Plan,
) -> Device {
    let mut identity = Identity::new(None);
    let host = ip.to_string();
    if let Some(answer) = &onvif {
        note_scopes(&mut identity, detector, answer);
    }
    if plan.identify && !open.is_empty() {
        identity
            .read(detector, ip, &host, &open, Instant::now() + IDENTIFY_LIMIT)
            .await;
    }
    let mac = identity.mac.clone().or_else(|| neighbours::mac_of(ip));
    let owner = mac
        .as_deref()
        .and_then(vendor::parse_mac)
        .and_then(|mac| detector.catalogue.by_oui(mac));
    let maker = identity.maker();
    let answer = onvif.filter(Match::is_onvif);
    let is_onvif = answer.is_some() || identity.onvif.is_some();
    let told = identity.information.clone();
    let mut found_by = Vec::new();
    if !open.is_empty() {
        found_by.push("tcp");
    }
    if answer.is_some() {
        found_by.push("ws_discovery");
    }
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
        open_ports: open,
        found_by,
        evidence: identity.evidence,
        mac,
        camera_id: None,
    }
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
    let own = answer.xaddrs.iter().find(|address| address.contains(&ours));
    own.or(answer.xaddrs.first()).cloned()
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

    #[test]
    fn one_device_has_one_row() {
        let ip: IpAddr = "10.0.0.9".parse().unwrap();
        let all = merged(
            [(ip, vec![554])].into(),
            vec![
                (ip, Match::default()),
                ("10.0.0.8".parse().unwrap(), Match::default()),
            ],
        );
        assert_eq!(all.len(), 2);
        assert_eq!((&all[&ip].0, all[&ip].1.is_some()), (&vec![554], true));
    }
}
