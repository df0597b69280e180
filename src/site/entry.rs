//! One camera in memory: its record, its secrets, what is known of its health.

use tokio::sync::oneshot;

use super::subscriptions::SubscriptionHealth;
use super::views::{CameraView, CheckView, HealthView, ReconnectionView, grade_name};
use crate::brake::now;
use crate::model::{
    Camera, CameraSecrets, Codec, ConnectionType, Credentials, ErrorCode, Mac, ProbeError, Secret,
    Stage, Timestamp,
};
use crate::policy::lifecycle::{Confirmed, Watch};
use crate::policy::rhythm::Silence;
use crate::policy::uptime::{Accumulator, Span, Totals};

/// A camera with everything that lives beside its record.
#[derive(Debug)]
pub struct Entry {
    pub camera: Camera,
    pub secrets: CameraSecrets,
    pub watch: Watch,
    pub figures: Accumulator,
    /// Thirty days without the hours that `figures` holds.
    pub month: Totals,
    /// The last 24 whole hours, as far as they are stored.
    pub day: Totals,
    /// A check runs; its result goes to `waiters` too.
    pub running: bool,
    pub waiters: Vec<oneshot::Sender<CheckView>>,
    /// The operator asked for the next check: the lock-out guard may know.
    pub by_hand: bool,
    /// A detection runs for this camera.
    pub detecting: bool,
    /// Its events over ONVIF, where it is set to that.
    pub subscription: SubscriptionHealth,
    /// Another device has its address: no login is sent there.
    pub displaced: Option<Displaced>,
}

/// Who has a camera's address instead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Displaced {
    pub by: Option<Mac>,
}

impl Entry {
    pub fn new(camera: Camera, secrets: CameraSecrets) -> Self {
        Self {
            camera,
            secrets,
            watch: Watch::default(),
            figures: Accumulator::default(),
            month: Totals::default(),
            day: Totals::default(),
            running: false,
            waiters: Vec::new(),
            by_hand: false,
            detecting: false,
            subscription: SubscriptionHealth::None,
            displaced: None,
        }
    }

    /// Can be checked: on, and it is known how.
    pub fn is_watched(&self) -> bool {
        self.camera.enabled && (self.camera.primary_stream_url.is_some() || self.is_pushing())
    }

    /// Its messages are its health: it cannot be asked.
    pub fn is_pushing(&self) -> bool {
        self.camera.connection_type == Some(ConnectionType::Webhook)
    }

    /// What it means that it was last heard of when it was.
    pub fn silence(&self, now: Timestamp) -> Silence {
        let own_s = self.camera.connection_config.check_interval_s;
        let own_s = own_s.filter(|_| self.is_pushing());
        self.watch.rhythm.silence(own_s, now)
    }

    /// What is wrong beside up and down.
    fn issues(&self) -> Vec<String> {
        let pushes = self.camera.webhook_sha256.is_some() && !self.is_pushing();
        let is_silent = || matches!(self.silence(now()), Silence::TooLong { .. });
        let is_lost = matches!(self.subscription, SubscriptionHealth::Lost(_));
        let found = [
            (is_lost, "onvif_events_lost"),
            (pushes && is_silent(), "events_silent"),
        ];
        let found = found.into_iter().filter(|(is, _)| *is);
        found.map(|(_, name)| name.to_owned()).collect()
    }

    /// Why nothing is sent to the camera's address, where another device has it.
    pub fn displaced_error(&self) -> Option<ProbeError> {
        let by = self.displaced?.by;
        let who = by.map_or("another device".to_owned(), |mac| {
            format!("another device ({mac})")
        });
        let ip = self.camera.ip_address.as_deref().unwrap_or_default();
        Some(ProbeError::new(
            ErrorCode::NotFound,
            Stage::Connect,
            format!(
                "{who} is at {ip} now, and the camera is looked for; if it was replaced, set its mac_address and serial_number to null"
            ),
        ))
    }

    /// The stored login, where there is one.
    pub fn login(&self) -> Option<Credentials> {
        credentials(&self.camera.username, &self.secrets.password)
    }

    /// The login for ONVIF, where it has an account of its own.
    pub fn onvif_login(&self) -> Option<Credentials> {
        credentials(&self.camera.onvif_username, &self.secrets.onvif_password)
    }

    /// Credits the time since the last call to the state that held; what is being confirmed waits.
    pub fn credit(&mut self, now: Timestamp) {
        match self.watch.span() {
            _ if !self.is_watched() => self.figures.credit(now, Span::Unknown),
            Some(span) => self.figures.credit(now, span),
            None => {}
        }
    }

    pub fn totals(&self) -> Totals {
        self.month.plus(self.figures.hours())
    }

    pub fn view(&self) -> CameraView {
        CameraView {
            camera: self.camera.clone(),
            has_password: self.secrets.password.is_some(),
            has_onvif_password: self.secrets.onvif_password.is_some(),
            health: self.health(),
        }
    }

    pub fn health(&self) -> HealthView {
        let watch = &self.watch;
        let totals = self.totals();
        let shown = watch.shown_grade().filter(|_| self.camera.enabled);
        HealthView {
            camera_id: self.camera.id,
            name: self.camera.name.clone(),
            enabled: self.camera.enabled,
            connection_health: grade_name(shown),
            suspect: watch.suspect,
            cause: watch.cause,
            response_time_ms: watch
                .response_time_ms
                .filter(|_| watch.confirmed == Confirmed::Up),
            first_frame_ms: watch.first_frame_ms,
            last_frame_at: watch.last_frame_at,
            uptime_percentage: totals.uptime_percentage(),
            uptime_24h: self.day.plus(self.figures.hours()).uptime_percentage(),
            average_response_time_ms: totals.average_response_ms(),
            disconnections: watch.disconnections,
            reconnect_attempts: watch.reconnect_attempts,
            failed_connection_attempts: watch.failed_in_a_row,
            last_health_check: watch.last_check,
            last_error_message: watch.last_error_message.clone(),
            codec: watch.codec.map(Codec::as_str),
            resolution: watch
                .width
                .zip(watch.height)
                .map(|(w, h)| format!("{w}x{h}")),
            fps: watch.fps,
            bitrate_kbps: None,
            issues: self.issues(),
            since: watch.since,
        }
    }

    pub fn reconnection(&self, max_attempts: u32) -> ReconnectionView {
        let link = &self.watch.link;
        ReconnectionView {
            state: link.state,
            attempt: link.attempt,
            max_attempts,
            next_attempt_at: link.next_attempt_at,
            next_delay_s: link.next_delay_s,
            attempts: link.attempts.clone(),
        }
    }
}

/// A login without a password has an empty one.
fn credentials(username: &Option<String>, password: &Option<Secret>) -> Option<Credentials> {
    let username = username.clone()?;
    let password = password.clone().unwrap_or_else(|| Secret::new(""));
    Some(Credentials { username, password })
}
