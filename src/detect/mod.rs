//! Works out how to connect to a device: identify, try, prove, choose.

mod channels;
mod engine;
mod identity;
mod plan;
mod report;

use std::net::IpAddr;

use crate::model::{ConnectionType, Credentials, StreamUrl};

pub use channels::{ChannelList, ChannelsRequest, ListedChannel};
pub use engine::{Detection, Detector, is_detectable};
pub use identity::{Asked, Identity, anonymous, shown};
pub use plan::{PortKind, port_kind};
pub use report::{
    AttemptError, AttemptReport, DetectReport, DeviceReport, OnvifReport, ProfileReport,
};

/// One device to detect, as checked by the API or the command line.
#[derive(Debug, Clone)]
pub struct DetectRequest {
    pub ip: IpAddr,
    /// `eth0` for a link-local IPv6 address.
    pub zone: Option<String>,
    /// Given by the operator, tried in order; at most four.
    pub credentials: Vec<Credentials>,
    /// The account for ONVIF, where it is one of its own.
    pub onvif_login: Option<Credentials>,
    /// Catalogue id.
    pub manufacturer: Option<String>,
    /// Empty: the maker's and the usual ones.
    pub ports: Vec<u16>,
    /// Empty: all that are built.
    pub methods: Vec<ConnectionType>,
    pub timeout_ms: u32,
    pub channel: u32,
    /// A password may travel in clear where the device wants it so: true only for a host that the
    /// operator named singly.
    pub cleartext_login: bool,
}

/// One URL to probe.
#[derive(Debug, Clone)]
pub struct ProbeRequest {
    pub url: StreamUrl,
    pub login: Option<Credentials>,
    /// Go on to a key frame and a frame rate.
    pub frames: bool,
}
