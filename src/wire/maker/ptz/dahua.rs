//! `ptz.cgi` of Dahua: one code for each direction, speeds from 1 to 8.

use super::{ApiRequest, NO_HOME, NotOffered, direction, number, preset, scaled};
use crate::model::{PtzOrder, PtzPreset};
use crate::wire::maker::dahua::{indexed, pairs};
use crate::wire::onvif::ptz::PRESETS_MAX;

const SPEED_MAX: i32 = 8;

pub(super) fn requests(channel: u32, order: &PtzOrder) -> Result<Vec<ApiRequest>, NotOffered> {
    let request = |action: &str, code: &str, args: [i32; 3]| {
        let [one, two, three] = args;
        ApiRequest::get(format!(
            "/cgi-bin/ptz.cgi?action={action}&channel={channel}&code={code}&arg1={one}&arg2={two}&arg3={three}"
        ))
    };
    Ok(match order {
        PtzOrder::Move { velocity, .. } => {
            let [pan, tilt, zoom] = [velocity.pan, velocity.tilt, velocity.zoom]
                .map(|speed| scaled(speed, SPEED_MAX).abs());
            let mut all = Vec::new();
            if let Some(code) = direction(velocity.pan, velocity.tilt) {
                // Along one axis its speed is the second argument; else the vertical one comes first.
                let args = match (pan, tilt) {
                    (0, speed) | (speed, 0) => [0, speed, 0],
                    (pan, tilt) => [tilt, pan, 0],
                };
                all.push(request("start", code, args));
            }
            if velocity.zooms() {
                let code = match velocity.zoom > 0.0 {
                    true => "ZoomTele",
                    false => "ZoomWide",
                };
                all.push(request("start", code, [0, zoom, 0]));
            }
            all
        }
        // Whatever the direction was, a stop of any of a motor's codes stops it.
        PtzOrder::Stop => vec![
            request("stop", "Up", [0, 0, 0]),
            request("stop", "ZoomTele", [0, 0, 0]),
        ],
        PtzOrder::Preset(token) => {
            let number = i32::try_from(number(token)?).map_err(|_| super::NUMBERS_ONLY)?;
            vec![request("start", "GotoPreset", [0, number, 0])]
        }
        PtzOrder::Home => return Err(NO_HOME),
    })
}

pub(super) fn list(channel: u32) -> ApiRequest {
    ApiRequest::get(format!(
        "/cgi-bin/ptz.cgi?action=getPresets&channel={channel}"
    ))
}

/// `presets[0].Index=1`, `presets[0].Name=Gate`; an empty answer of a camera without presets is `OK` or
/// nothing.
pub(super) fn presets(answer: &[u8]) -> Option<Vec<PtzPreset>> {
    let mut found: Vec<PtzPreset> = Vec::new();
    for (key, value) in pairs(answer) {
        match indexed(key, "presets") {
            Some((_, "Index")) if number(value).is_ok() && found.len() < PRESETS_MAX => {
                found.push(preset(value, ""));
            }
            Some((_, "Name")) => {
                if let Some(last) = found.last_mut() {
                    last.name = crate::wire::maker::said(value);
                }
            }
            _ => {}
        }
    }
    let text = std::str::from_utf8(answer).ok()?.trim();
    let is_one = !found.is_empty() || text.is_empty() || text.eq_ignore_ascii_case("ok");
    is_one.then_some(found)
}
