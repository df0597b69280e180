//! Against a scripted server on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::model::{AuthUse, Codec};
use crate::probe::http::tests::fake::{Fake, Step, answer, digest_is_right, is_authorized, send};
use crate::probe::http::tests::{DIGEST, code, message};
use crate::probe::{Attempt, run};
use crate::wire::mp4::fixtures::{fragment, initialisation};
use crate::wire::ts::fixtures::h264;

fn listing(sequence: usize, tail: &str) -> Vec<u8> {
    format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXTINF:1,\ns{sequence}.ts\n{tail}"
    )
    .into_bytes()
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn ok(body: &[u8]) -> Vec<Step> {
    answer("200 OK", "", body)
}

fn missing() -> Vec<Step> {
    answer("404 Not Found", "", b"no")
}

/// A stream whose playlist moves each time it is read; anything else is its segment.
fn live(head: &str, reads: &AtomicUsize, segment: &[u8]) -> Vec<Step> {
    match path(head).ends_with(".m3u8") {
        true => ok(&listing(reads.fetch_add(1, Ordering::Relaxed), "")),
        false => ok(segment),
    }
}

async fn live_camera() -> Fake {
    let reads = AtomicUsize::new(7);
    Fake::start(move |head| live(head, &reads, &h264(60, 30_000))).await
}

async fn probed(script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> (Fake, Attempt) {
    let camera = Fake::start(script).await;
    let attempt = run(&camera.target("/live/cam.m3u8")).await;
    (camera, attempt)
}

#[tokio::test]
async fn each_depth_learns_what_it_must() {
    let camera = live_camera().await;
    let mut target = camera.target("/live/cam.m3u8");
    for (depth, evidence, requests) in [
        (Depth::Connect, Evidence::Answer, 0),
        (Depth::Answer, Evidence::Description, 1),
        (Depth::Frame, Evidence::KeyFrame, 4),
        (Depth::Window, Evidence::KeyFrame, 7),
    ] {
        target.depth = depth;
        let attempt = run(&target).await;
        let outcome = attempt.result.unwrap();
        assert_eq!(outcome.connection_type, ConnectionType::Hls);
        assert_eq!(
            (outcome.evidence, camera.requests().len()),
            (evidence, requests)
        );
        let has_frame = depth >= Depth::Frame;
        assert_eq!(outcome.first_frame_ms.is_some(), has_frame);
        if has_frame {
            assert_eq!(outcome.media.codec, Some(Codec::H264));
            assert_eq!(outcome.media.resolution().as_deref(), Some("2560x1440"));
        }
        if depth == Depth::Window {
            assert_eq!(
                (outcome.media.fps, outcome.media.announced_fps),
                (Some(25.0), Some(15.0))
            );
        }
    }
    assert!(camera.requests()[2].starts_with("GET /live/s8.ts HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_playlist_behind_any_web_address() {
    let reads = AtomicUsize::new(0);
    let segment = h264(5, 900);
    let camera = Fake::start(move |head| match path(head) {
        "/stream" => ok(&listing(reads.fetch_add(1, Ordering::Relaxed), "")),
        _ => ok(&segment),
    })
    .await;
    let attempt = run(&camera.target("/stream")).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(
        (outcome.connection_type, outcome.evidence),
        (ConnectionType::Hls, Evidence::KeyFrame)
    );
}

#[tokio::test]
async fn the_best_variant_with_its_fragments() {
    const MASTER: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,RESOLUTION=64x36\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=99,FRAME-RATE=25\nhigh/list.m3u8?t=1\n";
    let reads = AtomicUsize::new(0);
    let (camera, attempt) = probed(move |head| match path(head) {
        "/live/cam.m3u8" => ok(MASTER.as_bytes()),
        "/live/high/list.m3u8?t=1" => {
            let n = reads.fetch_add(1, Ordering::Relaxed);
            let text = format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{n}\n#EXT-X-MAP:URI=\"/all.mp4\",BYTERANGE=\"{}@3\"\n#EXTINF:1,\n{n}.m4s\n",
                initialisation().len()
            );
            ok(text.as_bytes())
        }
        // A server that knows nothing of ranges.
        "/all.mp4" => ok(&[b"xyz", initialisation().as_slice(), b"more"].concat()),
        "/live/high/0.m4s" => ok(&fragment(0, 25)),
        _ => missing(),
    })
    .await;
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
    assert_eq!(outcome.media.fps, Some(25.0));
    assert!(outcome.url.path.ends_with("/live/cam.m3u8"));
    let ranged = camera
        .requests()
        .into_iter()
        .find(|r| r.contains("/all.mp4"));
    assert!(ranged.unwrap().contains("\r\nRange: bytes=3-"));
}

#[tokio::test]
async fn the_login_goes_with_every_request_and_is_judged_once() {
    let reads = AtomicUsize::new(0);
    let segment = h264(5, 900);
    let (camera, attempt) = probed(move |head| match is_authorized(head) {
        true if digest_is_right(head) => live(head, &reads, &segment),
        true => answer("403 Forbidden", "", b""),
        false => answer("401 Unauthorized", DIGEST, b""),
    })
    .await;
    assert_eq!(attempt.result.unwrap().evidence, Evidence::KeyFrame);
    assert_eq!(attempt.auth, AuthUse::Accepted);
    // One without; then playlist, segment, playlist.
    assert_eq!((camera.requests().len(), camera.logins()), (4, 3));
}

#[tokio::test]
async fn a_wrong_login_is_sent_once() {
    let (camera, attempt) = probed(|_| answer("401 Unauthorized", DIGEST, b"")).await;
    assert_eq!(
        (code(&attempt), attempt.auth),
        (ErrorCode::AuthFailed, AuthUse::Refused)
    );
    assert_eq!(attempt.result.unwrap_err().stage, Stage::Authenticate);
    assert_eq!(camera.logins(), 1);
}

#[tokio::test]
async fn the_login_stays_with_its_host() {
    let elsewhere = Fake::start_at("127.0.0.2", None, |_| ok(&h264(5, 900))).await;
    let at = elsewhere.address;
    let reads = AtomicUsize::new(0);
    let (_, attempt) = probed(move |head| match is_authorized(head) {
        true => {
            let n = reads.fetch_add(1, Ordering::Relaxed);
            ok(format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{n}\nhttp://{at}/s.ts\n"
            )
            .as_bytes())
        }
        false => answer("401 Unauthorized", DIGEST, b""),
    })
    .await;
    assert!(attempt.result.is_ok());
    assert_eq!((elsewhere.requests().len(), elsewhere.logins()), (1, 0));
}

#[tokio::test]
async fn what_is_missing_is_not_found() {
    let (_, attempt) = probed(|_| missing()).await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::NotFound, Stage::Describe)
    );

    // A segment that is listed and gone: the list is read again, once.
    let (camera, attempt) = probed(|head| match path(head).ends_with(".m3u8") {
        true => ok(&listing(3, "")),
        false => missing(),
    })
    .await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::NotFound, Stage::FirstPacket)
    );
    assert_eq!(camera.requests().len(), 4);
}

