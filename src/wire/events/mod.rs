//! What cameras, recorders and video platforms push, read into one vocabulary.
//!
//! A message is known by its shape, never by what the operator said of its sender: OEM devices speak
//! the language of whoever built them. What no decoder knows still becomes one event of type `unknown`
//! with the maker's own words, so that an installer sees that something arrives.

mod axis;
mod dahua;
mod frigate;
mod generic;
mod hanwha;
mod hikvision;
pub mod multipart;
pub mod onvif;
pub mod pairs;
mod reolink;
pub mod squeeze;
#[cfg(test)]
mod tests;
mod tplink;
mod ubiquiti;
mod uniview;
mod words;

use serde_json::Value;

use self::pairs::Pairs;
use super::soap::shortened;
use super::xml::{Step, walk};
use crate::model::{Mac, Observed, ObservedDetail, ObservedState, Timestamp, Transport};
use crate::vendor;

/// Reports taken from one message.
pub const NOTICES_MAX: usize = 32;
/// Elements of a JSON array that are looked at.
const ITEMS_MAX: usize = 16;

/// A message as it came, without its pictures.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivery<'a> {
    /// What stands in the URL behind the key, without its leading slash.
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    /// The texts of the body, in order: one, or those of a multipart body.
    pub texts: &'a [Vec<u8>],
    pub has_picture: bool,
}

/// What a message says of its sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    pub mac: Option<Mac>,
    pub serial: Option<String>,
}

/// One report.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub kind: Observed,
    /// The state at the beginning of a subscription: no news.
    pub is_initial: bool,
    /// The camera, where a platform reports for several.
    pub mac: Option<Mac>,
    pub detail: ObservedDetail,
}

impl Notice {
    fn new(kind: Observed, state: ObservedState, format: &str, raw_type: &str) -> Self {
        Self {
            kind,
            is_initial: false,
            mac: None,
            detail: ObservedDetail {
                format: Some(format.to_owned()).filter(|f| !f.is_empty()),
                raw_type: said(raw_type),
                ..ObservedDetail::new(state, Transport::Webhook)
            },
        }
    }
}

/// A message, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    pub sender: Sender,
    /// At most [`NOTICES_MAX`].
    pub notices: Vec<Notice>,
}

impl Decoded {
    fn push(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        }
    }

    fn know(&mut self, sender: Sender) {
        self.sender.mac = self.sender.mac.or(sender.mac);
        if self.sender.serial.is_none() {
            self.sender.serial = sender.serial;
        }
    }
}

/// Reads a message. Whatever comes, there is an answer: at worst nothing was told.
pub fn decode(delivery: &Delivery<'_>) -> Decoded {
    let mut out = Decoded::default();
    for text in delivery.texts {
        decode_text(text, &mut out);
    }
    let is_bodiless = delivery.texts.iter().all(|t| trimmed(t).is_empty());
    // A picture alone belongs to the message before it.
    if is_bodiless && !delivery.has_picture {
        let mut pairs = Pairs::of_form(delivery.query);
        for segment in delivery.path.split('/').filter(|s| !s.is_empty()) {
            pairs.push("event", &crate::model::percent_decode(segment));
        }
        if !pairs.is_empty() {
            generic::read(&pairs, &mut out);
        }
    }
    for notice in &mut out.notices {
        notice.detail.had_picture = delivery.has_picture;
    }
    out
}

fn decode_text(bytes: &[u8], out: &mut Decoded) {
    let text = trimmed(bytes);
    match text.first() {
        None => {}
        Some(b'<') => decode_xml(text, out),
        Some(b'{' | b'[') => match json(text) {
            Some(value) => decode_json(&value, out),
            None => decode_plain(text, out),
        },
        Some(_) => decode_plain(text, out),
    }
}

/// Without the NULs, byte order marks and blanks that firmware puts around its texts.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_noise = |b: &u8| b.is_ascii_whitespace() || *b == 0;
    let start = bytes.iter().position(|b| !is_noise(b));
    let bytes = start.and_then(|s| bytes.get(s..)).unwrap_or_default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let end = bytes
        .iter()
        .rposition(|b| !is_noise(b))
        .map_or(0, |e| e + 1);
    bytes.get(..end).unwrap_or_default()
}

