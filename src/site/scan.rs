//! The scan of the site: one at a time, its results stay until the next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::scan_logins::ScanLogins;
use super::{Site, SiteError, lock};
use crate::brake::now;
use crate::discover::interfaces::{self, Interface};
use crate::discover::pace::Rates;
use crate::discover::scan::{self, Device, PORTS, Plan, Told};
use crate::discover::sweep::HostSweep;
use crate::model::{CameraId, Credentials, Event, EventKind, Timestamp};
use crate::policy::networks::scan_networks;
use crate::wire::discovery::Method;

/// Devices in one portion of news.
const NEWS_MAX: usize = 32;

/// What the operator asks for; empty lists mean the configuration's, else this machine's.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    pub networks: Vec<String>,
    pub interfaces: Vec<String>,
    pub ports: Vec<u16>,
    /// Names of methods; empty = all.
    pub methods: Vec<String>,
    pub identify: bool,
    /// Given by the operator for this site: cameras are asked with them, tried in order; at most four.
    pub credentials: Vec<Credentials>,
}

/// What the scan follows of the configuration.
#[derive(Debug, Clone, Default)]
pub struct ScanSettings {
    pub networks: Vec<String>,
    pub interfaces: Vec<String>,
    pub hosts_max: u64,
    pub window: Duration,
    /// Between scans in the background.
    pub background_interval: Option<Duration>,
    /// Between two looks for offline cameras under other addresses.
    pub follow_interval: Option<Duration>,
    pub rates: Rates,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanStatus {
    #[default]
    Idle,
    Scanning,
    Completed,
    Cancelled,
    Failed,
}

/// How far a scan is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScanProgress {
    pub scan_id: Option<Uuid>,
    pub status: ScanStatus,
    /// floor(100 x scanned / total), 99 until identification ends.
    pub progress: u32,
    pub scanned_ips: u64,
    pub total_ips: u64,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub duration_ms: Option<u64>,
    pub eta_s: Option<u64>,
    /// How the hosts on our own links are or were found; null where nobody asked.
    pub host_sweep: Option<HostSweep>,
}

/// `GET /api/discovery/scan/status`.
#[derive(Debug, Clone, Serialize)]
pub struct ScanView {
    #[serde(flatten)]
    pub progress: ScanProgress,
    pub devices: Vec<Device>,
}

/// How far a reader of the scan's news has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewsCursor {
    pub scan_id: Option<Uuid>,
    /// Devices that it was told.
    pub told: usize,
}

/// What a scan found after a cursor, at most [`NEWS_MAX`] devices at a time.
#[derive(Debug)]
pub struct ScanNews {
    pub progress: ScanProgress,
    pub devices: Vec<Device>,
    pub cursor: NewsCursor,
    /// Nothing will follow.
    pub is_over: bool,
}

/// The scan that runs or ran last.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    id: Option<Uuid>,
    status: ScanStatus,
    host_sweep: Option<HostSweep>,
    total: u64,
    scanned: u64,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    clock: Option<Instant>,
    duration_ms: Option<u64>,
    devices: BTreeMap<scan::DeviceKey, Device>,
    /// Devices in the order in which they were told.
    told: Vec<scan::DeviceKey>,
    stop: Option<CancellationToken>,
}

impl Scanner {
    fn tell(&mut self, device: Device) {
        self.told.push(device.key());
        self.devices.insert(device.key(), device);
    }

    fn progress(&self) -> ScanProgress {
        let share = (100 * self.scanned)
            .checked_div(self.total)
            .unwrap_or(0)
            .min(100) as u32;
        let is_running = self.status == ScanStatus::Scanning;
        let elapsed_ms = self
            .clock
            .map_or(0, |clock| clock.elapsed().as_millis() as u64);
        let left = self.total.saturating_sub(self.scanned);
        let eta_s = (elapsed_ms * left)
            .checked_div(self.scanned.max(1) * 1000)
            .filter(|_| is_running);
        ScanProgress {
            scan_id: self.id,
            status: self.status,
            progress: match self.status {
                ScanStatus::Completed => 100,
                ScanStatus::Scanning => share.min(99),
                _ => share,
            },
            scanned_ips: self.scanned,
            total_ips: self.total,
            started_at: self.started_at,
            finished_at: self.finished_at,
            duration_ms: self.duration_ms.or(is_running.then_some(elapsed_ms)),
            eta_s,
            host_sweep: self.host_sweep,
        }
    }
}

