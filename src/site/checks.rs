//! Checks of one camera: begin, probe, judge, tell.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::entry::Entry;
use super::usb::{is_in_use, is_unplugged};
use super::views::{CheckView, ErrorView, ReconnectionView};
use super::{EVENTS_WAITING_MAX, Site, SiteError, lock};
use crate::brake::{Errand, now};
use crate::model::{
    AuthUse, CameraId, ErrorCode, Event, EventKind, Evidence, Grade, Stage, StreamRole, Timestamp,
};
use crate::policy::lifecycle::{Change, CheckKind, Confirmed, Frames, Plan, Seen};
use crate::probe::{Attempt, Depth, OnvifAccess, Target, Trust};

/// Reports of cameras that go to the store at once, without waiting for their time.
const REPORTS_GROUP: usize = 64;

/// What a check is about to do.
pub(super) struct Begun {
    pub target: Target,
    errand: Errand,
    /// The stored login was refused: whatever is seen now proves nothing.
    anonymous: bool,
    frames: bool,
    /// It was away: who answers now may be another device.
    pub is_return: bool,
}

impl Site {
    /// When this camera is due; `None` when it is not watched or a check runs.
    pub fn plan(&self, id: CameraId, now: Timestamp) -> Option<Plan> {
        let settings = self.settings();
        let cameras = lock(&self.cameras);
        let entry = cameras.get(&id).filter(|e| e.is_watched() && !e.running)?;
        Some(entry.watch.plan(&settings.rules(&entry.camera), now))
    }

    /// Runs the check that is due now. Does nothing when the camera is gone or a check runs.
    pub async fn check(self: Arc<Self>, id: CameraId) {
        if self.is_pushing(id) {
            return self.check_silence(id);
        }
        let Some(begun) = self.begin(id) else { return };
        let attempt = match self.is_itself(id, &begun).await {
            Ok(()) => self.brake.run(begun.target.clone(), begun.errand).await,
            Err(error) => Attempt::not_made(error),
        };
        self.end(id, &begun, &attempt);
    }

    /// Runs a check now, or joins the one that runs.
    pub async fn check_now(self: &Arc<Self>, id: CameraId) -> Result<CheckView, SiteError> {
        let result = {
            let mut cameras = lock(&self.cameras);
            let entry = cameras.get_mut(&id).ok_or(SiteError::UnknownCamera(id))?;
            if !entry.camera.enabled {
                return Err(SiteError::Disabled(id));
            }
            if !entry.is_watched() {
                return Err(SiteError::NotConnected(id));
            }
            let (tell, result) = oneshot::channel();
            entry.waiters.push(tell);
            if !entry.running {
                entry.by_hand = true;
                self.tasks.spawn(self.clone().check(id));
            }
            result
        };
        result.await.map_err(|_| SiteError::Stopping)
    }

    /// Resets the back-off and tries at once; does not wait.
    pub fn reconnect(self: &Arc<Self>, id: CameraId) -> Result<ReconnectionView, SiteError> {
        let settings = self.settings();
        let mut cameras = lock(&self.cameras);
        let entry = cameras.get_mut(&id).ok_or(SiteError::UnknownCamera(id))?;
        if !entry.camera.enabled {
            return Err(SiteError::Disabled(id));
        }
        entry.watch.reconnect();
        entry.by_hand = true;
        let max_attempts = settings.rules(&entry.camera).backoff.max_attempts;
        let view = entry.reconnection(max_attempts);
        drop(cameras);
        self.remember_state(id);
        self.replan(id);
        Ok(view)
    }

    fn is_pushing(&self, id: CameraId) -> bool {
        lock(&self.cameras).get(&id).is_some_and(Entry::is_pushing)
    }

