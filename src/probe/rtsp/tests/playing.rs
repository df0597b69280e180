//! Sessions with media, and how they end.

use super::*;

#[tokio::test]
async fn inside_tls_all_of_it_works_and_basic_may_be_sent() {
    let mut fake = Fake::start_tls(|request| {
        if !request.contains("Authorization: Basic ") {
            return unauthorized(&[r#"Basic realm="cam""#]);
        }
        match request.split(' ').next() {
            Some("DESCRIBE") => describe_ok(),
            Some("SETUP") => setup_ok(),
            Some("PLAY") => play_ok(rtp_idr(1)),
            _ => ok(),
        }
    });
    let mut target = target(&fake, Some(("admin", "x")), Depth::Frame);
    target.url.scheme = Scheme::Rtsps;
    let outcome = crate::probe::run(&target).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert_eq!(outcome.transport, "tls");
    assert_eq!(outcome.certificate.unwrap().sha256.len(), 64);
    let requests = fake.all_requests().await;
    assert!(requests.iter().all(|r| r.contains(" rtsps://127.0.0.1:")));
    assert!(requests.last().unwrap().starts_with("TEARDOWN "));
}

/// DESCRIBE and SETUP as usual; PLAY answers with these frames behind it.
fn playing(frames: impl Fn() -> Vec<u8> + Send + 'static) -> Fake {
    Fake::start(move |request| match request.split(' ').next() {
        Some("DESCRIBE") => describe_ok(),
        Some("SETUP") => setup_ok(),
        Some("PLAY") => play_ok(frames()),
        _ => ok(),
    })
}

#[tokio::test]
async fn the_first_whole_key_frame_is_the_proof() {
    let mut fake = playing(|| [rtp_p(1), rtp_idr(2), rtp_p(3)].concat());
    let attempt = crate::probe::run(&target(&fake, None, Depth::Frame)).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert!(outcome.first_frame_ms.unwrap() >= outcome.response_time_ms);
    assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
    let requests = fake.all_requests().await;
    let methods: Vec<_> = requests
        .iter()
        .filter_map(|r| r.split(' ').next())
        .collect();
    assert_eq!(methods, ["DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]);
    let base = format!("rtsp://{}/live", fake.address);
    assert!(requests[1].starts_with(&format!("SETUP {base}/trackID=1 ")));
    assert!(requests[1].contains("\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"));
    for request in &requests[2..] {
        assert!(request.contains("\r\nSession: 12AB\r\n"), "{request}");
        assert!(request.split(' ').nth(1).unwrap().starts_with(&base));
    }
}

#[tokio::test]
async fn packets_may_come_before_the_answer_to_play() {
    let fake = Fake::start(|request| match request.split(' ').next() {
        Some("DESCRIBE") => describe_ok(),
        Some("SETUP") => setup_ok(),
        Some("PLAY") => {
            let early = frame(9, &rtp_idr(1));
            Reply::bytes([early, rtp_idr(1), play_ok(vec![]).into_bytes()].concat())
        }
        _ => ok(),
    });
    let attempt = crate::probe::run(&target(&fake, None, Depth::Frame)).await;
    assert!(attempt.result.is_ok(), "{:?}", attempt.result);
}

#[tokio::test]
async fn a_session_without_video_is_no_frame_and_is_torn_down() {
    for frames in [vec![], rtp_p(1)] {
        let mut fake = playing(move || frames.clone());
        let attempt = crate::probe::run(&target(&fake, None, Depth::Frame)).await;
        assert_eq!(code(&attempt), ErrorCode::NoFrame);
        let requests = fake.all_requests().await;
        assert!(requests.last().unwrap().starts_with("TEARDOWN "));
    }
}

#[tokio::test]
async fn a_probe_that_is_dropped_still_tears_down() {
    let mut fake = playing(Vec::new);
    let mut target = target(&fake, None, Depth::Frame);
    target.limits.first_packet = Duration::from_secs(60);
    target.limits.total = Duration::from_secs(60);
    let probe = tokio::spawn(async move { crate::probe::run(&target).await });
    while !fake.next_request().await.starts_with("PLAY ") {}
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    let request = tokio::time::timeout(Duration::from_secs(5), fake.next_request());
    assert!(request.await.unwrap().starts_with("TEARDOWN "));
}

#[tokio::test]
async fn the_total_deadline_holds_during_media() {
    let mut fake = playing(Vec::new);
    let mut target = target(&fake, None, Depth::Frame);
    target.limits.first_packet = Duration::from_secs(60);
    target.limits.total = Duration::from_millis(300);
    let attempt = crate::probe::run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::NoFrame);
    assert!(attempt.duration_ms < 1500, "{}", attempt.duration_ms);
    let requests = fake.all_requests().await;
    assert!(requests.last().unwrap().starts_with("TEARDOWN "));
}

#[tokio::test]
async fn refused_sessions_have_their_codes() {
    for (status, want) in [
        (453, ErrorCode::Busy),
        (461, ErrorCode::Protocol),
        (454, ErrorCode::Protocol),
        (403, ErrorCode::AuthRequired),
    ] {
        let fake = Fake::start(move |request| match request.starts_with("SETUP") {
            true => Reply::text(format!("RTSP/1.0 {status} X\r\n\r\n")),
            false => describe_ok(),
        });
        let attempt = crate::probe::run(&target(&fake, None, Depth::Frame)).await;
        assert_eq!(code(&attempt), want, "{status}");
    }
}

#[tokio::test]
async fn a_window_measures_the_frame_rate() {
    // Twice the announced 25 fps by timestamps; the whole window arrives within its time.
    let fake = Fake::start(|request| match request.split(' ').next() {
        Some("DESCRIBE") => describe_ok(),
        Some("SETUP") => setup_ok(),
        Some("PLAY") => {
            let frames = (0..160).map(|i| if i % 50 == 0 { rtp_idr(i) } else { rtp_p(i) });
            play_ok(vec![]).then_paced(frames.collect(), Duration::from_millis(20))
        }
        _ => ok(),
    });
    let attempt = crate::probe::run(&target(&fake, None, Depth::Window)).await;
    let media = attempt.result.unwrap().media;
    assert_eq!((media.fps, media.announced_fps), (Some(50.0), Some(25.0)));
}
