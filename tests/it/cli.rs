//! The command line against a running daemon.

use std::process::Command;

use serde_json::Value;

use super::harness::Daemon;
use super::harness::daemon::PROGRAM;
use super::harness::fake::{Fake, Fault};

const CONFIG: &str = "[security]\nallowed_networks = [\"loopback\"]\n";

/// Exit code, standard output, standard error.
fn ask(daemon: &Daemon, args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let out = Command::new(PROGRAM)
        .args(args)
        .env("OHMVISION_URL", format!("http://{}", daemon.address))
        .env("OHMVISION_TOKEN", &daemon.token)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        out.status.code().unwrap(),
        text(&out.stdout),
        text(&out.stderr),
    )
}

#[test]
fn cameras_health_events_and_tokens() {
    let daemon = Daemon::start(None, CONFIG);
    let fake = Fake::start(Fault::None);
    let body = serde_json::json!({"name": "Hall", "primary_stream_url": fake.url(), "username": "u", "password": "s3cret-canary"});
    daemon.post("/api/cameras", body).expect(201);
    daemon
        .ask("POST", "/api/health/cameras/1/check-now", None)
        .expect(200);

    let (code, table, _) = ask(&daemon, &["camera", "list"], &[]);
    assert_eq!(code, 0);
    assert!(
        table.contains("Hall") && table.contains("u:***@127.0.0.1"),
        "{table}"
    );
    let (_, list, _) = ask(&daemon, &["camera", "list", "--json"], &[]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"][0]["connection_type"], "rtsp");
    let (code, health, _) = ask(&daemon, &["health"], &[]);
    assert_eq!(code, 0, "all are online: {health}");
    assert!(health.contains("excellent"), "{health}");
    let (_, detail, _) = ask(&daemon, &["health", "1", "--json"], &[]);
    assert!(detail.contains("\"percentiles\""), "{detail}");
    let (_, events, _) = ask(&daemon, &["events", "--since", "1h"], &[]);
    assert!(events.contains("camera_added"), "{events}");

    let (code, token, _) = ask(&daemon, &["token", "create", "ha", "--scope", "read"], &[]);
    assert_eq!(code, 0);
    let reader = [("OHMVISION_TOKEN", token.trim())];
    assert_eq!(ask(&daemon, &["camera", "show", "1"], &reader).0, 0);
    let (code, _, told) = ask(&daemon, &["camera", "remove", "1"], &reader);
    assert_eq!(code, 1);
    assert!(told.contains("scope admin"), "{told}");
    let (_, tokens, _) = ask(&daemon, &["token", "list", "--json"], &[]);
    assert!(
        !tokens.contains(token.trim()) && !tokens.contains(&daemon.token),
        "never shown again"
    );
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let id_of = |name: &str| {
        let row = tokens["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|t| t["name"] == name)
            .unwrap();
        row["id"].as_str().unwrap().to_owned()
    };
    let (code, _, told) = ask(&daemon, &["token", "revoke", &id_of("admin")], &[]);
    assert_eq!(code, 1, "the last admin token stays: {told}");
    assert_eq!(ask(&daemon, &["token", "revoke", &id_of("ha")], &[]).0, 0);
    assert_eq!(
        ask(&daemon, &["camera", "list"], &reader).0,
        1,
        "revoked at once"
    );

    let (code, _, told) = ask(&daemon, &["camera", "show", "99"], &[]);
    assert_eq!((code, told.contains("no camera 99")), (1, true), "{told}");
    assert_eq!(ask(&daemon, &["camera", "remove", "1"], &[]).0, 0);
    let (code, _, told) = ask(
        &daemon,
        &["camera", "list"],
        &[("OHMVISION_URL", "http://127.0.0.1:1")],
    );
    assert_eq!(code, 69);
    assert!(told.contains("is `ohmvision run` running?"), "{told}");
    assert!(!format!("{table}{detail}{events}").contains("s3cret-canary"));
}
