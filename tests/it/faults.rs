//! Devices that lie: each costs one probe, within its deadline and within memory.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::Daemon;
use super::harness::fake::{Fake, Fault};

/// Short deadlines, so that the suite is quick; what is measured is that they hold.
const CONFIG: &str = "[security]\nallowed_networks = [\"loopback\"]\n[health]\ntimeout_ms = 2000\nframe_timeout_ms = 3000\n";
/// No device may push the daemon above this, kB.
const MEMORY_KB_MAX: u64 = 32 * 1024;

fn probe(daemon: &Daemon, fake: &Fake) -> (Value, Duration) {
    let started = Instant::now();
    let answer = daemon
        .post(
            "/api/discovery/probe",
            json!({"url": fake.url(), "frames": true}),
        )
        .expect(200);
    (answer, started.elapsed())
}

#[test]
fn endless_answers_are_cut_off_in_time_and_memory() {
    let daemon = Daemon::start(None, CONFIG);
    let faults = [
        (Fault::EndlessDescribe, "protocol"),
        (Fault::EndlessHeader, "protocol"),
        (Fault::EndlessSetup, "protocol"),
        (Fault::EndlessPlay, "no_frame"),
        (Fault::GarbageSdp, "protocol"),
        (Fault::RedirectLoop, "redirect_loop"),
        (Fault::Silent, "no_frame"),
        (Fault::SlowLoris, "timeout"),
    ];
    for (fault, wanted) in faults {
        let (answer, took) = probe(&daemon, &Fake::start(fault));
        assert_eq!(answer["success"], false, "{fault:?}");
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        assert_eq!(code, wanted, "{fault:?}: {answer}");
        // The probe's own limit is 15 s; every one of these is told apart earlier or then.
        assert!(
            took < Duration::from_secs(17),
            "{fault:?} held the probe for {took:?}"
        );
    }
    let good = probe(&daemon, &Fake::start(Fault::None)).0;
    assert_eq!(
        (&good["codec"], &good["resolution"]),
        (&json!("h264"), &json!("1920x1080")),
        "{good}"
    );
    let peak_kb = daemon.peak_rss_kb();
    println!("peak memory {peak_kb} kB");
    assert!(peak_kb < MEMORY_KB_MAX, "{peak_kb} kB");
}

#[test]
fn a_device_that_floods_the_second_connection_is_no_danger() {
    let daemon = Daemon::start(None, CONFIG);
    let fake = Fake::start(Fault::SecondConnection);
    assert_eq!(probe(&daemon, &fake).0["success"], true);
    let (second, took) = probe(&daemon, &fake);
    assert_eq!(second["error"]["code"], "protocol", "{second}");
    assert!(took < Duration::from_secs(17));
    assert!(daemon.peak_rss_kb() < MEMORY_KB_MAX);
}

#[test]
fn every_session_is_torn_down() {
    let daemon = Daemon::start(None, CONFIG);
    for fault in [Fault::None, Fault::Silent] {
        let fake = Fake::start(fault);
        probe(&daemon, &fake);
        let requests = fake.requests.lock().unwrap().clone();
        let last = requests.last().unwrap();
        assert!(last.starts_with("TEARDOWN"), "{fault:?}: {requests:?}");
    }
}