    fn begin(&self, id: CameraId) -> Option<Begun> {
        let settings = self.settings();
        let mut cameras = lock(&self.cameras);
        let entry = cameras
            .get_mut(&id)
            .filter(|e| e.is_watched() && !e.running)?;
        let url = entry.camera.primary_stream_url.clone()?;
        let now = now();
        let mut plan = entry.watch.plan(&settings.rules(&entry.camera), now);
        entry.credit(now);
        let by_hand = std::mem::take(&mut entry.by_hand);
        if plan.at > now {
            // Asked for by hand before its time: it is an ordinary look.
            plan.kind = CheckKind::Ordinary;
        }
        if entry.watch.begin(plan.kind, now) {
            entry.figures.count_reconnect_attempt(now);
        }
        entry.running = true;
        let is_return = entry.watch.confirmed == Confirmed::Down;
        let anonymous = entry.watch.login_refused;
        let frames = plan.frames && !anonymous;
        let trust = match (
            entry.camera.connection_config.tls_verify,
            &entry.camera.tls_pin,
        ) {
            (Some(true), _) => Trust::Authorities,
            (_, Some(pin)) => Trust::Pinned(pin.clone()),
            (_, None) => Trust::FirstUse,
        };
        let depth = match frames {
            // An empty login in the path would be one more wrong one.
            _ if anonymous && url.has_placeholders() => Depth::Connect,
            true => Depth::Frame,
            false => Depth::Answer,
        };
        let target = Target {
            url,
            role: StreamRole::Main,
            login: entry.login().filter(|_| !anonymous),
            // The operator gave this camera's login for this camera.
            cleartext_login: true,
            onvif: OnvifAccess {
                login: entry.onvif_login().filter(|_| !anonymous),
                ..OnvifAccess::default()
            },
            depth,
            limits: settings.limits(&entry.camera),
            trust,
            networks: settings.networks.clone(),
            gate: Some(self.gate.clone()),
        };
        let manufacturer = entry.camera.manufacturer.clone();
        drop(cameras);
        Some(Begun {
            target,
            errand: self.errand(manufacturer.as_deref(), by_hand),
            anonymous,
            frames,
            is_return,
        })
    }

    fn end(&self, id: CameraId, begun: &Begun, attempt: &Attempt) {
        let mut cameras = lock(&self.cameras);
        let Some(entry) = cameras.get_mut(&id) else {
            return;
        };
        entry.running = false;
        // Settings may have changed meanwhile: then this result is about another address.
        if entry.camera.primary_stream_url.as_ref() != Some(&begun.target.url) {
            drop(cameras);
            self.replan(id);
            return;
        }
        let seen = if begun.anonymous {
            Seen::Anonymous
        } else {
            seen(attempt, begun)
        };
        let error = attempt.result.as_ref().err();
        let is_certain = error.is_some_and(|error| is_unplugged(&begun.target.url, error));
        drop(cameras);
        self.settle(id, &seen, is_certain, |entry, now| {
            let pinned = pin(entry, attempt);
            (check_view(entry, attempt, now), pinned)
        });
    }

    /// Judges what was seen, and tells; what `is_certain` needs no second look. `finish` gives the answer
    /// to who waits for it, and whether the record changed.
    pub(super) fn settle(
        &self,
        id: CameraId,
        seen: &Seen,
        is_certain: bool,
        finish: impl FnOnce(&mut Entry, Timestamp) -> (CheckView, bool),
    ) {
        let settings = self.settings();
        let now = now();
        let mut cameras = lock(&self.cameras);
        let Some(entry) = cameras.get_mut(&id) else {
            return;
        };
        let mut rules = settings.rules(&entry.camera);
        if is_certain {
            rules.failures_to_offline = 1;
        }
        entry.credit(now);
        let before = (
            entry.watch.shown_grade(),
            entry.watch.suspect,
            entry.watch.essence(),
        );
        let changes = entry.watch.step(seen, &rules, now, dice());
        if before.1 {
            // What was being confirmed is decided: the time since then counts as what it came to.
            entry.credit(now);
        }
        record(entry, seen, now, &changes);
        let events: Vec<Event> = changes.iter().map(|c| event(entry, c, now)).collect();
        log_changes(entry, &changes, before.0);
        let (view, pinned) = finish(entry, now);
        entry
            .waiters
            .drain(..)
            .for_each(|waiter| drop(waiter.send(view.clone())));
        let is_notable = entry.watch.essence() != before.2;
        drop(cameras);
        if !events.is_empty() {
            self.remember(events);
        } else if is_notable {
            self.remember_state(id);
        }
        if pinned {
            self.save_later(id);
        }
        self.replan(id);
    }

