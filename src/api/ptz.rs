//! Motors.

use serde_json::{Map, Value};

use super::problem::FieldError;
use super::strict::{Fields, not_one_of};
use super::{Context, Problem, Response, body, json};
use crate::model::{CameraId, PtzVelocity};
use crate::site::PtzRequest;

const ACTIONS: [&str; 4] = ["move", "stop", "preset", "home"];
/// A move without a duration.
const DURATION_MS: u32 = 500;
const DURATIONS_MS: (u32, u32) = (50, 10_000);
/// Longest token of a preset, characters.
const PRESET_CHARS_MAX: usize = 64;

pub async fn show(context: &Context, id: CameraId) -> Result<Response, Problem> {
    json(&context.site.ptz(id).await?)
}

pub async fn order(context: &Context, id: CameraId, body: &Value) -> Result<Response, Problem> {
    let request = read(body::object(body)?).map_err(Problem::invalid)?;
    json(&context.site.order_ptz(id, request).await?)
}

/// # Errors
/// Every bad field at once.
fn read(map: &Map<String, Value>) -> Result<PtzRequest, Vec<FieldError>> {
    let mut fields = Fields::new(map);
    let action = fields.text("action", 16);
    let action = fields.require("action", action);
    let mut speed = |name| speed(&mut fields, name);
    let velocity = PtzVelocity {
        pan: speed("pan"),
        tilt: speed("tilt"),
        zoom: speed("zoom"),
    };
    let duration_ms = fields.integer("duration_ms", DURATIONS_MS.0, DURATIONS_MS.1);
    let preset = preset(&mut fields);
    let request = match action {
        Some("move") => {
            if !velocity.moves() && !velocity.zooms() && !has_bad_speed(map) {
                fields.error("action", "moves nothing: give pan, tilt or zoom a speed");
            }
            Some(PtzRequest::Move {
                velocity,
                duration_ms: duration_ms.unwrap_or(DURATION_MS),
            })
        }
        Some("stop") => Some(PtzRequest::Stop),
        Some("preset") => fields.require("preset", preset).map(PtzRequest::Preset),
        Some("home") => Some(PtzRequest::Home),
        Some(other) => {
            fields.error("action", not_one_of(other, ACTIONS.into_iter()));
            None
        }
        None => None,
    };
    match (request, fields.finish()) {
        (Some(request), errors) if errors.is_empty() => Ok(request),
        (_, errors) => Err(errors),
    }
}

/// From -1 to 1; 0 where it is not there.
fn speed(fields: &mut Fields<'_>, name: &'static str) -> f32 {
    let Some(value) = fields.value(name) else {
        return 0.0;
    };
    match number(value) {
        Some(speed) => speed,
        None => {
            fields.error(name, "must be a number from -1 to 1");
            0.0
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a speed needs no more digits"
)]
fn number(value: &Value) -> Option<f32> {
    let number = value.as_f64()?;
    (-1.0..=1.0).contains(&number).then_some(number as f32)
}

/// A speed that was refused has its own message.
fn has_bad_speed(map: &Map<String, Value>) -> bool {
    let given = ["pan", "tilt", "zoom"]
        .into_iter()
        .filter_map(|name| map.get(name));
    given
        .filter(|value| !value.is_null())
        .any(|value| number(value).is_none())
}

/// A token, or the number that it is for most makers.
fn preset(fields: &mut Fields<'_>) -> Option<String> {
    match fields.value("preset") {
        Some(Value::Number(number)) if number.is_u64() => Some(number.to_string()),
        Some(_) => fields.text("preset", PRESET_CHARS_MAX).map(str::to_owned),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(body: Value) -> Result<PtzRequest, Vec<String>> {
        let read = read(body.as_object().unwrap());
        read.map_err(|errors| errors.into_iter().map(|e| e.field).collect())
    }

    #[test]
    fn orders() {
        let velocity = PtzVelocity {
            pan: -1.0,
            tilt: 0.5,
            zoom: 0.0,
        };
        let moved = |duration_ms| {
            Ok(PtzRequest::Move {
                velocity,
                duration_ms,
            })
        };
        let body = json!({"action": "move", "pan": -1, "tilt": 0.5, "duration_ms": 1500});
        assert_eq!(of(body), moved(1500));
        assert_eq!(
            of(json!({"action": "move", "pan": -1, "tilt": 0.5, "zoom": null})),
            moved(500)
        );
        assert_eq!(of(json!({"action": "stop"})), Ok(PtzRequest::Stop));
        assert_eq!(of(json!({"action": "home"})), Ok(PtzRequest::Home));
        for preset in [json!("3"), json!(3)] {
            let body = json!({"action": "preset", "preset": preset});
            assert_eq!(of(body), Ok(PtzRequest::Preset("3".into())));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (body, wanted) in [
            (json!({}), vec!["action"]),
            (json!({"action": "jump"}), vec!["action"]),
            (json!({"action": "move"}), vec!["action"]),
            (json!({"action": "move", "pan": 2}), vec!["pan"]),
            (json!({"action": "move", "zoom": "1"}), vec!["zoom"]),
            (
                json!({"action": "move", "pan": 1, "duration_ms": 60_000, "tild": 1}),
                vec!["duration_ms", "tild"],
            ),
            (json!({"action": "preset"}), vec!["preset"]),
        ] {
            assert_eq!(of(body.clone()).unwrap_err(), wanted, "{body}");
        }
    }
}
