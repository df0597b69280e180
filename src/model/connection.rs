use serde::{Deserialize, Serialize};

/// The twelve ways of reaching a camera, by their names in the REST contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionType {
    Rtsp,
    Rtmp,
    Onvif,
    HttpMjpeg,
    Https,
    Webrtc,
    Hls,
    Cloud,
    Webhook,
    Nvr,
    Usb,
    File,
}

impl ConnectionType {
    /// Every type, in the order of the specification's table.
    pub const ALL: [ConnectionType; 12] = [
        Self::Rtsp,
        Self::Rtmp,
        Self::Onvif,
        Self::HttpMjpeg,
        Self::Https,
        Self::Webrtc,
        Self::Hls,
        Self::Cloud,
        Self::Webhook,
        Self::Nvr,
        Self::Usb,
        Self::File,
    ];

    /// The wire name: `rtsp`, `http_mjpeg`, ...
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::Rtmp => "rtmp",
            Self::Onvif => "onvif",
            Self::HttpMjpeg => "http_mjpeg",
            Self::Https => "https",
            Self::Webrtc => "webrtc",
            Self::Hls => "hls",
            Self::Cloud => "cloud",
            Self::Webhook => "webhook",
            Self::Nvr => "nvr",
            Self::Usb => "usb",
            Self::File => "file",
        }
    }

    /// The type with this wire name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

impl std::fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
