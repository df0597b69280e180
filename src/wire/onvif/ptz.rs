//! What a camera's motors can do (PTZ service specification).

use super::Call;
use crate::model::PtzAbilities;
use crate::wire::xml::{Step, XmlError, walk};

pub const PTZ: &str = "http://www.onvif.org/ver20/ptz/wsdl";

pub fn get_nodes() -> Call {
    Call::new(PTZ, "GetNodes", "")
}

/// The abilities of all nodes together; `None` where there is no node.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn abilities(answer: &[u8]) -> Result<Option<PtzAbilities>, XmlError> {
    let mut found: Option<PtzAbilities> = None;
    walk(answer, |step| match step {
        Step::Open(path) => {
            let Some(name) = path.last().map(String::as_str) else {
                return;
            };
            if name == "PTZNode" {
                found.get_or_insert_default();
                return;
            }
            let Some(can) = &mut found else { return };
            match name {
                "AbsolutePanTiltPositionSpace" => (can.pan_tilt, can.absolute) = (true, true),
                "RelativePanTiltTranslationSpace" => (can.pan_tilt, can.relative) = (true, true),
                "ContinuousPanTiltVelocitySpace" => (can.pan_tilt, can.continuous) = (true, true),
                "AbsoluteZoomPositionSpace" => (can.zoom, can.absolute) = (true, true),
                "RelativeZoomTranslationSpace" => (can.zoom, can.relative) = (true, true),
                "ContinuousZoomVelocitySpace" => (can.zoom, can.continuous) = (true, true),
                _ => {}
            }
        }
        Step::Leaf(leaf) => {
            let Some(can) = &mut found else { return };
            match leaf.name() {
                "MaximumNumberOfPresets" => {
                    can.presets_max = can.presets_max.max(leaf.text.parse().unwrap_or(0));
                }
                "HomeSupported" => can.home |= matches!(leaf.text, "true" | "1"),
                _ => {}
            }
        }
        _ => {}
    })?;
    Ok(found)
}
