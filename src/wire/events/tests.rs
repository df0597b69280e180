//! A message of each maker, as its documents or captures have it.

use super::*;
use crate::model::ObjectClass;
use crate::wire::events::multipart::Intake;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/events/", $name)).as_slice()
    };
}

fn read(content_type: &str, body: &[u8]) -> Decoded {
    let mut intake = Intake::new(content_type);
    body.chunks(100).for_each(|piece| intake.push(piece));
    let taken = intake.finish();
    decode(&Delivery {
        texts: &taken.texts,
        has_picture: taken.has_picture,
        ..Delivery::default()
    })
}

/// The one report of a message.
#[track_caller]
fn one(content_type: &str, body: &[u8]) -> (Decoded, Notice) {
    let decoded = read(content_type, body);
    assert_eq!(decoded.notices.len(), 1, "{decoded:?}");
    let notice = decoded.notices[0].clone();
    (decoded, notice)
}

fn is(
    kind: Observed,
    state: ObservedState,
    channel: Option<u32>,
) -> (Observed, ObservedState, Option<u32>) {
    (kind, state, channel)
}

fn gist(notice: &Notice) -> (Observed, ObservedState, Option<u32>) {
    (notice.kind, notice.detail.state, notice.detail.channel)
}

use ObservedState::{Pulse, Start, Stop};

#[test]
fn hikvision() {
    let plain = one("application/xml", fixture!("hikvision.xml"));
    let with_picture = one(
        "multipart/form-data; boundary=boundary",
        fixture!("hikvision.multipart"),
    );
    for (decoded, notice) in [&plain, &with_picture] {
        assert_eq!(gist(notice), is(Observed::LineCrossing, Start, Some(1)));
        assert_eq!(notice.detail.object, Some(ObjectClass::Person));
        assert_eq!(notice.detail.zone.as_deref(), Some("2"));
        assert_eq!(notice.detail.raw_type.as_deref(), Some("linedetection"));
        assert_eq!(
            notice.detail.at_device,
            Timestamp::parse("2026-01-02T02:04:05Z")
        );
        assert_eq!(decoded.sender.mac, Some(Mac([0, 0, 0x5e, 0, 0x53, 1])));
    }
    assert!(!plain.1.detail.had_picture && with_picture.1.detail.had_picture);
    // Channels of network cameras count from 33.
    let json = one("application/json", fixture!("hikvision.json")).1;
    assert_eq!(gist(&json), is(Observed::Motion, Start, Some(2)));
    let beat = one("", fixture!("hikvision_heartbeat.xml")).1;
    assert_eq!(beat.kind, Observed::Heartbeat);
    // NULs and a mark before the text, as some firmware sends it.
    let dirty = [
        b"\0\0\xef\xbb\xbf".as_slice(),
        fixture!("hikvision.xml"),
        b"\0",
    ]
    .concat();
    assert_eq!(one("text/plain", &dirty).1.kind, Observed::LineCrossing);
}

#[test]
fn dahua() {
    let text = read("text/plain", fixture!("dahua.txt"));
    let gists: Vec<_> = text.notices.iter().map(gist).collect();
    let wanted = [
        is(Observed::LineCrossing, Start, Some(1)),
        is(Observed::Motion, Stop, Some(2)),
    ];
    assert_eq!(gists, wanted);
    let first = &text.notices[0].detail;
    assert_eq!(first.object, Some(ObjectClass::Person));
    assert_eq!(first.rule.as_deref(), Some("Gate"));
    // `UTC` is the local time of this camera.
    assert_eq!(first.at_device, Some(Timestamp::from_unix_s(1_767_315_845)));
    let plate = one(
        "multipart/x-mixed-replace; boundary=myboundary",
        fixture!("dahua.multipart"),
    )
    .1;
    assert_eq!(gist(&plate), is(Observed::LicensePlate, Pulse, Some(1)));
    assert_eq!(plate.detail.text.as_deref(), Some("B-CD 123"));
    let (decoded, json) = one("application/json", fixture!("dahua.json"));
    assert_eq!(gist(&json), is(Observed::Person, Pulse, Some(3)));
    assert_eq!(decoded.sender.serial.as_deref(), Some("4A0B1C2D3E4F506"));
    assert_eq!(one("", b"Heartbeat\r\n").1.kind, Observed::Heartbeat);
}

