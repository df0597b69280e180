//! `com/ptz.cgi` of VAPIX (Axis, PTZ API): speeds from -100 to 100.

use super::{ApiRequest, NotOffered, preset, scaled};
use crate::model::{PtzOrder, PtzPreset, percent_encode};
use crate::wire::maker::dahua::pairs;
use crate::wire::onvif::ptz::PRESETS_MAX;

pub(super) fn requests(channel: u32, order: &PtzOrder) -> Result<Vec<ApiRequest>, NotOffered> {
    let what = match order {
        PtzOrder::Move { velocity, .. } => {
            let [pan, tilt, zoom] =
                [velocity.pan, velocity.tilt, velocity.zoom].map(|speed| scaled(speed, 100));
            let mut parts = Vec::new();
            if velocity.moves() {
                parts.push(format!("continuouspantiltmove={pan},{tilt}"));
            }
            if velocity.zooms() {
                parts.push(format!("continuouszoommove={zoom}"));
            }
            parts.join("&")
        }
        PtzOrder::Stop => "continuouspantiltmove=0,0&continuouszoommove=0".to_owned(),
        PtzOrder::Preset(token) => match token.parse::<u32>() {
            Ok(number) => format!("gotoserverpresetno={number}"),
            Err(_) => format!("gotoserverpresetname={}", percent_encode(token)),
        },
        PtzOrder::Home => "move=home".to_owned(),
    };
    let path = format!("/axis-cgi/com/ptz.cgi?camera={channel}&{what}");
    Ok(vec![ApiRequest::get(path)])
}

pub(super) fn list(channel: u32) -> ApiRequest {
    ApiRequest::get(format!(
        "/axis-cgi/com/ptz.cgi?camera={channel}&query=presetposcam"
    ))
}

/// `presetposno1=Home` line by line, below a line that says which camera.
pub(super) fn presets(answer: &[u8]) -> Option<Vec<PtzPreset>> {
    let text = std::str::from_utf8(answer).ok()?;
    let found: Vec<PtzPreset> = pairs(answer)
        .filter_map(|(key, name)| Some((key.strip_prefix("presetposno")?, name)))
        .filter(|(number, _)| number.parse::<u32>().is_ok())
        .take(PRESETS_MAX)
        .map(|(number, name)| preset(number, name))
        .collect();
    let is_one = !found.is_empty() || text.starts_with("Preset Positions");
    is_one.then_some(found)
}
