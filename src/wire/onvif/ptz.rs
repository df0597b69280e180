//! What a camera's motors can do, and what they are told (PTZ service specification, sections 5.3 to 5.7).

use super::{Call, said};
use crate::model::{PtzAbilities, PtzOrder, PtzPreset};
use crate::wire::soap::escaped;
use crate::wire::xml::{Step, XmlError, walk};

pub const PTZ: &str = "http://www.onvif.org/ver20/ptz/wsdl";
const SCHEMA: &str = "http://www.onvif.org/ver10/schema";

/// Presets of one camera that are read.
pub const PRESETS_MAX: usize = 512;
/// Longest token, bytes (the schema's ReferenceToken).
pub const TOKEN_BYTES_MAX: usize = 64;

pub fn get_nodes() -> Call {
    Call::new(PTZ, "GetNodes", "")
}

pub fn get_presets(profile: &str) -> Call {
    let inner = format!("<ProfileToken>{}</ProfileToken>", escaped(profile));
    Call::new(PTZ, "GetPresets", &inner)
}

/// The call for an order. Axes that stand still are left out: cameras without them refuse them.
pub fn order(profile: &str, order: &PtzOrder) -> Call {
    let profile = format!("<ProfileToken>{}</ProfileToken>", escaped(profile));
    match order {
        PtzOrder::Move {
            velocity,
            timeout_ms,
        } => {
            let mut axes = String::new();
            if velocity.moves() {
                let (x, y) = (velocity.pan, velocity.tilt);
                axes = format!("<PanTilt x=\"{x}\" y=\"{y}\" xmlns=\"{SCHEMA}\"/>");
            }
            if velocity.zooms() {
                let x = velocity.zoom;
                axes.push_str(&format!("<Zoom x=\"{x}\" xmlns=\"{SCHEMA}\"/>"));
            }
            let (s, ms) = (timeout_ms / 1000, timeout_ms % 1000);
            let inner =
                format!("{profile}<Velocity>{axes}</Velocity><Timeout>PT{s}.{ms:03}S</Timeout>");
            Call::new(PTZ, "ContinuousMove", &inner)
        }
        PtzOrder::Stop => {
            let inner = format!("{profile}<PanTilt>true</PanTilt><Zoom>true</Zoom>");
            Call::new(PTZ, "Stop", &inner)
        }
        PtzOrder::Preset(token) => {
            let token = escaped(token);
            let inner = format!("{profile}<PresetToken>{token}</PresetToken>");
            Call::new(PTZ, "GotoPreset", &inner)
        }
        PtzOrder::Home => Call::new(PTZ, "GotoHomePosition", &profile),
    }
}

/// The presets in the answer to GetPresets; those without a token are left out.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn presets(answer: &[u8]) -> Result<Vec<PtzPreset>, XmlError> {
    let mut found: Vec<PtzPreset> = Vec::new();
    let is_preset = |path: &[String]| path.last().is_some_and(|name| name == "Preset");
    walk(answer, |step| match step {
        Step::Open(path) if is_preset(path) && found.len() < PRESETS_MAX => {
            found.push(PtzPreset {
                preset: String::new(),
                name: None,
            });
        }
        Step::Attribute(a) if a.name == "token" && is_preset(a.path) => {
            if let Some(preset) = found.last_mut()
                && preset.preset.is_empty()
                && a.text.len() <= TOKEN_BYTES_MAX
            {
                a.text.clone_into(&mut preset.preset);
            }
        }
        Step::Leaf(leaf) if leaf.name() == "Name" && leaf.is_in("Preset") => {
            if let Some(preset) = found.last_mut() {
                preset.name = said(&leaf);
            }
        }
        _ => {}
    })?;
    found.retain(|preset| !preset.preset.is_empty());
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PtzVelocity;

    #[test]
    fn a_move_names_its_axes_and_its_end() {
        let velocity = PtzVelocity {
            pan: -0.5,
            ..PtzVelocity::default()
        };
        let call = order(
            "p<1",
            &PtzOrder::Move {
                velocity,
                timeout_ms: 1050,
            },
        );
        assert_eq!(call.name(), "ContinuousMove");
        assert!(call.body.contains("<ProfileToken>p&lt;1</ProfileToken>"));
        assert!(
            call.body.contains("<PanTilt x=\"-0.5\" y=\"0\""),
            "{}",
            call.body
        );
        assert!(call.body.contains("<Timeout>PT1.050S</Timeout>"));
        assert!(!call.body.contains("<Zoom"), "it does not zoom");
        assert_eq!(order("p", &PtzOrder::Home).name(), "GotoHomePosition");
        let to = order("p", &PtzOrder::Preset("3".into()));
        assert!(to.body.contains("<PresetToken>3</PresetToken>"));
    }

    #[test]
    fn presets_with_and_without_names() {
        let answer = br#"<e:Envelope xmlns:e="x"><e:Body><tptz:GetPresetsResponse>
            <tptz:Preset token="1"><tt:Name>Gate</tt:Name><tt:PTZPosition><tt:PanTilt x="0" y="1"/></tt:PTZPosition></tptz:Preset>
            <tptz:Preset token="home"/><tptz:Preset><tt:Name>none</tt:Name></tptz:Preset></tptz:GetPresetsResponse></e:Body></e:Envelope>"#;
        let read = presets(answer).unwrap();
        let shown: Vec<_> = read
            .iter()
            .map(|p| (p.preset.as_str(), p.name.as_deref()))
            .collect();
        assert_eq!(shown, [("1", Some("Gate")), ("home", None)]);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100), token in "\\PC{0,30}") {
            let _ = presets(&bytes);
            let _ = abilities(&bytes);
            let _ = order(&token, &PtzOrder::Preset(token.clone()));
        }
    }
}
