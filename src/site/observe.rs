//! What cameras report: whose it is, whether it is news, and the event that is made of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::cameras::about;
use super::{Site, lock};
use crate::brake::now;
use crate::model::{
    CameraId, Event, EventKind, ObjectClass, Observed, ObservedDetail, ObservedState, Timestamp,
    Transport,
};
use crate::policy::lifecycle::Confirmed;
use crate::policy::ongoing::Ongoing;
use crate::wire::events::Notice;

/// With nothing that goes on, the end of it is looked for this seldom.
const IDLE: Duration = Duration::from_secs(3600);
/// A device's clock that is off by more is told in the log, once in a while.
const SKEW_S_MAX: i64 = 30;

/// What goes on at all cameras.
#[derive(Debug, Default)]
pub(super) struct Reports {
    ongoing: HashMap<CameraId, Ongoing>,
    /// Something began: its end has to be looked for.
    has_begun: Arc<Notify>,
}

impl Site {
    /// Takes what a camera reported; an empty list is a sign of life and no more. What a platform tells
    /// of another camera goes to that one.
    pub fn observe(&self, id: CameraId, notices: Vec<Notice>, transport: Transport) {
        let now = now();
        let is_heartbeat = notices.iter().all(|n| n.kind == Observed::Heartbeat);
        self.heard(id, is_heartbeat, now);
        for mut notice in notices {
            notice.detail.transport = transport;
            let Some(id) = self.teller(id, &notice, now) else {
                continue;
            };
            if notice.kind == Observed::Heartbeat || notice.is_initial {
                continue;
            }
            let told = {
                let mut reports = lock(&self.reports);
                let ongoing = reports.ongoing.entry(id).or_default();
                let told = ongoing.take(notice.kind, &notice.detail, now);
                reports.has_begun.notify_one();
                told
            };
            if let Some(told) = told {
                notice.detail.state = told.state;
                self.report(id, notice.kind, notice.detail, told.duration_s, now);
            }
        }
    }

    /// The camera that a report is about: a recorder's channels may be cameras of their own.
    fn teller(&self, id: CameraId, notice: &Notice, now: Timestamp) -> Option<CameraId> {
        let other = notice.mac.and_then(|mac| self.camera_of_mac(mac));
        let device = other.unwrap_or(id);
        let channel = notice.detail.channel.and_then(|channel| {
            let cameras = lock(&self.cameras);
            let mut all = cameras.values().map(|e| &e.camera);
            let found = all.find(|c| c.nvr_id == Some(device) && c.channel == Some(channel));
            found.map(|c| c.id)
        });
        let teller = channel.unwrap_or(device);
        if teller != id {
            self.heard(teller, notice.kind == Observed::Heartbeat, now);
        }
        lock(&self.cameras)
            .get(&teller)
            .is_some_and(|e| e.camera.enabled)
            .then_some(teller)
    }

    /// A sign of life.
    fn heard(&self, id: CameraId, is_heartbeat: bool, now: Timestamp) {
        let mut cameras = lock(&self.cameras);
        let Some(entry) = cameras.get_mut(&id) else {
            return;
        };
        entry.watch.rhythm.heard(is_heartbeat, now);
        // One whose health is its messages is back at once.
        if entry.is_pushing() && (entry.watch.confirmed != Confirmed::Up || entry.watch.suspect) {
            entry.watch.look_at_once();
            drop(cameras);
            self.replan(id);
        }
    }

