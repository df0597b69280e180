use super::fake::video_header;
use super::*;
use crate::wire::rtmp::{HANDSHAKE_BYTES, SET_CHUNK_SIZE, VERSION};

#[tokio::test]
async fn what_is_no_rtmp_is_named() {
    let web = Fake::greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let attempt = probe(&web, Depth::Answer).await;
    assert_eq!(failed(&attempt), (ErrorCode::Protocol, Stage::Handshake));
    let message = attempt.result.unwrap_err().message;
    assert!(message.contains("does not speak RTMP"), "{message}");

    let mute = Fake::greeting(&[VERSION]).await;
    let attempt = probe(&mute, Depth::Answer).await;
    assert_eq!(failed(&attempt), (ErrorCode::Timeout, Stage::Handshake));

    let mut garbage = vec![0xff; 1 + 2 * HANDSHAKE_BYTES + 100];
    garbage[0] = VERSION;
    let fake = Fake::greeting(&garbage).await;
    let attempt = probe(&fake, Depth::Answer).await;
    assert_eq!(failed(&attempt), (ErrorCode::Protocol, Stage::Describe));
}

#[tokio::test]
async fn a_peer_that_dies_is_a_reset() {
    let stages = ["connect", "createStream", "play"];
    for stage in stages {
        let fake = Fake::start(move |name| match name == stage {
            true => vec![Step::Close],
            false => accept(name, Vec::new),
        })
        .await;
        let attempt = probe(&fake, Depth::Frame).await;
        assert_eq!(
            failed(&attempt),
            (ErrorCode::Reset, Stage::Describe),
            "{stage}"
        );
    }
    // In the middle of the key frame.
    let fake = Fake::start(|name| {
        accept(name, || {
            let mut cut = video_header(0, 50_000);
            cut.extend_from_slice(&avc_key());
            let header = video(0, &avc_header());
            vec![start(), Step::Send(header), Step::Send(cut), Step::Close]
        })
    })
    .await;
    let attempt = probe(&fake, Depth::Frame).await;
    assert_eq!(failed(&attempt), (ErrorCode::Reset, Stage::FirstFrame));
}

#[tokio::test]
async fn lengths_that_lie_hold_nothing() {
    // A message of 16 MiB that begins with a key frame and drips on without end.
    let fake = Fake::start(|name| {
        accept(name, || {
            let mut huge = video_header(0, 0xff_ffff);
            huge.extend_from_slice(&avc_key());
            vec![
                start(),
                Step::Send(video(0, &avc_header())),
                Step::Send(huge),
                Step::Repeat(vec![0; 8], Duration::from_millis(20)),
            ]
        })
    })
    .await;
    let attempt = probe(&fake, Depth::Frame).await;
    assert_eq!(failed(&attempt), (ErrorCode::NoFrame, Stage::FirstFrame));

    for (bytes, word) in [
        (control(SET_CHUNK_SIZE, None, &[0]), "chunks of 0 bytes"),
        (vec![0xc9, 1, 2, 3], "never began"),
        (
            (3..60u8)
                .flat_map(|id| [id, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0])
                .collect(),
            "chunk streams",
        ),
    ] {
        let fake = Fake::start(move |_| vec![Step::Send(bytes.clone())]).await;
        let attempt = probe(&fake, Depth::Frame).await;
        assert_eq!(
            failed(&attempt),
            (ErrorCode::Protocol, Stage::Describe),
            "{word}"
        );
        let message = attempt.result.unwrap_err().message;
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn endless_answers_end_at_their_bound() {
    let empty = command("onBWDone", 0.0, &[]);
    let sound = {
        let mut sound = video_header(0, 100);
        sound[7] = 8;
        sound.extend_from_slice(&[0; 100]);
        sound
    };
    for bytes in [empty, sound] {
        let flood = bytes.repeat(100);
        let fake = Fake::start(move |_| vec![Step::Repeat(flood.clone(), Duration::ZERO)]).await;
        let mut target = target(&fake, Depth::Answer);
        target.limits.answer = Duration::from_secs(5);
        let attempt = run(&target).await;
        assert_eq!(failed(&attempt), (ErrorCode::Protocol, Stage::Describe));
    }
}

#[tokio::test]
async fn a_drip_of_bytes_does_not_hold_the_probe() {
    let fake = Fake::start(|_| vec![Step::Repeat(vec![3], Duration::from_millis(50))]).await;
    let started = std::time::Instant::now();
    let attempt = probe(&fake, Depth::Answer).await;
    assert_eq!(failed(&attempt), (ErrorCode::Timeout, Stage::Describe));
    assert!(started.elapsed() < Duration::from_secs(4));
}
