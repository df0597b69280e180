//! Bodies of the retained topics and of events. Field names are those of the REST API.

use std::collections::BTreeMap;
use std::hash::Hash;

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::topics::Topics;
use crate::model::{Camera, CameraId, Event, EventKind, Grade, LinkState, Timestamp};
use crate::site::{Entry, HealthView, StatusView};

/// What `availability` and `status` say.
pub const ONLINE: &str = "online";
pub const OFFLINE: &str = "offline";

/// Major version of these bodies.
pub const SCHEMA: u32 = 1;

/// `.../cam/<cam>/state`
#[derive(Debug, Serialize)]
pub struct CameraState<'a> {
    camera_id: CameraId,
    name: &'a str,
    enabled: bool,
    connection_health: &'static str,
    suspect: bool,
    cause: Option<&'static str>,
    response_time_ms: Option<u32>,
    first_frame_ms: Option<u32>,
    last_frame_at: Option<Timestamp>,
    resolution: Option<String>,
    fps: Option<f64>,
    codec: Option<&'static str>,
    active_stream: Option<&'static str>,
    connection_type: Option<&'static str>,
    uptime_percentage: Option<f64>,
    uptime_24h: Option<f64>,
    disconnections: u32,
    failed_connection_attempts: u32,
    reconnection: Reconnection,
    issues: &'a [String],
    last_error_message: Option<&'a str>,
    last_health_check: Option<Timestamp>,
    since: Option<Timestamp>,
    revision: u64,
}

#[derive(Debug, Serialize)]
struct Reconnection {
    state: LinkState,
    attempt: u32,
    next_attempt_at: Option<Timestamp>,
}

impl<'a> CameraState<'a> {
    pub fn new(entry: &'a Entry, health: &'a HealthView) -> Self {
        let camera = &entry.camera;
        let link = &entry.watch.link;
        Self {
            camera_id: camera.id,
            name: &camera.name,
            enabled: camera.enabled,
            connection_health: health.connection_health,
            suspect: health.suspect,
            cause: health.cause.map(|c| c.as_str()),
            response_time_ms: health.response_time_ms,
            first_frame_ms: health.first_frame_ms,
            last_frame_at: health.last_frame_at,
            resolution: health.resolution.clone(),
            fps: health.fps,
            codec: health.codec,
            active_stream: camera.primary_stream_url.as_ref().map(|_| "primary"),
            connection_type: camera.connection_type.map(|t| t.as_str()),
            uptime_percentage: health.uptime_percentage,
            uptime_24h: health.uptime_24h,
            disconnections: health.disconnections,
            failed_connection_attempts: health.failed_connection_attempts,
            reconnection: Reconnection {
                state: link.state,
                attempt: link.attempt,
                next_attempt_at: link.next_attempt_at,
            },
            issues: &health.issues,
            last_error_message: health.last_error_message.as_deref(),
            last_health_check: health.last_health_check,
            since: health.since,
            revision: camera.revision,
        }
    }

    /// What a change of is worth a message: not the figures that every check moves a little. Those
    /// travel with the next change or the slow repetition.
    pub fn essence(&self) -> impl Hash + use<'_, 'a> {
        (
            (
                self.name,
                self.enabled,
                self.connection_health,
                self.suspect,
                self.cause,
            ),
            (
                &self.resolution,
                self.codec,
                self.connection_type,
                self.fps.map(|fps| fps.round() as i64),
            ),
            (self.disconnections, self.failed_connection_attempts.min(2)),
            (
                self.reconnection.state,
                self.reconnection.attempt,
                self.issues,
                self.since,
            ),
            (self.last_error_message, self.revision),
        )
    }
}

/// `online` unless the confirmed state is offline: an unknown camera is not said to be gone.
pub fn availability(entry: &Entry) -> &'static str {
    match entry.watch.shown_grade() {
        Some(Grade::Offline) => OFFLINE,
        _ if !entry.camera.enabled => OFFLINE,
        _ => ONLINE,
    }
}

/// `.../cam/<cam>/info`: slow facts, never a secret.
#[derive(Debug, Serialize)]
pub struct CameraInfo<'a> {
    camera_id: crate::model::CameraId,
    uid: Uuid,
    name: &'a str,
    tags: &'a [String],
    manufacturer: Option<&'a str>,
    model: Option<&'a str>,
    firmware_version: Option<&'a str>,
    serial_number: Option<&'a str>,
    mac_address: Option<&'a str>,
    ip_address: Option<&'a str>,
    connection_type: Option<crate::model::ConnectionType>,
    nvr_id: Option<crate::model::CameraId>,
    channel: Option<u32>,
    revision: u64,
}

