//! Cameras on this machine: all V4L2 devices that deliver pictures, with what they can do. Programs that
//! use them are not disturbed.

use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::model::{CameraId, Codec, ErrorCode};
use crate::probe::usb::{DriverFault, ask_driver};
use crate::sys::v4l2::{Device, FormatAbility, Node, SizeAbility, nodes};
use crate::wire::v4l2::{Capability, FrameRate, FrameSize, PixelFormat};

/// For one device; vivid lists 3,000 combinations well within it.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// For all of them.
const TOTAL_LIMIT: Duration = Duration::from_secs(10);

/// A camera on this machine, as the REST contract shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsbCamera {
    /// What people call it.
    pub name: String,
    /// The address under which it is stored: it stays when cameras are plugged in anew.
    pub url: String,
    /// `/dev/video0`; changes.
    pub device: String,
    pub by_id: Option<String>,
    pub by_path: Option<String>,
    /// Where it is plugged in, by its driver.
    pub bus: Option<String>,
    pub driver: Option<String>,
    /// Four hexadecimal digits; null where it is not on USB.
    pub vendor_id: Option<String>,
    pub product_id: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub serial_number: Option<String>,
    /// How it is set now.
    pub current: Option<Setting>,
    pub formats: Vec<Format>,
    /// Why it could not be asked.
    pub error: Option<UsbError>,
    pub camera_id: Option<CameraId>,
    #[serde(skip)]
    pub node: Node,
}

/// How a camera is set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Four characters.
    pub format: String,
    pub codec: Option<&'static str>,
    pub resolution: String,
    pub fps: Option<f64>,
}

/// One format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Format {
    /// Four characters.
    pub format: String,
    pub codec: Option<&'static str>,
    pub description: String,
    /// Made by the driver out of another one.
    pub is_emulated: bool,
    pub sizes: Vec<Size>,
}

/// One size of a format, or the largest of a range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Size {
    pub resolution: String,
    /// The smallest, where any in between may be set.
    pub resolution_min: Option<String>,
    /// Frames per second; of a range the highest.
    pub fps: Vec<f64>,
    /// The lowest, where any in between may be set.
    pub fps_min: Option<f64>,
}

/// Why a camera could not be asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsbError {
    pub code: ErrorCode,
    pub message: String,
}

/// What a device told.
struct Told {
    capability: Capability,
    current: Option<(PixelFormat, Option<f64>)>,
    formats: Vec<FormatAbility>,
}

/// All of them, in the order of their nodes. Those that cannot be asked stand there with the reason.
pub async fn list() -> Vec<UsbCamera> {
    let end = Instant::now() + TOTAL_LIMIT;
    let mut found = Vec::new();
    for node in nodes() {
        let until = end.min(Instant::now() + ANSWER_LIMIT);
        let asked = node.clone();
        match ask_driver(until, move || ask(&asked)).await {
            Ok(told) if told.capability.is_camera() => found.push(camera(node, told)),
            Ok(_) => {}
            // Whether it is a camera is not known: index 0 is, where a device has several nodes.
            Err(fault) if node.index == 0 && !is_gone(&fault) => found.push(silent(node, &fault)),
            Err(_) => {}
        }
    }
    found
}

fn ask(node: &Node) -> io::Result<Told> {
    let device = Device::open(node)?;
    let capability = device.capability()?;
    if !capability.is_camera() {
        return Ok(Told {
            capability,
            current: None,
            formats: Vec::new(),
        });
    }
    Ok(Told {
        capability,
        current: device.format().ok().map(|format| (format, device.rate())),
        formats: device.abilities(),
    })
}

/// Unplugged meanwhile, or no V4L2 device at all.
fn is_gone(fault: &DriverFault) -> bool {
    let gone = [libc::ENOENT, libc::ENODEV, libc::ENXIO, libc::ENOTTY];
    matches!(fault, DriverFault::Refused(error) if error.raw_os_error().is_some_and(|code| gone.contains(&code)))
}

fn camera(node: Node, told: Told) -> UsbCamera {
    let setting = |(format, fps): (PixelFormat, Option<f64>)| Setting {
        format: format.fourcc.to_string(),
        codec: format.fourcc.codec().map(Codec::as_str),
        resolution: format!("{}x{}", format.width, format.height),
        fps,
    };
    UsbCamera {
        name: told.capability.card,
        bus: Some(told.capability.bus).filter(|bus| !bus.is_empty()),
        driver: Some(told.capability.driver),
        current: told.current.map(setting),
        formats: told.formats.into_iter().map(format).collect(),
        ..known(node)
    }
}

