use std::time::Duration;

use super::fake::{Asks, Behaviour, Fake, envelope};
use crate::model::{
    AuthUse, Codec, Credentials, ErrorCode, Evidence, OnvifFacts, OnvifLogin, Stage, StreamRole,
    StreamUrl,
};
use crate::probe::{Attempt, Depth, Target, run};

const THREE_YEARS_S: i64 = 3 * 365 * 86_400;

fn facts(attempt: &Attempt) -> &OnvifFacts {
    attempt.onvif.as_deref().unwrap()
}

fn code(attempt: &Attempt) -> ErrorCode {
    attempt.result.as_ref().unwrap_err().code
}

async fn probed(behaviour: Behaviour) -> (Fake, Attempt) {
    let device = Fake::start(behaviour).await;
    let attempt = run(&device.target(Depth::Frame)).await;
    (device, attempt)
}

#[tokio::test]
async fn everything_that_leads_to_the_pictures() {
    let (device, attempt) = probed(Behaviour::default()).await;
    let outcome = attempt.result.as_ref().unwrap();
    assert_eq!(outcome.evidence, Evidence::Description);
    assert_eq!(outcome.media.codec, Some(Codec::H264));
    assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
    assert_eq!(outcome.transport, "http");
    assert_eq!(attempt.auth, AuthUse::Accepted);

    let facts = facts(&attempt);
    let info = &facts.information;
    assert_eq!(info.manufacturer.as_deref(), Some("HIKVISION"));
    assert_eq!(info.model.as_deref(), Some("DS-2CD2042WD"));
    assert_eq!(info.serial_number.as_deref(), Some("SN0001"));
    assert_eq!(facts.mac.as_deref(), Some("44:19:b6:4d:00:11"));
    assert_eq!(facts.login_by, Some(OnvifLogin::WsseDigest));
    assert!(facts.ptz.unwrap().continuous && facts.ptz.unwrap().presets_max == 8);
    let roles: Vec<_> = facts
        .profiles
        .iter()
        .map(|p| (p.role, p.token.as_str()))
        .collect();
    assert_eq!(roles, [(StreamRole::Main, "p1"), (StreamRole::Sub, "p2")]);
    let stream = facts.profiles[0].stream.as_ref().unwrap();
    assert_eq!(
        stream.to_string(),
        "rtsp://127.0.0.1:554/live?profile=1&x=2"
    );
    assert!(facts.profiles[1].snapshot.is_some());

    // Anonymous first, then the login once until it is accepted.
    let calls = device.calls();
    assert_eq!(
        calls[..3],
        [
            "GetSystemDateAndTime",
            "GetDeviceInformation",
            "GetDeviceInformation+login"
        ]
    );
    let stages: Vec<Stage> = attempt.stages.iter().map(|s| s.name).collect();
    assert!(stages.contains(&Stage::Describe) && stages.contains(&Stage::Authenticate));
}

#[tokio::test]
async fn a_clock_three_years_off() {
    for clock_offset_s in [-THREE_YEARS_S, THREE_YEARS_S] {
        let (_, attempt) = probed(Behaviour {
            clock_offset_s,
            ..Behaviour::default()
        })
        .await;
        assert_eq!(attempt.auth, AuthUse::Accepted);
        let seen = facts(&attempt).clock_offset_s.unwrap();
        assert!((seen - clock_offset_s).abs() <= 2, "{seen}");
    }
}

#[tokio::test]
async fn http_digest_where_http_asks_for_it() {
    let (device, attempt) = probed(Behaviour {
        asks: Asks::HttpDigest,
        ..Behaviour::default()
    })
    .await;
    assert_eq!(
        attempt.result.as_ref().unwrap().evidence,
        Evidence::Description
    );
    assert_eq!(facts(&attempt).login_by, Some(OnvifLogin::HttpDigest));
    assert_eq!(attempt.realm.as_deref(), Some("onvif"));
    assert_eq!(device.calls()[2], "GetDeviceInformation+login");
}

#[tokio::test]
async fn faults_with_status_200() {
    let (device, attempt) = probed(Behaviour {
        fault_status: "200 OK",
        ..Behaviour::default()
    })
    .await;
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert!(attempt.result.is_ok());
    assert_eq!(device.calls()[1], "GetDeviceInformation");

    let (device, attempt) = probed(Behaviour {
        asks: Asks::Refuses,
        fault_status: "200 OK",
        ..Behaviour::default()
    })
    .await;
    assert_eq!(
        (code(&attempt), attempt.auth),
        (ErrorCode::AuthFailed, AuthUse::Refused)
    );
    assert_eq!(device.logins(), 1, "a refused login is sent once");
    let error = attempt.result.unwrap_err();
    assert_eq!(error.stage, Stage::Authenticate);
    assert!(error.message.contains("Sender not Authorized"), "{error}");
    assert!(!error.message.contains("s3cret"));
}

#[tokio::test]
async fn a_device_that_wants_basic_in_clear_gets_nothing() {
    let device = Fake::start(Behaviour {
        asks: Asks::HttpBasic,
        ..Behaviour::default()
    })
    .await;
    let attempt = run(&device.target(Depth::Frame)).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert!(attempt.needs_cleartext_login);
    assert_eq!((attempt.auth, device.logins()), (AuthUse::NotSent, 0));

    let attempt = run(&Target {
        cleartext_login: true,
        ..device.target(Depth::Frame)
    })
    .await;
    assert!(attempt.result.is_ok());
    assert_eq!(facts(&attempt).login_by, Some(OnvifLogin::HttpBasic));
}

