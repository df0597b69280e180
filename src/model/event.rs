use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CameraId, ErrorCode, Observed, ObservedDetail, Timestamp};

/// What kind of thing happened; the names of the MQTT and REST contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Online,
    Offline,
    Degraded,
    Recovered,
    IpChanged,
    DeviceFound,
    DeviceGone,
    AuthRefused,
    GaveUp,
    CameraAdded,
    CameraRemoved,
    Detected,
    DetectFailed,
    ScanCompleted,
    Started,
    ConfigChanged,
    /// A camera told it.
    #[serde(untagged)]
    Observed(Observed),
}

impl EventKind {
    /// True for what cameras report, as against what is found out about them.
    pub fn is_observed(self) -> bool {
        matches!(self, Self::Observed(_))
    }
}

/// One line of "what happened last night".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// UUIDv7: ordered by time, the key for de-duplication.
    pub id: Uuid,
    pub time: Timestamp,
    #[serde(rename = "type")]
    pub kind: EventKind,
    pub camera_id: Option<CameraId>,
    pub camera_name: Option<String>,
    pub cause: Option<ErrorCode>,
    /// For `online`: how long the outage lasted; for the end of what a camera reported: how long that did.
    pub duration_s: Option<u64>,
    /// One sentence for a person, without secrets.
    pub message: String,
    /// For what a camera reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<ObservedDetail>>,
}
