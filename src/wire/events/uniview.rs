//! Uniview (LAPI): alarms `{AlarmInfo: {AlarmType: "MotionAlarmOn", ..}}` and objects with pictures
//! (`StructureInfo`), posted to fixed paths of ours after a subscription.

use serde_json::{Map, Value};

use super::pairs::Pairs;
use super::{Decoded, Notice, Sender, device_time, mac, said, words};
use crate::model::{ObjectClass, Observed, ObservedState};

/// The lists of `ObjInfo`, the one that says most first.
const LISTS: [(&str, Observed, ObjectClass); 4] = [
    ("FaceInfoList", Observed::Face, ObjectClass::Face),
    ("PersonInfoList", Observed::Person, ObjectClass::Person),
    ("VehicleInfoList", Observed::Vehicle, ObjectClass::Vehicle),
    (
        "NonMotorVehicleInfoList",
        Observed::Vehicle,
        ObjectClass::Vehicle,
    ),
];

pub fn read(map: &Map<String, Value>, out: &mut Decoded) {
    let pairs = Pairs::of_json(&Value::Object(map.clone()));
    out.know(Sender {
        mac: pairs.any(&["MACAddress", "Mac"]).and_then(mac),
        serial: pairs
            .any(&["SerialNumber", "DeviceID", "DeviceCode"])
            .and_then(said),
    });
    match map.get("StructureInfo") {
        Some(structure) => objects(structure, &pairs, out),
        None => alarm(&pairs, out),
    }
}

fn alarm(pairs: &Pairs, out: &mut Decoded) {
    let Some(name) = pairs.get("AlarmType") else {
        return;
    };
    let (stem, state) = match (name.strip_suffix("On"), name.strip_suffix("Off")) {
        (Some(stem), _) => (stem, ObservedState::Start),
        (_, Some(stem)) => (stem, ObservedState::Stop),
        _ => (name, ObservedState::Pulse),
    };
    let kind = match stem {
        "KeepAlive" => Observed::Heartbeat,
        "CrossLineAlarm" => Observed::LineCrossing,
        "AccessZoneAlarm" => Observed::RegionEnter,
        "LeaveZoneAlarm" => Observed::RegionExit,
        stem => words::kind(stem).unwrap_or(Observed::Unknown),
    };
    let mut notice = Notice::new(kind, state, "uniview", name);
    notice.detail.channel = pairs.number(&["AlarmSrcID"]).filter(|c| *c > 0);
    notice.detail.at_device = pairs.get("TimeStamp").and_then(device_time);
    notice.detail.correlation = pairs.get("RelatedID").and_then(said);
    out.push(notice);
}

fn objects(structure: &Value, pairs: &Pairs, out: &mut Decoded) {
    let lists = structure.get("ObjInfo");
    let is_filled = |name: &&str| {
        let list = lists.and_then(|l| l.get(name)).and_then(Value::as_array);
        list.is_some_and(|l| !l.is_empty())
    };
    let found = LISTS.iter().find(|(name, ..)| is_filled(name));
    let plate = pairs.get("PlateNo").and_then(said);
    let (raw, kind, class) = match (found, &plate) {
        (_, Some(_)) => ("PlateNo", Observed::LicensePlate, Some(ObjectClass::Plate)),
        (Some((name, kind, class)), None) => (*name, *kind, Some(*class)),
        (None, None) => ("StructureInfo", Observed::Unknown, None),
    };
    let mut notice = Notice::new(kind, ObservedState::Pulse, "uniview", raw);
    notice.detail.object = class;
    notice.detail.text = plate;
    notice.detail.channel = pairs.number(&["SrcID", "ChannelID"]).filter(|c| *c > 0);
    notice.detail.at_device = pairs.get("TimeStamp").and_then(device_time);
    out.push(notice);
}
