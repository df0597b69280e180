use super::fake::{digest_is_right, is_authorized};
use super::*;

#[tokio::test]
async fn a_relative_redirect_is_followed_with_the_login() {
    let camera = Fake::start(|head| match head.split(' ').nth(1).unwrap() {
        "/cgi/snap" => answer("302 Found", "Location: ../img/now.jpg?x=1\r\n", b""),
        "/img/now.jpg?x=1" if digest_is_right(head) => snapshot(),
        _ => answer("401 Unauthorized", DIGEST, b""),
    })
    .await;
    let attempt = run(&camera.target("/cgi/snap")).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(outcome.url.path, "/img/now.jpg?x=1");
    assert_eq!(attempt.auth, AuthUse::Accepted);
}

#[tokio::test]
async fn a_one_time_address_is_not_reported() {
    let camera = Fake::start(|head| match head.split(' ').nth(1).unwrap() {
        "/snap" => answer("302 Found", "Location: /now?p=77\r\n", b""),
        "/now?p=77" => snapshot(),
        _ => answer("404 Not Found", "", b""),
    })
    .await;
    let attempt = run(&camera.target("/snap")).await;
    assert_eq!(attempt.result.unwrap().url.path, "/snap");
    assert_eq!(attempt.auth, AuthUse::NotSent);
}

#[tokio::test]
async fn a_loop_ends_after_three() {
    let camera = Fake::start(|_| answer("307 Temporary Redirect", "Location: /x\r\n", b"")).await;
    let attempt = run(&camera.target("/x")).await;
    assert_eq!(code(&attempt), ErrorCode::RedirectLoop);
    assert_eq!(camera.requests().len(), 4);
}

#[tokio::test]
async fn another_host_gets_no_login() {
    let other = Fake::start_at("127.0.0.2", None, |_| {
        answer("401 Unauthorized", DIGEST, b"")
    })
    .await;
    let location = format!("Location: http://{}/snap.jpg\r\n", other.address);
    let camera = Fake::start(move |head| match is_authorized(head) {
        true => answer("302 Found", &location, b""),
        false => answer("401 Unauthorized", DIGEST, b""),
    })
    .await;
    let attempt = run(&camera.target("/snap.jpg")).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert_eq!((camera.logins(), other.logins()), (1, 0));
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test]
async fn a_login_in_the_url_is_not_carried_to_another_host() {
    let other = Fake::start_at("127.0.0.2", None, |_| snapshot()).await;
    let location = format!("Location: http://{}/?pwd=s3cret\r\n", other.address);
    let camera = Fake::start(move |_| answer("302 Found", &location, b"")).await;
    let mut target = camera.target("/snap?pwd={pass}");
    target.cleartext_login = true;
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::Protocol);
    assert!(!message(&attempt).contains("s3cret"));
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_redirect_opens_no_network() {
    let camera = Fake::start(|_| answer("302 Found", "Location: http://192.0.2.1/\r\n", b"")).await;
    let attempt = run(&camera.target("/")).await;
    assert_eq!(code(&attempt), ErrorCode::Internal);
    assert!(message(&attempt).contains("allowed_networks"));
}

#[tokio::test]
async fn a_login_does_not_leave_tls() {
    let plain = Fake::start(|_| answer("401 Unauthorized", DIGEST, b"")).await;
    let location = format!("Location: http://{}/\r\n", plain.address);
    let camera = Fake::start_tls(2040, move |_| answer("302 Found", &location, b"")).await;
    let mut target = camera.target("/");
    target.url.scheme = crate::model::Scheme::Https;
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert_eq!(plain.requests().len(), 1);
    assert_eq!(plain.logins(), 0);
}

#[tokio::test]
async fn redirects_to_nowhere_are_named() {
    for (headers, word) in [
        ("", "without saying where"),
        ("Location: rtsp://127.0.0.1/x\r\n", "not HTTP"),
        ("Location: http://a b/\r\n", "no URL"),
    ] {
        let camera = Fake::start(move |_| answer("301 Moved", headers, b"")).await;
        let attempt = run(&camera.target("/")).await;
        assert_eq!(code(&attempt), ErrorCode::Protocol);
        assert!(message(&attempt).contains(word), "{}", message(&attempt));
    }
}
