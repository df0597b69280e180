//! ONVIF: the few calls that tell how to reach a camera's pictures, and their answers (Core, Media,
//! Media 2 and PTZ service specifications).
//!
//! Answers are read by local names and in any order; what is missing stays `None`.

pub mod address;
pub mod events;
pub mod media;
pub mod ptz;

use std::net::IpAddr;

use super::soap::shortened;
use super::xml::{Leaf, Step, XmlError, walk};
use crate::model::{DeviceInformation, Timestamp};

const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";
const INTERFACES_MAX: usize = 16;
const ADDRESSES_MAX: usize = 16;

/// One call: its action and the body of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// As in the `Content-Type` of SOAP 1.2.
    pub action: String,
    /// Header blocks beside the login.
    pub header: String,
    /// Without the password: that stands in the header.
    pub body: String,
}

impl Call {
    /// `GetProfiles`.
    pub fn name(&self) -> &str {
        self.action.rsplit('/').next().unwrap_or_default()
    }

    fn new(namespace: &str, name: &str, inner: &str) -> Self {
        Self {
            action: format!("{namespace}/{name}"),
            header: String::new(),
            body: format!("<{name} xmlns=\"{namespace}\">{inner}</{name}>"),
        }
    }
}

/// Needs no login (Core table 4: PRE_AUTH).
pub fn get_system_date_and_time() -> Call {
    Call::new(DEVICE, "GetSystemDateAndTime", "")
}

pub fn get_device_information() -> Call {
    Call::new(DEVICE, "GetDeviceInformation", "")
}

pub fn get_services() -> Call {
    let inner = "<IncludeCapability>false</IncludeCapability>";
    Call::new(DEVICE, "GetServices", inner)
}

/// The older question for the same, which every device knows.
pub fn get_capabilities() -> Call {
    Call::new(DEVICE, "GetCapabilities", "<Category>All</Category>")
}

/// Begins the device anew (Core, section 8.1.3.14).
pub fn system_reboot() -> Call {
    Call::new(DEVICE, "SystemReboot", "")
}

pub fn get_network_interfaces() -> Call {
    Call::new(DEVICE, "GetNetworkInterfaces", "")
}

/// The device's clock, UTC; `None` where it is not told or is no time.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn date_and_time(answer: &[u8]) -> Result<Option<Timestamp>, XmlError> {
    let mut fields = [None::<i16>; 6];
    walk(answer, |step| {
        let Step::Leaf(leaf) = step else { return };
        if !leaf.is_in("UTCDateTime") {
            return;
        }
        const NAMES: [&str; 6] = ["Year", "Month", "Day", "Hour", "Minute", "Second"];
        if let Some(at) = NAMES.iter().position(|name| *name == leaf.name()) {
            fields[at] = leaf.text.parse().ok();
        }
    })?;
    let [Some(year), month, day, hour, minute, second] = fields else {
        return Ok(None);
    };
    let small = |field: Option<i16>, at_least| -> i8 {
        field
            .and_then(|value| i8::try_from(value).ok())
            .unwrap_or(at_least)
    };
    let civil = jiff::civil::DateTime::new(
        year,
        small(month, 1),
        small(day, 1),
        small(hour, 0),
        small(minute, 0),
        // A leap second.
        small(second, 0).min(59),
        0,
    );
    let zoned = civil.and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC));
    Ok(zoned
        .ok()
        .map(|z| Timestamp(z.timestamp().as_millisecond())))
}

/// # Errors
/// [`XmlError`] if this is no XML.
pub fn device_information(answer: &[u8]) -> Result<DeviceInformation, XmlError> {
    let mut found = DeviceInformation::default();
    walk(answer, |step| {
        let Step::Leaf(leaf) = step else { return };
        if !leaf.is_in("GetDeviceInformationResponse") {
            return;
        }
        let slot = match leaf.name() {
            "Manufacturer" => &mut found.manufacturer,
            "Model" => &mut found.model,
            "FirmwareVersion" => &mut found.firmware_version,
            "SerialNumber" => &mut found.serial_number,
            "HardwareId" => &mut found.hardware_id,
            _ => return,
        };
        *slot = said(&leaf);
    })?;
    Ok(found)
}

