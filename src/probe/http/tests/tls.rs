use super::*;
use crate::model::Scheme;
use crate::probe::Trust;

fn https(camera: &Fake) -> Target {
    let mut target = camera.target("/x");
    target.url.scheme = Scheme::Https;
    target
}

#[tokio::test]
async fn facts_of_the_certificate_are_reported() {
    let camera = Fake::start_tls(2040, |_| stream()).await;
    let outcome = run(&https(&camera)).await.result.unwrap();
    assert_eq!(outcome.connection_type, ConnectionType::Https);
    assert_eq!(outcome.transport, "https");
    assert_eq!(outcome.evidence, Evidence::KeyFrame);
    let facts = outcome.certificate.unwrap();
    assert_eq!(facts.subject.as_deref(), Some("test camera"));
    assert!(facts.self_signed && !facts.expired);
    assert_eq!(facts.not_after.unwrap().to_string(), "2040-01-01T00:00:00Z");

    let camera = Fake::start_tls(2001, |_| snapshot()).await;
    let outcome = run(&https(&camera)).await.result.unwrap();
    assert!(outcome.certificate.unwrap().expired);
}

#[tokio::test]
async fn a_changed_certificate_is_no_silent_accept() {
    let camera = Fake::start_tls(2040, |_| snapshot()).await;
    let mut target = https(&camera);
    let first = run(&target).await.result.unwrap().certificate.unwrap();
    target.trust = Trust::Pinned(first.sha256);
    assert!(run(&target).await.result.is_ok());

    let other = Fake::start_tls(2040, |_| snapshot()).await;
    target.url.port = other.address.port();
    let attempt = run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::Tls);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn authorities_refuse_a_self_signed_certificate() {
    let camera = Fake::start_tls(2040, |_| snapshot()).await;
    let mut target = https(&camera);
    target.trust = Trust::Authorities;
    assert_eq!(code(&run(&target).await), ErrorCode::Tls);
    assert!(camera.requests().is_empty());
}

#[tokio::test]
async fn basic_may_travel_inside_tls() {
    let camera = Fake::start_tls(2040, |head| match head.contains("Authorization: Basic ") {
        true => snapshot(),
        false => answer("401 No", "WWW-Authenticate: Basic realm=\"cam\"\r\n", b""),
    })
    .await;
    let attempt = run(&https(&camera)).await;
    assert!(attempt.result.is_ok());
    assert_eq!(attempt.auth, AuthUse::Accepted);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_a_tls_error() {
    let camera = Fake::start(|_| snapshot()).await;
    let mut target = https(&camera);
    target.limits.tls = Duration::from_millis(300);
    let attempt = run(&target).await;
    assert_eq!(attempt.result.unwrap_err().stage, Stage::Tls);
}
