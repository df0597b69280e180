//! Cameras on this machine: one that is unplugged is offline at once, one that is back is looked at
//! without waiting for its next attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Entry, Site, lock};
use crate::discover::usb::{self, UsbCamera};
use crate::model::{CameraId, ErrorCode, ProbeError, Scheme, Stage, StreamUrl};
use crate::policy::lifecycle::Confirmed;
use crate::sys::uevent::Listener;
use crate::sys::v4l2;

/// Where no event comes (containers), and for what may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After an event: udev gives a new node its group and its names some time behind it.
const SETTLE_STEP: Duration = Duration::from_millis(100);
const SETTLE_STEPS_MIN: u32 = 5;
const SETTLE_STEPS_MAX: u32 = 30;

/// A stored camera of this machine.
#[derive(Debug)]
struct Stored {
    id: CameraId,
    url: StreamUrl,
    is_watched: bool,
    is_online: bool,
}

/// Which cameras were plugged in at the last look.
#[derive(Debug, Default)]
struct Plugged(BTreeMap<CameraId, bool>);

impl Plugged {
    /// Cameras that came or went since the last look. Of one that is seen for the first time its health
    /// tells where it was.
    fn take(&mut self, stored: &[Stored], is_here: impl Fn(&StreamUrl) -> bool) -> Vec<CameraId> {
        let before = std::mem::take(&mut self.0);
        let mut changed = Vec::new();
        for camera in stored {
            let now = is_here(&camera.url);
            if *before.get(&camera.id).unwrap_or(&camera.is_online) != now {
                changed.push(camera.id);
            }
            self.0.insert(camera.id, now);
        }
        changed
    }
}

impl Site {
    /// Cameras on this machine, with what is stored of them.
    pub async fn usb_cameras(&self) -> Vec<UsbCamera> {
        let mut found = usb::list().await;
        let stored = self.stored_usb();
        for camera in &mut found {
            let is_it = |stored: &&Stored| camera.node.is_called(&stored.url.path);
            camera.camera_id = stored.iter().find(is_it).map(|stored| stored.id);
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
                _ = looks.tick() => drop(self.look_at_usb(&mut plugged)),
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Looks at once, and until new nodes have their names and can be opened.
    async fn settle_usb(&self, plugged: &mut Plugged) {
        for step in 0..SETTLE_STEPS_MAX {
            if !self.look_at_usb(plugged) {
                return;
            }
            let is_settled = || v4l2::nodes().iter().all(v4l2::Node::is_open_to_us);
            if step >= SETTLE_STEPS_MIN && is_settled() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(SETTLE_STEP) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// False where no such camera is watched.
    fn look_at_usb(&self, plugged: &mut Plugged) -> bool {
        let mut stored = self.stored_usb();
        stored.retain(|camera| camera.is_watched);
        if stored.is_empty() {
            return false;
        }
        let nodes = v4l2::nodes();
        let is_here = |url: &StreamUrl| {
            let mut open = nodes.iter().filter(|node| node.is_open_to_us());
            open.any(|node| node.is_called(&url.path))
        };
        for id in plugged.take(&stored, is_here) {
            if let Some(entry) = lock(&self.cameras).get_mut(&id) {
                entry.watch.look_at_once();
            }
            self.replan(id);
        }
        true
    }

    fn stored_usb(&self) -> Vec<Stored> {
        let stored = |entry: &Entry| {
            let url = entry.camera.primary_stream_url.as_ref()?;
            (url.scheme == Scheme::Usb).then(|| Stored {
                id: entry.camera.id,
                url: url.clone(),
                is_watched: entry.is_watched(),
                is_online: entry.watch.confirmed == Confirmed::Up,
            })
        };
        lock(&self.cameras).values().filter_map(stored).collect()
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
        let stored = |id, is_online| Stored {
            id: CameraId(id),
            url: StreamUrl::parse(&format!("usb:{id}")).unwrap().url,
            is_watched: true,
            is_online,
        };
        let mut plugged = Plugged::default();
        let mut look = |cameras: &[Stored], here: &[&str]| -> Vec<u32> {
            let changed = plugged.take(cameras, |url| here.contains(&url.path.as_str()));
            changed.into_iter().map(|id| id.0).collect()
        };
        let both = [stored(1, true), stored(2, false)];
        assert!(look(&both, &["1"]).is_empty());
        assert!(look(&both, &["1"]).is_empty());
        assert_eq!(look(&both, &[]), [1]);
        // Its health follows the check, not this look.
        assert!(look(&both, &[]).is_empty());
        assert_eq!(look(&both, &["1", "2"]), [1, 2]);
        // Stored while the program runs, and gone before the next look.
        assert_eq!(look(&[stored(3, true)], &[]), [3]);
        assert_eq!(look(&[stored(4, false)], &["4"]), [4]);
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