/// JSON in which control characters may stand raw, as some firmware writes them.
fn json(bytes: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(value);
    }
    let text = String::from_utf8_lossy(bytes);
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    serde_json::from_str(&clean).ok()
}

fn decode_xml(text: &[u8], out: &mut Decoded) {
    let mut root = String::new();
    let mut has_messages = false;
    let walked = walk(text, |step| {
        if let Step::Open(path) = step {
            if let [name] = path {
                root.clone_from(name);
            }
            has_messages |= path.last().is_some_and(|n| n == "NotificationMessage");
        }
    });
    if has_messages {
        let messages = onvif::messages(text).unwrap_or_default();
        messages.iter().for_each(|m| out.push(m.notice()));
        return;
    }
    let pairs = Pairs::of_xml(text);
    if root == "EventNotificationAlert" || pairs.get("eventType").is_some() {
        hikvision::read(&pairs, out);
    } else if walked.is_ok() || !pairs.is_empty() {
        generic::read(&pairs, out);
    }
}

fn decode_json(value: &Value, out: &mut Decoded) {
    if let Some(items) = value.as_array() {
        items
            .iter()
            .take(ITEMS_MAX)
            .filter(|item| item.is_object())
            .for_each(|item| decode_json(item, out));
        return;
    }
    let Some(map) = value.as_object() else { return };
    let has = |name: &str| map.contains_key(name);
    let inside = |name: &str| map.get(name).and_then(Value::as_object);
    let alarm = inside("alarm");
    if let Some(alert) = map.get("EventNotificationAlert") {
        hikvision::read(&Pairs::of_json(alert), out);
    } else if has("eventType") && (has("eventState") || has("channelID") || has("dateTime")) {
        hikvision::read(&Pairs::of_json(value), out);
    } else if has("AlarmInfo") || has("AlarmType") || has("StructureInfo") {
        uniview::read(map, out);
    } else if has("event_list") {
        tplink::read(map, out);
    } else if alarm.is_some_and(|a| a.contains_key("triggers") || a.contains_key("conditions")) {
        ubiquiti::read(map, out);
    } else if alarm.is_some_and(|a| a.contains_key("type")) {
        reolink::read(map, out);
    } else if has("after") && has("type") {
        frigate::read(map, out);
    } else if has("topic") && has("message") {
        axis::read(map, out);
    } else if dahua::is_json(map) {
        dahua::read_json(map, out);
    } else {
        generic::read(&Pairs::of_json(value), out);
    }
}

fn decode_plain(text: &[u8], out: &mut Decoded) {
    let text = String::from_utf8_lossy(text);
    if dahua::is_text(&text) {
        dahua::read_text(&text, out);
    } else if hanwha::is_text(&text) {
        hanwha::read(&text, out);
    } else {
        let pairs = Pairs::of_form(&text);
        match pairs.is_empty() {
            true => generic::read(&Pairs::one("event", &text), out),
            false => generic::read(&pairs, out),
        }
    }
}

/// A text of the device as it may be shown; `None` for an empty one.
fn said(text: &str) -> Option<String> {
    Some(shortened(text)).filter(|t| !t.is_empty())
}

fn mac(text: &str) -> Option<Mac> {
    let mac = vendor::parse_mac(text.trim()).map(Mac);
    mac.filter(|mac| mac.is_unicast())
}

/// A device's time, where it says how far it is from UTC; its local time alone tells nothing.
fn device_time(text: &str) -> Option<Timestamp> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    match text.len() {
        // Since the epoch: seconds, milliseconds.
        10 if is_number => text.parse().ok().map(Timestamp::from_unix_s),
        13 if is_number => text.parse().ok().map(Timestamp),
        _ if is_number => None,
        _ => Timestamp::parse(text).filter(|t| t.unix_ms() > 0),
    }
}
