//! The record of a camera in answers: exactly the fields of the contract, no secret among them.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::model::{CameraId, ConnectionConfig, ConnectionType, StreamUrl, Timestamp};
use crate::site::CameraView;

/// Borrowed from the view, so that a long list is written without a copy of each camera.
#[derive(Debug, Serialize)]
pub struct CameraRecord<'a> {
    id: CameraId,
    uid: uuid::Uuid,
    name: &'a str,
    tags: &'a [String],
    enabled: bool,
    manufacturer: Option<&'a str>,
    model: Option<&'a str>,
    firmware_version: Option<&'a str>,
    serial_number: Option<&'a str>,
    mac_address: Option<&'a str>,
    connection_type: Option<ConnectionType>,
    primary_stream_url: Option<Masked<'a>>,
    secondary_stream_url: Option<Masked<'a>>,
    snapshot_url: Option<Masked<'a>>,
    /// Legacy: the primary URL of an RTSP camera.
    rtsp_url: Option<Masked<'a>>,
    ip_address: Option<&'a str>,
    port: Option<u16>,
    username: Option<&'a str>,
    has_password: bool,
    onvif_username: Option<&'a str>,
    nvr_id: Option<CameraId>,
    channel: Option<u32>,
    connection_config: &'a ConnectionConfig,
    cloud_config: &'a Map<String, Value>,
    connection_health: &'a str,
    last_health_check: Option<Timestamp>,
    uptime_percentage: Option<f64>,
    average_response_time_ms: Option<u32>,
    disconnections: u32,
    failed_connection_attempts: u32,
    last_error_message: Option<&'a str>,
    /// Where the camera pushes events to, its key masked; null where it has none.
    webhook_url: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Fields of a record that a caller may send back and that are not looked at.
pub const READ_ONLY: [&str; 13] = [
    "id",
    "uid",
    "has_password",
    "connection_health",
    "last_health_check",
    "uptime_percentage",
    "average_response_time_ms",
    "disconnections",
    "failed_connection_attempts",
    "last_error_message",
    "webhook_url",
    "created_at",
    "updated_at",
];

/// A stored URL as people see it: `***` where its secret is.
#[derive(Debug, Clone, Copy)]
struct Masked<'a> {
    url: &'a StreamUrl,
    username: Option<&'a str>,
    has_password: bool,
}

impl Serialize for Masked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // usb: and file: have no place for a login.
        match self.url.scheme.is_local() {
            true => serializer.collect_str(self.url),
            false => serializer.serialize_str(&self.url.masked(self.username, self.has_password)),
        }
    }
}

impl<'a> From<&'a CameraView> for CameraRecord<'a> {
    fn from(view: &'a CameraView) -> Self {
        let CameraView {
            camera,
            has_password,
            health,
            ..
        } = view;
        let masked = |url: &'a Option<StreamUrl>| {
            url.as_ref().map(|url| Masked {
                url,
                username: camera.username.as_deref(),
                has_password: *has_password,
            })
        };
        let primary = masked(&camera.primary_stream_url);
        let is_rtsp = |m: &Masked<'_>| m.url.connection_type() == ConnectionType::Rtsp;
        Self {
            id: camera.id,
            uid: camera.uid,
            name: &camera.name,
            tags: &camera.tags,
            enabled: camera.enabled,
            manufacturer: camera.manufacturer.as_deref(),
            model: camera.model.as_deref(),
            firmware_version: camera.firmware_version.as_deref(),
            serial_number: camera.serial_number.as_deref(),
            mac_address: camera.mac_address.as_deref(),
            connection_type: camera.connection_type,
            rtsp_url: primary.filter(is_rtsp),
            primary_stream_url: primary,
            secondary_stream_url: masked(&camera.secondary_stream_url),
            snapshot_url: masked(&camera.snapshot_url),
            ip_address: camera.ip_address.as_deref(),
            port: camera.port,
            username: camera.username.as_deref(),
            has_password: *has_password,
            onvif_username: camera.onvif_username.as_deref(),
            nvr_id: camera.nvr_id,
            channel: camera.channel,
            connection_config: &camera.connection_config,
            cloud_config: &camera.cloud_config,
            connection_health: health.connection_health,
            last_health_check: health.last_health_check,
            uptime_percentage: health.uptime_percentage,
            average_response_time_ms: health.average_response_time_ms,
            disconnections: health.disconnections,
            failed_connection_attempts: health.failed_connection_attempts,
            last_error_message: health.last_error_message.as_deref(),
            webhook_url: camera.webhook_sha256.as_ref().map(|_| "/api/webhooks/***"),
            created_at: camera.created_at,
            updated_at: camera.updated_at,
        }
    }
}

