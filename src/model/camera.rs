use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ConnectionType, Scheme, Secret, StreamUrl, Timestamp};

/// Small integer for people and REST; never used again after a camera is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CameraId(pub u32);

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of a camera's streams a URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamRole {
    Main,
    Any,
    Sub,
    Third,
    Fourth,
    Thermal,
    Autotrack,
    Snapshot,
}

impl StreamRole {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Any => "any",
            Self::Sub => "sub",
            Self::Third => "third",
            Self::Fourth => "fourth",
            Self::Thermal => "thermal",
            Self::Autotrack => "autotrack",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Per-camera settings; `None` means the global default of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionConfig {
    pub timeout_ms: Option<u32>,
    /// Reconnection attempts before giving up; 0 = for ever.
    pub retry: Option<u32>,
    /// Only `tcp` so far.
    pub transport: Option<String>,
    pub check_interval_s: Option<u32>,
    pub verify_frames: Option<bool>,
    pub tls_verify: Option<bool>,
    /// Subscribe to its events over ONVIF.
    pub onvif_events: Option<bool>,
}

/// A stored camera. Holds no secret: URLs carry placeholders, passwords live in [`CameraSecrets`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    pub id: CameraId,
    pub uid: Uuid,
    pub name: String,
    #[serde(default)]
    pub tags: Vec<String>,
    pub enabled: bool,
    /// Catalogue id, `hikvision`.
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub firmware_version: Option<String>,
    pub serial_number: Option<String>,
    pub mac_address: Option<String>,
    /// `None` until a detection that was started with the camera has found it.
    pub connection_type: Option<ConnectionType>,
    pub primary_stream_url: Option<StreamUrl>,
    pub secondary_stream_url: Option<StreamUrl>,
    pub snapshot_url: Option<StreamUrl>,
    pub ip_address: Option<String>,
    /// Where it was put, since it was followed to the address above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    pub port: Option<u16>,
    pub username: Option<String>,
    pub onvif_username: Option<String>,
    pub nvr_id: Option<CameraId>,
    pub channel: Option<u32>,
    #[serde(default)]
    pub connection_config: ConnectionConfig,
    /// Whatever a cloud account needs beside its secrets; an object.
    #[serde(default)]
    pub cloud_config: serde_json::Map<String, serde_json::Value>,
    /// SHA-256 of the certificate first seen, lower-case hex.
    #[serde(default)]
    pub tls_pin: Option<String>,
    /// SHA-256 of the key by which it pushes events, lower-case hex.
    #[serde(default)]
    pub webhook_sha256: Option<String>,
    /// Counts changes; the ETag.
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Camera {
    /// Where a single picture of it is fetched, if it offers one.
    pub fn picture_url(&self) -> Option<&StreamUrl> {
        let is_web = |url: &&StreamUrl| matches!(url.scheme, Scheme::Http | Scheme::Https);
        self.snapshot_url
            .as_ref()
            .or(self.primary_stream_url.as_ref().filter(is_web))
    }
}

/// The secrets of one camera: sealed at rest, never serialised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameraSecrets {
    pub password: Option<Secret>,
    pub onvif_password: Option<Secret>,
}