impl Site {
    /// Starts a scan in the background.
    ///
    /// # Errors
    /// One runs already, or the networks are too large, not allowed or not networks.
    pub fn start_scan(self: &Arc<Self>, request: &ScanRequest) -> Result<ScanView, SiteError> {
        let plan = self.scan_plan(request)?;
        let stop = self.stop.child_token();
        {
            let mut scanner = lock(&self.scanner);
            if scanner.status == ScanStatus::Scanning {
                return Err(SiteError::ScanRunning);
            }
            *scanner = Scanner {
                id: Some(Uuid::now_v7()),
                status: ScanStatus::Scanning,
                host_sweep: plan.host_sweep(),
                total: plan.total(),
                started_at: Some(now()),
                clock: Some(Instant::now()),
                stop: Some(stop.clone()),
                ..Scanner::default()
            };
        }
        tracing::info!("scanning {} addresses", plan.total());
        let logins = request.credentials.clone();
        self.tasks.spawn(self.clone().scan(plan, logins, stop));
        Ok(self.scan_view())
    }

    async fn scan(self: Arc<Self>, plan: Plan, logins: Vec<Credentials>, stop: CancellationToken) {
        let (tell, mut told) = mpsc::channel(256);
        let plan_networks = plan.networks.clone();
        let detector = Arc::new(self.detector());
        let mut logins = ScanLogins::new(detector.clone(), logins);
        let work = scan::run(plan, detector, tell, stop.clone());
        let collect = async {
            while let Some(news) = told.recv().await {
                match news {
                    Told::Scanned(count) => lock(&self.scanner).scanned += count,
                    Told::Found(device) => {
                        logins.begin(&device);
                        lock(&self.scanner).tell(*device);
                    }
                }
                self.scan_changed.send_replace(());
            }
            while let Some(device) = stop.run_until_cancelled(logins.next()).await.flatten() {
                // Told once more: with what it said behind the login.
                lock(&self.scanner).tell(device);
                self.scan_changed.send_replace(());
            }
        };
        tokio::join!(work, collect);
        let networks = plan_networks;
        let devices: Vec<Device> = lock(&self.scanner).devices.values().cloned().collect();
        let covers = |ip: IpAddr| networks.iter().any(|network| network.contains(ip));
        let covers: Option<&dyn Fn(IpAddr) -> bool> = match stop.is_cancelled() {
            true => None,
            false => Some(&covers),
        };
        self.take_into_inventory(&devices, covers);
        self.devices_seen(&devices).await;
        drop(devices);
        let (found, cameras, duration_ms) = {
            let mut scanner = lock(&self.scanner);
            scanner.status = match stop.is_cancelled() {
                true => ScanStatus::Cancelled,
                false => ScanStatus::Completed,
            };
            scanner.finished_at = Some(now());
            let duration_ms = scanner
                .clock
                .map_or(0, |clock| clock.elapsed().as_millis() as u64);
            scanner.duration_ms = Some(duration_ms);
            scanner.stop = None;
            let cameras = scanner.devices.values().filter(|d| d.is_camera).count();
            (scanner.devices.len(), cameras, duration_ms)
        };
        self.scan_changed.send_replace(());
        let message = format!("{found} devices found, {cameras} of them cameras");
        tracing::info!(duration_ms, "scan ended: {message}");
        self.tell(Event {
            id: Uuid::now_v7(),
            time: now(),
            kind: EventKind::ScanCompleted,
            camera_id: None,
            camera_name: None,
            cause: None,
            duration_s: Some(duration_ms / 1000),
            message,
            detail: None,
        });
    }

    /// Ends a running scan; what was found stays.
    pub fn stop_scan(&self) -> ScanView {
        if let Some(stop) = &lock(&self.scanner).stop {
            stop.cancel();
        }
        self.scan_view()
    }

    pub fn scan_view(&self) -> ScanView {
        let stored = self.addresses();
        let scanner = lock(&self.scanner);
        let devices = scanner.devices.values();
        ScanView {
            progress: scanner.progress(),
            devices: devices.map(|device| known(&stored, device)).collect(),
        }
    }

    /// What is new since `from`; from the start where that was another scan's.
    pub fn scan_news(&self, from: NewsCursor) -> ScanNews {
        let stored = self.addresses();
        let scanner = lock(&self.scanner);
        let begin = match from.scan_id == scanner.id {
            true => from.told.min(scanner.told.len()),
            false => 0,
        };
        let end = (begin + NEWS_MAX).min(scanner.told.len());
        let new = scanner.told.get(begin..end).unwrap_or_default();
        let devices = new.iter().filter_map(|key| scanner.devices.get(key));
        ScanNews {
            devices: devices.map(|device| known(&stored, device)).collect(),
            cursor: NewsCursor {
                scan_id: scanner.id,
                told: end,
            },
            is_over: scanner.status != ScanStatus::Scanning && end == scanner.told.len(),
            progress: scanner.progress(),
        }
    }

    /// Wakes when the scan has news.
    pub fn scan_changes(&self) -> watch::Receiver<()> {
        self.scan_changed.subscribe()
    }

