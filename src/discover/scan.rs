//! One scan: sweep and multicast at the same time, identification behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ask::{self, Ask, Gathered, Heard, Question};
use super::early::Early;
use super::identify::{as_heard, has_questions, identify};
use super::interfaces::Interface;
use super::merge::{Sightings, merged};
use super::names::Names;
use super::pace::{Pace, Rates};
use super::sweep::{Host, HostSweep, Order};
use super::targets::Targets;
use super::{sweep, unicast};
use crate::detect::Detector;
use crate::model::Mac;
use crate::policy::networks::Network;
use crate::sys::neighbours;
use crate::wire::discovery::Method;

/// Devices that are identified at the same time.
const IDENTIFY_AT_ONCE: usize = 32;
/// Devices of one scan, beyond which late ones are left out: answers can be forged.
const LATE_MAX: usize = 8192;
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
    /// Questions to whole links.
    pub methods: Vec<Method>,
    pub identify: bool,
    /// How long answers are waited for; later ones count while devices are identified.
    pub window: Duration,
    pub rates: Rates,
}

impl Plan {
    fn asks_onvif(&self) -> bool {
        self.methods.contains(&Method::WsDiscovery)
    }

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
    /// Other addresses of the same device.
    pub addresses: Vec<IpAddr>,
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
            addresses: Vec::new(),
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
        let (tell, mut answers) = mpsc::channel(ask::QUEUE);
        let asked = Ask::open(&Question {
            interfaces: plan.interfaces.clone(),
            methods: plan.methods.clone(),
            networks: detector.networks.clone(),
            queries_per_second_max: plan.rates.udp_queries,
        });
        let over = CancellationToken::new();
        let asking = asked.run(tell, over.clone());
        let looking = async {
            let targets = Targets::of(&plan.networks, &plan.interfaces);
            let window = async {
                if !plan.methods.is_empty() {
                    tokio::time::sleep(plan.window).await;
                }
            };
            let early = Arc::new(Early::new(detector.clone(), IDENTIFY_AT_ONCE));
            let far = far_answers(&plan, &targets, &detector);
            let hosts = hosts_of(&plan, targets.clone(), &detector, &early, &told);
            let mut gathered = Gathered::default();
            let sweeping = async { tokio::join!(window, far, hosts) };
            let ((), far, hosts) = gathered.fill(&mut answers, sweeping).await;
            for heard in far {
                gathered.add(heard);
            }
            gathered.take_waiting(&mut answers);
            let mut looks = Looks::new(&plan, &detector, early, &told);
            for seen in merged(hosts, gathered.into_all(), link_macs()) {
                looks.begin(seen).await;
            }
            looks.finish(&mut answers).await;
            over.cancel();
        };
        tokio::join!(asking, looking);
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// WS-Discovery host by host behind routers.
async fn far_answers(plan: &Plan, targets: &Targets, detector: &Detector) -> Vec<Heard> {
    if !plan.asks_onvif() {
        return Vec::new();
    }
    let routed: Vec<IpAddr> = targets.routed.iter().flatten().copied().collect();
    let pace = Pace::per_second(plan.rates.udp_queries);
    match unicast::discover(&routed, &detector.networks, &pace, plan.window).await {
        Ok(far) => far,
        Err(error) => {
            tracing::warn!("no WS-Discovery behind routers: {error}");
            Vec::new()
        }
    }
}

/// Sweeps the networks: hosts that live, with their open ports.
async fn hosts_of(
    plan: &Plan,
    targets: Targets,
    detector: &Arc<Detector>,
    early: &Arc<Early>,
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
        guests_for: if plan.asks_onvif() {
            plan.window
        } else {
            Duration::ZERO
        },
    };
    let makers = detector.clone();
    let is_camera = Arc::new(move |mac: Mac| makers.catalogue.by_oui(mac.0).is_some());
    let early = plan.identify.then(|| early.clone());
    let found: sweep::OnHost = Arc::new(move |host| {
        if let Some(early) = &early {
            early.begin(host);
        }
    });
    sweep::sweep(
        order,
        targets,
        detector.networks.clone(),
        is_camera,
        found,
        told,
    )
    .await
}

/// Devices that are being identified.
struct Looks<'p> {
    plan: &'p Plan,
    detector: &'p Arc<Detector>,
    told: &'p mpsc::Sender<Told>,
    early: Arc<Early>,
    names: Arc<Names>,
    slots: Arc<Semaphore>,
    running: JoinSet<()>,
    addresses: BTreeSet<IpAddr>,
}

impl<'p> Looks<'p> {
    fn new(
        plan: &'p Plan,
        detector: &'p Arc<Detector>,
        early: Arc<Early>,
        told: &'p mpsc::Sender<Told>,
    ) -> Self {
        Self {
            plan,
            detector,
            told,
            early,
            names: Arc::new(Names::of_system(&detector.networks)),
            slots: Arc::new(Semaphore::new(IDENTIFY_AT_ONCE)),
            running: JoinSet::new(),
            addresses: BTreeSet::new(),
        }
    }

    async fn begin(&mut self, seen: Sightings) {
        self.addresses.insert(seen.host.address.ip());
        self.addresses.extend(&seen.also_at);
        if !has_questions(&seen, self.plan, &self.names) {
            let found = as_heard(self.detector, seen);
            let _ = self.told.send(Told::Found(Box::new(found))).await;
            return;
        }
        let (detector, told) = (self.detector.clone(), self.told.clone());
        let (slots, plan) = (self.slots.clone(), self.plan.clone());
        let (names, early) = (self.names.clone(), self.early.clone());
        self.running.spawn(async move {
            let _slot = slots.acquire().await;
            let found = identify(&detector, seen, &plan, &names, &early).await;
            let _ = told.send(Told::Found(Box::new(found))).await;
        });
        // The first one notices when no name server can be reached, and spares the others the question.
        tokio::task::yield_now().await;
    }

    /// Waits for all; a device that answers late is taken too.
    async fn finish(mut self, answers: &mut mpsc::Receiver<Heard>) {
        while !self.running.is_empty() {
            tokio::select! {
                _ = self.running.join_next() => {}
                Some(late) = answers.recv() => {
                    let is_new = !self.addresses.contains(&late.sender.ip);
                    if is_new && self.addresses.len() < LATE_MAX {
                        let all = merged(Vec::new(), vec![late], link_macs());
                        for seen in all {
                            self.begin(seen).await;
                        }
                    }
                }
            }
        }
    }
}

/// Hardware addresses of the hosts that the kernel talked to; none where its table cannot be read.
fn link_macs() -> impl Fn(IpAddr) -> Option<Mac> {
    let table = neighbours::table().unwrap_or_default();
    let known: BTreeMap<IpAddr, Mac> = table
        .into_iter()
        .filter_map(|n| Some((n.ip, n.mac?)))
        .collect();
    move |ip| known.get(&ip).copied()
}