#[test]
fn axis() {
    let (decoded, notice) = one("application/json", fixture!("axis.json"));
    assert_eq!(gist(&notice), is(Observed::Person, Start, None));
    assert_eq!(decoded.sender.mac, Some(Mac([0, 0, 0x5e, 0, 0x53, 2])));
}

#[test]
fn onvif() {
    let decoded = read("application/soap+xml", fixture!("onvif_notify.xml"));
    let gists: Vec<_> = decoded.notices.iter().map(gist).collect();
    assert_eq!(
        gists,
        [
            is(Observed::Person, Start, None),
            is(Observed::Motion, Stop, None)
        ]
    );
    assert!(!decoded.notices[0].is_initial && decoded.notices[1].is_initial);
    assert!(decoded.notices[0].detail.at_device.is_some());
    assert_eq!(decoded.notices[1].detail.at_device, None);
}

#[test]
fn onvif_topics_mean_what_the_table_says() {
    let kind = |topic: &str, data: &[(&str, &str)]| {
        let data = data.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let message = onvif::Message {
            topic: topic.to_owned(),
            data: data.collect(),
            ..Default::default()
        };
        let notice = message.notice();
        (notice.kind, notice.detail.state)
    };
    for (topic, data, wanted) in [
        (
            "tns1:VideoSource/MotionAlarm",
            [("State", "true")],
            (Observed::Motion, Start),
        ),
        (
            "tns1:RuleEngine/FieldDetector/ObjectsInside",
            [("IsInside", "1")],
            (Observed::Intrusion, Start),
        ),
        (
            "tns1:RuleEngine/LineDetector/Crossed",
            [("ObjectId", "15")],
            (Observed::LineCrossing, Pulse),
        ),
        (
            "tns1:RuleEngine/TamperDetector/Tamper",
            [("IsTamper", "false")],
            (Observed::Tamper, Stop),
        ),
        (
            "tns1:RuleEngine/CountAggregation/Counter",
            [("Count", "1")],
            (Observed::Counting, Pulse),
        ),
        (
            "tns1:RuleEngine/MyRuleDetector/DogCatDetect",
            [("State", "true")],
            (Observed::Animal, Start),
        ),
        (
            "tns1:RuleEngine/MyRuleDetector/Visitor",
            [("State", "true")],
            (Observed::Doorbell, Start),
        ),
        (
            "tns1:RuleEngine/TPSmartEventDetector/TPSmartEvent",
            [("IsVehicle", "true")],
            (Observed::Vehicle, Start),
        ),
        (
            "tns1:VideoSource/ImageTooDark/AnalyticsService",
            [("State", "true")],
            (Observed::ImageDark, Start),
        ),
        (
            "tns1:VideoSource/GlobalSceneChange/ImagingService",
            [("State", "true")],
            (Observed::SceneChange, Start),
        ),
        (
            "tns1:VideoSource/SignalLoss",
            [("State", "true")],
            (Observed::VideoLoss, Start),
        ),
        (
            "tns1:Device/Trigger/DigitalInput",
            [("LogicalState", "true")],
            (Observed::IoInput, Start),
        ),
        (
            "tns1:Device/Trigger/Relay",
            [("LogicalState", "inactive")],
            (Observed::RelayOutput, Stop),
        ),
        (
            "tns1:Device/Trigger/tnshik:AlarmIn",
            [("State", "true")],
            (Observed::IoInput, Start),
        ),
        (
            "tns1:Device/HardwareFailure/StorageFailure",
            [("Failed", "true")],
            (Observed::DiskError, Start),
        ),
        (
            "tns1:Monitoring/ProcessorUsage",
            [("Value", "40")],
            (Observed::Heartbeat, Pulse),
        ),
        (
            "tns1:Device/tnsaxis:Sensor/PIR",
            [("state", "1")],
            (Observed::Pir, Start),
        ),
        (
            "tns1:AudioAnalytics/Audio/DetectedSound",
            [("isSoundDetected", "true")],
            (Observed::AudioDetected, Start),
        ),
        (
            "tns1:UserAlarm/IVA/HumanShapeDetect",
            [("State", "true")],
            (Observed::Person, Start),
        ),
        (
            "tns1:Somewhere/Else",
            [("x", "y")],
            (Observed::Unknown, Pulse),
        ),
    ] {
        assert_eq!(kind(topic, &data), wanted, "{topic}");
    }
}

