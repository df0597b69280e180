//! Frigate's own event, `{type: new|update|end, before, after}`, as its MQTT integration documents it
//! and as automations pass it on.

use serde_json::{Map, Value};

use super::{Decoded, Notice, said, words};
use crate::model::{ObjectClass, Observed, ObservedState, Timestamp};

pub fn read(map: &Map<String, Value>, out: &mut Decoded) {
    let Some(after) = map.get("after").filter(|a| a.is_object()) else {
        return;
    };
    let text = |name: &str| after.get(name).and_then(Value::as_str);
    let state = match map.get("type").and_then(Value::as_str) {
        Some("new") => ObservedState::Start,
        Some("end") => ObservedState::Stop,
        _ => ObservedState::Update,
    };
    // A review holds lists where an event holds a label.
    let listed = |name: &str| {
        let list = after.pointer(&format!("/data/{name}"));
        list.and_then(Value::as_array)?.first()?.as_str()
    };
    let label = text("label").or(listed("objects")).unwrap_or_default();
    let plate = text("recognized_license_plate").and_then(said);
    let kind = match plate {
        Some(_) => Observed::LicensePlate,
        None => words::kind(label).unwrap_or(Observed::Unknown),
    };
    let mut notice = Notice::new(kind, state, "frigate", label);
    let detail = &mut notice.detail;
    detail.object = words::class(label).or(Some(ObjectClass::Other));
    detail.text = plate.or(text("sub_label").and_then(said));
    detail.correlation = text("id").and_then(said);
    let zones = after.get("current_zones").and_then(Value::as_array);
    let zone = zones.and_then(|z| z.first()?.as_str());
    detail.zone = zone.or(listed("zones")).and_then(said);
    let score = after.get("top_score").or(after.get("score"));
    detail.score = score
        .and_then(Value::as_f64)
        .map(|s| s.clamp(0.0, 1.0) as f32);
    let start_s = after.get("start_time").and_then(Value::as_f64);
    let end_s = after.get("end_time").and_then(Value::as_f64);
    let at_s = end_s.or(start_s).filter(|s| (0.0..4e9).contains(s));
    detail.at_device = at_s.map(|s| Timestamp((s * 1000.0) as i64));
    out.push(notice);
}