/// The record as a JSON object, for merging and comparing.
pub fn camera_json(view: &CameraView) -> Map<String, Value> {
    match serde_json::to_value(CameraRecord::from(view)) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
pub(in crate::api) mod tests {
    use super::*;
    use crate::model::Camera;
    use crate::site::HealthView;
    use serde_json::json;

    /// Camera 7: RTSP with a login, a snapshot URL with a login in its query.
    pub(in crate::api) fn view() -> CameraView {
        let url = |text: &str| Some(StreamUrl::parse(text).unwrap().url);
        let time = Timestamp::from_unix_s(1_790_000_000);
        let camera = Camera {
            id: CameraId(7),
            uid: uuid::Uuid::nil(),
            name: "Gate".into(),
            tags: vec!["yard".into()],
            enabled: true,
            manufacturer: Some("hikvision".into()),
            model: Some("DS-2CD".into()),
            firmware_version: None,
            serial_number: None,
            mac_address: Some("44:19:b6:00:00:01".into()),
            connection_type: Some(ConnectionType::Rtsp),
            primary_stream_url: url("rtsp://192.168.1.100:554/Streaming/Channels/101"),
            secondary_stream_url: None,
            snapshot_url: url("http://192.168.1.100/snap?usr={user}&pwd={pass}"),
            ip_address: Some("192.168.1.100".into()),
            moved_from: None,
            port: Some(554),
            username: Some("admin".into()),
            onvif_username: None,
            nvr_id: None,
            channel: None,
            connection_config: ConnectionConfig::default(),
            cloud_config: Map::new(),
            tls_pin: None,
            webhook_sha256: None,
            revision: 5,
            created_at: time,
            updated_at: time,
        };
        let health = HealthView {
            camera_id: camera.id,
            name: camera.name.clone(),
            enabled: true,
            connection_health: "excellent",
            suspect: false,
            cause: None,
            response_time_ms: Some(245),
            first_frame_ms: Some(640),
            last_frame_at: Some(time),
            uptime_percentage: Some(98.5),
            uptime_24h: Some(100.0),
            average_response_time_ms: Some(250),
            disconnections: 3,
            reconnect_attempts: 4,
            failed_connection_attempts: 0,
            last_health_check: Some(time),
            last_error_message: None,
            codec: Some("h264"),
            resolution: Some("1920x1080".into()),
            fps: Some(25.0),
            bitrate_kbps: None,
            issues: vec![],
            since: Some(time),
        };
        CameraView {
            camera,
            has_password: true,
            has_onvif_password: false,
            health,
        }
    }

    #[test]
    fn has_exactly_the_fields_of_the_contract() {
        let record = Value::Object(camera_json(&view()));
        let want = json!({
            "id": 7, "uid": "00000000-0000-0000-0000-000000000000", "name": "Gate", "tags": ["yard"],
            "enabled": true, "manufacturer": "hikvision", "model": "DS-2CD", "firmware_version": null,
            "serial_number": null, "mac_address": "44:19:b6:00:00:01", "connection_type": "rtsp",
            "primary_stream_url": "rtsp://admin:***@192.168.1.100:554/Streaming/Channels/101",
            "secondary_stream_url": null,
            "snapshot_url": "http://admin:***@192.168.1.100/snap?usr=admin&pwd=***",
            "rtsp_url": "rtsp://admin:***@192.168.1.100:554/Streaming/Channels/101",
            "ip_address": "192.168.1.100", "port": 554, "username": "admin", "has_password": true,
            "onvif_username": null, "nvr_id": null, "channel": null,
            "connection_config": {"timeout_ms": null, "retry": null, "transport": null,
                "check_interval_s": null, "verify_frames": null, "tls_verify": null, "onvif_events": null},
            "cloud_config": {}, "connection_health": "excellent",
            "last_health_check": "2026-09-21T14:13:20Z", "uptime_percentage": 98.5,
            "average_response_time_ms": 250, "disconnections": 3, "failed_connection_attempts": 0,
            "last_error_message": null, "webhook_url": null,
            "created_at": "2026-09-21T14:13:20Z", "updated_at": "2026-09-21T14:13:20Z",
        });
        assert_eq!(record, want);
    }

    #[test]
    fn only_rtsp_has_the_legacy_url() {
        let mut view = view();
        view.camera.primary_stream_url = Some(StreamUrl::parse("usb:cam0").unwrap().url);
        let record = camera_json(&view);
        assert_eq!(record["rtsp_url"], Value::Null);
        assert_eq!(record["primary_stream_url"], "usb:cam0");
    }
}