impl<'a> CameraInfo<'a> {
    pub fn new(camera: &'a Camera) -> Self {
        Self {
            camera_id: camera.id,
            uid: camera.uid,
            name: &camera.name,
            tags: &camera.tags,
            manufacturer: camera.manufacturer.as_deref(),
            model: camera.model.as_deref(),
            firmware_version: camera.firmware_version.as_deref(),
            serial_number: camera.serial_number.as_deref(),
            mac_address: camera.mac_address.as_deref(),
            ip_address: camera.ip_address.as_deref(),
            connection_type: camera.connection_type,
            nvr_id: camera.nvr_id,
            channel: camera.channel,
            revision: camera.revision,
        }
    }
}

/// `.../cam/<cam>/alarm/offline` while the camera is confirmed offline; `None`: no alarm (an empty
/// message clears it).
pub fn offline_alarm(entry: &Entry) -> Option<Value> {
    let is_offline = entry.camera.enabled && entry.watch.shown_grade() == Some(Grade::Offline);
    is_offline.then(|| {
        json!({
            "severity": "major",
            "text": entry.watch.last_error_message.as_deref().unwrap_or("the camera does not answer"),
            "cause": entry.watch.cause,
            "since": entry.watch.since,
        })
    })
}

/// One line of `cams`.
pub fn cams_line(entry: &Entry) -> Value {
    json!({
        "id": entry.camera.id,
        "uid": entry.camera.uid,
        "name": entry.camera.name,
        "level": crate::site::grade_name(entry.watch.shown_grade().filter(|_| entry.camera.enabled)),
        "since": entry.watch.since,
        "revision": entry.camera.revision,
    })
}

/// `info` of the gateway.
#[derive(Debug, Serialize)]
pub struct GatewayInfo<'a> {
    pub schema: u32,
    pub gateway: &'a str,
    pub name: &'a str,
    pub site: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub software: &'static str,
    pub version: &'static str,
    pub os: &'a str,
    pub arch: &'static str,
    /// Another one after each start of the daemon.
    pub boot_id: Uuid,
    /// Sessions with the broker since that start; `status` carries it as a user property.
    pub session: u64,
    pub started_at: Timestamp,
    pub cameras: usize,
    /// Commands that are taken.
    pub capabilities: &'a [String],
    /// For whom secrets in commands are sealed, base64 (X25519).
    pub sealing_key: &'a str,
}

/// `health` of the gateway.
#[derive(Debug, Default, Serialize)]
pub struct GatewayHealth {
    pub time: Timestamp,
    pub uptime_s: u64,
    pub load_1m: Option<f64>,
    pub rss_bytes: Option<u64>,
    pub temperature_c: Option<f64>,
    pub disk_free_bytes: Option<u64>,
    pub disk_used_percentage: Option<f64>,
    pub clock_synchronised: Option<bool>,
    pub cameras_total: u32,
    pub cameras_online: u32,
    pub cameras_offline: u32,
    pub average_uptime: Option<f64>,
    pub scan_running: bool,
    /// Events that the broker has not confirmed yet.
    pub outbox: u64,
    pub mqtt_sessions: u64,
    pub mqtt_published: u64,
    pub mqtt_refused: u64,
}

impl GatewayHealth {
    pub fn count(&mut self, status: &StatusView) {
        self.cameras_total = status.total_cameras;
        self.cameras_online = status.online_cameras;
        self.cameras_offline = status.offline_cameras;
        self.average_uptime = status.average_uptime;
    }
}

/// An event's type in topics and envelopes: the REST name, but for the gateway's own.
pub fn event_type(kind: EventKind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// The envelope of an event (CloudEvents 1.0, JSON format, and Home Assistant's `event_type`).
/// `camera` is what the event is about; its kind is the last part of the topic.
pub fn event(topics: &Topics, event: &Event, camera: Option<Uuid>) -> Value {
    let kind = event_type(event.kind);
    let about = if event.camera_id.is_some() {
        "camera"
    } else {
        "gateway"
    };
    json!({
        "specversion": "1.0",
        "id": event.id,
        "source": topics.root(),
        "subject": camera,
        "type": format!("io.ohmvision.{about}.{kind}.v{SCHEMA}"),
        "time": event.time,
        "event_type": kind,
        "data": {
            "camera_id": event.camera_id,
            "name": event.camera_name,
            "cause": event.cause,
            "duration_s": event.duration_s,
            "message": event.message,
            "detail": event.detail,
        },
    })
}
