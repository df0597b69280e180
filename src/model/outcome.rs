use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ConnectionType, StreamRole, StreamUrl, Timestamp};

/// Where in its course a probe is, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Resolve,
    Connect,
    Tls,
    Handshake,
    Authenticate,
    Describe,
    Start,
    FirstPacket,
    FirstFrame,
    Sample,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::Authenticate => "authenticate",
            Self::Describe => "describe",
            Self::Start => "start",
            Self::FirstPacket => "first_packet",
            Self::FirstFrame => "first_frame",
            Self::Sample => "sample",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long one stage took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageTime {
    pub name: Stage,
    pub ms: u32,
}

/// Why a probe failed: the same word in the API, MQTT, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    Dns,
    Unreachable,
    Refused,
    Timeout,
    Reset,
    Tls,
    AuthRequired,
    AuthFailed,
    NotFound,
    Busy,
    UnsupportedCodec,
    NoFrame,
    Protocol,
    RedirectLoop,
    VendorOffline,
    RateLimited,
    BlockedByWaf,
    Internal,
}

impl ErrorCode {
    pub const ALL: [ErrorCode; 18] = [
        Self::Dns,
        Self::Unreachable,
        Self::Refused,
        Self::Timeout,
        Self::Reset,
        Self::Tls,
        Self::AuthRequired,
        Self::AuthFailed,
        Self::NotFound,
        Self::Busy,
        Self::UnsupportedCodec,
        Self::NoFrame,
        Self::Protocol,
        Self::RedirectLoop,
        Self::VendorOffline,
        Self::RateLimited,
        Self::BlockedByWaf,
        Self::Internal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Tls => "tls",
            Self::AuthRequired => "auth_required",
            Self::AuthFailed => "auth_failed",
            Self::NotFound => "not_found",
            Self::Busy => "busy",
            Self::UnsupportedCodec => "unsupported_codec",
            Self::NoFrame => "no_frame",
            Self::Protocol => "protocol",
            Self::RedirectLoop => "redirect_loop",
            Self::VendorOffline => "vendor_offline",
            Self::RateLimited => "rate_limited",
            Self::BlockedByWaf => "blocked_by_waf",
            Self::Internal => "internal",
        }
    }

    /// Small stable number for packed samples (`1..=18`); 0 is "no error".
    pub fn number(self) -> u8 {
        Self::ALL
            .iter()
            .position(|c| *c == self)
            .map_or(0, |i| i as u8 + 1)
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// True for the codes that say nothing against the camera: they do not fail a health check.
    pub fn is_no_failed_check(self) -> bool {
        matches!(self, Self::Busy | Self::RateLimited | Self::Internal)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed probe: the code is for programs, the sentence for people. The sentence never holds a
/// password nor a URL with one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct ProbeError {
    pub code: ErrorCode,
    pub stage: Stage,
    pub message: String,
}

impl ProbeError {
    pub fn new(code: ErrorCode, stage: Stage, message: impl Into<String>) -> Self {
        Self {
            code,
            stage,
            message: message.into(),
        }
    }
}

/// A video codec by the name that the API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    H264,
    H265,
    Mjpeg,
    Mpeg4,
    Av1,
    Vp8,
    Vp9,
    /// Uncompressed, 16 bits a pixel.
    Yuyv,
    /// Uncompressed, 12 bits a pixel.
    Nv12,
    /// Uncompressed in another way.
    Raw,
}

impl Codec {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Mjpeg => "mjpeg",
            Self::Mpeg4 => "mpeg4",
            Self::Av1 => "av1",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Yuyv => "yuyv",
            Self::Nv12 => "nv12",
            Self::Raw => "raw",
        }
    }
}

/// What is known of a video stream. Zero is never used for "not known".
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MediaFacts {
    pub codec: Option<Codec>,
    /// Pixels, after cropping.
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// Frames per second, rounded to 0.1.
    pub fps: Option<f64>,
    /// Frames per second that the stream announces (VUI or SDP), when `fps` was measured.
    pub announced_fps: Option<f64>,
}

impl MediaFacts {
    /// `1920x1080`.
    pub fn resolution(&self) -> Option<String> {
        Some(format!("{}x{}", self.width?, self.height?))
    }

    pub fn pixels(&self) -> u64 {
        u64::from(self.width.unwrap_or(0)) * u64::from(self.height.unwrap_or(0))
    }
}

/// The strongest thing that a probe has seen, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The device speaks the protocol.
    Answer,
    /// It describes a video stream (SDP, headers), nothing arrived yet.
    Description,
    /// One whole still picture.
    Picture,
    /// A whole key frame of a moving stream.
    KeyFrame,
}

/// What became of the login during a probe: the caller's attempt budget needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthUse {
    /// No login was sent (none asked for, none given, or refused by our own policy).
    #[default]
    NotSent,
    /// A login was sent and the answer never came.
    SentNoVerdict,
    Accepted,
    Refused,
}

/// Facts of the certificate that a device showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateFacts {
    /// SHA-256 of the leaf certificate, lower-case hex: the pin.
    pub sha256: String,
    /// End of validity, where the certificate could be read.
    pub not_after: Option<Timestamp>,
    pub expired: bool,
    pub self_signed: bool,
    /// Subject common name.
    pub subject: Option<String>,
}

/// What a successful probe learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub connection_type: ConnectionType,
    /// Without user info, secrets as placeholders; after redirects the URL that answered.
    pub url: StreamUrl,
    pub role: StreamRole,
    pub evidence: Evidence,
    pub media: MediaFacts,
    /// `tcp`, `tls`, `http`, `https`, `udp`.
    pub transport: &'static str,
    /// Connect to the end of L1.
    pub response_time_ms: u32,
    /// Connect to the first whole key frame or picture.
    pub first_frame_ms: Option<u32>,
    pub certificate: Option<CertificateFacts>,
}
