//! TP-Link VIGI: `{mac, device_name, event_list: [{dateTime, event_type: [..]}]}`, alone or in the part
//! `event` of a multipart form. There is no end of an event, and the time is local.

use serde_json::{Map, Value};

use super::{Decoded, Notice, Sender, mac, words};
use crate::model::{Observed, ObservedState};

pub fn read(map: &Map<String, Value>, out: &mut Decoded) {
    out.know(Sender {
        mac: map.get("mac").and_then(Value::as_str).and_then(mac),
        serial: None,
    });
    let events = map.get("event_list").and_then(Value::as_array);
    for event in events.into_iter().flatten() {
        let names: Vec<&str> = match event.get("event_type") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(name)) => vec![name],
            _ => continue,
        };
        // The same thing under several names: the one that says most stands for it.
        let is_more = |name: &&&str| words::kind(name).is_some_and(|k| k != Observed::Motion);
        let Some(name) = names.iter().find(is_more).or(names.first()) else {
            continue;
        };
        let kind = words::kind(name).unwrap_or(Observed::Unknown);
        let mut notice = Notice::new(kind, ObservedState::Pulse, "tplink", name);
        notice.detail.object = words::class(name);
        out.push(notice);
    }
}