fn silent(node: Node, fault: &DriverFault) -> UsbCamera {
    let (code, message) = match fault {
        DriverFault::Refused(error) if error.kind() == io::ErrorKind::PermissionDenied => (
            ErrorCode::Refused,
            "it may not be opened; add the user of this program to the group video".to_owned(),
        ),
        DriverFault::Refused(error) => (ErrorCode::Reset, error.to_string()),
        other => (ErrorCode::Timeout, other.to_string()),
    };
    UsbCamera {
        error: Some(UsbError { code, message }),
        ..known(node)
    }
}

/// What is known without asking it.
fn known(node: Node) -> UsbCamera {
    let usb = node.usb.clone();
    let of = |field: fn(crate::sys::v4l2::UsbIds) -> Option<String>| usb.clone().and_then(field);
    let model = of(|usb| usb.product);
    UsbCamera {
        name: model.clone().unwrap_or_else(|| node.node.clone()),
        url: format!("usb:{}", node.name()),
        device: node.path().display().to_string(),
        by_id: node.by_id.clone(),
        by_path: node.by_path.clone(),
        bus: None,
        driver: None,
        vendor_id: of(|usb| Some(usb.vendor_id)),
        product_id: of(|usb| Some(usb.product_id)),
        manufacturer: of(|usb| usb.manufacturer),
        serial_number: of(|usb| usb.serial),
        model,
        current: None,
        formats: Vec::new(),
        error: None,
        camera_id: None,
        node,
    }
}

fn format(ability: FormatAbility) -> Format {
    let format = ability.format;
    Format {
        format: format.fourcc.to_string(),
        codec: format.fourcc.codec().map(Codec::as_str),
        description: format.description,
        is_emulated: format.is_emulated,
        sizes: ability.sizes.iter().map(size).collect(),
    }
}

fn size(ability: &SizeAbility) -> Size {
    let named = |(width, height): (u32, u32)| format!("{width}x{height}");
    let (largest, smallest) = match ability.size {
        FrameSize::One { width, height } => ((width, height), None),
        FrameSize::Range { min, max } => (max, Some(min)),
    };
    let highest = ability.rates.iter().map(|rate| match rate {
        FrameRate::One(fps) | FrameRate::Range { max: fps, .. } => *fps,
    });
    let lowest = ability.rates.iter().find_map(|rate| match rate {
        FrameRate::Range { min, .. } => Some(*min),
        FrameRate::One(_) => None,
    });
    Size {
        resolution: named(largest),
        resolution_min: smallest.map(named),
        fps: highest.collect(),
        fps_min: lowest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v4l2::FourCc;

    fn node() -> Node {
        Node {
            node: "video3".to_owned(),
            index: 0,
            usb: None,
            by_id: Some("usb-046d_C920-video-index0".to_owned()),
            by_path: None,
        }
    }

    #[test]
    fn a_camera_is_stored_by_the_name_that_stays() {
        let told = Told {
            capability: Capability {
                driver: "uvcvideo".to_owned(),
                card: "HD Pro Webcam C920".to_owned(),
                bus: "usb-0000:00:14.0-2".to_owned(),
                flags: 0x0420_0001,
            },
            current: Some((
                PixelFormat {
                    width: 640,
                    height: 480,
                    fourcc: FourCc::MJPEG,
                    line_bytes: 0,
                    image_bytes: 0,
                },
                Some(30.0),
            )),
            formats: Vec::new(),
        };
        let shown = serde_json::to_value(camera(node(), told)).unwrap();
        assert_eq!(shown["url"], "usb:usb-046d_C920-video-index0");
        assert_eq!(shown["device"], "/dev/video3");
        assert_eq!(
            shown["current"],
            serde_json::json!({"format": "MJPG", "codec": "mjpeg", "resolution": "640x480", "fps": 30.0})
        );
        assert!(shown.get("node").is_none());
    }

    #[test]
    fn one_that_may_not_be_opened_is_shown_with_the_reason() {
        let refused = DriverFault::Refused(io::ErrorKind::PermissionDenied.into());
        let shown = silent(node(), &refused);
        assert_eq!(shown.name, "video3");
        assert!(shown.error.unwrap().message.contains("group video"));
        assert!(is_gone(&DriverFault::Refused(
            io::Error::from_raw_os_error(libc::ENODEV)
        )));
        assert!(!is_gone(&refused));
    }

    #[test]
    fn ranges_show_both_ends() {
        let shown = size(&SizeAbility {
            size: FrameSize::Range {
                min: (48, 32),
                max: (1920, 1080),
            },
            rates: vec![FrameRate::Range {
                min: 5.0,
                max: 60.0,
            }],
        });
        assert_eq!(
            (shown.resolution.as_str(), shown.resolution_min.as_deref()),
            ("1920x1080", Some("48x32"))
        );
        assert_eq!((shown.fps, shown.fps_min), (vec![60.0], Some(5.0)));
    }
}
