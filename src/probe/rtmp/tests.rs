//! The prober against small servers of our own on loopback. Faults are exact here; a real server
//! answers in the scenario tests.

mod fake;
mod hostile;

use std::time::Duration;

use self::fake::{Fake, Step, Steps, accept, command, control, start, status, video};
use super::*;
use crate::model::{AuthUse, Codec, Credentials, ErrorCode, Stage, StreamRole, StreamUrl};
use crate::policy::networks::AllowedNetworks;
use crate::probe::{Attempt, Limits, OnvifAccess, Trust, run};
use crate::wire::flv::fixtures::{HEVC_IDR, avc_header, avc_inter, avc_key, hevc_record, tag};
use crate::wire::rtmp::{ACKNOWLEDGEMENT, PING_REQUEST, STREAM_EOF, USER_CONTROL, WINDOW_SIZE};

fn target(fake: &Fake, depth: Depth) -> Target {
    let url = format!("rtmp://{}/live/cam1", fake.address);
    Target {
        url: StreamUrl::parse(&url).unwrap().url,
        role: StreamRole::Main,
        login: None,
        cleartext_login: false,
        onvif: OnvifAccess::default(),
        depth,
        limits: Limits {
            answer: Duration::from_millis(800),
            first_packet: Duration::from_millis(300),
            frame: Duration::from_millis(800),
            total: Duration::from_secs(8),
            ..Limits::default()
        },
        trust: Trust::FirstUse,
        networks: AllowedNetworks::parse(&["loopback"]).unwrap().into(),
        gate: None,
    }
}

/// The target with a login in its query.
fn with_login(fake: &Fake) -> Target {
    let url = format!(
        "rtmp://{}/bcs/channel0_main.bcs?channel=0&user={{user}}&password={{pass}}",
        fake.address
    );
    Target {
        url: StreamUrl::parse(&url).unwrap().url,
        login: Some(Credentials::new("admin", "s3cret/1")),
        cleartext_login: true,
        ..target(fake, Depth::Frame)
    }
}

async fn probe(fake: &Fake, depth: Depth) -> Attempt {
    run(&target(fake, depth)).await
}

fn failed(attempt: &Attempt) -> (ErrorCode, Stage) {
    let error = attempt.result.as_ref().unwrap_err();
    (error.code, error.stage)
}

/// Header and key frame, then 20 frames a second.
fn stream() -> Steps {
    let mut steps = vec![
        start(),
        Step::Send(video(0, &avc_header())),
        Step::Send(video(0, &avc_key())),
    ];
    steps.push(live());
    steps
}

/// 20 frames a second.
fn live() -> Step {
    Step::Repeat(video(0, &avc_inter()), Duration::from_millis(50))
}

#[tokio::test]
async fn each_depth_learns_what_it_must() {
    let mut fake = Fake::start(|name| accept(name, stream)).await;
    let outcome = probe(&fake, Depth::Connect).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::Answer);
    assert_eq!(fake.requests(), Vec::<String>::new());

    let outcome = probe(&fake, Depth::Answer).await.result.unwrap();
    assert_eq!(
        (outcome.evidence, outcome.first_frame_ms),
        (Evidence::Answer, None)
    );
    assert_eq!(
        (outcome.connection_type, outcome.transport),
        (ConnectionType::Rtmp, "tcp")
    );
    assert_eq!(fake.next_request().await, "connect live");
    assert_eq!(fake.next_request().await, "createStream");
    assert_eq!(fake.next_request().await, "play cam1");
    fake.wait_for("deleteStream").await;

    let attempt = probe(&fake, Depth::Window).await;
    assert!(attempt.answer_ms() <= attempt.duration_ms);
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert_eq!(outcome.media.codec, Some(Codec::H264));
    assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
    assert_eq!(outcome.media.announced_fps, Some(25.0));
    // All its timestamps are 0: the arrival counts.
    let fps = outcome.media.fps.unwrap();
    assert!((1.0..=20.5).contains(&fps), "{fps}");
    assert!(outcome.first_frame_ms.unwrap() >= outcome.response_time_ms);
    fake.wait_for("deleteStream").await;
}

