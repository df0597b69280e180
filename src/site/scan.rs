//! The scan of the site: one at a time, its results stay until the next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Site, SiteError, lock};
use crate::brake::now;
use crate::discover::interfaces::{self, Interface};
use crate::discover::scan::{self, Device, PORTS, Plan, Told};
use crate::model::{CameraId, Event, EventKind, Timestamp};
use crate::policy::networks::scan_networks;

/// What the operator asks for; empty lists mean the configuration's, else this machine's.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    pub networks: Vec<String>,
    pub interfaces: Vec<String>,
    pub ports: Vec<u16>,
    /// Names of methods; empty = all.
    pub methods: Vec<String>,
    pub identify: bool,
}

/// What the scan follows of the configuration.
#[derive(Debug, Clone, Default)]
pub struct ScanSettings {
    pub networks: Vec<String>,
    pub interfaces: Vec<String>,
    pub hosts_max: u64,
    pub window: Duration,
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

/// `GET /api/discovery/scan/status`.
#[derive(Debug, Clone, Serialize)]
pub struct ScanView {
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
    pub devices: Vec<Device>,
}

/// The scan that runs or ran last.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    id: Option<Uuid>,
    status: ScanStatus,
    total: u64,
    scanned: u64,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    clock: Option<Instant>,
    duration_ms: Option<u64>,
    devices: BTreeMap<IpAddr, Device>,
    stop: Option<CancellationToken>,
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
                total: plan.total(),
                started_at: Some(now()),
                clock: Some(Instant::now()),
                stop: Some(stop.clone()),
                ..Scanner::default()
            };
        }
        tracing::info!("scanning {} addresses", plan.total());
        self.tasks.spawn(self.clone().scan(plan, stop));
        Ok(self.scan_view())
    }

    async fn scan(self: Arc<Self>, plan: Plan, stop: CancellationToken) {
        let (tell, mut told) = mpsc::channel(256);
        let work = scan::run(plan, Arc::new(self.detector()), tell, stop.clone());
        let collect = async {
            while let Some(news) = told.recv().await {
                let mut scanner = lock(&self.scanner);
                match news {
                    Told::Scanned(count) => scanner.scanned += count,
                    Told::Found(device) => {
                        scanner.devices.insert(device.ip, *device);
                    }
                }
            }
        };
        tokio::join!(work, collect);
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
        let scanner = lock(&self.scanner);
        let share = (100 * scanner.scanned)
            .checked_div(scanner.total)
            .unwrap_or(0)
            .min(100) as u32;
        let is_running = scanner.status == ScanStatus::Scanning;
        let elapsed_ms = scanner
            .clock
            .map_or(0, |clock| clock.elapsed().as_millis() as u64);
        let left = scanner.total.saturating_sub(scanner.scanned);
        let eta_s = (elapsed_ms * left)
            .checked_div(scanner.scanned.max(1) * 1000)
            .filter(|_| is_running);
        let stored = self.addresses();
        let known = |device: &Device| {
            let camera_id = stored.get(&device.ip.to_string()).copied();
            Device {
                camera_id,
                ..device.clone()
            }
        };
        ScanView {
            scan_id: scanner.id,
            status: scanner.status,
            progress: match scanner.status {
                ScanStatus::Completed => 100,
                ScanStatus::Scanning => share.min(99),
                _ => share,
            },
            scanned_ips: scanner.scanned,
            total_ips: scanner.total,
            started_at: scanner.started_at,
            finished_at: scanner.finished_at,
            duration_ms: scanner.duration_ms.or(is_running.then_some(elapsed_ms)),
            eta_s,
            devices: scanner.devices.values().map(known).collect(),
        }
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
            tcp: false,
            ws_discovery: true,
            identify: false,
            window,
        };
        let (tell, mut told) = mpsc::channel(256);
        let detector = Arc::new(self.detector());
        let mut found = BTreeMap::new();
        let collect = async {
            while let Some(news) = told.recv().await {
                if let Told::Found(device) = news {
                    found.insert(device.ip, *device);
                }
            }
        };
        tokio::join!(
            scan::run(plan, detector, tell, self.stop.child_token()),
            collect
        );
        let stored = self.addresses();
        let known = |device: Device| Device {
            camera_id: stored.get(&device.ip.to_string()).copied(),
            ..device
        };
        Ok(found.into_values().map(known).collect())
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
            tcp: wants("tcp"),
            ws_discovery: wants("ws_discovery"),
            identify: request.identify,
            window: scan.window,
        })
    }

    /// Stored cameras by their address.
    fn addresses(&self) -> BTreeMap<String, CameraId> {
        let cameras = lock(&self.cameras);
        cameras
            .values()
            .filter_map(|e| Some((e.camera.ip_address.clone()?, e.camera.id)))
            .collect()
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
    let is_chosen = |i: &Interface| i.scannable && (names.is_empty() || names.contains(&i.name));
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// How long `onvif/discover` waits when nobody says otherwise.
pub const DISCOVER_WINDOW: Duration = Duration::from_secs(3);
