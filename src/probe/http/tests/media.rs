use super::*;

async fn run_to(camera: &Fake, depth: Depth) -> Attempt {
    let mut target = camera.target("/x");
    target.depth = depth;
    run(&target).await
}

#[tokio::test]
async fn each_depth_learns_what_it_must() {
    let camera = Fake::start(|_| stream()).await;
    let outcome = run_to(&camera, Depth::Connect).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::Answer);
    assert!(camera.requests().is_empty());

    let attempt = run_to(&camera, Depth::Answer).await;
    assert_eq!(attempt.server.as_deref(), Some("cam/1.0"));
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::Description);
    assert_eq!((outcome.first_frame_ms, outcome.transport), (None, "http"));

    let outcome = run_to(&camera, Depth::Window).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert_eq!(outcome.media.codec, Some(Codec::Mjpeg));
    let fps = outcome.media.fps.unwrap();
    assert!((6.0..=10.5).contains(&fps), "{fps}");
    assert!(outcome.first_frame_ms.unwrap() >= outcome.response_time_ms);
    assert_eq!(attempt.auth, AuthUse::NotSent);
}

#[tokio::test]
async fn an_endless_picture_body_is_a_stream() {
    let camera = Fake::start(|_| {
        vec![
            send("HTTP/1.0 200\r\nContent-Type: image/jpeg\r\n\r\n"),
            Step::Repeat(picture(352, 288), Duration::from_millis(50)),
        ]
    })
    .await;
    let outcome = run_to(&camera, Depth::Frame).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert_eq!(outcome.media.resolution().as_deref(), Some("352x288"));
}