#[tokio::test]
async fn pictures_of_before_prove_nothing() {
    let cached = || {
        let key = [video(0, &avc_header()), video(0, &avc_key())];
        let rest = (1..30).map(|n| video(n * 66, &avc_inter()));
        let tags = key.into_iter().chain(rest).map(Step::Send);
        [start()].into_iter().chain(tags).collect::<Steps>()
    };
    let frozen = Fake::start(move |name| accept(name, cached)).await;
    for depth in [Depth::Frame, Depth::Window] {
        let attempt = probe(&frozen, depth).await;
        assert_eq!(failed(&attempt), (ErrorCode::NoFrame, Stage::FirstFrame));
    }
    let live = Fake::start(move |name| accept(name, || [cached(), vec![live()]].concat())).await;
    assert!(probe(&live, Depth::Frame).await.result.is_ok());
    // What ends was stored.
    let ends = || vec![Step::Send(control(USER_CONTROL, Some(STREAM_EOF), &[1]))];
    let stored = Fake::start(move |name| accept(name, || [cached(), ends()].concat())).await;
    assert!(probe(&stored, Depth::Frame).await.result.is_ok());
}

#[tokio::test]
async fn h265_of_both_dialects_over_tls() {
    let record = hevc_record();
    let dialects = [
        (
            tag(&[0x1c, 0, 0, 0, 0], &record),
            tag(&[0x1c, 1, 0, 0, 0], HEVC_IDR),
        ),
        (tag(b"\x90hvc1", &record), tag(b"\x93hvc1", HEVC_IDR)),
    ];
    for (header, frame) in dialects {
        let fake = Fake::start_tls(move |name| {
            let playing = || {
                let tags = [&header, &frame].map(|body| Step::Send(video(0, body)));
                let next = Step::Repeat(video(0, &frame), Duration::from_millis(50));
                [vec![start()], tags.into(), vec![next]].concat()
            };
            accept(name, playing)
        })
        .await;
        let mut target = target(&fake, Depth::Frame);
        target.url.scheme = Scheme::Rtmps;
        let outcome = run(&target).await.result.unwrap();
        assert_eq!(outcome.media.codec, Some(Codec::H265));
        assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
        assert_eq!(outcome.transport, "tls");
        // The same certificate again, and another one.
        target.trust = Trust::Pinned(outcome.certificate.unwrap().sha256);
        assert!(run(&target).await.result.is_ok());
        target.trust = Trust::Pinned("00".repeat(32));
        assert_eq!(failed(&run(&target).await), (ErrorCode::Tls, Stage::Tls));
    }
}

#[tokio::test]
async fn refusals_have_their_codes() {
    for (level, code, text, want) in [
        (
            "error",
            "NetStream.Play.StreamNotFound",
            "",
            ErrorCode::NotFound,
        ),
        (
            "status",
            "NetStream.Play.StreamNotFound",
            "",
            ErrorCode::NotFound,
        ),
        (
            "error",
            "NetStream.Play.Failed",
            "authentication failed",
            ErrorCode::AuthRequired,
        ),
        (
            "error",
            "NetStream.Play.Failed",
            "too many viewers",
            ErrorCode::Busy,
        ),
        ("error", "NetStream.Play.Failed", "", ErrorCode::Protocol),
    ] {
        let refusal = status("onStatus", 0.0, level, code, text);
        let fake =
            Fake::start(move |name| accept(name, || vec![Step::Send(refusal.clone())])).await;
        let attempt = probe(&fake, Depth::Frame).await;
        assert_eq!(failed(&attempt), (want, Stage::Describe), "{code} {text}");
        assert_eq!(attempt.auth, AuthUse::NotSent);
    }
    let rejected = || {
        let text = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ]";
        let code = "NetConnection.Connect.Rejected";
        vec![Step::Send(status("_error", 1.0, "error", code, text))]
    };
    let fake = Fake::start(move |_| rejected()).await;
    let attempt = probe(&fake, Depth::Frame).await;
    assert_eq!(failed(&attempt), (ErrorCode::AuthRequired, Stage::Describe));
}

#[tokio::test]
async fn a_login_in_the_url_is_sent_and_judged() {
    let mut fake = Fake::start(|name| accept(name, stream)).await;
    let attempt = run(&with_login(&fake)).await;
    assert_eq!(attempt.auth, AuthUse::Accepted);
    let outcome = attempt.result.unwrap();
    assert!(!format!("{outcome:?}").contains("s3cret"));
    assert_eq!(fake.next_request().await, "connect bcs");
    let play = fake.wait_for("play").await;
    assert_eq!(
        play,
        "play channel0_main.bcs?channel=0&user=admin&password=s3cret%2F1"
    );

    let refusal = status(
        "onStatus",
        0.0,
        "error",
        "NetStream.Play.Failed",
        "invalid password",
    );
    let fake = Fake::start(move |name| accept(name, || vec![Step::Send(refusal.clone())])).await;
    let attempt = run(&with_login(&fake)).await;
    assert_eq!(
        failed(&attempt),
        (ErrorCode::AuthFailed, Stage::Authenticate)
    );
    assert_eq!(attempt.auth, AuthUse::Refused);
}

