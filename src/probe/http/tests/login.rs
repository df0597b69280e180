use super::fake::{digest_is_right, is_authorized};
use super::*;

#[tokio::test]
async fn digest_on_the_same_connection() {
    let camera = Fake::start(|head| match is_authorized(head) {
        true if digest_is_right(head) => stream(),
        true => answer("403 Forbidden", "", b""),
        false => answer("401 Unauthorized", DIGEST, b"<html>login</html>"),
    })
    .await;
    let attempt = run(&camera.target("/video.cgi?a=%2F&b=1")).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    assert_eq!(outcome.media.resolution().as_deref(), Some("640x480"));
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert_eq!(attempt.realm.as_deref(), Some("cam"));
    assert_eq!((camera.requests().len(), camera.connections()), (2, 1));
    assert!(camera.requests()[0].starts_with("GET /video.cgi?a=%2F&b=1 HTTP/1.1\r\n"));
    let stages: Vec<Stage> = attempt.stages.iter().map(|s| s.name).collect();
    assert!(stages.contains(&Stage::Authenticate) && stages.contains(&Stage::FirstFrame));
}

#[tokio::test]
async fn a_device_that_closes_after_its_challenge_is_dialled_again() {
    for announced in ["Connection: close\r\n", ""] {
        let camera = Fake::start(move |head| match is_authorized(head) {
            true if digest_is_right(head) => snapshot(),
            true => answer("401 Unauthorized", DIGEST, b""),
            false => {
                let headers = format!("{DIGEST}{announced}");
                let mut steps = answer("401 Unauthorized", &headers, b"no");
                steps.push(Step::Close);
                steps
            }
        })
        .await;
        let attempt = run(&camera.target("/snap.jpg")).await;
        assert_eq!(attempt.result.unwrap().evidence, Evidence::Picture);
        assert_eq!((camera.logins(), camera.connections()), (1, 2));
    }
}

#[tokio::test]
async fn a_wrong_password_is_seen_exactly_once() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let camera = Fake::start(move |head| match is_authorized(head) {
            true => answer(status, DIGEST, b""),
            false => answer("401 Unauthorized", DIGEST, b""),
        })
        .await;
        let attempt = run(&camera.target("/snap.jpg")).await;
        assert_eq!(code(&attempt), ErrorCode::AuthFailed);
        assert_eq!(attempt.auth, AuthUse::Refused);
        assert_eq!(camera.logins(), 1);
        assert!(!message(&attempt).contains("s3cret"));
    }
}

#[tokio::test]
async fn a_stale_nonce_is_answered_once_more() {
    let stale = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\", stale=true\r\n";
    let camera = Fake::start(move |head| match is_authorized(head) {
        true if digest_is_right(head) => snapshot(),
        true => answer("401 Unauthorized", stale, b""),
        false => answer(
            "401 Unauthorized",
            "WWW-Authenticate: Digest realm=\"cam\", nonce=\"old\"\r\n",
            b"",
        ),
    })
    .await;
    let attempt = run(&camera.target("/snap.jpg")).await;
    assert!(attempt.result.is_ok());
    assert_eq!((attempt.auth, camera.logins()), (AuthUse::Accepted, 2));

    let camera = Fake::start(move |_| answer("401 Unauthorized", stale, b"")).await;
    let attempt = run(&camera.target("/snap.jpg")).await;
    assert_eq!(
        (code(&attempt), camera.logins()),
        (ErrorCode::AuthFailed, 2)
    );
}

#[tokio::test]
async fn basic_travels_in_clear_only_when_allowed() {
    let basic = "WWW-Authenticate: Basic realm=\"/\"\r\n";
    let camera = Fake::start(move |head| match head.contains("Basic YWRtaW46czNjcmV0") {
        true => snapshot(),
        false => answer("401 Unauthorized", basic, b""),
    })
    .await;
    let mut target = camera.target("/snap.jpg");
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert!(attempt.needs_cleartext_login);
    assert_eq!((attempt.auth, camera.logins()), (AuthUse::NotSent, 0));

    target.cleartext_login = true;
    let attempt = run(&target).await;
    assert!(attempt.result.is_ok());
    assert_eq!((attempt.auth, camera.logins()), (AuthUse::Accepted, 1));
    assert!(!attempt.needs_cleartext_login);
}

#[tokio::test]
async fn without_a_login_the_device_is_asked_once() {
    let camera = Fake::start(|_| answer("401 Unauthorized", DIGEST, b"")).await;
    let mut target = camera.target("/snap.jpg");
    target.login = None;
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert_eq!(attempt.realm.as_deref(), Some("cam"));
    assert_eq!(camera.requests().len(), 1);

    let camera = Fake::start(|_| answer("403 Forbidden", "", b"")).await;
    let attempt = run(&camera.target("/snap.jpg")).await;
    assert_eq!(
        (code(&attempt), attempt.auth),
        (ErrorCode::AuthRequired, AuthUse::NotSent)
    );
}

#[tokio::test]
async fn a_login_inside_the_url_travels_only_when_allowed() {
    let camera =
        Fake::start(
            |head| match head.starts_with("GET /snap?usr=admin&pwd=s%203cret HTTP") {
                true => snapshot(),
                false => answer("200 OK", "", b"<CGI_Result>-2</CGI_Result>"),
            },
        )
        .await;
    let mut target = camera.target("/snap?usr={user}&pwd={pass}");
    target.login = Some(Credentials::new("admin", "s 3cret"));
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert!(attempt.needs_cleartext_login);
    assert_eq!(camera.connections(), 0);

    target.cleartext_login = true;
    let attempt = run(&target).await;
    assert_eq!(attempt.auth, AuthUse::Accepted);
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.url.path, "/snap?usr={user}&pwd={pass}");

    target.login = Some(Credentials::new("admin", "wrong"));
    let attempt = run(&target).await;
    assert_eq!(
        (code(&attempt), attempt.auth),
        (ErrorCode::Protocol, AuthUse::SentNoVerdict)
    );

    target.login = None;
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert_eq!(camera.requests().len(), 2);
}

#[tokio::test]
async fn a_login_inside_the_url_that_is_refused_is_not_sent_again() {
    let camera = Fake::start(|_| answer("401 Unauthorized", DIGEST, b"")).await;
    let mut target = camera.target("/snap?pwd={pass}");
    target.cleartext_login = true;
    let attempt = run(&target).await;
    assert_eq!(
        (code(&attempt), attempt.auth),
        (ErrorCode::AuthFailed, AuthUse::Refused)
    );
    assert_eq!(camera.requests().len(), 1);
}
