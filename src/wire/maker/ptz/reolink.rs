//! `PtzCtrl` of Reolink: one operation at a time, speeds from 1 to 64, channels from 0.

use serde_json::{Value, json};

use super::{ApiRequest, NO_HOME, NotOffered, direction, number, preset, scaled};
use crate::model::{PtzOrder, PtzPreset};
use crate::wire::maker::reolink::{command, value};
use crate::wire::onvif::ptz::PRESETS_MAX;

const SPEED_MAX: i32 = 64;
const ONE_AT_A_TIME: NotOffered =
    NotOffered("this camera does not pan or tilt while it zooms; send one after the other");

pub(super) fn requests(
    channel: u32,
    order: &PtzOrder,
    token: Option<&str>,
) -> Result<Vec<ApiRequest>, NotOffered> {
    let mut param = json!({"channel": channel.saturating_sub(1)});
    match order {
        PtzOrder::Move { velocity, .. } => {
            let op = match (direction(velocity.pan, velocity.tilt), velocity.zooms()) {
                (Some(_), true) => return Err(ONE_AT_A_TIME),
                (Some(code), false) => code,
                (None, _) if velocity.zoom > 0.0 => "ZoomInc",
                (None, _) => "ZoomDec",
            };
            let speeds = [velocity.pan, velocity.tilt, velocity.zoom];
            let fastest = speeds.map(|speed| scaled(speed, SPEED_MAX).abs());
            param["op"] = op.into();
            param["speed"] = fastest.into_iter().max().into();
        }
        PtzOrder::Stop => param["op"] = "Stop".into(),
        PtzOrder::Preset(token) => {
            param["op"] = "ToPos".into();
            param["id"] = number(token)?.into();
            param["speed"] = (SPEED_MAX / 2).into();
        }
        PtzOrder::Home => return Err(NO_HOME),
    }
    Ok(vec![command("PtzCtrl", token, param)])
}

pub(super) fn list(channel: u32, token: Option<&str>) -> ApiRequest {
    let param = json!({"channel": channel.saturating_sub(1)});
    command("GetPtzPreset", token, param)
}

/// Places that nothing is stored in are listed too, as not enabled.
pub(super) fn presets(answer: &[u8]) -> Option<Vec<PtzPreset>> {
    let value = value(answer).ok()?;
    let rows = value.get("PtzPreset")?.as_array()?;
    let is_on = |row: &&Value| row.get("enable").and_then(Value::as_i64) == Some(1);
    let read = |row: &Value| {
        let id = row.get("id")?.as_u64()?;
        let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
        Some(preset(&id.to_string(), name))
    };
    let found = rows.iter().filter(is_on).filter_map(read);
    Some(found.take(PRESETS_MAX).collect())
}
