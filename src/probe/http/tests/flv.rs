use super::*;
use crate::wire::flv::VIDEO;
use crate::wire::flv::fixtures::{avc_header, avc_inter, avc_key, file};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n";

/// Header, key frame, and 20 frames a second.
fn flv() -> Vec<Step> {
    let begin = file(&[(VIDEO, 0, &avc_header()), (VIDEO, 0, &avc_key())]);
    let header_bytes = file(&[]).len();
    let next = file(&[(VIDEO, 0, &avc_inter())]);
    vec![
        send(HEAD),
        send(begin),
        Step::Repeat(next[header_bytes..].to_vec(), Duration::from_millis(50)),
    ]
}

#[tokio::test]
async fn flv_is_known_by_its_bytes_wherever_it_comes_from() {
    let camera = Fake::start(|_| flv()).await;
    for path in [
        "/live/cam1.flv",
        "/flv?port=1935&app=bcs&stream=x",
        "/video",
    ] {
        let mut target = camera.target(path);
        target.depth = Depth::Window;
        let outcome = run(&target).await.result.unwrap();
        assert_eq!(outcome.connection_type, ConnectionType::Rtmp, "{path}");
        assert_eq!(outcome.evidence, Evidence::KeyFrame);
        assert_eq!(outcome.media.codec, Some(Codec::H264));
        assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
        let fps = outcome.media.fps.unwrap();
        assert!((1.0..=20.5).contains(&fps), "{fps}");
        assert_eq!(outcome.transport, "http");
    }
    let mut target = camera.target("/live/cam1.flv");
    target.depth = Depth::Answer;
    let outcome = run(&target).await.result.unwrap();
    assert_eq!(
        (outcome.evidence, outcome.first_frame_ms),
        (Evidence::Answer, None)
    );
}

#[tokio::test]
async fn a_login_in_the_query_is_sent_once_and_judged() {
    let camera = Fake::start(|_| flv()).await;
    let mut target = camera.target("/flv?port=1935&user={user}&password={pass}");
    target.cleartext_login = true;
    let attempt = run(&target).await;
    assert!(attempt.result.is_ok());
    assert_eq!(attempt.auth, AuthUse::Accepted);
    let requests = camera.requests();
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].contains("&user=admin&password=s3cret "),
        "{requests:?}"
    );
}

#[tokio::test]
async fn streams_without_pictures_are_told_apart() {
    let only_header = file(&[]);
    let frozen = file(&[(VIDEO, 0, &avc_header()), (VIDEO, 0, &avc_inter())]);
    let cut = {
        let whole = file(&[(VIDEO, 0, &avc_header()), (VIDEO, 0, &avc_key())]);
        whole[..whole.len() - 6].to_vec()
    };
    let bad_tag = [&only_header[..], &[7; 30]].concat();
    let page = b"<html><body>no such stream".to_vec();
    use ErrorCode::{NoFrame, Protocol};
    for (body, last, code, stage) in [
        (only_header, Step::Hang, NoFrame, Stage::FirstPacket),
        (frozen, Step::Hang, NoFrame, Stage::FirstFrame),
        (cut, Step::Close, NoFrame, Stage::FirstFrame),
        (bad_tag, Step::Hang, Protocol, Stage::FirstPacket),
        (page, Step::Hang, Protocol, Stage::Describe),
    ] {
        let hangs = matches!(last, Step::Hang);
        let camera = Fake::start(move |_| {
            let last = if hangs { Step::Hang } else { Step::Close };
            vec![send(HEAD), send(&body), last]
        })
        .await;
        let mut target = camera.target("/live/x.flv");
        target.limits.first_packet = Duration::from_millis(300);
        target.limits.frame = Duration::from_millis(600);
        let error = run(&target).await.result.unwrap_err();
        assert_eq!((error.code, error.stage), (code, stage), "{error}");
    }
    let missing = Fake::start(|_| answer("404 Not Found", "", b"")).await;
    let attempt = run(&missing.target("/live/x.flv")).await;
    assert_eq!(code(&attempt), ErrorCode::NotFound);
}

#[tokio::test]
async fn no_snapshot_comes_of_flv() {
    let camera = Fake::start(|_| flv()).await;
    let mut log = Transcript::new();
    let error = fetch_jpeg(&camera.target("/x"), &mut log, 1 << 20)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::UnsupportedCodec);
}