    fn report(
        &self,
        id: CameraId,
        kind: Observed,
        detail: ObservedDetail,
        duration_s: Option<u64>,
        now: Timestamp,
    ) {
        let event = {
            let cameras = lock(&self.cameras);
            let Some(entry) = cameras.get(&id) else {
                return;
            };
            let message = sentence(&entry.camera.name, kind, &detail, duration_s);
            let skew_s = detail
                .at_device
                .map_or(0, |at| (at.unix_s() - now.unix_s()).abs());
            if skew_s > SKEW_S_MAX && detail.state == ObservedState::Start {
                tracing::debug!(camera = id.0, skew_s, "the camera's clock is off");
            }
            Event {
                time: now,
                duration_s,
                detail: Some(Box::new(detail)),
                ..about(&entry.camera, EventKind::Observed(kind), message)
            }
        };
        tracing::debug!(camera = id.0, kind = kind.as_str(), "{}", event.message);
        self.remember_reports(vec![event]);
    }

    /// Ends what cameras never tell the end of, until the site stops.
    pub async fn end_reports(self: Arc<Self>) {
        let has_begun = lock(&self.reports).has_begun.clone();
        loop {
            let next = lock(&self.reports)
                .ongoing
                .values()
                .filter_map(Ongoing::next)
                .min();
            let wait = next.map_or(IDLE, |at| Duration::from_millis(at.ms_since(now())));
            tokio::select! {
                // Many begin within a moment; their ends are not looked for one by one.
                () = tokio::time::sleep(wait.max(Duration::from_millis(200))) => {}
                () = has_begun.notified(), if next.is_none() => continue,
                () = self.stop.cancelled() => return,
            }
            self.end_those_over(now());
        }
    }

    fn end_those_over(&self, now: Timestamp) {
        let mut over = Vec::new();
        {
            let mut reports = lock(&self.reports);
            for (id, ongoing) in &mut reports.ongoing {
                let ended = ongoing.expire(now).into_iter();
                over.extend(
                    ended.map(|(kind, detail, duration_s)| (*id, kind, detail, duration_s)),
                );
            }
            reports
                .ongoing
                .retain(|_, ongoing| ongoing.next().is_some());
        }
        for (id, kind, detail, duration_s) in over {
            self.report(id, kind, detail, Some(duration_s), now);
        }
    }

    /// Nothing goes on at a camera that is gone.
    pub(super) fn forget_reports(&self, id: CameraId) {
        lock(&self.reports).ongoing.remove(&id);
    }
}

/// "Gate: line crossing (person)", "Gate: motion ended after 12 s".
fn sentence(
    name: &str,
    kind: Observed,
    detail: &ObservedDetail,
    duration_s: Option<u64>,
) -> String {
    let what = match (kind, &detail.raw_type) {
        (Observed::Unknown, Some(raw)) => format!("\"{raw}\""),
        _ => kind.as_str().replace('_', " "),
    };
    let object = detail.object.and_then(|object| match (object, kind) {
        (ObjectClass::Person, Observed::Person)
        | (ObjectClass::Vehicle, Observed::Vehicle)
        | (ObjectClass::Animal, Observed::Animal)
        | (ObjectClass::Face, Observed::Face)
        | (ObjectClass::Package, Observed::Package)
        | (ObjectClass::Plate, Observed::LicensePlate)
        | (ObjectClass::Other, _) => None,
        (object, _) => serde_json::to_value(object).ok(),
    });
    let object = object.and_then(|o| o.as_str().map(|o| format!(" ({o})")));
    let text = detail.text.as_ref().map(|t| format!(": {t}"));
    let end = duration_s.map(|s| format!(" ended after {s} s"));
    [Some(format!("{name}: {what}")), object, text, end]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let detail = ObservedDetail {
            object: Some(ObjectClass::Person),
            raw_type: Some("linedetection".into()),
            ..ObservedDetail::new(ObservedState::Start, Transport::Webhook)
        };
        let say = |kind, duration| sentence("Gate", kind, &detail, duration);
        assert_eq!(
            say(Observed::LineCrossing, None),
            "Gate: line crossing (person)"
        );
        assert_eq!(
            say(Observed::Person, Some(12)),
            "Gate: person ended after 12 s"
        );
        assert_eq!(
            say(Observed::Unknown, None),
            "Gate: \"linedetection\" (person)"
        );
    }
}
