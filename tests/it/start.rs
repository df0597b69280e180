//! First start, second start, bad starts, and the end.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::harness::daemon::run_to_end;
use super::harness::{Daemon, wait_for};

#[test]
fn the_first_start_needs_nothing_and_says_where_the_token_is() {
    let mut daemon = Daemon::start(None, "");
    let token_file = daemon.state.join("admin.token");
    let mode = std::fs::metadata(&token_file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let healthz = daemon.try_ask("GET", "/healthz", None, &[]).unwrap();
    assert_eq!(healthz.status, 200);
    let log = daemon.log();
    assert!(log.contains(token_file.to_str().unwrap()), "{log}");
    assert!(
        !log.contains(&daemon.token),
        "the token itself is never printed"
    );
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");

    let refused = daemon.try_ask("GET", "/api/cameras", None, &[]).unwrap();
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .head
            .to_ascii_lowercase()
            .contains("www-authenticate: bearer"),
        "{}",
        refused.head
    );

    let (status, took) = daemon.stop();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn cameras_and_token_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut first = Daemon::start_on(None, &state, None);
    let token = first.token.clone();
    let made = first.post(
        "/api/cameras",
        json!({"rtsp_url": "rtsp://u:pw@192.0.2.1:554/x", "enabled": false}),
    );
    let made = made.expect(422);
    assert_eq!(
        made["errors"][0]["field"], "rtsp_url",
        "not an allowed network: {made}"
    );
    let made = first.post(
        "/api/cameras",
        json!({"rtsp_url": "rtsp://u:pw@10.255.0.1:554/x", "enabled": false}),
    );
    let id = made.expect(201)["id"].clone();
    first.stop();

    let second = Daemon::start_on(None, &state, None);
    assert_eq!(second.token, token);
    let camera = second.get(&format!("/api/cameras/{id}")).expect(200);
    assert_eq!(
        camera["primary_stream_url"],
        "rtsp://u:***@10.255.0.1:554/x"
    );
    assert_eq!(camera["has_password"], true);
    assert!(
        !second.log().contains("admin token"),
        "said once, at the first start"
    );
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_in_words() {
    let daemon = Daemon::start(None, "");
    let state = daemon.state.to_str().unwrap();
    let (code, said) = run_to_end(
        &["run", "--listen", "127.0.0.1:0", "--state-dir", state],
        &[],
    );
    assert_eq!(code, 75, "{said}");
    assert!(
        said.contains("in use by another ohmvision") && said.contains("--state-dir"),
        "{said}"
    );
    assert_eq!(
        daemon.get("/api/version").status,
        200,
        "the first one goes on"
    );
}

#[test]
fn every_mistake_of_a_configuration_is_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ohmvision.toml");
    std::fs::write(&file, "[health]\ninterval_s = 2\nintervall = 3\n\n[servr]\n[[manufacturer]]\nid = \"\"\nfoo = 1\n").unwrap();
    let path = file.to_str().unwrap();
    let state = dir.path().join("state");
    let (code, said) = run_to_end(
        &[
            "run",
            "--config",
            path,
            "--state-dir",
            state.to_str().unwrap(),
        ],
        &[],
    );
    assert_eq!(code, 78, "{said}");
    for wanted in [
        ":2: `health.interval_s`",
        ":3: `health.intervall`",
        ":5:",
        "\"server\"",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing in: {said}");
    }
    assert!(!state.exists(), "a wrong configuration makes nothing");
    let (code, _) = run_to_end(&["config", "check", "--config", path], &[]);
    assert_eq!(code, 78);
}

#[test]
fn listening_in_clear_beyond_loopback_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (code, said) = run_to_end(
        &[
            "run",
            "--listen",
            "0.0.0.0:0",
            "--state-dir",
            state.to_str().unwrap(),
        ],
        &[],
    );
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("allow_plain_http"), "{said}");
}

#[test]
fn a_corrupt_store_is_named_and_set_aside_only_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut daemon = Daemon::start_on(None, &state, None);
    daemon.stop();
    let file = state.join("ohmvision.redb");
    std::fs::write(&file, vec![0x5a; 20_000]).unwrap();
    let args = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let (code, said) = run_to_end(&args, &[]);
    assert_eq!(code, 65, "{said}");
    assert!(
        said.contains("ohmvision.redb") && said.contains("--new-store"),
        "{said}"
    );
    assert_eq!(
        std::fs::read(&file).unwrap(),
        vec![0x5a; 20_000],
        "it is left as it was"
    );

    let mut command = std::process::Command::new(super::harness::daemon::PROGRAM);
    let mut again = command
        .args(args)
        .arg("--new-store")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a new store", Duration::from_secs(20), || {
        std::fs::read(&file)
            .ok()
            .filter(|bytes| bytes.starts_with(b"redb"))
    });
    again.kill().unwrap();
    again.wait().unwrap();
    let aside = std::fs::read_dir(&state).unwrap().flatten();
    assert!(
        aside
            .into_iter()
            .any(|e| e.file_name().to_string_lossy().contains("aside"))
    );
}

#[test]
fn a_reload_takes_good_files_and_keeps_the_old_for_bad_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ohmvision.toml");
    std::fs::write(&file, "[health]\ninterval_s = 60\n").unwrap();
    let daemon = Daemon::start_on(None, &dir.path().join("state"), Some(&file));
    std::fs::write(&file, "[health]\ninterval_s = 1\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    let says = |text: &str| {
        wait_for(text, Duration::from_secs(5), || {
            daemon.log().contains(text).then_some(())
        });
    };
    says("the old one stays");
    std::fs::write(&file, "[health]\ninterval_s = 30\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    says("configuration reloaded");
    says("health.interval_s");
}

#[test]
fn exit_codes_of_one_shot_commands() {
    let codes = [
        (&["probe", "rtsp://127.0.0.1:1/x"][..], 1),
        (&["probe", "gopher://x/"], 2),
        (&["detect", "not-an-ip"], 2),
        (&["manufacturers", "hikvison"], 2),
        (&["manufacturers", "hikvision"], 0),
        (&["urls", "dahua", "192.168.1.5"], 0),
        (&["version"], 0),
        (&["nonsense"], 2),
    ];
    for (args, wanted) in codes {
        let (code, said) = run_to_end(args, &[]);
        assert_eq!(code, wanted, "{args:?}: {said}");
    }
    let (_, said) = run_to_end(&["manufacturers", "hikvison"], &[]);
    assert!(said.contains("hikvision"), "the closest name: {said}");
    let (_, said) = run_to_end(
        &["urls", "hikvision", "192.168.1.5", "-u", "admin"],
        &[("OHMVISION_PASSWORD", "c4n4ry")],
    );
    assert!(
        said.contains("rtsp://admin:***@192.168.1.5:554/Streaming/Channels/101"),
        "{said}"
    );
    assert!(!said.contains("c4n4ry"), "{said}");
}
