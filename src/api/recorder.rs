//! The channels of a recorder, and channels as cameras.

use serde_json::{Map, Value};

use super::problem::FieldError;
use super::strict::{Fields, integer, not_integer};
use super::{Context, Problem, Response, body, json, to_the_end};
use crate::model::{CHANNELS_MAX, CameraId};

pub async fn channels(context: &Context, id: CameraId) -> Result<Response, Problem> {
    json(&context.site.channels(id).await?)
}

/// Goes on when the caller goes away: half an import helps nobody.
pub async fn import(context: &Context, id: CameraId, body: &Value) -> Result<Response, Problem> {
    let chosen = read(body::object(body)?).map_err(Problem::invalid)?;
    let site = context.site.clone();
    json(&to_the_end(async move { site.import_channels(id, chosen).await }).await??)
}

/// The chosen channels, each once.
///
/// # Errors
/// Every bad field at once.
fn read(map: &Map<String, Value>) -> Result<Vec<u32>, Vec<FieldError>> {
    let mut fields = Fields::new(map);
    let given = fields.value("channels");
    if fields.require("channels", given).is_some() && given.is_some_and(is_empty) {
        fields.error("channels", "names no channel");
    }
    let max = u32::try_from(CHANNELS_MAX).unwrap_or(u32::MAX);
    let mut chosen = Vec::new();
    for (i, item) in fields.array("channels", CHANNELS_MAX).iter().enumerate() {
        match integer(item, 1, max) {
            None => fields.error(&format!("channels[{i}]"), not_integer(1, max)),
            Some(number) if chosen.contains(&number) => {}
            Some(number) => chosen.push(number),
        }
    }
    match fields.finish() {
        errors if errors.is_empty() => Ok(chosen),
        errors => Err(errors),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn channels_are_numbers_from_one() {
        let read = |body: Value| {
            let read = read(body.as_object().unwrap());
            read.map_err(|errors| errors.into_iter().map(|e| e.field).collect::<Vec<_>>())
        };
        assert_eq!(read(json!({"channels": [3, 1, 3]})), Ok(vec![3, 1]));
        for (body, field) in [
            (json!({}), "channels"),
            (json!({"channels": []}), "channels"),
            (json!({"channels": 1}), "channels"),
            (json!({"channels": [1, 0]}), "channels[1]"),
            (json!({"channels": ["1"]}), "channels[0]"),
            (json!({"channels": [1], "channel": 1}), "channel"),
        ] {
            assert_eq!(read(body.clone()), Err(vec![field.to_owned()]), "{body}");
        }
    }
}