#[test]
fn reolink() {
    let notice = one("application/json", fixture!("reolink.json")).1;
    assert_eq!(gist(&notice), is(Observed::Person, Pulse, Some(1)));
}

#[test]
fn hanwha() {
    let decoded = read("text/plain", fixture!("hanwha.txt"));
    let gists: Vec<_> = decoded.notices.iter().map(gist).collect();
    let wanted = [
        is(Observed::Motion, Start, Some(1)),
        is(Observed::AudioDetected, Start, Some(2)),
        is(Observed::IoInput, Stop, Some(2)),
        is(Observed::DiskMissing, Stop, None),
    ];
    assert_eq!(gists, wanted);
    assert_eq!(decoded.notices[1].detail.text.as_deref(), Some("Scream"));
}

#[test]
fn uniview() {
    let (decoded, notice) = one("", fixture!("uniview.json"));
    assert_eq!(gist(&notice), is(Observed::Intrusion, Start, Some(1)));
    assert_eq!(
        decoded.sender.serial.as_deref(),
        Some("210235C3EV0000000001")
    );
    let plate = one("text/html", fixture!("uniview_structure.json")).1;
    assert_eq!(plate.kind, Observed::LicensePlate);
    assert_eq!(plate.detail.text.as_deref(), Some("B-CD 123"));
    let control = String::from_utf8_lossy(fixture!("uniview.json")).replace("Gate", "Ga\u{1}te");
    assert_eq!(one("", control.as_bytes()).1.kind, Observed::Intrusion);
}

#[test]
fn tplink() {
    let plain = one("application/json", fixture!("tplink.json"));
    let parts = one(
        "multipart/form-data; boundary=b7",
        fixture!("tplink.multipart"),
    );
    for (decoded, notice) in [plain, parts] {
        assert_eq!(gist(&notice), is(Observed::Person, Pulse, None));
        assert_eq!(decoded.sender.mac, Some(Mac([0, 0, 0x5e, 0, 0x53, 3])));
        assert_eq!(notice.detail.at_device, None, "its time is local");
    }
}

#[test]
fn ubiquiti() {
    let notice = one("application/json", fixture!("ubiquiti.json")).1;
    assert_eq!(gist(&notice), is(Observed::Person, Pulse, None));
    assert_eq!(notice.mac, Some(Mac([0, 0, 0x5e, 0, 0x53, 4])));
    assert_eq!(notice.detail.rule.as_deref(), Some("Gate person"));
    assert_eq!(notice.detail.correlation.as_deref(), Some("abc"));
    let crossed =
        String::from_utf8_lossy(fixture!("ubiquiti.json")).replace("\"line\":[]", "\"line\":[1]");
    assert_eq!(one("", crossed.as_bytes()).1.kind, Observed::LineCrossing);
}

#[test]
fn frigate() {
    let notice = one("application/json", fixture!("frigate.json")).1;
    assert_eq!(gist(&notice), is(Observed::Vehicle, Start, None));
    assert_eq!(notice.detail.zone.as_deref(), Some("driveway"));
    assert_eq!(notice.detail.score, Some(0.84));
    assert_eq!(notice.detail.at_device, Some(Timestamp(1_767_319_445_120)));
}

