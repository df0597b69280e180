//! Discovery as standards and makers speak it: what is asked over UDP, and what devices answer about
//! themselves. One file for each protocol, one line for each in [`PROTOCOLS`].
//!
//! Only questions can be built here. Several of these ports also take messages that set an address or
//! a password; no code for those exists.

mod bosch;
mod dahua;
mod dhcp;
pub(super) mod fields;
mod foscam;
mod gvcp;
mod hanwha;
mod mdns;
mod miio;
mod panasonic;
mod pppp;
mod reolink;
mod sadp;
mod sony;
pub mod ssdp;
mod table;
#[cfg(test)]
mod testing;
mod tplink;
mod tvt;
mod ubiquiti;
mod v380;
mod vivotek;
mod vstarcam;
mod xmeye;

use std::net::IpAddr;

pub use dhcp::SERVER_PORT as DHCP_PORT;
pub use table::{Asker, Confidence, DHCP, Destination, Method, PROTOCOLS, Protocol};

use crate::model::Mac;
use crate::wire::wsd;

/// What one answer says of a device. `None` is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The address that the device has in its own view; the sender of the datagram is the truth.
    pub ip: Option<IpAddr>,
    pub mac: Option<Mac>,
    /// The maker's name as the device writes it.
    pub maker: Option<String>,
    pub model: Option<String>,
    pub firmware: Option<String>,
    pub serial: Option<String>,
    pub http_port: Option<u16>,
    /// The name that somebody gave to the device.
    pub name: Option<String>,
    pub hostname: Option<String>,
    /// What its UPnP server calls itself.
    pub server: Option<String>,
    /// An id that stays when the address changes: an endpoint reference, a UPnP device name, a P2P id.
    pub endpoint: Option<String>,
    /// Channels of a recorder.
    pub channels: Option<u32>,
    /// False for one in factory state, without a password.
    pub is_activated: Option<bool>,
    /// Known to be a camera or recorder, or known to be something else.
    pub is_camera: Option<bool>,
    /// Where a UPnP description lies.
    pub description_url: Option<String>,
    /// The whole of a WS-Discovery answer.
    pub onvif: Option<wsd::Match>,
}

impl From<wsd::Match> for Facts {
    /// Scopes hold names percent-encoded (ONVIF Core, section 7.3.2.2).
    fn from(answer: wsd::Match) -> Self {
        let scope = |key| answer.scope(key).as_deref().and_then(fields::clean);
        Self {
            mac: scope("MAC").as_deref().and_then(fields::mac_text),
            model: scope("hardware"),
            name: scope("name"),
            endpoint: fields::clean(&answer.endpoint),
            is_camera: answer.is_onvif().then_some(true),
            onvif: Some(answer),
            ..Self::default()
        }
    }
}
