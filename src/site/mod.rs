//! The live state of the gateway: cameras, their health, and what may be asked of them.

mod adopt;
mod background;
mod cameras;
mod checks;
mod entry;
mod follow;
mod fresh;
mod history;
mod inventory;
mod news;
mod observe;
mod ptz;
mod recorder;
mod records;
mod scan;
mod scan_logins;
mod settings;
mod silence;
mod subscriptions;
mod tokens;
mod types;
mod usb;
mod views;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::brake::{Brake, Errand};
use crate::detect::{
    AttemptReport, ChannelList, DetectReport, DetectRequest, Detector, ProbeRequest,
};
use crate::model::{CameraId, Event, PtzFacts};
use crate::probe::{Gate, Limits};
use crate::store::{Store, TokenRow};
use crate::vendor::Catalogue;

use fresh::Fresh;

pub use adopt::{AdoptFrom, AdoptReport, AdoptRequest, AdoptRow, AdoptStatus, LeftOut};
pub use checks::dice;
pub use entry::Entry;
pub use history::current_hour;
pub use inventory::SeenDevice;
pub use ptz::{PtzDone, PtzRequest, PtzView};
pub use recorder::{
    ChannelImport, ChannelImportReport, ChannelImportRow, ChannelStream, ChannelView, ChannelsView,
};
pub use scan::{
    DISCOVER_WINDOW, NewsCursor, ScanNews, ScanProgress, ScanRequest, ScanSettings, ScanStatus,
    ScanView,
};
pub use scan_logins::ScanLogins;
pub use settings::Settings;
pub use tokens::TokenView;
pub use types::{CameraDraft, EventQuery, PasswordChange, Scope, SiteError, Window};
pub use views::{
    CameraView, CheckView, ErrorView, HealthDetail, HealthView, HistoryBucket, Outage, Percentiles,
    ReconnectionView, StatusView, grade_name,
};

/// Batch detections that run at the same time.
const BATCH_AT_ONCE: usize = 8;
/// Transitions that may wait for the store; older ones are dropped first, with a warning.
const EVENTS_WAITING_MAX: usize = 2000;
/// Events that one who follows them may lag behind.
const EVENTS_TOLD_MAX: usize = 256;

/// What wakes the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The camera's plan changed: look at it again.
    Replan(CameraId),
}

/// The live state, shared by the API and the monitor.
#[derive(Debug)]
pub struct Site {
    settings: Mutex<Arc<Settings>>,
    catalogue: Mutex<Arc<Catalogue>>,
    store: Store,
    brake: Arc<Brake>,
    gate: Arc<Gate>,
    cameras: Mutex<BTreeMap<CameraId, Entry>>,
    next_camera_id: AtomicU32,
    tokens: Mutex<Vec<TokenRow>>,
    pictures: Fresh<Bytes>,
    channel_lists: Fresh<Arc<ChannelList>>,
    motors: Fresh<Arc<PtzFacts>>,
    motor_ways: Mutex<ptz::AllMotors>,
    /// Detections of stored cameras that may run at the same time.
    detections: Semaphore,
    scanner: Mutex<scan::Scanner>,
    inventory: Mutex<inventory::Inventory>,
    /// Who follows the scan looks again.
    scan_changed: watch::Sender<()>,
    news: news::News,
    reports: Mutex<observe::Reports>,
    /// Events as they happen, for whoever follows them; a slow one loses the oldest.
    told: broadcast::Sender<Event>,
    /// Transitions that wait for the next group commit, and the cameras whose state goes with them.
    waiting: Mutex<Waiting>,
    has_waiting: Notify,
    wake: mpsc::Sender<Wake>,
    tasks: TaskTracker,
    stop: CancellationToken,
    ready: AtomicBool,
}

/// What the next group commit takes along.
#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    /// What cameras reported: it may wait longer.
    reports: Vec<Event>,
    states: BTreeSet<CameraId>,
}

/// What the site is made of at start.
#[derive(Debug)]
pub struct Parts {
    pub settings: Settings,
    pub catalogue: Arc<Catalogue>,
    pub store: Store,
    pub brake: Arc<Brake>,
    pub gate: Arc<Gate>,
    pub next_camera_id: u32,
    /// Up to which event they were reported, if reporting was on.
    pub reported: Option<u64>,
    pub tokens: Vec<TokenRow>,
    pub wake: mpsc::Sender<Wake>,
    pub stop: CancellationToken,
}