#[tokio::test]
async fn a_playlist_that_stands_still() {
    let segment = h264(5, 900);
    let (_, attempt) = probed(move |head| match path(head).ends_with(".m3u8") {
        true => ok(&listing(3, "")),
        false => ok(&segment),
    })
    .await;
    assert!(message(&attempt).contains("stands still"));
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::NoFrame, Stage::Sample)
    );
}

#[tokio::test]
async fn a_target_duration_beyond_the_probes_time_proves_nothing() {
    let segment = h264(5, 900);
    let camera = Fake::start(move |head| match path(head).ends_with(".m3u8") {
        true => ok(b"#EXTM3U\n#EXT-X-TARGETDURATION:30\n#EXTINF:30,\ns.ts\n"),
        false => ok(&segment),
    })
    .await;
    let mut target = camera.target("/live/cam.m3u8");
    target.limits.total = Duration::from_millis(1500);
    let attempt = run(&target).await;
    assert_eq!(attempt.result.unwrap().evidence, Evidence::Picture);
}

#[tokio::test]
async fn the_servers_own_dates_tell_of_a_dead_encoder_at_once() {
    const OLD: &str =
        "Date: Mon, 01 Jun 2026 12:10:00 GMT\r\nLast-Modified: Mon, 01 Jun 2026 12:00:00 GMT\r\n";
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    let camera = Fake::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        answer("200 OK", OLD, &listing(3, ""))
    })
    .await;
    let mut target = camera.target("/live/cam.m3u8");
    target.depth = Depth::Answer;
    let attempt = run(&target).await;
    assert!(
        message(&attempt).contains("for 600 s"),
        "{}",
        message(&attempt)
    );
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::NoFrame, Stage::FirstPacket)
    );

    // Wrong dates on a list that moves.
    let camera = Fake::start(move |_| {
        answer(
            "200 OK",
            OLD,
            &listing(reads.fetch_add(1, Ordering::Relaxed), ""),
        )
    })
    .await;
    target.url = camera.target("/live/cam.m3u8").url;
    assert!(run(&target).await.result.is_ok());
}

