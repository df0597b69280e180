//! Hikvision and its OEMs: `EventNotificationAlert`, as XML or as JSON with the same names (ISAPI
//! "HTTP listening" and alertStream; old firmware in the PSIA namespace).

use super::pairs::Pairs;
use super::{Decoded, Notice, Sender, device_time, mac, said, words};
use crate::model::{ObjectClass, Observed, ObservedState};

/// On recorders the channels of network cameras are counted from here in some messages.
const FIRST_IP_CHANNEL: u32 = 33;

pub fn read(pairs: &Pairs, out: &mut Decoded) {
    out.know(Sender {
        mac: pairs.get("macAddress").and_then(mac),
        serial: pairs.get("serialNumber").and_then(said),
    });
    let Some(name) = pairs.get("eventType") else {
        return;
    };
    let is_active = pairs
        .get("eventState")
        .map(|s| s.eq_ignore_ascii_case("active"));
    let target = pairs.any(&["detectionTarget", "targetType"]);
    let class = target.and_then(words::class);
    let kind = kind(name, is_active, class);
    // What was kept back while the line was down is no state of now.
    let is_late = pairs.get("isDataRetransmission") == Some("true");
    let state = match is_active {
        Some(true) if !is_late => ObservedState::Start,
        Some(false) => ObservedState::Stop,
        _ => ObservedState::Pulse,
    };
    let mut notice = Notice::new(kind, state, "hikvision", name);
    let detail = &mut notice.detail;
    detail.channel = channel(pairs);
    detail.at_device = pairs.get("dateTime").and_then(device_time);
    detail.zone = pairs.get("regionID").and_then(said);
    detail.object = class;
    match kind {
        Observed::LicensePlate => {
            detail.text = pairs.any(&["licensePlate", "plateNumber"]).and_then(said);
        }
        Observed::Counting => detail.count = pairs.number(&["enter", "count"]),
        Observed::Temperature | Observed::Fire => {
            detail.value = pairs.number(&["currTemperature", "highestTemperature"]);
        }
        _ => {}
    }
    out.push(notice);
}

/// From 1. For an alarm input its own number stands in the message.
fn channel(pairs: &Pairs) -> Option<u32> {
    let number: u32 = pairs.number(&["channelID", "dynChannelID", "inputIOPortID"])?;
    let number = match number {
        ip if ip >= FIRST_IP_CHANNEL => ip - FIRST_IP_CHANNEL + 1,
        own => own,
    };
    (number > 0).then_some(number)
}

fn kind(name: &str, is_active: Option<bool>, class: Option<ObjectClass>) -> Observed {
    match name.to_ascii_lowercase().as_str() {
        // Sent every few seconds while all is well.
        "videoloss" if is_active == Some(false) => Observed::Heartbeat,
        "heartbeat" | "duration" => Observed::Heartbeat,
        "vmd" | "motiondetection" => Observed::Motion,
        "vmdhumanvehicle" => match class {
            Some(ObjectClass::Person) => Observed::Person,
            Some(ObjectClass::Vehicle) => Observed::Vehicle,
            _ => Observed::Motion,
        },
        "linedetection" => Observed::LineCrossing,
        "fielddetection" => Observed::Intrusion,
        "regionentrance" => Observed::RegionEnter,
        "regionexiting" => Observed::RegionExit,
        "loitering" => Observed::Loitering,
        "group" => Observed::Crowd,
        "rapidmove" => Observed::FastMotion,
        "parking" => Observed::Parking,
        "unattendedbaggage" => Observed::ObjectLeft,
        "attendedbaggage" => Observed::ObjectRemoved,
        "facedetection" | "facesnap" | "facecapture" => Observed::Face,
        "anpr" => Observed::LicensePlate,
        "peoplecounting" => Observed::Counting,
        "pir" => Observed::Pir,
        "io" => Observed::IoInput,
        "videoloss" | "badvideo" | "videomismatch" => Observed::VideoLoss,
        "tamperdetection" | "shelteralarm" => Observed::Tamper,
        "defocus" => Observed::Defocus,
        "scenechangedetection" => Observed::SceneChange,
        "audioexception" => Observed::AudioDetected,
        "diskfull" => Observed::DiskFull,
        "diskerror" => Observed::DiskError,
        "recordingfailure" => Observed::RecordingFailure,
        "nicbroken" => Observed::NetworkLost,
        "ipconflict" => Observed::IpConflict,
        "illaccess" => Observed::LoginFailure,
        "thermometry" => Observed::Temperature,
        "firedetection" => Observed::Fire,
        _ => words::kind(name).unwrap_or(Observed::Unknown),
    }
}