    /// Hands events, and the states of the cameras that they are about, to the next group commit.
    pub(super) fn remember(&self, events: Vec<Event>) {
        self.tell_followers(&events);
        let mut waiting = lock(&self.waiting);
        let over = (waiting.events.len() + events.len()).saturating_sub(EVENTS_WAITING_MAX);
        if over > 0 {
            let lost = over.min(waiting.events.len());
            waiting.events.drain(..lost);
            tracing::warn!(
                lost,
                "the store does not keep up: the oldest waiting events are dropped"
            );
        }
        waiting
            .states
            .extend(events.iter().filter_map(|e| e.camera_id));
        waiting.events.extend(events);
        self.has_waiting.notify_one();
    }

    /// Hands what cameras reported to the store's next commit, which it need not hurry for.
    pub(super) fn remember_reports(&self, events: Vec<Event>) {
        self.tell_followers(&events);
        let mut waiting = lock(&self.waiting);
        waiting.reports.extend(events);
        if waiting.reports.len() >= REPORTS_GROUP {
            self.has_waiting.notify_one();
        }
        let over = waiting.reports.len().saturating_sub(EVENTS_WAITING_MAX);
        if over > 0 {
            waiting.reports.drain(..over);
            tracing::warn!(
                lost = over,
                "the store does not keep up: the oldest reports of cameras are dropped"
            );
        }
    }

    fn tell_followers(&self, events: &[Event]) {
        if self.told.receiver_count() > 0 {
            let tell = |event: &Event| drop(self.told.send(event.clone()));
            events.iter().for_each(tell);
        }
    }

    /// Hands a camera's state to the next group commit.
    pub(super) fn remember_state(&self, id: CameraId) {
        lock(&self.waiting).states.insert(id);
        self.has_waiting.notify_one();
    }
}

/// Reads an attempt the way the lifecycle wants it.
fn seen(attempt: &Attempt, begun: &Begun) -> Seen {
    let frames = begun.frames;
    match &attempt.result {
        Ok(outcome) => Seen::Up {
            response_time_ms: outcome.response_time_ms,
            first_frame_ms: outcome.first_frame_ms,
            media: outcome.media,
            frames: match outcome.evidence {
                Evidence::KeyFrame | Evidence::Picture if frames => Frames::Proven,
                _ => Frames::NotLooked,
            },
        },
        // Plugged in again, and another program was quicker.
        Err(error) if begun.is_return && is_in_use(&begun.target.url, error) => Seen::Up {
            response_time_ms: attempt.answer_ms(),
            first_frame_ms: None,
            media: crate::model::MediaFacts::default(),
            frames: Frames::NotLooked,
        },
        Err(error) if error.code.is_no_failed_check() => Seen::NoVerdict {
            code: error.code,
            connect_ms: attempt
                .stages
                .iter()
                .find(|s| s.name == Stage::Connect)
                .map(|s| s.ms),
            message: error.message.clone(),
        },
        // The protocol answered, only the pictures did not come.
        Err(error) if error.code == ErrorCode::NoFrame && error.stage > Stage::Describe => {
            Seen::Up {
                response_time_ms: attempt.answer_ms(),
                first_frame_ms: None,
                media: crate::model::MediaFacts::default(),
                frames: Frames::Missing,
            }
        }
        Err(error) => Seen::Failed {
            code: error.code,
            message: error.message.clone(),
        },
    }
}

fn record(entry: &mut Entry, seen: &Seen, now: Timestamp, changes: &[Change]) {
    let grade = entry.watch.shown_grade().unwrap_or(Grade::Offline);
    let cause = entry.watch.cause;
    match seen {
        Seen::Up {
            response_time_ms, ..
        } => entry
            .figures
            .sample(now, Some(*response_time_ms), cause, grade),
        Seen::Failed { .. } => entry.figures.sample(now, None, cause, grade),
        // Nobody was asked: there is no time to count.
        Seen::NoVerdict { .. } | Seen::Anonymous | Seen::Heard => {}
    }
    if changes.iter().any(|c| matches!(c, Change::Offline { .. })) {
        entry.figures.count_disconnection(now);
    }
}