#[test]
fn whatever_an_operator_writes() {
    let (decoded, json) = one("application/json", fixture!("generic.json"));
    assert_eq!(gist(&json), is(Observed::Motion, Start, Some(3)));
    assert_eq!(decoded.sender.mac, Some(Mac([0, 0, 0x5e, 0, 0x53, 5])));
    let (decoded, form) = one(
        "application/x-www-form-urlencoded",
        fixture!("generic.form"),
    );
    assert_eq!(gist(&form), is(Observed::Doorbell, Start, None));
    assert_eq!(decoded.sender.serial.as_deref(), Some("SN-42"));
    let in_url = |path, query| {
        let decoded = decode(&Delivery {
            path,
            query,
            ..Delivery::default()
        });
        decoded.notices.first().map(gist)
    };
    assert_eq!(
        in_url("", "motion=1"),
        Some(is(Observed::Motion, Start, None))
    );
    assert_eq!(
        in_url("", "event=person&state=stop"),
        Some(is(Observed::Person, Stop, None))
    );
    assert_eq!(
        in_url("doorbell", ""),
        Some(is(Observed::Doorbell, Pulse, None))
    );
    assert_eq!(in_url("", ""), None);
    let words = one("text/plain", b"Motion alarm at the gate").1;
    assert_eq!(gist(&words), is(Observed::Motion, Pulse, None));
    let strange = one("application/json", b"{\"foo\": \"bar\"}").1;
    assert_eq!(gist(&strange), is(Observed::Unknown, Pulse, None));
    assert_eq!(strange.detail.raw_type.as_deref(), Some("bar"));
}

#[test]
fn a_picture_alone_tells_nothing_new() {
    assert_eq!(read("image/jpeg", b"\xff\xd8\xff"), Decoded::default());
}

#[test]
fn no_message_makes_more_than_its_share() {
    let many = "Code=VideoMotion;action=Start;index=0\n".repeat(1000);
    assert!(read("", many.as_bytes()).notices.len() <= NOTICES_MAX);
    let many = "Channel.0.MotionDetection=True\n".repeat(1000);
    assert!(read("", many.as_bytes()).notices.len() <= NOTICES_MAX);
}

/// Every fixture with one piece cut out or doubled: no panic, no flood.
#[test]
fn damaged_messages_are_borne() {
    let all: [&[u8]; 8] = [
        fixture!("hikvision.xml"),
        fixture!("hikvision.multipart"),
        fixture!("dahua.txt"),
        fixture!("dahua.multipart"),
        fixture!("onvif_notify.xml"),
        fixture!("uniview.json"),
        fixture!("ubiquiti.json"),
        fixture!("frigate.json"),
    ];
    for body in all {
        for cut in (0..body.len()).step_by(13) {
            let (head, tail) = body.split_at(cut);
            let without = [head, tail.get(9..).unwrap_or_default()].concat();
            let doubled = [head, head, tail].concat();
            for damaged in [head, &without, &doubled] {
                assert!(
                    read("multipart/form-data; boundary=boundary", damaged)
                        .notices
                        .len()
                        <= NOTICES_MAX
                );
                assert!(read("", damaged).notices.len() <= NOTICES_MAX);
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = read("", &body);
    }

    #[test]
    fn no_text_panics(text in "(Code=|action=|;|data=|\\{|\\}|\"|:|a|1|<EventNotificationAlert>|<eventType>|</|>|=|&|Channel\\.|\n|motion|\\[|\\]|,){0,30}") {
        let _ = read("", text.as_bytes());
    }

    #[test]
    fn no_json_panics(key in "(alarm|triggers|type|after|topic|message|Code|Events|AlarmInfo|StructureInfo|event_list|eventType|channelID)", inner in "[\\[\\]{}:,\"a1]{0,20}") {
        let _ = read("", format!("{{\"{key}\": {inner}}}").as_bytes());
    }
}
