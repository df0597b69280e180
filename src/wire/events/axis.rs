//! Axis as its MQTT client and websocket write events: `{topic, message: {source, key, data}}`. The
//! topics are ONVIF's, with the prefixes `onvif` and `axis`.

use serde_json::{Map, Value};

use super::onvif::Message;
use super::{Decoded, Sender, device_time, mac, said};

pub fn read(map: &Map<String, Value>, out: &mut Decoded) {
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    out.know(Sender {
        mac: None,
        // An Axis serial number is its MAC address.
        serial: text("serial").and_then(said),
    });
    out.sender.mac = out.sender.mac.or(text("serial").and_then(mac));
    let items = |name: &str| -> Vec<(String, String)> {
        let inner = map.get("message").and_then(|m| m.get(name));
        let inner = inner.and_then(Value::as_object);
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let pairs = inner.into_iter().flatten().take(32);
        pairs.map(|(n, v)| (n.clone(), text(v))).collect()
    };
    let time = map.get("timestamp");
    let time = time.map(|t| t.as_str().map_or_else(|| t.to_string(), str::to_owned));
    let mut source = items("source");
    source.extend(items("key"));
    let message = Message {
        topic: text("topic").unwrap_or_default().to_owned(),
        is_initial: false,
        is_deleted: false,
        at_device: time.as_deref().and_then(device_time),
        source,
        data: items("data"),
    };
    let mut notice = message.notice();
    notice.detail.format = Some("axis".to_owned());
    out.push(notice);
}