#[tokio::test]
async fn a_login_stays_here_without_leave_and_without_end() {
    let mut fake = Fake::start(|name| accept(name, stream)).await;
    let mut target = with_login(&fake);
    target.cleartext_login = false;
    let attempt = run(&target).await;
    assert_eq!(failed(&attempt).0, ErrorCode::AuthRequired);
    assert!(attempt.needs_cleartext_login);
    target.login = None;
    assert_eq!(failed(&run(&target).await).0, ErrorCode::AuthRequired);
    assert_eq!(fake.requests(), Vec::<String>::new());

    let mute = Fake::start(|_| vec![]).await;
    let attempt = run(&with_login(&mute)).await;
    assert_eq!(failed(&attempt), (ErrorCode::Timeout, Stage::Describe));
    assert_eq!(attempt.auth, AuthUse::SentNoVerdict);
}

#[tokio::test]
async fn streams_without_a_key_frame() {
    let inter = || Step::Repeat(video(0, &avc_inter()), Duration::from_millis(20));
    let sound = || {
        let mut sound = video(0, b"sound");
        sound[7] = 8;
        Step::Repeat(sound, Duration::from_millis(20))
    };
    let header = || Step::Send(video(0, &avc_header()));
    let unpublished = || {
        let code = "NetStream.Play.UnpublishNotify";
        Step::Send(status("onStatus", 0.0, "status", code, ""))
    };
    let end = || Step::Send(control(USER_CONTROL, Some(STREAM_EOF), &[1]));
    for (steps, stage, word) in [
        (vec![], Stage::FirstPacket, "sends no video"),
        (vec![sound()], Stage::FirstPacket, "sends no video"),
        (vec![header()], Stage::FirstFrame, "1 video tags"),
        (
            vec![header(), inter()],
            Stage::FirstFrame,
            "no whole key frame",
        ),
        (
            vec![header(), unpublished()],
            Stage::FirstFrame,
            "ended the stream",
        ),
        (vec![end()], Stage::FirstPacket, "ended the stream"),
    ] {
        let fake =
            Fake::start(move |name| accept(name, || [vec![start()], steps.clone()].concat())).await;
        let attempt = probe(&fake, Depth::Frame).await;
        assert_eq!(failed(&attempt), (ErrorCode::NoFrame, stage), "{word}");
        let message = attempt.result.unwrap_err().message;
        assert!(message.contains(word), "{message}");
    }
    let fake =
        Fake::start(|name| accept(name, || vec![start(), Step::Send(video(0, &[0x12, 0, 0]))]))
            .await;
    let attempt = probe(&fake, Depth::Frame).await;
    assert_eq!(failed(&attempt).0, ErrorCode::UnsupportedCodec);
}

#[tokio::test]
async fn pings_are_answered_and_windows_acknowledged() {
    let empty = tag(&[0x27, 1, 0, 0, 0], &[0; 1000]);
    let mut fake = Fake::start(move |name| {
        accept(name, || {
            vec![
                Step::Send(control(WINDOW_SIZE, None, &[4000])),
                Step::Send(control(USER_CONTROL, Some(PING_REQUEST), &[77])),
                start(),
                Step::Repeat(video(0, &empty), Duration::from_millis(20)),
            ]
        })
    })
    .await;
    let attempt = probe(&fake, Depth::Frame).await;
    assert_eq!(failed(&attempt).0, ErrorCode::NoFrame);
    let requests = fake.requests();
    assert!(
        requests.contains(&"4 [0, 7, 0, 0, 0, 77]".to_owned()),
        "{requests:?}"
    );
    let acknowledged = format!("{ACKNOWLEDGEMENT} [");
    let count = requests
        .iter()
        .filter(|r| r.starts_with(&acknowledged))
        .count();
    assert!(count >= 3, "{requests:?}");
}

#[tokio::test]
async fn servers_with_manners_of_their_own() {
    // Answers without transactions, no word that it plays, a status before it does.
    let fake = Fake::start(|name| match name {
        "connect" => vec![
            Step::Send(command("onBWDone", 0.0, &[])),
            Step::Send(status(
                "_result",
                0.0,
                "status",
                "NetConnection.Connect.Success",
                "",
            )),
        ],
        "createStream" => vec![Step::Send(command("_result", 0.0, &[]))],
        "play" => vec![
            Step::Send(status(
                "onStatus",
                0.0,
                "status",
                "NetStream.Play.Reset",
                "",
            )),
            Step::Send(video(0, &avc_header())),
            Step::Send(video(0, &avc_key())),
            live(),
        ],
        _ => vec![],
    })
    .await;
    let outcome = probe(&fake, Depth::Frame).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
}
