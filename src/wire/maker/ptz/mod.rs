//! Motors by the makers' own interfaces: what is sent for an order, and the presets that come back.

mod dahua;
mod isapi;
mod reolink;
mod sunapi;
mod vapix;

use super::ApiRequest;
use crate::model::{PtzAbilities, PtzOrder, PtzPreset, PtzSource};

/// Why an order cannot be sent: one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotOffered(pub &'static str);

const NO_HOME: NotOffered = NotOffered("this maker's interface has no home position; use a preset");
const NUMBERS_ONLY: NotOffered = NotOffered("presets of this maker are numbers");

/// The requests for an order, to be sent one after the other. `channel` counts from 1; `token` is
/// Reolink's session.
///
/// # Errors
/// [`NotOffered`]
pub fn requests(
    source: PtzSource,
    channel: u32,
    order: &PtzOrder,
    token: Option<&str>,
) -> Result<Vec<ApiRequest>, NotOffered> {
    match source {
        PtzSource::Isapi => isapi::requests(channel, order),
        PtzSource::DahuaCgi => dahua::requests(channel, order),
        PtzSource::Vapix => vapix::requests(channel, order),
        PtzSource::Reolink => reolink::requests(channel, order, token),
        PtzSource::Sunapi => sunapi::requests(channel, order),
        PtzSource::Onvif => Ok(Vec::new()),
    }
}

/// The request for the list of presets.
pub fn list(source: PtzSource, channel: u32, token: Option<&str>) -> Option<ApiRequest> {
    Some(match source {
        PtzSource::Isapi => isapi::list(channel),
        PtzSource::DahuaCgi => dahua::list(channel),
        PtzSource::Vapix => vapix::list(channel),
        PtzSource::Reolink => reolink::list(channel, token),
        PtzSource::Sunapi => sunapi::list(channel),
        PtzSource::Onvif => return None,
    })
}

/// The presets in the answer to [`list`]; `None` where it is no answer of this interface: the camera has
/// no motors then.
pub fn presets(source: PtzSource, answer: &[u8]) -> Option<Vec<PtzPreset>> {
    match source {
        PtzSource::Isapi => isapi::presets(answer),
        PtzSource::DahuaCgi => dahua::presets(answer),
        PtzSource::Vapix => vapix::presets(answer),
        PtzSource::Reolink => reolink::presets(answer),
        PtzSource::Sunapi => sunapi::presets(answer),
        PtzSource::Onvif => None,
    }
}

/// What these interfaces offer; whether the camera has the motors for it, it does not tell.
pub fn abilities(source: PtzSource) -> PtzAbilities {
    PtzAbilities {
        pan_tilt: true,
        zoom: true,
        continuous: true,
        home: !matches!(source, PtzSource::DahuaCgi | PtzSource::Reolink),
        presets_max: match source {
            PtzSource::Isapi => 300,
            PtzSource::Reolink => 64,
            _ => 255,
        },
        ..PtzAbilities::default()
    }
}

/// A speed from -1 to 1 on the maker's scale. What moves moves: the slowest speed is 1.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product is within the scale, which is small"
)]
fn scaled(speed: f32, max: i32) -> i32 {
    let speed = speed.clamp(-1.0, 1.0);
    let steps = ((speed.abs() * max as f32).round() as i32).max(i32::from(speed != 0.0));
    match speed < 0.0 {
        true => -steps,
        false => steps,
    }
}

/// A preset that is a number.
fn number(token: &str) -> Result<u32, NotOffered> {
    token.trim().parse().map_err(|_| NUMBERS_ONLY)
}

/// A preset out of a list of lines.
fn preset(number: &str, name: &str) -> PtzPreset {
    PtzPreset {
        preset: number.to_owned(),
        name: super::said(name),
    }
}

/// `LeftUp`, `Right`, ... of speeds whose sign counts; `None` where both are zero.
fn direction(pan: f32, tilt: f32) -> Option<&'static str> {
    let side = |speed: f32| speed.partial_cmp(&0.0).map_or(0, |order| order as i8);
    Some(match (side(pan), side(tilt)) {
        (-1, 0) => "Left",
        (1, 0) => "Right",
        (0, 1) => "Up",
        (0, -1) => "Down",
        (-1, 1) => "LeftUp",
        (1, 1) => "RightUp",
        (-1, -1) => "LeftDown",
        (1, -1) => "RightDown",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
