//! What goes on in the network beside the checks: missing cameras are looked for, strangers noticed,
//! and where the configuration wants it the inventory is kept up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{ScanRequest, Site, lock};
use crate::discover::hello::{self, Move, News};

/// Between two looks at the kernel's table of neighbours.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between two looks that a Hello makes: a power cut lets every camera say it at once.
const HELLO_PAUSE: Duration = Duration::from_secs(10);
/// Messages of devices that may wait.
const NEWS_WAITING_MAX: usize = 64;
/// Settings that changed are seen within this.
const STEP: Duration = Duration::from_secs(5);

impl Site {
    /// Runs until the site stops. The daemon sends nothing at start: the first look for missing
    /// cameras and the first scan come one interval later.
    pub async fn watch_network(self: Arc<Self>) {
        let start = Instant::now();
        let (mut looked, mut followed, mut scanned) = (start, start, start);
        let mut greeted = start;
        let is_due =
            |last: Instant, every: Option<Duration>| every.is_some_and(|e| last.elapsed() >= e);
        let (tell, mut news) = mpsc::channel(NEWS_WAITING_MAX);
        let mut is_listening = false;
        let mut steps = interval_at(start + STEP, STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = steps.tick() => {}
                Some(heard) = news.recv() => {
                    if Self::is_hello(&heard) && greeted.elapsed() >= HELLO_PAUSE {
                        greeted = Instant::now();
                        self.look_for_missing().await;
                    }
                    continue;
                }
                () = self.stop.cancelled() => return,
            }
            let settings = self.settings();
            if !is_listening && self.has_whom_to_hear() {
                is_listening = true;
                self.tasks.spawn(hello::listen(
                    settings.scan.interfaces.clone(),
                    settings.networks.clone(),
                    tell.clone(),
                    self.stop.clone(),
                ));
            }
            if is_due(looked, Some(LOOK_EVERY)) {
                looked = Instant::now();
                self.look_at_neighbours().await;
            }
            if is_due(followed, settings.scan.follow_interval) {
                followed = Instant::now();
                self.look_for_missing().await;
            }
            if is_due(scanned, settings.scan.background_interval) {
                scanned = Instant::now();
                self.scan_in_background().await;
            }
        }
    }

    fn is_hello(news: &News) -> bool {
        news.what == Move::Hello && news.device.is_onvif()
    }

    /// A gateway without cameras joins no group: it sends nothing at all.
    fn has_whom_to_hear(&self) -> bool {
        !lock(&self.cameras).is_empty()
    }

    /// A scan whose results go to the inventory only. Does nothing while another one runs.
    async fn scan_in_background(self: &Arc<Self>) {
        if self.is_scanning() {
            return;
        }
        let request = ScanRequest {
            identify: true,
            ..ScanRequest::default()
        };
        match self.find_devices(&request).await {
            Ok(devices) => self.devices_seen(&devices).await,
            Err(error) => tracing::warn!("the scan in the background was not made: {error}"),
        }
    }
}
