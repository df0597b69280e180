//! Who gets the login, how often, and what becomes of it.

use super::*;

/// A camera that accepts one `Authorization` for its whole life, after this challenge.
fn guarded(challenge: &'static str, accepts: impl Fn(&str) -> bool + Send + 'static) -> Fake {
    Fake::start(
        move |request| match request.lines().find(|l| l.starts_with("Authorization: ")) {
            Some(line) if accepts(line) => describe_ok(),
            _ => unauthorized(&[challenge]),
        },
    )
}

#[tokio::test]
async fn digest_by_md5_and_sha_256() {
    for challenge in [
        DIGEST,
        r#"Digest realm="cam", nonce="abc123", algorithm=SHA-256"#,
        r#"Digest realm="cam", nonce="abc123", qop="auth", algorithm=MD5"#,
    ] {
        let mut fake = guarded(challenge, |line| line.contains(r#"username="admin""#));
        let attempt = probe_answer(&fake, Some(("admin", "hunter2"))).await;
        assert!(attempt.result.is_ok(), "{challenge}: {:?}", attempt.result);
        assert_eq!(attempt.auth, AuthUse::Accepted);
        assert_eq!(attempt.realm.as_deref(), Some("cam"));
        let requests = fake.all_requests().await;
        assert_eq!(requests.len(), 2);
        let url = format!(r#"uri="rtsp://{}/live""#, fake.address);
        assert!(requests[1].contains(&url), "{}", requests[1]);
        assert!(!requests[1].contains("hunter2"), "{}", requests[1]);
    }
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    let mut fake = guarded(DIGEST, |_| false);
    let attempt = probe_answer(&fake, Some(("admin", "wrong"))).await;
    assert_eq!(code(&attempt), ErrorCode::AuthFailed);
    assert_eq!(attempt.auth, AuthUse::Refused);
    let requests = fake.all_requests().await;
    let logins = requests.iter().filter(|r| r.contains("Authorization"));
    assert_eq!(logins.count(), 1);
}

#[tokio::test]
async fn a_forbidden_login_is_refused() {
    let fake = Fake::start(|request| match request.contains("Authorization") {
        true => Reply::text("RTSP/1.0 403 Forbidden\r\n\r\n"),
        false => unauthorized(&[DIGEST]),
    });
    let attempt = probe_answer(&fake, Some(("admin", "x"))).await;
    assert_eq!(code(&attempt), ErrorCode::AuthFailed);
    assert_eq!(attempt.auth, AuthUse::Refused);
}

#[tokio::test]
async fn without_a_login_one_is_asked_for() {
    let fake = guarded(DIGEST, |_| true);
    let attempt = probe_answer(&fake, None).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert_eq!(attempt.auth, AuthUse::NotSent);
}

#[tokio::test]
async fn a_stale_nonce_is_no_refusal() {
    let mut fake = Fake::start(|request| {
        if request.contains(r#"nonce="new""#) {
            describe_ok()
        } else if request.contains(r#"nonce="old""#) {
            unauthorized(&[r#"Digest realm="cam", nonce="new", stale=TRUE"#])
        } else {
            unauthorized(&[r#"Digest realm="cam", nonce="old""#])
        }
    });
    let attempt = probe_answer(&fake, Some(("admin", "x"))).await;
    assert!(attempt.result.is_ok(), "{:?}", attempt.result);
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert_eq!(fake.all_requests().await.len(), 3);

    let mut never = guarded(r#"Digest realm="cam", nonce="n", stale=true"#, |_| false);
    let attempt = probe_answer(&never, Some(("admin", "x"))).await;
    assert_eq!(code(&attempt), ErrorCode::AuthFailed);
    assert_eq!(never.all_requests().await.len(), 3);
}

#[tokio::test]
async fn basic_stays_out_of_clear_text() {
    let mut fake = guarded(r#"Basic realm="cam""#, |_| true);
    let attempt = probe_answer(&fake, Some(("admin", "hunter2"))).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    assert!(attempt.needs_cleartext_login);
    assert_eq!(attempt.auth, AuthUse::NotSent);
    assert_eq!(fake.all_requests().await.len(), 1);

    let mut fake = guarded(r#"Basic realm="cam""#, |line| {
        line.ends_with("YWRtaW46aHVudGVyMg==")
    });
    let mut allowed = target(&fake, Some(("admin", "hunter2")), Depth::Answer);
    allowed.cleartext_login = true;
    let attempt = crate::probe::run(&allowed).await;
    assert!(attempt.result.is_ok(), "{:?}", attempt.result);
    assert_eq!(fake.all_requests().await.len(), 2);
}

#[tokio::test]
async fn a_connection_closed_behind_the_challenge_is_made_anew() {
    for header in ["Connection: close\r\n", ""] {
        let mut fake = Fake::start(move |request| match request.contains("Authorization") {
            true => describe_ok(),
            false => Reply::text(format!(
                "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: {DIGEST}\r\n{header}\r\n"
            ))
            .then_close(),
        });
        let attempt = probe_answer(&fake, Some(("admin", "x"))).await;
        assert!(attempt.result.is_ok(), "{header}: {:?}", attempt.result);
        assert_eq!(fake.all_requests().await.len(), 2);
    }
}

#[tokio::test]
async fn a_login_in_the_path_is_filled_in_and_never_shown() {
    let mut fake = Fake::start(
        |request| match request.contains("/user=admin&password=hunter2&") {
            true => describe_ok(),
            false => Reply::text("RTSP/1.0 404 Not Found\r\n\r\n"),
        },
    );
    let mut target = target(&fake, Some(("admin", "hunter2")), Depth::Answer);
    target.url.path = "/user={user}&password={pass}&channel=1".to_owned();
    let attempt = crate::probe::run(&target).await;
    let outcome = attempt.result.unwrap();
    assert_eq!(attempt.auth, AuthUse::Accepted);
    assert!(!outcome.url.to_string().contains("hunter2"));

    target.login = Some(Credentials::new("admin", "other"));
    let attempt = crate::probe::run(&target).await;
    assert_eq!(code(&attempt), ErrorCode::NotFound);
    assert_eq!(attempt.auth, AuthUse::SentNoVerdict);
    assert_eq!(fake.all_requests().await.len(), 2);
}

#[tokio::test]
async fn a_redirect_leads_the_login_nowhere_else() {
    let mut other = Fake::start_on("127.0.0.2:0", |_| unauthorized(&[DIGEST]));
    let there = other.address;
    let fake = Fake::start(move |request| match request.contains("Authorization") {
        true => Reply::text(format!(
            "RTSP/1.0 301 Moved\r\nLocation: rtsp://{there}/live\r\n\r\n"
        )),
        false => unauthorized(&[DIGEST]),
    });
    let attempt = probe_answer(&fake, Some(("admin", "x"))).await;
    assert_eq!(code(&attempt), ErrorCode::AuthRequired);
    let requests = other.all_requests().await;
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].contains("Authorization"));
}

#[test]
fn redirects_keep_the_login_on_the_same_host_only() {
    let from = |url: &str| Target {
        url: StreamUrl::parse(url).unwrap().url,
        role: StreamRole::Main,
        login: Some(Credentials::new("u", "s3cret")),
        cleartext_login: false,
        onvif: OnvifAccess::default(),
        depth: Depth::Answer,
        limits: limits(),
        trust: Trust::FirstUse,
        networks: AllowedNetworks::parse(&["loopback"]).unwrap().into(),
        gate: None,
    };
    for (url, location, keeps) in [
        ("rtsp://10.0.0.1/a", "rtsp://10.0.0.1:8554/b", true),
        ("rtsp://10.0.0.1/a", "rtsps://10.0.0.1/b", true),
        ("rtsps://10.0.0.1/a", "rtsp://10.0.0.1/b", false),
        ("rtsp://10.0.0.1/a", "rtsp://10.0.0.2/b", false),
        ("rtsp://[fe80::1%eth0]/a", "rtsp://[fe80::1]/b", true),
        ("rtsp://10.0.0.1/a", "/b/s3cret/c", true),
    ] {
        let to = redirected(&from(url), location).unwrap();
        assert_eq!(to.login.is_some(), keeps, "{location}");
        assert!(!to.url.to_string().contains("s3cret"), "{location}");
    }
    let zone = redirected(&from("rtsp://[fe80::1%eth0]/a"), "rtsp://[fe80::1]/b").unwrap();
    assert_eq!(zone.url.host, "fe80::1%eth0");
    for bad in ["", "http://10.0.0.1/", "nonsense"] {
        assert!(redirected(&from("rtsp://10.0.0.1/a"), bad).is_err());
    }
}

#[tokio::test]
async fn a_path_that_is_missing_behind_the_login_proves_the_login() {
    let fake = Fake::start(|request| match request.contains("Authorization") {
        true => Reply::text("RTSP/1.0 404 Not Found\r\n\r\n"),
        false => unauthorized(&[DIGEST]),
    });
    let attempt = probe_answer(&fake, Some(("admin", "x"))).await;
    assert_eq!(code(&attempt), ErrorCode::NotFound);
    assert_eq!(attempt.auth, AuthUse::Accepted);
}

#[tokio::test]
async fn a_nonce_that_ran_out_is_renewed_once() {
    let mut fake = Fake::start(|request| {
        let nonce_of = |n: &str| request.contains(&format!(r#"nonce="{n}""#));
        match request.split(' ').next() {
            Some("DESCRIBE") if nonce_of("one") => describe_ok(),
            Some("SETUP") if nonce_of("two") => setup_ok(),
            Some("SETUP") => unauthorized(&[r#"Digest realm="cam", nonce="two""#]),
            Some("PLAY") => play_ok(rtp_idr(1)),
            Some("TEARDOWN") => ok(),
            _ => unauthorized(&[r#"Digest realm="cam", nonce="one""#]),
        }
    });
    let target = target(&fake, Some(("admin", "x")), Depth::Frame);
    let attempt = crate::probe::run(&target).await;
    assert!(attempt.result.is_ok(), "{:?}", attempt.result);
    assert_eq!(fake.all_requests().await.len(), 6);
}
