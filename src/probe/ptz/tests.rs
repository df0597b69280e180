use super::*;
use crate::model::{PtzPreset, PtzVelocity};
use crate::probe::http::tests::fake::{Fake, answer, digest_is_right, is_authorized};
use crate::probe::onvif::fake::{Asks, Behaviour, Fake as OnvifFake, envelope};
use crate::probe::{Depth, Target};

const DIGEST: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\"\r\n";

fn right() -> PtzOrder {
    PtzOrder::Move {
        velocity: PtzVelocity {
            pan: 0.5,
            ..PtzVelocity::default()
        },
        timeout_ms: 1500,
    }
}

/// A Dahua dome that wants its login by digest.
async fn dahua() -> Fake {
    Fake::start(|head| match head.split(' ').nth(1).unwrap() {
        _ if !is_authorized(head) || !digest_is_right(head) => {
            answer("401 Unauthorized", DIGEST, b"")
        }
        path if path.contains("action=getPresets") => answer(
            "200 OK",
            "",
            b"presets[0].Index=2\r\npresets[0].Name=Yard\r\n",
        ),
        path if path.contains("/ptz.cgi?") => answer("200 OK", "", b"OK\r\n"),
        _ => answer("404 Not Found", "", b""),
    })
    .await
}

#[tokio::test]
async fn a_makers_interface_is_found_and_obeys() {
    let device = dahua().await;
    let target = device.target("/");
    let mut log = Transcript::new();
    let maker = Some((PtzSource::DahuaCgi, 1));
    let (way, facts) = find(&target, maker, &mut log).await.unwrap().unwrap();
    let yard = PtzPreset {
        preset: "2".into(),
        name: Some("Yard".into()),
    };
    assert_eq!(facts.presets, [yard]);
    send(&target, &way, &PtzOrder::Stop, &mut log)
        .await
        .unwrap();
    let stops = device.requests().into_iter();
    let stops = stops.filter(|r| is_authorized(r) && r.contains("action=stop"));
    assert_eq!(stops.count(), 2, "pan and tilt, and the lens");
    assert!(way.check(&PtzOrder::Home).is_err());
    let other = Some((PtzSource::Vapix, 1));
    assert_eq!(find(&target, other, &mut log).await.unwrap(), None);
}

#[tokio::test]
async fn reolink_gives_its_session_back_whatever_comes() {
    let device = Fake::start(|request| {
        let path = request.split(' ').nth(1).unwrap();
        let command = path.split("cmd=").nth(1).unwrap();
        let body = match command.split('&').next().unwrap() {
            "Login" => r#"[{"cmd":"Login","code":0,"value":{"Token":{"name":"t0k"}}}]"#,
            "PtzCtrl" if request.contains("\"op\":\"Right\"") => {
                r#"[{"cmd":"PtzCtrl","code":0,"value":{"rspCode":200}}]"#
            }
            "PtzCtrl" => r#"[{"cmd":"PtzCtrl","code":1,"error":{"rspCode":-9}}]"#,
            "Logout" => r#"[{"cmd":"Logout","code":0,"value":{"rspCode":200}}]"#,
            _ => r#"[{"cmd":"x","code":1,"error":{"rspCode":-6}}]"#,
        };
        answer("200 OK", "", body.as_bytes())
    })
    .await;
    let target = Target {
        cleartext_login: true,
        ..device.target("/")
    };
    let way = Way::Maker {
        source: PtzSource::Reolink,
        channel: 3,
    };
    let mut log = Transcript::new();
    send(&target, &way, &right(), &mut log).await.unwrap();
    let refused = send(&target, &way, &PtzOrder::Stop, &mut log).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Protocol);
    let requests = device.requests();
    let count = |what: &str| requests.iter().filter(|r| r.contains(what)).count();
    assert_eq!((count("cmd=Login "), count("cmd=Logout&token=t0k")), (2, 2));
    assert_eq!(count("\"channel\":2"), 2);
}

#[tokio::test]
async fn onvif_moves_the_profile_that_has_motors() {
    let answers = vec![
        (
            "GetPresets",
            envelope(
                "<GetPresetsResponse><Preset token='7'><Name>Gate</Name></Preset></GetPresetsResponse>",
            ),
        ),
        ("Stop", envelope("<StopResponse/>")),
        (
            "GotoPreset",
            envelope(
                "<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text>no such preset</s:Text></s:Reason></s:Fault>",
            ),
        ),
    ];
    let device = OnvifFake::start(Behaviour {
        asks: Asks::WsseDigest,
        clock_offset_s: 3600,
        answers,
        ..Behaviour::default()
    })
    .await;
    let target = device.target(Depth::Answer);
    let mut log = Transcript::new();
    let (way, facts) = find(&target, None, &mut log).await.unwrap().unwrap();
    assert_eq!(facts.source, PtzSource::Onvif);
    assert!(facts.abilities.continuous);
    assert_eq!(facts.presets[0].preset, "7");
    let Way::Onvif {
        profile,
        clock_offset_ms,
        ..
    } = &way
    else {
        panic!("{way:?}")
    };
    assert_eq!(profile, "p1", "the larger one");
    assert!((3_595_000..3_605_000).contains(clock_offset_ms));
    send(&target, &way, &PtzOrder::Stop, &mut log)
        .await
        .unwrap();
    let odd = PtzOrder::Preset("9".into());
    let error = send(&target, &way, &odd, &mut log).await.unwrap_err();
    assert!(error.message.contains("no such preset"), "{error}");
    // It does not know ContinuousMove: a fault, after the login was taken.
    let error = send(&target, &way, &right(), &mut log).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Protocol, "{error}");
    assert_eq!(device.calls().last().unwrap(), "ContinuousMove+login");
}