impl Site {
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            settings: Mutex::new(Arc::new(parts.settings)),
            catalogue: Mutex::new(parts.catalogue),
            store: parts.store,
            brake: parts.brake,
            gate: parts.gate,
            cameras: Mutex::new(BTreeMap::new()),
            next_camera_id: AtomicU32::new(parts.next_camera_id),
            tokens: Mutex::new(parts.tokens),
            pictures: Fresh::new(
                cameras::PICTURE_AGE_MAX,
                cameras::PICTURES_BYTES_MAX,
                Bytes::len,
            ),
            channel_lists: Fresh::new(
                recorder::LIST_AGE_MAX,
                recorder::LISTED_CHANNELS_MAX,
                |list| list.channels.len(),
            ),
            motors: Fresh::new(ptz::MOTORS_AGE_MAX, ptz::MOTORS_MAX, |_| 1),
            motor_ways: Mutex::default(),
            detections: Semaphore::new(BATCH_AT_ONCE),
            scanner: Mutex::default(),
            inventory: Mutex::default(),
            scan_changed: watch::Sender::default(),
            news: news::News::starting_at(parts.reported),
            reports: Mutex::default(),
            told: broadcast::Sender::new(EVENTS_TOLD_MAX),
            waiting: Mutex::new(Waiting::default()),
            has_waiting: Notify::new(),
            wake: parts.wake,
            tasks: TaskTracker::new(),
            stop: parts.stop,
            ready: AtomicBool::new(false),
        })
    }

    /// True once the daemon serves, false again while it stops.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.stop.is_cancelled()
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    pub fn settings(&self) -> Arc<Settings> {
        lock(&self.settings).clone()
    }

    /// New settings from a reload; every camera is planned anew.
    pub fn apply(&self, settings: Settings, catalogue: Arc<Catalogue>) {
        *lock(&self.settings) = Arc::new(settings);
        *lock(&self.catalogue) = catalogue;
        let ids: Vec<CameraId> = lock(&self.cameras).keys().copied().collect();
        ids.into_iter().for_each(|id| self.replan(id));
    }

    /// The manufacturers, with the operator's own.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        lock(&self.catalogue).clone()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// May probes go to this address?
    pub fn allowed(&self, ip: IpAddr) -> bool {
        // Which of its ports is ours is judged when one is dialled.
        self.settings().networks.allows(SocketAddr::new(ip, 0))
    }

    /// Long work that a client's going away does not end.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Detects one device. Ends with its caller.
    pub async fn detect(&self, request: DetectRequest) -> DetectReport {
        self.detector().detect(&request).await.report
    }

    /// Order kept; one bad device never fails the others. Goes on when the caller is gone.
    pub async fn batch_detect(&self, requests: Vec<DetectRequest>) -> Vec<DetectReport> {
        let slots = Arc::new(Semaphore::new(BATCH_AT_ONCE));
        let run = |request: DetectRequest| {
            let (detector, slots) = (self.detector(), slots.clone());
            self.tasks.spawn(async move {
                let _slot = slots.acquire().await;
                detector.detect(&request).await.report
            })
        };
        let running: Vec<_> = requests.into_iter().map(run).collect();
        let mut reports = Vec::with_capacity(running.len());
        for task in running {
            reports.push(task.await.unwrap_or_else(|_| DetectReport::broken()));
        }
        reports
    }

    /// Probes one URL.
    pub async fn probe(&self, request: ProbeRequest) -> AttemptReport {
        self.detector().probe(&request).await
    }

    fn detector(&self) -> Detector {
        Detector {
            catalogue: self.catalogue(),
            brake: self.brake.clone(),
            gate: Some(self.gate.clone()),
            networks: self.settings().networks.clone(),
            limits: Limits::default(),
        }
    }

    fn errand(&self, manufacturer: Option<&str>, by_hand: bool) -> Errand {
        let catalogue = self.catalogue();
        let locks = manufacturer
            .and_then(|id| catalogue.find(id).ok())
            .is_some_and(|maker| maker.locks_accounts());
        Errand { locks, by_hand }
    }

    /// Events from now on. One that follows too slowly is told how many it lost.
    pub fn follow_events(&self) -> broadcast::Receiver<Event> {
        self.told.subscribe()
    }

    /// Keeps an event of the gateway itself.
    pub fn tell(&self, event: Event) {
        self.remember(vec![event]);
    }

    /// Tells the monitor that this camera's plan changed, and a reporter that the camera did. A full
    /// queue is no loss: the monitor looks at every camera again before long.
    fn replan(&self, id: CameraId) {
        self.news.camera(id);
        let _ = self.wake.try_send(Wake::Replan(id));
    }
}

/// State is plain data: a panic in another holder leaves nothing half done that matters.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
