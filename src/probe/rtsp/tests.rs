//! The prober against small cameras of our own on loopback. Faults are exact here; real servers
//! answer in the scenario tests.

pub(crate) mod fake;
mod login;
mod playing;

use std::time::Duration;

use self::fake::{Fake, Reply, describe_ok, frame, ok, play_ok, rtp_idr, rtp_p, setup_ok};
use super::*;
use crate::model::{Codec, Credentials, StreamRole};
use crate::policy::networks::AllowedNetworks;
use crate::probe::{Attempt, Limits, OnvifAccess, Trust};

const DIGEST: &str = r#"Digest realm="cam", nonce="abc123""#;

fn limits() -> Limits {
    Limits {
        answer: Duration::from_millis(400),
        first_packet: Duration::from_millis(200),
        frame: Duration::from_millis(400),
        total: Duration::from_secs(3),
        ..Limits::default()
    }
}

fn target(fake: &Fake, login: Option<(&str, &str)>, depth: Depth) -> Target {
    let url = format!("rtsp://{}/live", fake.address);
    Target {
        url: StreamUrl::parse(&url).unwrap().url,
        role: StreamRole::Main,
        login: login.map(|(user, pass)| Credentials::new(user, pass)),
        cleartext_login: false,
        onvif: OnvifAccess::default(),
        depth,
        limits: limits(),
        trust: Trust::FirstUse,
        networks: AllowedNetworks::parse(&["loopback"]).unwrap().into(),
        gate: None,
    }
}

async fn probe_answer(fake: &Fake, login: Option<(&str, &str)>) -> Attempt {
    crate::probe::run(&target(fake, login, Depth::Answer)).await
}

fn code(attempt: &Attempt) -> ErrorCode {
    attempt.result.as_ref().unwrap_err().code
}

fn unauthorized(challenges: &[&str]) -> Reply {
    let mut text = "RTSP/1.0 401 Unauthorized\r\n".to_owned();
    for challenge in challenges {
        text += &format!("WWW-Authenticate: {challenge}\r\n");
    }
    Reply::text(text + "\r\n")
}

#[tokio::test]
async fn an_open_camera_is_described() {
    let mut fake = Fake::start(|_| describe_ok());
    let attempt = probe_answer(&fake, Some(("admin", "hunter2"))).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::Description);
    assert_eq!(outcome.media.codec, Some(Codec::H264));
    assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
    assert_eq!(outcome.media.fps, Some(25.0));
    assert_eq!(outcome.transport, "tcp");
    assert_eq!(attempt.auth, AuthUse::NotSent);
    assert_eq!(attempt.server.as_deref(), Some("Fake/1"));
    let request = fake.next_request().await;
    assert!(request.contains("\r\nUser-Agent: OhmVision/"), "{request}");
    assert!(
        request.contains("\r\nAccept: application/sdp\r\n"),
        "{request}"
    );
    assert!(!request.contains("Authorization"), "{request}");
}

#[tokio::test]
async fn connect_alone_sends_nothing() {
    let mut fake = Fake::start(|_| describe_ok());
    let attempt = crate::probe::run(&target(&fake, None, Depth::Connect)).await;
    assert_eq!(attempt.result.unwrap().evidence, Evidence::Answer);
    assert_eq!(fake.all_requests().await, Vec::<String>::new());
}

#[tokio::test]
async fn redirects_are_followed_three_times() {
    let redirect = |number: u32| {
        Reply::text(format!(
            "RTSP/1.0 302 Moved\r\nLocation: /next{number}\r\n\r\n"
        ))
    };
    let mut hops = 0;
    let fake = Fake::start(move |_| {
        hops += 1;
        if hops <= 3 {
            redirect(hops)
        } else {
            describe_ok()
        }
    });
    let outcome = probe_answer(&fake, None).await.result.unwrap();
    assert_eq!(outcome.url.path, "/next3");

    let mut looping = Fake::start(move |_| redirect(1));
    let attempt = probe_answer(&looping, None).await;
    assert_eq!(code(&attempt), ErrorCode::RedirectLoop);
    assert_eq!(looping.all_requests().await.len(), 4);
}

