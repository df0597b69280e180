//! `PTZCtrl` of ISAPI: speeds from -100 to 100.

use super::{ApiRequest, NotOffered, number, preset, scaled};
use crate::model::{PtzOrder, PtzPreset, PtzVelocity};
use crate::wire::onvif::ptz::PRESETS_MAX;
use crate::wire::xml::{Step, walk};

pub(super) fn requests(channel: u32, order: &PtzOrder) -> Result<Vec<ApiRequest>, NotOffered> {
    let at = format!("/ISAPI/PTZCtrl/channels/{channel}");
    let empty = String::new();
    let request = match order {
        PtzOrder::Move { velocity, .. } => {
            ApiRequest::put_xml(format!("{at}/continuous"), speeds(velocity))
        }
        PtzOrder::Stop => {
            ApiRequest::put_xml(format!("{at}/continuous"), speeds(&PtzVelocity::default()))
        }
        PtzOrder::Preset(token) => {
            ApiRequest::put_xml(format!("{at}/presets/{}/goto", number(token)?), empty)
        }
        PtzOrder::Home => ApiRequest::put_xml(format!("{at}/homeposition/goto"), empty),
    };
    Ok(vec![request])
}

fn speeds(velocity: &PtzVelocity) -> String {
    let [pan, tilt, zoom] =
        [velocity.pan, velocity.tilt, velocity.zoom].map(|speed| scaled(speed, 100));
    format!("<PTZData><pan>{pan}</pan><tilt>{tilt}</tilt><zoom>{zoom}</zoom></PTZData>")
}

pub(super) fn list(channel: u32) -> ApiRequest {
    ApiRequest::get(format!("/ISAPI/PTZCtrl/channels/{channel}/presets"))
}

/// Places that nothing is stored in are listed too, as not enabled.
pub(super) fn presets(answer: &[u8]) -> Option<Vec<PtzPreset>> {
    let mut found = Vec::new();
    let mut is_one = false;
    let (mut id, mut name, mut is_on) = (String::new(), String::new(), true);
    walk(answer, |step| match step {
        Step::Open([root]) => is_one = root == "PTZPresetList",
        Step::Open(path) if path.last().is_some_and(|last| last == "PTZPreset") => {
            (id, name, is_on) = (String::new(), String::new(), true);
        }
        Step::Leaf(leaf) if leaf.is_in("PTZPreset") => match leaf.name() {
            "id" if id.is_empty() => leaf.text.clone_into(&mut id),
            "presetName" => leaf.text.clone_into(&mut name),
            "enabled" => is_on = leaf.text != "false",
            _ => {}
        },
        Step::Close(path)
            if path.last().is_some_and(|last| last == "PTZPreset")
                && is_on
                && number(&id).is_ok()
                && found.len() < PRESETS_MAX =>
        {
            found.push(preset(&id, &name));
        }
        _ => {}
    })
    .ok()?;
    is_one.then_some(found)
}