/// Where the services of a device are, as it writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    pub media: Option<String>,
    pub media2: Option<String>,
    pub ptz: Option<String>,
    pub events: Option<String>,
}

/// Reads the answer to GetServices or GetCapabilities.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn services(answer: &[u8]) -> Result<Services, XmlError> {
    let mut found = Services::default();
    let (mut namespace, mut address) = (String::new(), String::new());
    walk(answer, |step| match step {
        Step::Open(path) if path.last().is_some_and(|name| name == "Service") => {
            namespace.clear();
            address.clear();
        }
        Step::Leaf(leaf) if leaf.is_in("GetServicesResponse") => match leaf.name() {
            "Namespace" => leaf.text.clone_into(&mut namespace),
            "XAddr" => leaf.text.clone_into(&mut address),
            _ => {}
        },
        Step::Leaf(leaf) if leaf.name() == "XAddr" && leaf.is_in("Capabilities") => {
            let parent = leaf.path.iter().rev().nth(1).map(String::as_str);
            match parent {
                Some("Media") => found.media = said(&leaf),
                Some("Media2") => found.media2 = said(&leaf),
                Some("PTZ") => found.ptz = said(&leaf),
                Some("Events") => found.events = said(&leaf),
                _ => {}
            }
        }
        Step::Close(path) if path.last().is_some_and(|name| name == "Service") => {
            let slot = match namespace.trim_end_matches('/') {
                media::MEDIA => &mut found.media,
                media::MEDIA2 => &mut found.media2,
                ptz::PTZ => &mut found.ptz,
                events::EVENTS => &mut found.events,
                _ => return,
            };
            if slot.is_none() && !address.is_empty() {
                *slot = Some(std::mem::take(&mut address));
            }
        }
        _ => {}
    })?;
    Ok(found)
}

/// The MAC address, lower case with colons, of the interface that has this address, else of the
/// first one that names any.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn mac(answer: &[u8], dialled: Option<IpAddr>) -> Result<Option<String>, XmlError> {
    #[derive(Default)]
    struct Interface {
        mac: Option<String>,
        addresses: Vec<IpAddr>,
    }
    let mut found: Vec<Interface> = Vec::new();
    walk(answer, |step| match step {
        Step::Open(path)
            if path.last().is_some_and(|name| name == "NetworkInterfaces")
                && found.len() < INTERFACES_MAX =>
        {
            found.push(Interface::default());
        }
        Step::Leaf(leaf) if leaf.is_in("NetworkInterfaces") => {
            let Some(interface) = found.last_mut() else {
                return;
            };
            match leaf.name() {
                "HwAddress" => interface.mac = hardware_address(leaf.text),
                "Address" if interface.addresses.len() < ADDRESSES_MAX => {
                    interface.addresses.extend(leaf.text.parse::<IpAddr>().ok());
                }
                _ => {}
            }
        }
        _ => {}
    })?;
    let own = found
        .iter()
        .find(|i| dialled.is_some_and(|ip| i.addresses.contains(&ip)))
        .and_then(|i| i.mac.clone());
    Ok(own.or_else(|| found.into_iter().find_map(|i| i.mac)))
}

/// `44-19-B6-4D-00-11`, `4419b64d0011` and the like; zeros and group addresses are none.
fn hardware_address(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !":-. ".contains(*c)).collect();
    let is_hex = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = is_hex.then(|| u64::from_str_radix(&digits, 16).ok())??;
    let bytes = number.to_be_bytes();
    let [_, _, mac @ ..] = bytes;
    let is_group = mac[0] & 1 == 1;
    let pairs: Vec<String> = mac.iter().map(|b| format!("{b:02x}")).collect();
    (number != 0 && !is_group).then(|| pairs.join(":"))
}

/// A text of the device, one line of at most 120 characters; `None` for an empty one.
fn said(leaf: &Leaf<'_>) -> Option<String> {
    Some(shortened(leaf.text)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