#[tokio::test]
async fn wrong_hosts_in_addresses() {
    for host in ["192.168.77.7", "0.0.0.0", "camera.local"] {
        let (device, attempt) = probed(Behaviour {
            host: Some(host),
            rtsp_port: 8554,
            ..Behaviour::default()
        })
        .await;
        let facts = facts(&attempt);
        let stream = facts.profiles[0].stream.as_ref().unwrap();
        assert_eq!(
            stream.to_string(),
            "rtsp://127.0.0.1:8554/live?profile=1&x=2"
        );
        let snapshot = facts.profiles[0].snapshot.as_ref().unwrap();
        assert_eq!(
            snapshot.to_string(),
            format!("http://{}/snap.jpg", device.address)
        );
    }
}

#[tokio::test]
async fn media_2_and_devices_that_need_no_login() {
    let (device, attempt) = probed(Behaviour {
        asks: Asks::Nothing,
        has_media2: true,
        ..Behaviour::default()
    })
    .await;
    assert_eq!(attempt.auth, AuthUse::NotSent);
    assert_eq!(facts(&attempt).login_by, None);
    assert_eq!(facts(&attempt).profiles.len(), 2);
    assert!(!device.calls().iter().any(|call| call == "GetCapabilities"));
}

#[tokio::test]
async fn its_own_account_where_there_is_one() {
    let device = Fake::start(Behaviour::default()).await;
    let mut target = device.target(Depth::Answer);
    target.onvif.login = target.login.replace(Credentials::new("device", "other"));
    let attempt = run(&target).await;
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert_eq!(device.calls().len(), 3, "{:?}", device.calls());
}

#[tokio::test]
async fn without_a_login_it_says_that_it_needs_one() {
    let device = Fake::start(Behaviour::default()).await;
    let target = Target {
        login: None,
        ..device.target(Depth::Answer)
    };
    let attempt = run(&target).await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::AuthRequired, Stage::Authenticate)
    );
    assert!(attempt.onvif.unwrap().clock_offset_s.unwrap().abs() <= 1);
}

#[tokio::test]
async fn what_is_no_onvif_is_told_from_what_is() {
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    let long = envelope(&"<a/>".repeat(200_000));
    for garbage in ["", "<html><body>hello", "\u{1}\u{2}", "<a/>", &deep, &long] {
        let (_, attempt) = probed(Behaviour {
            answers: vec![("GetSystemDateAndTime", garbage.to_owned())],
            ..Behaviour::default()
        })
        .await;
        assert_eq!(code(&attempt), ErrorCode::Protocol, "{garbage:.20}");
        assert_eq!(attempt.auth, AuthUse::NotSent);
    }
}

#[tokio::test]
async fn answers_without_what_they_should_hold() {
    let empty = |name: &'static str| (name, envelope(&format!("<{name}Response/>")));
    let all = [
        "GetSystemDateAndTime",
        "GetDeviceInformation",
        "GetServices",
        "GetCapabilities",
        "GetProfiles",
    ];
    let (_, attempt) = probed(Behaviour {
        answers: all.into_iter().map(empty).collect(),
        ..Behaviour::default()
    })
    .await;
    assert_eq!(attempt.result.as_ref().unwrap().evidence, Evidence::Answer);
    assert_eq!(facts(&attempt).clock_offset_s, None);
    assert!(facts(&attempt).profiles.is_empty());
}

#[tokio::test]
async fn extras_that_fail_cost_nothing() {
    let (_, attempt) = probed(Behaviour {
        answers: vec![("GetSnapshotUri", "garbage".into())],
        ..Behaviour::default()
    })
    .await;
    assert_eq!(
        attempt.result.as_ref().unwrap().evidence,
        Evidence::Description
    );
    assert_eq!(facts(&attempt).profiles[0].snapshot, None);
}

#[tokio::test]
async fn a_device_that_dies_stops_or_never_ends() {
    use crate::probe::http::tests::fake::{Fake as Web, Step, send};
    let head = |length: &str| {
        send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ))
    };
    // Before its first answer, and behind it.
    for calls_before in [0, 1] {
        for how in ["dies", "stops", "claims", "never ends"] {
            let seen = std::sync::atomic::AtomicUsize::new(0);
            let device = Web::start(move |_| {
                if seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < calls_before {
                    let clock = envelope("<GetSystemDateAndTimeResponse/>");
                    return vec![head(&clock.len().to_string()), send(clock)];
                }
                match how {
                    "dies" => vec![head("900"), send("<Envelope><Bo"), Step::Close],
                    "stops" => vec![head("900"), send("<Envelope><Bo"), Step::Hang],
                    "claims" => vec![head("18446744073709551615"), send("<Env"), Step::Close],
                    _ => vec![
                        send("HTTP/1.1 200 OK\r\n\r\n<Envelope>"),
                        Step::Repeat(b"<a></a>".repeat(10_000), Duration::ZERO),
                    ],
                }
            })
            .await;
            let mut target = device.target("/");
            let url = format!("onvif://{}", device.address);
            target.url = StreamUrl::parse(&url).unwrap().url;
            target.onvif.login = target.login.take();
            target.limits.answer = Duration::from_millis(400);
            let begun = std::time::Instant::now();
            let attempt = run(&target).await;
            let took = begun.elapsed();
            let error = attempt.result.unwrap_err();
            let is_known = match how {
                "stops" => error.code == ErrorCode::Timeout,
                "never ends" => matches!(error.code, ErrorCode::Timeout | ErrorCode::Protocol),
                _ => matches!(error.code, ErrorCode::Reset | ErrorCode::Protocol),
            };
            assert!(is_known, "{how} behind {calls_before}: {error:?}");
            assert!(
                took < target.limits.total,
                "{how} behind {calls_before}: {took:?}"
            );
        }
    }
}