#[test]
fn a_refused_login_is_sent_once_and_remembered_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ohmvision.toml");
    std::fs::write(&config, format!("{CONFIG}interval_s = 5\n")).unwrap();
    let state = dir.path().join("state");
    let fake = Fake::start(Fault::WrongDigest);
    let url = fake.url().replace("rtsp://", "rtsp://admin:wr0ng-canary@");
    let mut daemon = Daemon::start_on(None, &state, Some(&config));
    let id = daemon
        .post("/api/cameras", json!({"primary_stream_url": url}))
        .expect(201)["id"]
        .clone();
    super::harness::wait_for("the refusal", Duration::from_secs(10), || {
        let health = daemon.get(&format!("/api/health/cameras/{id}")).expect(200);
        (health["connection_health"] == "offline").then_some(())
    });
    let link = daemon
        .get(&format!("/api/health/cameras/{id}/reconnection"))
        .expect(200);
    assert_eq!(
        link["state"], "given_up",
        "refused credentials stop at once: {link}"
    );
    let health = daemon.get(&format!("/api/health/cameras/{id}")).expect(200);
    assert_eq!(health["cause"], "auth_failed");
    assert_eq!(fake.logins(), 1);

    // Whatever the operator presses, the same login is not sent again.
    daemon
        .post(&format!("/api/health/cameras/{id}/check-now"), json!({}))
        .expect(200);
    daemon
        .post(&format!("/api/health/cameras/{id}/reconnect"), json!({}))
        .expect(202);
    daemon
        .post(
            "/api/discovery/probe",
            json!({"url": fake.url(), "username": "admin", "password": "wr0ng-canary"}),
        )
        .expect(200);
    let port = fake.address.port();
    let body = json!({"ip": "127.0.0.1", "ports": [port], "username": "admin", "password": "wr0ng-canary"});
    let detected = daemon.post("/api/discovery/auto-detect", body).expect(200);
    assert_eq!(detected["success"], false);
    std::thread::sleep(Duration::from_secs(6)); // an ordinary check
    assert_eq!(fake.logins(), 1, "{detected}");

    daemon.stop();
    let daemon = Daemon::start_on(None, &state, Some(&config));
    daemon
        .post(&format!("/api/health/cameras/{id}/check-now"), json!({}))
        .expect(200);
    daemon
        .post(&format!("/api/health/cameras/{id}/reconnect"), json!({}))
        .expect(202);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fake.logins(), 1, "remembered over the restart");

    // Another password is another login.
    let patch = json!({"password": "another"}).to_string();
    let headers = [("Content-Type", "application/merge-patch+json")];
    let patched = daemon.ask_with(
        "PATCH",
        &format!("/api/cameras/{id}"),
        Some(patch),
        &headers,
    );
    assert_eq!(patched.status, 200, "{}", patched.body);
    super::harness::wait_for("the new login is tried", Duration::from_secs(10), || {
        (fake.logins() == 2).then_some(())
    });
    for file in ["log", "toml"] {
        let text = std::fs::read_to_string(state.with_extension(file)).unwrap_or_default();
        assert!(!text.contains("wr0ng-canary"), "a password in the {file}");
    }
}

#[test]
fn an_account_that_locks_is_not_locked() {
    let daemon = Daemon::start(None, CONFIG);
    let fake = Fake::start(Fault::Locks);
    let port = fake.address.port();
    let logins = [
        ("admin", "one"),
        ("admin", "two"),
        ("admin", "right"),
        ("admin", "four"),
    ];
    let credentials: Vec<Value> = logins
        .iter()
        .map(|(u, p)| json!({"username": u, "password": p}))
        .collect();
    let body = json!({"ip": "127.0.0.1", "ports": [port], "credentials": credentials, "manufacturer": "hikvision"});
    let detected = daemon
        .post("/api/discovery/auto-detect", body.clone())
        .expect(200);
    assert_eq!(
        detected["success"], false,
        "the third is not tried on a maker that locks"
    );
    assert_eq!(fake.logins(), 2, "{detected}");
    daemon.post("/api/discovery/auto-detect", body).expect(200);
    assert_eq!(
        fake.logins(),
        2,
        "nor when asked again within the half hour"
    );
}

#[test]
fn what_lies_outside_the_allowed_networks_is_not_dialled() {
    let daemon = Daemon::start(None, "");
    let fake = Fake::start(Fault::None);
    let refused = daemon.post("/api/discovery/probe", json!({"url": fake.url()}));
    assert!(
        refused.status == 422 || refused.json()["success"] == false,
        "{}",
        refused.body
    );
    let refused = daemon.post("/api/discovery/auto-detect", json!({"ip": "127.0.0.1"}));
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(fake.requests.lock().unwrap().is_empty());
}