/// Trust on first use: keeps the certificate that was seen. True if it is new.
fn pin(entry: &mut Entry, attempt: &Attempt) -> bool {
    let Ok(outcome) = &attempt.result else {
        return false;
    };
    let Some(certificate) = &outcome.certificate else {
        return false;
    };
    if entry.camera.tls_pin.is_some() || attempt.auth == AuthUse::Refused {
        return false;
    }
    entry.camera.tls_pin = Some(certificate.sha256.clone());
    true
}

fn event(entry: &Entry, change: &Change, now: Timestamp) -> Event {
    let name = &entry.camera.name;
    let (kind, cause, duration_s, message) = match change {
        Change::Offline { cause, message } => (
            EventKind::Offline,
            Some(*cause),
            None,
            format!("{name} is offline: {message}"),
        ),
        Change::Online { outage_s } => (
            EventKind::Online,
            None,
            Some(*outage_s),
            format!("{name} is back after {outage_s} s"),
        ),
        Change::Degraded { cause } => (
            EventKind::Degraded,
            *cause,
            None,
            format!("{name} answers, but badly"),
        ),
        Change::Recovered => (
            EventKind::Recovered,
            None,
            None,
            format!("{name} answers well again"),
        ),
        Change::AuthRefused { message } => (
            EventKind::AuthRefused,
            Some(ErrorCode::AuthFailed),
            None,
            format!(
                "{name} refuses its login, which is not sent again until it is changed: {message}"
            ),
        ),
        Change::GaveUp { attempts } => (
            EventKind::GaveUp,
            entry.watch.cause,
            None,
            format!("{name} did not come back in {attempts} attempts; the ordinary checks go on"),
        ),
    };
    Event {
        id: Uuid::now_v7(),
        time: now,
        kind,
        camera_id: Some(entry.camera.id),
        camera_name: Some(name.clone()),
        cause,
        duration_s,
        message,
        detail: None,
    }
}

/// One line per state change; nothing for a check that only confirms what is known.
fn log_changes(entry: &Entry, changes: &[Change], before: Option<Grade>) {
    let (camera, name) = (entry.camera.id.0, entry.camera.name.as_str());
    for change in changes {
        match change {
            Change::Offline { cause, message } => {
                tracing::warn!(
                    camera,
                    name,
                    cause = cause.as_str(),
                    "camera is offline: {message}"
                );
            }
            Change::Online { outage_s } => {
                tracing::info!(camera, name, outage_s, "camera is back");
            }
            Change::Degraded { cause } => {
                tracing::warn!(
                    camera,
                    name,
                    cause = cause.map(ErrorCode::as_str),
                    "camera is degraded"
                );
            }
            Change::Recovered => tracing::info!(camera, name, "camera is well again"),
            Change::AuthRefused { .. } => {
                tracing::warn!(
                    camera,
                    name,
                    "camera refuses its login; it is not sent again until it is changed"
                );
            }
            Change::GaveUp { attempts } => {
                tracing::warn!(
                    camera,
                    name,
                    attempts,
                    "camera did not come back; the ordinary checks go on"
                );
            }
        }
    }
    let after = entry.watch.shown_grade();
    if changes.is_empty() && before.is_none() && after.is_some() {
        let response_ms = entry.watch.response_time_ms;
        tracing::info!(
            camera,
            name,
            health = after.map(Grade::as_str),
            response_ms,
            "camera is watched"
        );
    }
}

fn check_view(entry: &Entry, attempt: &Attempt, now: Timestamp) -> CheckView {
    let health = entry.health();
    let outcome = attempt.result.as_ref().ok();
    CheckView {
        camera_id: entry.camera.id,
        success: outcome.is_some(),
        connection_health: health.connection_health,
        response_time_ms: outcome.map(|o| o.response_time_ms),
        first_frame_ms: outcome.and_then(|o| o.first_frame_ms),
        codec: health.codec,
        resolution: health.resolution,
        fps: health.fps,
        stages: attempt.stages.clone(),
        error: attempt.result.as_ref().err().map(|e| ErrorView {
            code: e.code,
            stage: e.stage,
            message: e.message.clone(),
        }),
        checked_at: now,
    }
}

/// A random number in `0.0..1.0`; the middle where the system has none to give.
pub fn dice() -> f64 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 4];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}
