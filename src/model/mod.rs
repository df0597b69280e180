//! Plain data that travels from discovery to report. No sockets, files, clocks or logs here.

mod camera;
mod connection;
mod event;
mod health;
mod history;
mod mac;
mod observed;
mod onvif;
mod outcome;
mod ptz;
mod recorder;
mod secret;
mod time;
mod url;

pub use camera::{Camera, CameraId, CameraSecrets, ConnectionConfig, StreamRole};
pub use connection::ConnectionType;
pub use event::{Event, EventKind};
pub use health::{Grade, LinkState, ReconnectAttempt};
pub use history::{HOUR_S, HourRollup, RESPONSE_BUCKETS_MS, RawSample};
pub use mac::Mac;
pub use observed::{ObjectClass, Observed, ObservedDetail, ObservedState, Transport};
pub use onvif::{DeviceInformation, OnvifFacts, OnvifLogin, OnvifProfile};
pub use outcome::{
    AuthUse, CertificateFacts, Codec, ErrorCode, Evidence, MediaFacts, Outcome, ProbeError, Stage,
    StageTime,
};
pub use ptz::{PtzAbilities, PtzFacts, PtzOrder, PtzPreset, PtzSource, PtzVelocity};
pub use recorder::{CHANNELS_MAX, ChannelSource, ChannelState, RecorderChannel, RecorderFacts};
pub use secret::{Credentials, Secret};
pub use time::Timestamp;
pub use url::{
    ParsedUrl, PasswordPart, Scheme, StreamUrl, UrlError, percent_decode, percent_encode,
    sofia_hash,
};