#[tokio::test]
async fn statuses_have_their_codes() {
    for (status, want) in [
        (404, ErrorCode::NotFound),
        (454, ErrorCode::NotFound),
        (453, ErrorCode::Busy),
        (503, ErrorCode::Busy),
        (400, ErrorCode::Protocol),
        (500, ErrorCode::Protocol),
        (551, ErrorCode::Protocol),
        (403, ErrorCode::AuthRequired),
    ] {
        let fake = Fake::start(move |_| Reply::text(format!("RTSP/1.0 {status} X\r\n\r\n")));
        let attempt = probe_answer(&fake, None).await;
        assert_eq!(code(&attempt), want, "{status}");
    }
    let web = Fake::start(|_| Reply::text("HTTP/1.1 404 Not Found\r\n\r\n<html>"));
    let error = probe_answer(&web, None).await.result.unwrap_err();
    assert_eq!(error.code, ErrorCode::Protocol);
    assert!(error.message.contains("web server"), "{error}");
}

#[tokio::test]
async fn descriptions_that_are_no_use() {
    let with_body = |body: &'static str| {
        Fake::start(move |_| {
            let length = body.len();
            Reply::text(format!(
                "RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
        })
    };
    for (body, want) in [
        ("%$garbage\0", ErrorCode::Protocol),
        ("", ErrorCode::Protocol),
        (
            "v=0\r\nm=audio 0 RTP/AVP 8\r\n",
            ErrorCode::UnsupportedCodec,
        ),
        (
            "v=0\r\nm=video 0 RTP/AVP 97\r\na=rtpmap:97 MP4V-ES/90000\r\n",
            ErrorCode::UnsupportedCodec,
        ),
    ] {
        let attempt = probe_answer(&with_body(body), None).await;
        assert_eq!(code(&attempt), want, "{body}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_read_after_silence() {
    let fake = Fake::start(|_| {
        Reply::text("RTSP/1.0 200 OK\r\nContent-Length: 999\r\n\r\nv=0\r\nm=video 0 RTP/AVP 26\r\n")
    });
    let mut target = target(&fake, None, Depth::Answer);
    target.limits.answer = Duration::from_secs(2);
    let outcome = crate::probe::run(&target).await.result.unwrap();
    assert_eq!(outcome.media.codec, Some(Codec::Mjpeg));
}

#[tokio::test]
async fn endless_answers_end_at_their_bound() {
    for (start, filling) in [
        ("RTSP/1.0 200 OK\r\n", "X-Fill: xxxxxxxxxxxxxxxxxxxxxx\r\n"),
        ("RTSP/1.0 200 OK\r\nX-Fill: ", "xxxxxxxxxxxxxxxxxxx"),
        (
            "RTSP/1.0 200 OK\r\nContent-Length: 4000000000\r\n\r\n",
            "a=xxxxxxxxxxxxxx\r\n",
        ),
        (
            "RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\n",
            "a=xxxxxxxxxxxxxx\r\n",
        ),
    ] {
        let fake = Fake::start(move |_| Reply::endless(start, filling));
        let error = probe_answer(&fake, None).await.result.unwrap_err();
        assert_eq!(error.code, ErrorCode::Protocol, "{start}");
        assert!(error.message.contains("65536 bytes"), "{error}");
    }
    let frames = Fake::start(|_| Reply::endless("", "$\u{1}\0\u{4}abcd"));
    // Thousands of them to the bound: a slow machine needs its time.
    let mut patient = target(&frames, None, Depth::Answer);
    (patient.limits.answer, patient.limits.total) =
        (Duration::from_secs(20), Duration::from_secs(20));
    let error = crate::probe::run(&patient).await.result.unwrap_err();
    assert_eq!(error.code, ErrorCode::Protocol);

    let setup = Fake::start(|request| match request.starts_with("SETUP") {
        true => Reply::endless("RTSP/1.0 200 OK\r\n", "X-Fill: xxxxxxxxxxxxxxx\r\n"),
        false => describe_ok(),
    });
    let attempt = crate::probe::run(&target(&setup, None, Depth::Frame)).await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::Protocol, Stage::Start)
    );
}

#[tokio::test]
async fn a_drip_of_bytes_does_not_hold_the_probe() {
    let fake = Fake::start(|_| Reply::drip("RTSP/1.0 200 OK\r\nContent-Length: 500\r\n\r\nv=0"));
    let started = std::time::Instant::now();
    let attempt = probe_answer(&fake, None).await;
    assert_eq!(code(&attempt), ErrorCode::Timeout);
    let took = started.elapsed();
    assert!(
        took >= limits().answer && took < Duration::from_secs(2),
        "{took:?}"
    );
}

#[tokio::test]
async fn silence_is_a_timeout_and_a_closed_door_a_reset() {
    let silent = Fake::start(|_| Reply::text(""));
    assert_eq!(code(&probe_answer(&silent, None).await), ErrorCode::Timeout);
    let closing = Fake::start(|_| Reply::text("").then_close());
    assert_eq!(code(&probe_answer(&closing, None).await), ErrorCode::Reset);
}
