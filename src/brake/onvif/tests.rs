use super::super::{Brake, Errand};
use super::*;
use crate::model::{ConnectionType, Credentials, Evidence};
use crate::probe::onvif::fake::{Asks, Behaviour, Fake};
use crate::probe::rtsp::tests::fake as rtsp;

const ERRAND: Errand = Errand {
    locks: false,
    by_hand: true,
};

/// A camera whose streams want a login by digest, and never get a right one if `!accepts`.
fn camera(accepts: bool) -> rtsp::Fake {
    rtsp::Fake::start(move |request| {
        let is_in = accepts && request.contains("Authorization: Digest username=\"admin\"");
        match request.split(' ').next() {
            _ if !is_in => rtsp::Reply::text(
                "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"n\"\r\n\r\n",
            ),
            Some("DESCRIBE") => rtsp::describe_ok(),
            Some("SETUP") => rtsp::setup_ok(),
            Some("PLAY") => rtsp::play_ok(rtsp::rtp_idr(1)),
            _ => rtsp::ok(),
        }
    })
}

async fn device(stream: &rtsp::Fake, asks: Asks) -> Fake {
    Fake::start(Behaviour {
        asks,
        host: Some("192.168.77.7"),
        rtsp_port: stream.address.port(),
        ..Behaviour::default()
    })
    .await
}

#[tokio::test]
async fn pictures_are_proven_on_the_stream_that_the_device_names() {
    let stream = camera(true);
    let device = device(&stream, Asks::WsseDigest).await;
    let brake = Brake::for_one_run();
    let attempt = brake.run(device.target(Depth::Frame), ERRAND).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert_eq!(outcome.connection_type, ConnectionType::Onvif);
    assert!(outcome.url.to_string().starts_with("onvif://127.0.0.1:"));
    assert!(outcome.first_frame_ms.is_some());
    assert!(attempt.stages.iter().any(|s| s.name == Stage::FirstFrame));

    // The login is known now: it may be sent freely.
    let attempt = brake.run(device.target(Depth::Answer), ERRAND).await;
    assert_eq!(attempt.auth, AuthUse::Accepted);
}

#[tokio::test]
async fn the_two_account_lists_are_kept_apart() {
    let stream = camera(true);
    let device = device(&stream, Asks::Refuses).await;
    let brake = Brake::for_one_run();
    let explored = brake.explore(device.target(Depth::Answer), ERRAND).await;
    assert_eq!(explored.auth, AuthUse::Refused);
    let again = brake.explore(device.target(Depth::Answer), ERRAND).await;
    assert_eq!(again.result.unwrap_err().code, ErrorCode::AuthFailed);
    assert_eq!(device.logins(), 1, "a refused login is not sent again");

    let on_device = Target {
        url: StreamUrl::parse(&format!("rtsp://{}/live", stream.address))
            .unwrap()
            .url,
        ..device.target(Depth::Frame)
    };
    let attempt = brake.run(on_device, ERRAND).await;
    assert_eq!(attempt.auth, AuthUse::Accepted);
}

#[tokio::test]
async fn the_streams_login_is_the_devices_own() {
    let stream = camera(true);
    let device = device(&stream, Asks::WsseDigest).await;
    let mut target = device.target(Depth::Frame);
    // The fake's device account has the same name and another password.
    target.onvif.login = target.login.replace(Credentials::new("admin", "other"));
    let attempt = Brake::for_one_run().run(target, ERRAND).await;
    assert_eq!(attempt.result.unwrap().evidence, Evidence::KeyFrame);

    let shut = camera(false);
    let device = self::device(&shut, Asks::WsseDigest).await;
    let attempt = Brake::for_one_run()
        .run(device.target(Depth::Frame), ERRAND)
        .await;
    let error = attempt.result.unwrap_err();
    assert_eq!(error.code, ErrorCode::AuthFailed);
    assert!(error.message.starts_with("the stream that ONVIF names: "));
    assert_eq!(attempt.auth, AuthUse::Refused);
}

#[tokio::test]
async fn a_device_without_streams_is_said_to_have_none() {
    let device = Fake::start(Behaviour {
        answers: vec![(
            "GetProfiles",
            crate::probe::onvif::fake::envelope("<GetProfilesResponse/>"),
        )],
        ..Behaviour::default()
    })
    .await;
    let attempt = Brake::for_one_run()
        .run(device.target(Depth::Frame), ERRAND)
        .await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::NotFound, Stage::Describe)
    );
    assert!(attempt.onvif.unwrap().information.model.is_some());
}

#[tokio::test]
async fn text_travels_inside_tls_and_is_an_attempt_of_its_own() {
    let behaviour = || Behaviour {
        asks: Asks::WsseText,
        ..Behaviour::default()
    };
    let device = Fake::start_tls(behaviour()).await;
    let brake = Brake::for_one_run();
    let attempt = brake.run(device.target(Depth::Answer), ERRAND).await;
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert_eq!(attempt.onvif.unwrap().login_by, Some(OnvifLogin::WsseText));
    assert_eq!(device.logins(), 2, "the digest first");
    // What was accepted is sent at once from now on.
    brake.run(device.target(Depth::Answer), ERRAND).await;
    assert_eq!(device.logins(), 3);

    let device = Fake::start(behaviour()).await;
    let attempt = Brake::for_one_run()
        .run(device.target(Depth::Answer), ERRAND)
        .await;
    assert_eq!(attempt.auth, AuthUse::Refused);
    assert_eq!(device.logins(), 1, "never in clear");
}
