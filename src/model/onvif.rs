use serde::Serialize;

use super::{MediaFacts, PtzAbilities, StreamRole, StreamUrl};

/// What a device tells of itself over ONVIF. What it does not tell, or only to other accounts, is
/// `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnvifFacts {
    pub information: DeviceInformation,
    /// Of the interface that was dialled, else of its first one.
    pub mac: Option<String>,
    /// The device's clock minus ours, seconds.
    pub clock_offset_s: Option<i64>,
    /// How the login was sent, where the device had asked for it; accepted or not.
    pub login_by: Option<OnvifLogin>,
    /// `None` where it cannot move, or does not tell.
    pub ptz: Option<PtzAbilities>,
    /// Of the channel that was asked for, best first; of every channel where all were asked for.
    pub profiles: Vec<OnvifProfile>,
}

/// The answer to GetDeviceInformation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceInformation {
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub firmware_version: Option<String>,
    pub serial_number: Option<String>,
    pub hardware_id: Option<String>,
}

/// The mechanisms by which ONVIF devices take a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnvifLogin {
    /// WS-Security UsernameToken with PasswordDigest.
    WsseDigest,
    /// The same with PasswordText, inside TLS.
    WsseText,
    HttpDigest,
    HttpBasic,
}

/// One media profile.
#[derive(Debug, Clone, PartialEq)]
pub struct OnvifProfile {
    pub token: String,
    pub name: String,
    /// Number of its video source, from 1: recorders have one for each channel.
    pub channel: u32,
    /// By size within its video source.
    pub role: StreamRole,
    /// As configured, not measured.
    pub media: MediaFacts,
    /// On the host that was dialled, whatever the device wrote.
    pub stream: Option<StreamUrl>,
    pub snapshot: Option<StreamUrl>,
}
