//! Dahua and its OEMs: lines of `Code=..;action=..;index=..;data={..}` (eventManager, EventHttpUpload),
//! the texts beside pictures (`Events[0].EventBaseInfo.Code=..`) and JSON objects.

use serde_json::{Map, Value};

use super::pairs::Pairs;
use super::{Decoded, Notice, Sender, device_time, mac, said, words};
use crate::model::{Observed, ObservedState};

/// Events of one body that are read.
const EVENTS_MAX: usize = 16;

pub fn is_text(text: &str) -> bool {
    let has = |part: &str| text.contains(part);
    (has("Code=") && (has("action=") || has(".Action="))) || text.trim() == "Heartbeat"
}

pub fn read_text(text: &str, out: &mut Decoded) {
    if text.trim() == "Heartbeat" {
        out.push(Notice::new(
            Observed::Heartbeat,
            ObservedState::Pulse,
            "dahua",
            "Heartbeat",
        ));
        return;
    }
    if text.contains("EventBaseInfo.Code=") {
        return read_lines(text, out);
    }
    for part in text.split("Code=").skip(1).take(EVENTS_MAX) {
        let code = part.split(';').next().unwrap_or_default();
        let field = |name: &str| {
            let (_, after) = part.split_once(name)?;
            after.split([';', '\r', '\n']).next()
        };
        let data = part.split_once("data=").and_then(|(_, after)| {
            // The object may run over several lines, and more may follow it.
            let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
            values.next()?.ok()
        });
        let pairs = data.as_ref().map(Pairs::of_json).unwrap_or_default();
        let action = field("action=").unwrap_or_default();
        let index = field("index=").and_then(|i| i.trim().parse().ok());
        tell(code, action, index, &pairs, out);
    }
}

/// `Events[0].EventBaseInfo.Code=VideoMotion`, a name and a value to a line.
fn read_lines(text: &str, out: &mut Decoded) {
    let mut pairs = Pairs::default();
    for line in text.lines() {
        if let Some((name, value)) = line.split_once('=') {
            let name = name.trim().rsplit('.').next().unwrap_or_default();
            pairs.push(name, value.trim());
        }
    }
    let code = pairs.get("Code").unwrap_or_default().to_owned();
    let action = pairs.get("Action").unwrap_or_default().to_owned();
    let index = pairs.number(&["Index"]);
    tell(&code, &action, index, &pairs, out);
}

pub fn is_json(map: &Map<String, Value>) -> bool {
    map.contains_key("Code")
        || (map.contains_key("code") && map.contains_key("action"))
        || map.get("Events").is_some_and(Value::is_array)
}

pub fn read_json(map: &Map<String, Value>, out: &mut Decoded) {
    let events = map.get("Events").and_then(Value::as_array);
    let outer = Pairs::of_json(&Value::Object(map.clone()));
    know(&outer, out);
    match events {
        Some(events) => {
            for event in events.iter().take(EVENTS_MAX) {
                one_json(&Pairs::of_json(event), out);
            }
        }
        None => one_json(&outer, out),
    }
}

fn one_json(pairs: &Pairs, out: &mut Decoded) {
    let code = pairs.get("Code").unwrap_or_default().to_owned();
    let action = pairs.get("Action").unwrap_or_default().to_owned();
    // Crossings have an `Action` of their own further inside; the message's stands first.
    let index = pairs.number(&["Index", "Channel"]);
    tell(&code, &action, index, pairs, out);
}

fn know(pairs: &Pairs, out: &mut Decoded) {
    out.know(Sender {
        mac: pairs
            .any(&["Mac", "MacAddress", "PhysicalAddress"])
            .and_then(mac),
        serial: pairs
            .any(&["SerialNo", "SerialNumber", "SN"])
            .and_then(said),
    });
}

fn tell(code: &str, action: &str, index: Option<u32>, data: &Pairs, out: &mut Decoded) {
    know(data, out);
    let state = match action.trim().to_ascii_lowercase().as_str() {
        "start" => ObservedState::Start,
        "stop" => ObservedState::Stop,
        _ => ObservedState::Pulse,
    };
    let class = data
        .any(&["ObjectType", "ClassType"])
        .and_then(words::class);
    let kind = kind(code.trim(), action, data);
    let mut notice = Notice::new(kind, state, "dahua", code.trim());
    let detail = &mut notice.detail;
    // Counted from 0 on the wire.
    detail.channel = index.and_then(|i| i.checked_add(1));
    // `UTC` may be local time; only the newer field is what its name says.
    detail.at_device = data.get("RealUTC").and_then(device_time);
    detail.rule = data.any(&["RuleName", "Name"]).and_then(said);
    detail.object = class;
    detail.correlation = data.any(&["EventID", "GroupID"]).and_then(said);
    match kind {
        Observed::LicensePlate => detail.text = data.get("PlateNumber").and_then(said),
        Observed::Counting => detail.count = data.number(&["EnteredSubtotal", "Number", "number"]),
        _ => {}
    }
    out.push(notice);
}

fn kind(code: &str, action: &str, data: &Pairs) -> Observed {
    match code {
        "Heartbeat"
        | "VideoMotionInfo"
        | "NewFile"
        | "IntelliFrame"
        | "NTPAdjustTime"
        | "RtspSessionDisconnect" => Observed::Heartbeat,
        "VideoMotion" => Observed::Motion,
        "SmartMotionHuman" => Observed::Person,
        "SmartMotionVehicle" => Observed::Vehicle,
        "CrossLineDetection" => Observed::LineCrossing,
        "CrossRegionDetection" => match data.get("Direction").unwrap_or_default() {
            "Enter" => Observed::RegionEnter,
            "Leave" => Observed::RegionExit,
            _ => Observed::Intrusion,
        },
        "LeftDetection" => Observed::ObjectLeft,
        "TakenAwayDetection" => Observed::ObjectRemoved,
        "FaceDetection" | "FaceRecognition" => Observed::Face,
        "WanderDetection" | "StayDetection" => Observed::Loitering,
        "ParkingDetection" => Observed::Parking,
        "RioterDetection" | "CrowdDetection" => Observed::Crowd,
        "MoveDetection" => Observed::FastMotion,
        "NumberStat" | "ManNumDetection" | "QueueNumDetection" => Observed::Counting,
        "TrafficJunction" => Observed::LicensePlate,
        "VideoLoss" => Observed::VideoLoss,
        "VideoBlind" => Observed::Tamper,
        "VideoUnFocus" => Observed::Defocus,
        "VideoAbnormalDetection" | "SceneChange" => Observed::SceneChange,
        "AudioMutation" | "AudioAnomaly" => Observed::AudioDetected,
        "AlarmLocal" => Observed::IoInput,
        "AlarmOutput" => Observed::RelayOutput,
        "HeatImagingTemper" => Observed::Temperature,
        "StorageNotExist" => Observed::DiskMissing,
        "StorageFailure" => Observed::DiskError,
        "StorageLowSpace" => Observed::DiskFull,
        "LoginFailure" => Observed::LoginFailure,
        "IPConflict" => Observed::IpConflict,
        "NetAbort" => Observed::NetworkLost,
        "TimeChange" => Observed::TimeChanged,
        "_DoTalkAction_" | "CallNoAnswered" => {
            let call = data.get("Action").unwrap_or(action);
            match call {
                "Hangup" => Observed::CallEnded,
                _ => Observed::Doorbell,
            }
        }
        "AccessControl" => Observed::AccessControl,
        "DoorStatus" => Observed::DoorStatus,
        other => words::kind(other).unwrap_or(Observed::Unknown),
    }
}
