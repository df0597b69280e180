//! Cameras of type `webhook`: nobody can ask them, so their messages are their health. One that keeps
//! its rhythm is good, one that is silent for longer is offline.

use super::views::{CheckView, ErrorView};
use super::{Site, lock};
use crate::brake::now;
use crate::model::{CameraId, ErrorCode, Stage};
use crate::policy::lifecycle::Seen;
use crate::policy::rhythm::Silence;

impl Site {
    /// The check of a camera that pushes: sends nothing.
    pub(super) fn check_silence(&self, id: CameraId) {
        let settings = self.settings();
        let now = now();
        let (seen, error) = {
            let mut cameras = lock(&self.cameras);
            let Some(entry) = cameras.get_mut(&id).filter(|e| e.is_watched()) else {
                return;
            };
            entry.credit(now);
            entry.by_hand = false;
            let plan = entry.watch.plan(&settings.rules(&entry.camera), now);
            if entry.watch.begin(plan.kind, now) {
                entry.figures.count_reconnect_attempt(now);
            }
            match entry.silence(now) {
                Silence::Usual => (Seen::Heard, None),
                Silence::Unknown => (Seen::Anonymous, None),
                Silence::TooLong { for_s, usual_s } => {
                    let message = silent_sentence(for_s, usual_s);
                    let error = ErrorView {
                        code: ErrorCode::Timeout,
                        stage: Stage::Describe,
                        message: message.clone(),
                    };
                    let code = ErrorCode::Timeout;
                    (Seen::Failed { code, message }, Some(error))
                }
            }
        };
        self.settle(id, &seen, false, |entry, now| {
            let view = CheckView {
                camera_id: id,
                success: error.is_none(),
                connection_health: entry.health().connection_health,
                response_time_ms: None,
                first_frame_ms: None,
                codec: None,
                resolution: None,
                fps: None,
                stages: Vec::new(),
                error,
                checked_at: now,
            };
            (view, false)
        });
    }
}

fn silent_sentence(for_s: u64, usual_s: u64) -> String {
    format!(
        "no message for {}, where {} is the most to expect; look at the camera's event settings and its address for this gateway",
        span(for_s),
        span(usual_s)
    )
}

fn span(s: u64) -> String {
    match s {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}
