use super::*;
use std::time::Instant as Clock;

/// A probe with short limits, and whether it kept its total one.
async fn run_short(camera: &Fake, login: bool) -> Attempt {
    let mut target = camera.target("/x");
    target.limits.answer = Duration::from_millis(500);
    target.limits.first_packet = Duration::from_millis(500);
    target.limits.frame = Duration::from_millis(700);
    target.limits.total = Duration::from_millis(1500);
    target.login = target.login.filter(|_| login);
    let began = Clock::now();
    let attempt = run(&target).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    attempt
}

#[tokio::test]
async fn an_endless_header_is_cut() {
    let camera = Fake::start(|_| {
        let line = b"X-Pad: 0123456789\r\n".repeat(100);
        vec![
            send("HTTP/1.1 200 OK\r\n"),
            Step::Repeat(line, Duration::ZERO),
        ]
    })
    .await;
    let attempt = run_short(&camera, false).await;
    assert_eq!(code(&attempt), ErrorCode::Protocol);
    assert!(
        message(&attempt).contains("headers"),
        "{}",
        message(&attempt)
    );
}

#[tokio::test]
async fn an_endless_header_line_is_cut() {
    let camera = Fake::start(|_| {
        let text = vec![b'x'; 1024];
        vec![
            send("HTTP/1.1 200 OK\r\nX: "),
            Step::Repeat(text, Duration::ZERO),
        ]
    })
    .await;
    assert_eq!(code(&run_short(&camera, false).await), ErrorCode::Protocol);
}

#[tokio::test]
async fn an_endless_picture_is_cut() {
    let camera = Fake::start(|_| {
        let whole = picture(640, 480);
        vec![
            send(MULTIPART),
            send(&whole[..whole.len() - 2]),
            Step::Repeat(vec![0x55; 64 << 10], Duration::ZERO),
        ]
    })
    .await;
    let mut target = camera.target("/x");
    target.limits.total = Duration::from_secs(30);
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::Protocol);
    assert!(
        message(&attempt).contains("larger"),
        "{}",
        message(&attempt)
    );
}

#[tokio::test]
async fn an_endless_part_header_is_cut() {
    let camera = Fake::start(|_| {
        vec![
            send(MULTIPART),
            send("--frame\r\nContent-Type: video/mp2t\r\n"),
            Step::Repeat(vec![b'x'; 4096], Duration::ZERO),
        ]
    })
    .await;
    let mut target = camera.target("/x");
    target.depth = Depth::Answer;
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::UnsupportedCodec);
    assert!(message(&attempt).contains("video/mp2t"));
}

#[tokio::test]
async fn an_endless_challenge_body_is_not_read_to_its_end() {
    let camera = Fake::start(|head| match super::fake::is_authorized(head) {
        true => snapshot(),
        false => vec![
            send(format!("HTTP/1.1 401 No\r\n{DIGEST}\r\n")),
            Step::Repeat(vec![b'x'; 4096], Duration::ZERO),
        ],
    })
    .await;
    assert!(run_short(&camera, true).await.result.is_ok());
}

#[tokio::test]
async fn a_challenge_whose_body_never_ends_costs_half_a_second() {
    let camera = Fake::start(|head| match super::fake::is_authorized(head) {
        true => snapshot(),
        false => vec![send(format!("HTTP/1.1 401 No\r\n{DIGEST}\r\n")), Step::Hang],
    })
    .await;
    assert!(run_short(&camera, true).await.result.is_ok());
    assert_eq!(camera.connections(), 2);
}

#[tokio::test]
async fn a_slow_loris_does_not_hold_the_probe() {
    let drip = |bytes: &[u8]| Step::Repeat(bytes.to_vec(), Duration::from_millis(20));
    let camera = Fake::start(move |_| vec![send("HTTP/1.1 2"), drip(b"0")]).await;
    let attempt = run_short(&camera, false).await;
    assert_eq!(code(&attempt), ErrorCode::Timeout);

    let camera = Fake::start(move |_| vec![send(MULTIPART), drip(b"-")]).await;
    let attempt = run_short(&camera, false).await;
    assert_eq!(code(&attempt), ErrorCode::NoFrame);
    assert_eq!(attempt.result.unwrap_err().stage, Stage::Describe);

    let camera = Fake::start(move |_| {
        let whole = picture(640, 480);
        vec![
            send(MULTIPART),
            send(&whole[..whole.len() - 2]),
            drip(b"\x55"),
        ]
    })
    .await;
    let attempt = run_short(&camera, false).await;
    assert_eq!(code(&attempt), ErrorCode::NoFrame);
    assert_eq!(attempt.result.unwrap_err().stage, Stage::FirstFrame);
}

#[tokio::test]
async fn silence_is_a_timeout_and_a_close_is_a_reset() {
    let camera = Fake::start(|_| vec![Step::Hang]).await;
    assert_eq!(code(&run_short(&camera, false).await), ErrorCode::Timeout);
    let camera = Fake::start(|_| vec![Step::Close]).await;
    assert_eq!(code(&run_short(&camera, false).await), ErrorCode::Reset);
    let camera = Fake::start(|_| vec![send("RTSP/1.0 400 Bad\r\n\r\n"), Step::Close]).await;
    assert_eq!(code(&run_short(&camera, false).await), ErrorCode::Protocol);
}
