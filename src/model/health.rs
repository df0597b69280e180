use serde::{Deserialize, Serialize};

use super::{ErrorCode, Timestamp};

/// How well a camera answers, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    Offline,
    Poor,
    Fair,
    Good,
    Excellent,
}

impl Grade {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Poor => "poor",
            Self::Fair => "fair",
            Self::Good => "good",
            Self::Excellent => "excellent",
        }
    }
}

/// Where the reconnection of one camera stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    Connected,
    Waiting,
    Reconnecting,
    GivenUp,
}

/// One try at bringing a camera back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconnectAttempt {
    pub attempt: u32,
    /// Nominal: 10, 20, 40, ...
    pub delay_s: u32,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub success: bool,
    pub error: Option<ErrorCode>,
}
