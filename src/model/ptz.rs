use serde::{Deserialize, Serialize};

/// What a camera's motors can do (ONVIF PTZ service, GetNodes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PtzAbilities {
    pub pan_tilt: bool,
    pub zoom: bool,
    /// Moves to a given place.
    pub absolute: bool,
    pub relative: bool,
    pub continuous: bool,
    pub home: bool,
    pub presets_max: u32,
}

/// How a camera's motors are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PtzSource {
    Onvif,
    /// Hikvision, `PTZCtrl`.
    Isapi,
    /// Dahua, `ptz.cgi`.
    DahuaCgi,
    /// Axis, `com/ptz.cgi`.
    Vapix,
    /// Reolink, `PtzCtrl`.
    Reolink,
    /// Hanwha, `ptzcontrol.cgi`.
    Sunapi,
}

impl PtzSource {
    /// Those that are a maker's own.
    pub const OF_MAKERS: [PtzSource; 5] = [
        Self::Isapi,
        Self::DahuaCgi,
        Self::Vapix,
        Self::Reolink,
        Self::Sunapi,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Onvif => "onvif",
            Self::Isapi => "isapi",
            Self::DahuaCgi => "dahua_cgi",
            Self::Vapix => "vapix",
            Self::Reolink => "reolink",
            Self::Sunapi => "sunapi",
        }
    }

    /// The catalogue entry whose family's devices are spoken to this way.
    pub fn maker_id(self) -> Option<&'static str> {
        match self {
            Self::Onvif => None,
            Self::Isapi => Some("hikvision"),
            Self::DahuaCgi => Some("dahua"),
            Self::Vapix => Some("axis"),
            Self::Reolink => Some("reolink"),
            Self::Sunapi => Some("hanwha"),
        }
    }
}

/// Speeds from -1 to 1 of what the camera can do: right, up and in are positive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PtzVelocity {
    pub pan: f32,
    pub tilt: f32,
    pub zoom: f32,
}

impl PtzVelocity {
    pub fn moves(&self) -> bool {
        self.pan != 0.0 || self.tilt != 0.0
    }

    pub fn zooms(&self) -> bool {
        self.zoom != 0.0
    }
}

/// What motors are told.
#[derive(Debug, Clone, PartialEq)]
pub enum PtzOrder {
    /// Until [`PtzOrder::Stop`]. A device that can stops by itself after `timeout_ms`.
    Move {
        velocity: PtzVelocity,
        timeout_ms: u32,
    },
    Stop,
    /// To the preset with this token.
    Preset(String),
    Home,
}

/// A place that the camera remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PtzPreset {
    /// As it is called for: a number for most makers, at most 64 bytes.
    pub preset: String,
    pub name: Option<String>,
}

/// What is known of a camera's motors.
#[derive(Debug, Clone, PartialEq)]
pub struct PtzFacts {
    pub source: PtzSource,
    pub abilities: PtzAbilities,
    pub presets: Vec<PtzPreset>,
}
