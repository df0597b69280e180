//! `ptzcontrol.cgi` of SUNAPI (Hanwha): normalised speeds from -100 to 100, channels from 0.

use super::{ApiRequest, NotOffered, number, preset, scaled};
use crate::model::{PtzOrder, PtzPreset};
use crate::wire::maker::dahua::pairs;
use crate::wire::onvif::ptz::PRESETS_MAX;

pub(super) fn requests(channel: u32, order: &PtzOrder) -> Result<Vec<ApiRequest>, NotOffered> {
    let channel = channel.saturating_sub(1);
    let (menu, more) = match order {
        PtzOrder::Move { velocity, .. } => {
            let [pan, tilt, zoom] =
                [velocity.pan, velocity.tilt, velocity.zoom].map(|speed| scaled(speed, 100));
            let speeds = format!("&NormalizedSpeed=True&Pan={pan}&Tilt={tilt}&Zoom={zoom}");
            ("continuous", speeds)
        }
        PtzOrder::Stop => ("stop", "&OperationType=All".to_owned()),
        PtzOrder::Preset(token) => ("preset", format!("&Preset={}", number(token)?)),
        PtzOrder::Home => ("home", String::new()),
    };
    let path =
        format!("/stw-cgi/ptzcontrol.cgi?msubmenu={menu}&action=control&Channel={channel}{more}");
    Ok(vec![ApiRequest::get(path)])
}

pub(super) fn list(channel: u32) -> ApiRequest {
    let channel = channel.saturating_sub(1);
    ApiRequest::get(format!(
        "/stw-cgi/ptzconfig.cgi?msubmenu=preset&action=view&Channel={channel}"
    ))
}

/// `Channel.0.Preset.1.Name=Gate` line by line; `NG` and an error code where the camera has no motors.
pub(super) fn presets(answer: &[u8]) -> Option<Vec<PtzPreset>> {
    let text = std::str::from_utf8(answer).ok()?;
    if text.trim_start().starts_with("NG") || text.trim_start().starts_with('<') {
        return None;
    }
    let read = |(key, name)| {
        let (_, rest) = str::split_once(key, ".Preset.")?;
        let id = rest.strip_suffix(".Name")?;
        number(id).ok().map(|_| preset(id, name))
    };
    Some(pairs(answer).filter_map(read).take(PRESETS_MAX).collect())
}
