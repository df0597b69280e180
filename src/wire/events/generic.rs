//! Messages in an operator's own words: a query, a form, JSON or XML whose names are like everyone
//! else's.

use super::pairs::Pairs;
use super::{Decoded, Notice, Sender, device_time, mac, said, words};
use crate::model::{Observed, ObservedState};

/// Fields that name what happened, the surest first.
const TYPES: [&str; 18] = [
    "event_type",
    "eventType",
    "event",
    "alarm_type",
    "alarmType",
    "type",
    "alarm",
    "alert",
    "trigger",
    "detection",
    "label",
    "topic",
    "name",
    "title",
    "message",
    "msg",
    "text",
    "action",
];
const STATES: [&str; 7] = [
    "state",
    "status",
    "event_state",
    "active",
    "action",
    "value",
    "start",
];

pub fn read(pairs: &Pairs, out: &mut Decoded) {
    out.know(Sender {
        mac: pairs
            .any(&[
                "mac",
                "macAddress",
                "mac_address",
                "device_mac",
                "deviceMac",
            ])
            .and_then(mac),
        serial: pairs
            .any(&[
                "serial",
                "serialNumber",
                "serial_number",
                "serialNo",
                "sn",
                "deviceSerial",
            ])
            .and_then(said),
    });
    let named = TYPES.iter().filter_map(|name| pairs.get(name));
    let known = named
        .clone()
        .find_map(|text| Some((text, words::kind(text)?)));
    let (raw, kind, state) = match known {
        Some((text, kind)) => (text, kind, None),
        None => match by_name(pairs) {
            Some((name, kind, state)) => (name, kind, Some(state)),
            None => {
                let first = named.clone().next().or(pairs.iter().next().map(|p| p.1));
                (first.unwrap_or_default(), Observed::Unknown, None)
            }
        },
    };
    let told = STATES.iter().filter_map(|name| pairs.get(name));
    let state = state
        .or(told.clone().find_map(words::state))
        .or(named.clone().find_map(words::state))
        .unwrap_or(ObservedState::Pulse);
    let mut notice = Notice::new(kind, state, "", raw);
    let detail = &mut notice.detail;
    detail.channel = pairs
        .number(&["channel", "channelID", "channel_id", "ch"])
        .filter(|c| *c > 0);
    detail.zone = pairs.any(&["zone", "region", "area"]).and_then(said);
    detail.rule = pairs.any(&["rule", "ruleName"]).and_then(said);
    detail.object = pairs
        .any(&["object", "objectType", "class", "label", "target"])
        .and_then(words::class);
    detail.text = pairs
        .any(&["plate", "plateNumber", "licensePlate"])
        .and_then(said);
    detail.correlation = pairs.any(&["event_id", "eventId", "uuid"]).and_then(said);
    detail.at_device = pairs
        .any(&["timestamp", "time", "dateTime", "date_time"])
        .and_then(device_time);
    out.push(notice);
}

/// `motion=1`: the name is the event, its value the state.
fn by_name(pairs: &Pairs) -> Option<(&str, Observed, ObservedState)> {
    pairs.iter().find_map(|(name, text)| {
        let kind = words::kind(name)?;
        let state = match text.is_empty() {
            true => ObservedState::Pulse,
            false => words::state(text)?,
        };
        Some((name, kind, state))
    })
}