    /// WS-Discovery alone, for `window`.
    ///
    /// # Errors
    /// An interface that is not there.
    pub async fn discover_onvif(
        &self,
        window: Duration,
        names: &[String],
    ) -> Result<Vec<Device>, SiteError> {
        let settings = self.settings();
        let interfaces = chosen_interfaces(if names.is_empty() {
            &settings.scan.interfaces
        } else {
            names
        })?;
        let plan = Plan {
            networks: Vec::new(),
            interfaces,
            ports: Arc::from([]),
            usual_ports: false,
            arp: false,
            tcp: false,
            methods: vec![Method::WsDiscovery],
            identify: false,
            window,
            rates: settings.scan.rates,
        };
        let found = self.run_quietly(plan).await;
        let stored = self.addresses();
        let devices = found.iter();
        Ok(devices.map(|device| known(&stored, device)).collect())
    }

    /// A scan that nobody waits for, at a tenth of the rates; what it finds goes to the inventory.
    ///
    /// # Errors
    /// As [`Site::start_scan`].
    pub(super) async fn find_devices(
        &self,
        request: &ScanRequest,
    ) -> Result<Vec<Device>, SiteError> {
        let mut plan = self.scan_plan(request)?;
        plan.rates = plan.rates.tenth();
        let networks = plan.networks.clone();
        let devices = self.run_quietly(plan).await;
        let covers = |ip: IpAddr| networks.iter().any(|network| network.contains(ip));
        self.take_into_inventory(&devices, Some(&covers));
        Ok(devices)
    }

    pub fn is_scanning(&self) -> bool {
        lock(&self.scanner).status == ScanStatus::Scanning
    }

    async fn run_quietly(&self, plan: Plan) -> Vec<Device> {
        let (tell, mut told) = mpsc::channel(256);
        let detector = Arc::new(self.detector());
        let mut found = BTreeMap::new();
        let collect = async {
            while let Some(news) = told.recv().await {
                if let Told::Found(device) = news {
                    found.insert(device.key(), *device);
                }
            }
        };
        let stop = self.stop.child_token();
        tokio::join!(scan::run(plan, detector, tell, stop), collect);
        found.into_values().collect()
    }

    fn scan_plan(&self, request: &ScanRequest) -> Result<Plan, SiteError> {
        let settings = self.settings();
        let scan = &settings.scan;
        let names = if request.interfaces.is_empty() {
            &scan.interfaces
        } else {
            &request.interfaces
        };
        let interfaces = chosen_interfaces(names)?;
        let given = if request.networks.is_empty() {
            &scan.networks
        } else {
            &request.networks
        };
        let own: Vec<String> = interfaces
            .iter()
            .flat_map(|i| &i.ipv4)
            .map(|net| net.network.clone())
            .collect();
        let wanted = if given.is_empty() { &own } else { given };
        let networks =
            scan_networks(wanted, &settings.networks, scan.hosts_max).map_err(|message| {
                SiteError::Invalid {
                    field: "networks",
                    message,
                }
            })?;
        if networks.is_empty() && interfaces.is_empty() {
            let message = "this machine has no network to scan; name one".to_owned();
            return Err(SiteError::Invalid {
                field: "networks",
                message,
            });
        }
        let wants = |method: &str| {
            request.methods.is_empty() || request.methods.iter().any(|m| m == method)
        };
        Ok(Plan {
            networks,
            interfaces,
            ports: if request.ports.is_empty() {
                Arc::from(PORTS)
            } else {
                request.ports.clone().into()
            },
            usual_ports: request.ports.is_empty(),
            arp: wants("arp"),
            tcp: wants("tcp"),
            methods: Method::ALL
                .into_iter()
                .filter(|method| wants(method.name()))
                .collect(),
            identify: request.identify,
            window: scan.window,
            rates: scan.rates,
        })
    }
}

/// The device, with the camera that is stored at its address. One from another subnet is not the one
/// that is reached there.
fn known(stored: &BTreeMap<String, CameraId>, device: &Device) -> Device {
    let stored = stored.get(&device.ip.to_string()).copied();
    Device {
        camera_id: stored.filter(|_| !device.off_subnet),
        ..device.clone()
    }
}

/// The named interfaces, or all that can be scanned.
fn chosen_interfaces(names: &[String]) -> Result<Vec<Interface>, SiteError> {
    let all = interfaces::list();
    if let Some(missing) = names
        .iter()
        .find(|name| !all.iter().any(|i| i.name == **name))
    {
        let message = format!("there is no interface {missing}");
        return Err(SiteError::Invalid {
            field: "interfaces",
            message,
        });
    }
    let is_chosen =
        |i: &Interface| i.can_multicast() && (names.is_empty() || names.contains(&i.name));
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// How long `onvif/discover` waits when nobody says otherwise.
pub const DISCOVER_WINDOW: Duration = Duration::from_secs(3);
