//! What cameras report of the scene, of themselves and of what is connected to them, in one
//! vocabulary for all makers.

use serde::{Deserialize, Serialize};

use super::Timestamp;

macro_rules! vocabulary {
    ($($variant:ident = $name:literal,)*) => {
        /// What a camera reports; the names of the REST and MQTT contracts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Observed {
            $(#[serde(rename = $name)] $variant,)*
        }

        impl Observed {
            /// Every type, grouped: detection, rules, picture, sound, inputs, environment, storage,
            /// system.
            pub const ALL: &[Observed] = &[$(Self::$variant,)*];

            /// The name in answers, topics and queries.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

vocabulary! {
    Motion = "motion",
    Person = "person",
    Vehicle = "vehicle",
    Animal = "animal",
    Face = "face",
    Package = "package",
    LicensePlate = "license_plate",
    LineCrossing = "line_crossing",
    Intrusion = "intrusion",
    RegionEnter = "region_enter",
    RegionExit = "region_exit",
    Loitering = "loitering",
    ObjectLeft = "object_left",
    ObjectRemoved = "object_removed",
    Crowd = "crowd",
    FastMotion = "fast_motion",
    Parking = "parking",
    Counting = "counting",
    Tamper = "tamper",
    SceneChange = "scene_change",
    Defocus = "defocus",
    ImageDark = "image_dark",
    ImageBright = "image_bright",
    ImageBlurry = "image_blurry",
    VideoLoss = "video_loss",
    AudioDetected = "audio_detected",
    IoInput = "io_input",
    RelayOutput = "relay_output",
    Pir = "pir",
    Doorbell = "doorbell",
    CallEnded = "call_ended",
    DoorStatus = "door_status",
    AccessControl = "access_control",
    Temperature = "temperature",
    Smoke = "smoke",
    Fire = "fire",
    Shock = "shock",
    DiskError = "disk_error",
    DiskFull = "disk_full",
    DiskMissing = "disk_missing",
    RecordingFailure = "recording_failure",
    LoginFailure = "login_failure",
    IpConflict = "ip_conflict",
    NetworkLost = "network_lost",
    Reboot = "reboot",
    TimeChanged = "time_changed",
    DeviceOnline = "device_online",
    DeviceOffline = "device_offline",
    PtzMoved = "ptz_moved",
    DayNight = "day_night",
    Heartbeat = "heartbeat",
    Unknown = "unknown",
}

/// Where a reported thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedState {
    Start,
    Update,
    Stop,
    /// It has no duration, or the maker tells no end.
    Pulse,
}

/// How a report came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Webhook,
    Pullpoint,
}

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectClass {
    Person,
    Vehicle,
    Animal,
    Face,
    Package,
    Plate,
    Other,
}

/// One report of a camera, without the camera. Missing fields were not told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedDetail {
    pub state: ObservedState,
    pub transport: Transport,
    /// The maker whose form the message has, by its id in the catalogue; `onvif` for the standard's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The maker's own name of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_type: Option<String>,
    /// From 1; missing for the whole device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
    /// By the device's own clock, where it names its offset from UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_device: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectClass>,
    /// How sure the device is, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// A temperature in degrees Celsius and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// A licence plate, the name of a face, the kind of a sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The maker's id of the event; messages with the same one tell of the same thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// A picture came with it, and was not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub had_picture: bool,
}

impl ObservedDetail {
    pub fn new(state: ObservedState, transport: Transport) -> Self {
        Self {
            state,
            transport,
            format: None,
            raw_type: None,
            channel: None,
            at_device: None,
            zone: None,
            rule: None,
            object: None,
            score: None,
            count: None,
            value: None,
            text: None,
            correlation: None,
            had_picture: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for kind in Observed::ALL {
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json, kind.as_str());
            assert_eq!(serde_json::from_value::<Observed>(json).unwrap(), *kind);
        }
    }

    #[test]
    fn what_was_not_told_is_left_out() {
        let detail = ObservedDetail::new(ObservedState::Start, Transport::Webhook);
        let json = serde_json::to_string(&detail).unwrap();
        assert_eq!(json, r#"{"state":"start","transport":"webhook"}"#);
        assert_eq!(
            serde_json::from_str::<ObservedDetail>(&json).unwrap(),
            detail
        );
    }
}
