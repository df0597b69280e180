//! UniFi Protect, Alarm Manager webhook: `{alarm: {name, triggers: [{key, device, eventId, ..}]}}`. The
//! console reports for all its cameras; `device` is the MAC of the one. Nothing tells an end.

use serde_json::{Map, Value};

use super::{Decoded, Notice, device_time, mac, said, words};
use crate::model::{Observed, ObservedState};

pub fn read(map: &Map<String, Value>, out: &mut Decoded) {
    let Some(alarm) = map.get("alarm") else {
        return;
    };
    let rule = alarm.get("name").and_then(Value::as_str).and_then(said);
    let list = |name: &str| alarm.get(name).and_then(Value::as_array);
    let triggers = list("triggers").filter(|t| !t.is_empty());
    for trigger in triggers.into_iter().flatten() {
        let text = |name: &str| trigger.get(name).and_then(Value::as_str);
        let key = text("key").unwrap_or_default();
        let mut notice = Notice::new(kind(key, trigger), ObservedState::Pulse, "ubiquiti", key);
        notice.mac = text("device").and_then(mac);
        let detail = &mut notice.detail;
        detail.rule.clone_from(&rule);
        detail.object = words::class(key);
        detail.correlation = text("eventId").and_then(said);
        detail.text = text("value").and_then(said);
        let time = trigger.get("timestamp").or(map.get("timestamp"));
        detail.at_device = time.and_then(|t| device_time(&t.to_string()));
        out.push(notice);
    }
    if triggers.is_none() {
        // Older versions send what the rule waits for only.
        let source = list("conditions").into_iter().flatten().find_map(|c| {
            let inner = c.get("condition").unwrap_or(c);
            inner.get("source").and_then(Value::as_str)
        });
        let source = source.unwrap_or_default();
        let kind = words::kind(source).unwrap_or(Observed::Unknown);
        let mut notice = Notice::new(kind, ObservedState::Pulse, "ubiquiti", source);
        notice.detail.rule = rule;
        out.push(notice);
    }
}

/// A zone that was hit says more than what hit it.
fn kind(key: &str, trigger: &Value) -> Observed {
    let is_hit = |zone: &str| {
        let hit = trigger.pointer(&format!("/zones/{zone}"));
        hit.and_then(Value::as_array).is_some_and(|l| !l.is_empty())
    };
    match key {
        _ if is_hit("line") => Observed::LineCrossing,
        _ if is_hit("loiter") => Observed::Loitering,
        "face_known" | "face_unknown" => Observed::Face,
        key => words::kind(key).unwrap_or(Observed::Unknown),
    }
}
