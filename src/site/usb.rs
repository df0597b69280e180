//! Cameras on this machine: one that is unplugged is offline at once, one that is back is looked at
//! without waiting for its next attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Site, lock};
use crate::discover::usb::{self, UsbCamera};
use crate::model::{CameraId, ErrorCode, ProbeError, Scheme, Stage, StreamUrl};
use crate::sys::uevent::Listener;
use crate::sys::v4l2;

/// Where no event comes (containers), and for what may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After an event: udev gives a new node to its group some time behind it.
const SETTLE_STEP: Duration = Duration::from_millis(100);
const SETTLE_STEPS: u32 = 30;

/// Which cameras were plugged in at the last look.
#[derive(Debug, Default)]
struct Plugged(BTreeMap<CameraId, bool>);

impl Plugged {
    /// Cameras that came or went since the last look. One that is seen for the first time did neither.
    fn take(&mut self, now: &[(CameraId, bool)]) -> Vec<CameraId> {
        let has_changed = |(id, is_here): &&(CameraId, bool)| {
            self.0.get(id).is_some_and(|before| before != is_here)
        };
        let changed = now.iter().filter(has_changed).map(|(id, _)| *id).collect();
        self.0 = now.iter().copied().collect();
        changed
    }
}

impl Site {
    /// Cameras on this machine, with what is stored of them.
    pub async fn usb_cameras(&self) -> Vec<UsbCamera> {
        let mut found = usb::list().await;
        let stored = self.stored_usb();
        for camera in &mut found {
            let is_it = |(_, url): &&(CameraId, StreamUrl)| camera.node.is_called(&url.path);
            camera.camera_id = stored.iter().find(is_it).map(|(id, _)| *id);
        }
        found
    }

    /// Runs until the site stops. Without a stored camera of this kind it only listens.
    pub async fn watch_usb(self: Arc<Self>) {
        let listener = Listener::open();
        if let Err(error) = &listener {
            tracing::warn!(
                "the kernel's device events cannot be heard, USB cameras are looked at every {} s instead: {error}",
                LOOK_EVERY.as_secs()
            );
        }
        let mut plugged = Plugged::default();
        let mut looks = interval_at(Instant::now(), LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = async {
                match &listener {
                    Ok(listener) => listener.video_change().await,
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                heard = event => match heard {
                    Ok(()) => self.settle_usb(&mut plugged).await,
                    // The socket is unusable for now: the looks go on.
                    Err(_) => { looks.tick().await; }
                },
                _ = looks.tick() => self.look_at_usb(&mut plugged),
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Looks at once, and until new nodes can be opened.
    async fn settle_usb(&self, plugged: &mut Plugged) {
        for _ in 0..SETTLE_STEPS {
            self.look_at_usb(plugged);
            if v4l2::nodes().iter().all(v4l2::Node::is_open_to_us) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(SETTLE_STEP) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn look_at_usb(&self, plugged: &mut Plugged) {
        let stored = self.stored_usb();
        if stored.is_empty() {
            return;
        }
        let nodes = v4l2::nodes();
        let is_here = |url: &StreamUrl| {
            let mut open = nodes.iter().filter(|node| node.is_open_to_us());
            open.any(|node| node.is_called(&url.path))
        };
        let now: Vec<(CameraId, bool)> =
            stored.iter().map(|(id, url)| (*id, is_here(url))).collect();
        for id in plugged.take(&now) {
            if let Some(entry) = lock(&self.cameras).get_mut(&id) {
                entry.watch.look_at_once();
            }
            self.replan(id);
        }
    }

    /// Stored cameras of this machine that are watched, with their addresses.
    fn stored_usb(&self) -> Vec<(CameraId, StreamUrl)> {
        let cameras = lock(&self.cameras);
        let watched = cameras.values().filter(|entry| entry.is_watched());
        watched
            .filter_map(|entry| {
                let url = entry.camera.primary_stream_url.as_ref()?;
                (url.scheme == Scheme::Usb).then(|| (entry.camera.id, url.clone()))
            })
            .collect()
    }
}

/// The system itself says that the camera is not there: that needs no second look.
pub(super) fn is_unplugged(url: &StreamUrl, error: &ProbeError) -> bool {
    url.scheme == Scheme::Usb && error.code == ErrorCode::NotFound && error.stage == Stage::Connect
}

/// It told all about itself, and only its pictures go to another program.
pub(super) fn is_in_use(url: &StreamUrl, error: &ProbeError) -> bool {
    url.scheme == Scheme::Usb && error.code == ErrorCode::Busy && error.stage == Stage::Start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_news() {
        let (a, b) = (CameraId(1), CameraId(2));
        let mut plugged = Plugged::default();
        assert!(plugged.take(&[(a, true), (b, false)]).is_empty());
        assert!(plugged.take(&[(a, true), (b, false)]).is_empty());
        assert_eq!(plugged.take(&[(a, false), (b, false)]), [a]);
        assert_eq!(plugged.take(&[(a, true), (b, true)]), [a, b]);
        // Removed, and another one added.
        assert!(plugged.take(&[(CameraId(3), true)]).is_empty());
        assert!(plugged.take(&[(a, false), (CameraId(3), true)]).is_empty());
    }

    #[test]
    fn only_what_the_system_says_is_certain() {
        let usb = StreamUrl::parse("usb:cam").unwrap().url;
        let rtsp = StreamUrl::parse("rtsp://10.0.0.1/").unwrap().url;
        let error = |code, stage| ProbeError::new(code, stage, "");
        assert!(is_unplugged(
            &usb,
            &error(ErrorCode::NotFound, Stage::Connect)
        ));
        assert!(!is_unplugged(
            &usb,
            &error(ErrorCode::NoFrame, Stage::FirstFrame)
        ));
        assert!(!is_unplugged(
            &rtsp,
            &error(ErrorCode::NotFound, Stage::Connect)
        ));
        assert!(is_in_use(&usb, &error(ErrorCode::Busy, Stage::Start)));
        assert!(!is_in_use(&rtsp, &error(ErrorCode::Busy, Stage::Start)));
    }
}
