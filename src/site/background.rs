//! What goes on in the network beside the checks: missing cameras are looked for, strangers noticed,
//! and where the configuration wants it the inventory is kept up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{ScanRequest, Site};

/// Between two looks at the kernel's table of neighbours.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Settings that changed are seen within this.
const STEP: Duration = Duration::from_secs(5);

impl Site {
    /// Runs until the site stops. The daemon sends nothing at start: the first look for missing
    /// cameras and the first scan come one interval later.
    pub async fn watch_network(self: Arc<Self>) {
        let start = Instant::now();
        let (mut looked, mut followed, mut scanned) = (start, start, start);
        let is_due =
            |last: Instant, every: Option<Duration>| every.is_some_and(|e| last.elapsed() >= e);
        loop {
            tokio::select! {
                () = tokio::time::sleep(STEP) => {}
                () = self.stop.cancelled() => return,
            }
            let settings = self.settings();
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