#[tokio::test]
async fn the_last_picture_of_a_camera_that_is_gone_proves_nothing() {
    for (depth, pictures, last, proven) in [
        (Depth::Frame, 1, Step::Hang, false),
        (Depth::Window, 1, Step::Hang, false),
        (Depth::Frame, 2, Step::Hang, true),
        (Depth::Frame, 1, Step::Close, true),
    ] {
        let hangs = matches!(last, Step::Hang);
        let camera = Fake::start(move |_| {
            let last = if hangs { Step::Hang } else { Step::Close };
            vec![
                send(MULTIPART),
                send(part(640, 480).repeat(pictures)),
                send("--frame\r\n"),
                last,
            ]
        })
        .await;
        let mut target = camera.target("/x");
        target.depth = depth;
        target.limits.frame = Duration::from_millis(400);
        match run(&target).await.result {
            Ok(outcome) => assert!(proven && outcome.evidence == Evidence::KeyFrame),
            Err(error) => assert_eq!((proven, error.code), (false, ErrorCode::NoFrame), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_snapshot_is_known_by_its_bytes() {
    for content_type in ["image/jpeg", "text/plain", "application/octet-stream"] {
        let camera = Fake::start(move |_| {
            vec![
                send(format!("HTTP/1.0 200 OK\nContent-Type: {content_type}\n\n")),
                send(picture(2560, 1440)),
                Step::Close,
            ]
        })
        .await;
        let outcome = run_to(&camera, Depth::Window).await.result.unwrap();
        assert_eq!(outcome.evidence, Evidence::Picture, "{content_type}");
        assert_eq!(outcome.media.resolution().as_deref(), Some("2560x1440"));
        assert_eq!(outcome.media.fps, None);
    }
}

#[tokio::test]
async fn two_pictures_of_a_known_length_are_no_stream() {
    let camera = Fake::start(|_| {
        let body = [picture(640, 480), picture(320, 240)].concat();
        answer("200 OK", "Content-Type: image/jpeg\r\n", &body)
    })
    .await;
    let outcome = run_to(&camera, Depth::Frame).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::Picture);
    assert_eq!(outcome.media.resolution().as_deref(), Some("640x480"));
}

#[tokio::test]
async fn a_cut_off_picture_is_no_frame() {
    let whole = picture(640, 480);
    let cut = whole[..whole.len() - 2].to_vec();
    let no_end = cut.clone();
    let camera = Fake::start(move |_| answer("200 OK", "", &no_end)).await;
    let outcome = run_to(&camera, Depth::Frame).await.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::Picture);

    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        MULTIPART,
    ] {
        let cut = cut.clone();
        let camera = Fake::start(move |_| vec![send(head), send(&cut), Step::Close]).await;
        let attempt = run_to(&camera, Depth::Frame).await;
        assert_eq!(code(&attempt), ErrorCode::NoFrame, "{head}");
    }
    let headers = whole[..40].to_vec();
    let camera = Fake::start(move |_| answer("200 OK", "", &headers)).await;
    let attempt = run_to(&camera, Depth::Frame).await;
    assert_eq!(code(&attempt), ErrorCode::NoFrame);
}

#[tokio::test]
async fn a_web_page_with_200_is_no_picture() {
    let camera = Fake::start(|_| {
        answer(
            "200 OK",
            "Content-Type: image/jpeg\r\n",
            b"<html>Log in</html>",
        )
    })
    .await;
    let attempt = run_to(&camera, Depth::Answer).await;
    assert_eq!(code(&attempt), ErrorCode::Protocol);
    assert!(message(&attempt).contains("answers with a web page, not with a picture"));
}

#[tokio::test]
async fn each_status_has_its_code() {
    for (status, want) in [
        ("404 Not Found", ErrorCode::NotFound),
        ("503 Busy", ErrorCode::Busy),
        ("429 Too Many", ErrorCode::RateLimited),
        ("500 Oops", ErrorCode::Protocol),
        ("400 Bad", ErrorCode::Protocol),
        ("204 None", ErrorCode::Protocol),
    ] {
        let camera = Fake::start(move |_| answer(status, "", b"")).await;
        assert_eq!(
            code(&run_to(&camera, Depth::Answer).await),
            want,
            "{status}"
        );
    }
}

#[tokio::test]
async fn fetches_a_whole_picture_within_its_limit() {
    let whole = picture(640, 480);
    for steps in [stream, snapshot] {
        let camera = Fake::start(move |_| steps()).await;
        let target = camera.target("/x");
        let mut log = Transcript::new();
        let got = fetch_jpeg(&target, &mut log, 1000).await.unwrap();
        assert_eq!(got.len(), whole.len());
        assert_eq!(crate::wire::jpeg::facts(&got).unwrap().data_bytes, 7);
        let error = fetch_jpeg(&target, &mut log, 50).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
    }
    let cut = whole[..whole.len() - 2].to_vec();
    let camera = Fake::start(move |_| answer("200 OK", "", &cut)).await;
    let got = fetch_jpeg(&camera.target("/x"), &mut Transcript::new(), 1000).await;
    assert_eq!(got.unwrap(), whole);
}

#[tokio::test]
async fn a_banner_needs_no_login() {
    let camera = Fake::start(|_| {
        let headers = format!("Server: Boa/0.94\r\n{DIGEST}");
        answer("401 No", &headers, b"<title>IP Camera</title>")
    })
    .await;
    let got = banner(&camera.target("/")).await.unwrap();
    let want = HttpBanner {
        status: 401,
        server: Some("Boa/0.94".to_owned()),
        realm: Some("cam".to_owned()),
        title: Some("IP Camera".to_owned()),
        certificate: None,
    };
    assert_eq!((got, camera.logins()), (want, 0));

    let camera = Fake::start(|_| vec![send("nonsense\r\n\r\n"), Step::Close]).await;
    assert_eq!(banner(&camera.target("/")).await, None);
    let endless = Fake::start(|_| {
        vec![
            send("HTTP/1.1 200 OK\r\n\r\n"),
            Step::Repeat(vec![b'x'; 4096], Duration::ZERO),
        ]
    })
    .await;
    assert_eq!(banner(&endless.target("/")).await.unwrap().title, None);
}
