//! What is asked of the site, and why it may say no.

use crate::model::{
    CameraId, ConnectionConfig, ConnectionType, EventKind, ProbeError, Secret, StreamUrl, Timestamp,
};
use crate::store::StoreError;

/// What a token may do. Each includes the ones before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Read,
    Operate,
    Admin,
}

/// What to do with a stored password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PasswordChange {
    #[default]
    Keep,
    Clear,
    Set(Secret),
}

impl PasswordChange {
    /// The password that is stored afterwards.
    pub fn apply(self, before: Option<Secret>) -> Option<Secret> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(secret) => Some(secret),
        }
    }
}

/// The writable fields of a camera, whole: what `POST` and `PUT` say, and what `PATCH` comes to
/// after merging. Read-only fields are not here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CameraDraft {
    /// Empty: the device's own name, else maker and model, else the address.
    pub name: String,
    pub tags: Vec<String>,
    /// Default true.
    pub enabled: bool,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub firmware_version: Option<String>,
    pub serial_number: Option<String>,
    pub mac_address: Option<String>,
    pub connection_type: Option<ConnectionType>,
    pub primary_stream_url: Option<StreamUrl>,
    pub secondary_stream_url: Option<StreamUrl>,
    pub snapshot_url: Option<StreamUrl>,
    pub ip_address: Option<String>,
    pub port: Option<u16>,
    pub username: Option<String>,
    pub password: PasswordChange,
    pub onvif_username: Option<String>,
    pub onvif_password: PasswordChange,
    pub nvr_id: Option<CameraId>,
    pub channel: Option<u32>,
    pub connection_config: ConnectionConfig,
    pub cloud_config: serde_json::Map<String, serde_json::Value>,
}

/// Why the site did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("there is no camera {0}")]
    UnknownCamera(CameraId),
    #[error("camera {0} has the same type and address already")]
    Duplicate(CameraId),
    #[error("the camera was changed meanwhile: it is at revision {current} now")]
    Stale { current: u64 },
    #[error("{field}: {message}")]
    Invalid {
        field: &'static str,
        message: String,
    },
    #[error("camera {0} has no address that could be asked for channels")]
    NotARecorder(CameraId),
    #[error("camera {0} has no motors that could be spoken to")]
    NoMotors(CameraId),
    #[error("camera {0} offers no snapshot")]
    NoSnapshotSource(CameraId),
    #[error("{0}")]
    Probe(#[from] ProbeError),
    #[error("it is not known yet how to connect to camera {0}: detect it, or give it an address")]
    NotConnected(CameraId),
    #[error("camera {0} is disabled")]
    Disabled(CameraId),
    /// The store's own sentence; 507 for a full disk, else 503.
    #[error("{message}")]
    Store { full: bool, message: String },
    #[error("there is no token {0}")]
    UnknownToken(String),
    #[error("this is the last token that may do everything; make another admin token first")]
    LastAdminToken,
    #[error("a scan runs already; wait for its end, or stop it")]
    ScanRunning,
    #[error("the gateway is stopping")]
    Stopping,
}

impl From<StoreError> for SiteError {
    fn from(error: StoreError) -> Self {
        Self::Store {
            full: matches!(error, StoreError::Full { .. }),
            message: error.to_string(),
        }
    }
}

/// Which events to show.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    pub since: Option<Timestamp>,
    pub camera: Option<CameraId>,
    pub kind: Option<EventKind>,
    /// Only what cameras reported.
    pub observed_only: bool,
    pub limit: usize,
    pub cursor: Option<String>,
}

/// Window of a health history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Day,
    Week,
    Month,
}

impl Window {
    pub fn hours(self) -> u32 {
        match self {
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }
}
