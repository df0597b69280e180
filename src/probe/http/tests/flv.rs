use super::*;
use crate::wire::flv::VIDEO;
use crate::wire::flv::fixtures::{avc_header, avc_inter, avc_key, file};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n";

/// Header, key frame, and 20 frames a second.
fn flv() -> Vec<Step> {
    let begin = file(&[(VIDEO, 0, &avc_header()), (VIDEO, 0, &avc_key())]);
    vec![send(HEAD), send(begin), live()]
}

/// 20 frames a second.
fn live() -> Step {
    let header_bytes = file(&[]).len();
    let next = file(&[(VIDEO, 0, &avc_inter())]);
    Step::Repeat(next[header_bytes..].to_vec(), Duration::from_millis(50))
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
async fn a_file_is_proven_however_fast_it_comes() {
    let body = file(&[
        (VIDEO, 0, &avc_header()),
        (VIDEO, 0, &avc_key()),
        (VIDEO, 66, &avc_inter()),
    ]);
    let length = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nContent-Length: {}\r\n\r\n",
        body.len() + 1000
    );
    for (head, last) in [(HEAD.to_owned(), Step::Close), (length, Step::Hang)] {
        let hangs = matches!(last, Step::Hang);
        let (head, body) = (head.clone(), body.clone());
        let camera = Fake::start(move |_| {
            let last = if hangs { Step::Hang } else { Step::Close };
            vec![send(&head), send(&body), last]
        })
        .await;
        let outcome = run(&camera.target("/cam.flv")).await.result.unwrap();
        assert_eq!(outcome.evidence, Evidence::KeyFrame);
    }
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
    let cached = file(&[
        (VIDEO, 0, &avc_header()),
        (VIDEO, 0, &avc_key()),
        (VIDEO, 66, &avc_inter()),
    ]);
    let bad_tag = [&only_header[..], &[7; 30]].concat();
    let page = b"<html><body>no such stream".to_vec();
    use ErrorCode::{NoFrame, Protocol};
    for (body, last, code, stage) in [
        (only_header, Step::Hang, NoFrame, Stage::FirstPacket),
        (frozen, Step::Hang, NoFrame, Stage::FirstFrame),
        (cached, Step::Hang, NoFrame, Stage::FirstFrame),
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

/// A tag of this kind that says it has `length` bytes.
fn claimed(kind: u8, length: u32) -> Vec<u8> {
    let [_, a, b, c] = length.to_be_bytes();
    [&file(&[])[..], &[kind, a, b, c, 0, 0, 0, 0, 0, 0, 0]].concat()
}

#[tokio::test]
async fn lengths_that_lie_cost_neither_memory_nor_time() {
    const LARGEST: u32 = 0xff_ffff;
    let key = &avc_key()[..];
    // Sixteen megabytes of a tag's rest are passed over, not held.
    let rest = vec![0; LARGEST as usize - key.len()];
    let long = [&claimed(VIDEO, LARGEST), key, &rest].concat();
    // What stands where the header's own length should be, and in front of every tag.
    let mut header = file(&[(VIDEO, 0, &avc_header())]);
    header[5..9].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut back = file(&[(VIDEO, 0, &avc_header()), (VIDEO, 0, &avc_key())]);
    back[9..13].copy_from_slice(&u32::MAX.to_be_bytes());
    use ErrorCode::{NoFrame, Protocol};
    for (name, body, codes) in [
        (
            "a tag that never ends",
            claimed(VIDEO, LARGEST),
            &[NoFrame][..],
        ),
        ("a tag of nothing", claimed(VIDEO, 0), &[NoFrame]),
        ("script data of nothing", claimed(18, LARGEST), &[NoFrame]),
        ("a key frame without parameters", long, &[NoFrame, Protocol]),
        ("a header of four gigabytes", header, &[NoFrame, Protocol]),
    ] {
        let camera = Fake::start(move |_| vec![send(HEAD), send(&body), Step::Hang]).await;
        let mut target = camera.target("/live/x.flv");
        target.limits.first_packet = Duration::from_millis(300);
        target.limits.frame = Duration::from_millis(600);
        let begun = std::time::Instant::now();
        let error = run(&target).await.result.unwrap_err();
        assert!(codes.contains(&error.code), "{name}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{name}");
    }
    // A wrong size of the tag before is nobody's loss.
    let camera = Fake::start(move |_| vec![send(HEAD), send(&back), live()]).await;
    let outcome = run(&camera.target("/live/x.flv")).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
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
