//! What the site shows of itself: the shapes of the REST contract, free of secrets.

use serde::Serialize;

use crate::model::{
    Camera, CameraId, ErrorCode, Grade, LinkState, ReconnectAttempt, StageTime, Timestamp,
};

/// A stored camera with what its record shows beside the stored fields.
#[derive(Debug, Clone)]
pub struct CameraView {
    pub camera: Camera,
    pub has_password: bool,
    pub has_onvif_password: bool,
    pub health: HealthView,
}

/// Health of one camera, without history.
#[derive(Debug, Clone, Serialize)]
pub struct HealthView {
    pub camera_id: CameraId,
    pub name: String,
    pub enabled: bool,
    /// `excellent`, `good`, `fair`, `poor`, `offline`, `unknown` (or `disabled`, which only the
    /// record's `enabled` tells).
    pub connection_health: &'static str,
    /// A failure was seen and is being confirmed.
    pub suspect: bool,
    pub cause: Option<ErrorCode>,
    pub response_time_ms: Option<u32>,
    pub first_frame_ms: Option<u32>,
    pub last_frame_at: Option<Timestamp>,
    pub uptime_percentage: Option<f64>,
    /// Of the last 24 hours, %.
    pub uptime_24h: Option<f64>,
    pub average_response_time_ms: Option<u32>,
    pub disconnections: u32,
    pub reconnect_attempts: u32,
    pub failed_connection_attempts: u32,
    pub last_health_check: Option<Timestamp>,
    pub last_error_message: Option<String>,
    pub codec: Option<&'static str>,
    pub resolution: Option<String>,
    pub fps: Option<f64>,
    pub bitrate_kbps: Option<u32>,
    pub issues: Vec<String>,
    /// Online since / offline since the last confirmed transition.
    pub since: Option<Timestamp>,
}

/// `GET /api/health/status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StatusView {
    pub total_cameras: u32,
    pub online_cameras: u32,
    pub offline_cameras: u32,
    pub average_uptime: Option<f64>,
    pub cameras_excellent: u32,
    pub cameras_good: u32,
    pub cameras_fair: u32,
    pub cameras_poor: u32,
    pub cameras_offline: u32,
    pub cameras_unknown: u32,
    pub disabled_cameras: u32,
}

/// `GET /api/health/cameras/{id}/reconnection`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReconnectionView {
    pub state: LinkState,
    pub attempt: u32,
    /// 0 = for ever.
    pub max_attempts: u32,
    pub next_attempt_at: Option<Timestamp>,
    pub next_delay_s: Option<u32>,
    pub attempts: Vec<ReconnectAttempt>,
}

/// Result of one check, `POST /api/health/cameras/{id}/check-now`.
#[derive(Debug, Clone, Serialize)]
pub struct CheckView {
    pub camera_id: CameraId,
    pub success: bool,
    pub connection_health: &'static str,
    pub response_time_ms: Option<u32>,
    pub first_frame_ms: Option<u32>,
    pub codec: Option<&'static str>,
    pub resolution: Option<String>,
    pub fps: Option<f64>,
    pub stages: Vec<StageTime>,
    pub error: Option<ErrorView>,
    pub checked_at: Timestamp,
}

/// A typed error as every answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorView {
    pub code: ErrorCode,
    pub stage: crate::model::Stage,
    pub message: String,
}

/// One bucket of a camera's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryBucket {
    pub from: Timestamp,
    pub duration_s: u32,
    pub up_s: u32,
    pub down_s: u32,
    pub uptime_percentage: Option<f64>,
    pub checks: u32,
    pub failed_checks: u32,
    pub average_response_time_ms: Option<u32>,
    pub disconnections: u32,
}

/// One outage; `to` is null while it lasts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outage {
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    pub duration_s: u64,
    pub cause: Option<ErrorCode>,
}

/// Response times of a window, upper bucket bounds where the exact value is not kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50_ms: Option<u32>,
    pub p95_ms: Option<u32>,
    pub p99_ms: Option<u32>,
}

/// `GET /api/health/cameras/{id}?window=`: the same as [`HealthView`] plus history.
#[derive(Debug, Clone, Serialize)]
pub struct HealthDetail {
    #[serde(flatten)]
    pub health: HealthView,
    pub window: &'static str,
    pub percentiles: Percentiles,
    pub history: Vec<HistoryBucket>,
    pub outages: Vec<Outage>,
}

/// The name of a grade in the REST contract; `None` is `unknown`.
pub fn grade_name(grade: Option<Grade>) -> &'static str {
    grade.map_or("unknown", Grade::as_str)
}