#[tokio::test]
async fn an_empty_playlist_is_waited_for() {
    let empty = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n";
    let camera = Fake::start(|_| ok(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n")).await;
    let mut target = camera.target("/live/cam.m3u8");
    target.limits.frame = Duration::from_millis(1500);
    let attempt = run(&target).await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::NoFrame, Stage::FirstPacket)
    );

    let reads = AtomicUsize::new(0);
    let segment = h264(5, 900);
    let (_, attempt) = probed(move |head| match path(head).ends_with(".m3u8") {
        true => match reads.fetch_add(1, Ordering::Relaxed) {
            0 => ok(empty),
            n => ok(&listing(n, "")),
        },
        false => ok(&segment),
    })
    .await;
    assert_eq!(attempt.result.unwrap().evidence, Evidence::KeyFrame);
}

#[tokio::test]
async fn recordings_are_accepted_and_ended_streams_are_not() {
    for (tail, is_alive) in [
        ("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-ENDLIST\n", true),
        ("#EXT-X-ENDLIST\n", false),
    ] {
        let segment = h264(5, 900);
        let (_, attempt) = probed(move |head| match path(head).ends_with(".m3u8") {
            true => ok(&listing(0, tail)),
            false => ok(&segment),
        })
        .await;
        match is_alive {
            true => assert_eq!(attempt.result.unwrap().evidence, Evidence::KeyFrame),
            false => assert_eq!(code(&attempt), ErrorCode::NoFrame),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_named() {
    let encrypted: &[u8] = b"#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:1,\ns.ts\n";
    let sound: &[u8] = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"mp4a.40.2\"\na.m3u8\n";
    for (list, segment, want, word) in [
        (
            encrypted,
            &b""[..],
            ErrorCode::UnsupportedCodec,
            "encrypted segments (AES-128)",
        ),
        (sound, b"", ErrorCode::UnsupportedCodec, "without video"),
        (
            b"<html>login</html>",
            b"",
            ErrorCode::Protocol,
            "no HLS playlist",
        ),
        (
            &listing(0, ""),
            b"ID3\x04 and sound",
            ErrorCode::UnsupportedCodec,
            "without video",
        ),
        (
            &listing(0, ""),
            &[7; 2000],
            ErrorCode::Protocol,
            "no MPEG transport stream",
        ),
        (
            &listing(0, ""),
            b"<html>login</html>",
            ErrorCode::Protocol,
            "a web page",
        ),
        (
            &listing(0, ""),
            &fragment(0, 3),
            ErrorCode::Protocol,
            "before its initialisation",
        ),
        (&listing(0, ""), &[], ErrorCode::NoFrame, "no key frame"),
    ] {
        let (list, segment) = (list.to_vec(), segment.to_vec());
        let (_, attempt) = probed(move |head| match path(head) {
            "/live/cam.m3u8" => ok(&list),
            _ => ok(&segment),
        })
        .await;
        assert_eq!(code(&attempt), want, "{}", message(&attempt));
        assert!(message(&attempt).contains(word), "{}", message(&attempt));
    }
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle() {
    let segment = h264(5, 90_000);
    let (_, attempt) = probed(move |head| match path(head).ends_with(".m3u8") {
        true => ok(&listing(0, "")),
        false => vec![
            send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
            send(&segment[..50_000]),
            Step::Close,
        ],
    })
    .await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::Reset, Stage::FirstFrame)
    );
}

#[tokio::test]
async fn a_segment_that_stops_coming() {
    let segment = h264(5, 90_000);
    let camera = Fake::start(move |head| match path(head).ends_with(".m3u8") {
        true => ok(&listing(0, "")),
        false => vec![
            send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
            send(&segment[..50_000]),
            Step::Hang,
        ],
    })
    .await;
    let mut target = camera.target("/live/cam.m3u8");
    target.limits.frame = Duration::from_millis(500);
    let attempt = run(&target).await;
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (error.code, error.stage),
        (ErrorCode::NoFrame, Stage::FirstFrame)
    );
}

#[tokio::test]
async fn hostile_lengths_are_refused() {
    // A playlist without an end.
    let (_, attempt) = probed(|_| {
        vec![
            send("HTTP/1.1 200 OK\r\n\r\n#EXTM3U\n"),
            Step::Repeat(
                "#EXTINF:1,\nx.ts\n".repeat(4096).into_bytes(),
                Duration::ZERO,
            ),
        ]
    })
    .await;
    assert_eq!(code(&attempt), ErrorCode::Protocol);
    assert!(
        message(&attempt).contains("more than"),
        "{}",
        message(&attempt)
    );
    // A segment that lies before its own playlist's place, with a range beyond all numbers.
    let list: &[u8] =
        b"#EXTM3U\n#EXT-X-BYTERANGE:18446744073709551615@18446744073709551615\n../../../s.ts\n";
    let (_, attempt) = probed(move |head| match path(head) {
        "/live/cam.m3u8" => ok(list),
        "/s.ts" => ok(&h264(5, 900)),
        _ => missing(),
    })
    .await;
    assert_eq!(code(&attempt), ErrorCode::NoFrame);
}
