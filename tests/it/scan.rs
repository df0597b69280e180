//! The scan of the real site.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::daemon::PROGRAM;
use super::harness::site::devices;
use super::harness::{Daemon, Site, wait_for};

#[test]
fn every_device_is_found_and_nothing_else() {
    let Some(site) = Site::up("sc", "") else {
        return;
    };
    let started = Instant::now();
    let out = site.run(PROGRAM, &["scan", "--json"], &[]);
    let found: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
    println!(
        "{} devices in {:.1} s",
        found.len(),
        started.elapsed().as_secs_f64()
    );
    let ips: Vec<&str> = found.iter().map(|d| d["ip"].as_str().unwrap()).collect();
    let wanted: Vec<String> = devices().into_iter().map(|d| d.ip).collect();
    assert_eq!(ips, wanted);
    for device in devices() {
        let seen = found
            .iter()
            .find(|d| d["ip"] == device.ip.as_str())
            .unwrap();
        let maker = device
            .manufacturer
            .as_deref()
            .map_or(Value::Null, Value::from);
        assert_eq!(seen["manufacturer_id"], maker, "{seen}");
        assert!(seen["mac"].is_string(), "{seen}");
    }
    let daemon = Daemon::start(Some(&site), "");
    scenario_2(&daemon);
    with_logins(&daemon);
}

/// Cameras that take the operator's login tell more of themselves; the others say what became of it.
fn with_logins(daemon: &Daemon) {
    let body = json!({
        "networks": ["10.77.0.0/24"],
        "credentials": [{"username": "admin", "password": "Hik12345"}],
    });
    daemon.post("/api/discovery/scan/start", body).expect(202);
    let ended = wait_for("the scan ends", Duration::from_secs(60), || {
        let status = daemon.get("/api/discovery/scan/status").expect(200);
        (status["status"] == "completed").then_some(status)
    });
    let found = ended["devices"].as_array().unwrap();
    let said = |device: &Value, text: &str| {
        let mut lines = device["evidence"].as_array().unwrap().iter();
        lines.any(|line| line.as_str().unwrap().starts_with(text))
    };
    let hik = found.iter().find(|d| d["ip"] == "10.77.0.11").unwrap();
    assert!(said(hik, "login 1 of the request accepted"), "{hik}");
    assert_eq!(hik["needs_credentials"], false, "{hik}");
    assert_eq!(
        hik["rtsp_url"],
        "rtsp://10.77.0.11:554/Streaming/Channels/101"
    );
    let refused = found
        .iter()
        .find(|d| said(d, "asked with the logins: "))
        .expect("a camera with another login");
    assert_eq!(refused["needs_credentials"], true, "{refused}");
    assert!(!ended.to_string().contains("Hik12345"));
}

/// The specification's second scenario: start, progress, result.
fn scenario_2(daemon: &Daemon) {
    assert_eq!(
        daemon.get("/api/discovery/scan/status").expect(200)["status"],
        "idle"
    );
    let begun = daemon
        .ask("POST", "/api/discovery/scan/start", None)
        .expect(202);
    assert_eq!(
        (&begun["status"], &begun["total_ips"]),
        (&json!("scanning"), &json!(254)),
        "{begun}"
    );
    assert_eq!(
        daemon.ask("POST", "/api/discovery/scan/start", None).status,
        409
    );
    let ended = wait_for("the scan ends", Duration::from_secs(20), || {
        let status = daemon.get("/api/discovery/scan/status").expect(200);
        let (progress, scanned) = (
            status["progress"].as_u64().unwrap(),
            status["scanned_ips"].as_u64().unwrap(),
        );
        assert!(progress <= 100 && scanned <= 254, "{status}");
        assert!(status["status"] != "scanning" || progress <= 99, "{status}");
        (status["status"] == "completed").then_some(status)
    });
    assert_eq!(
        (&ended["progress"], &ended["scanned_ips"]),
        (&json!(100), &json!(254))
    );
    let hik = ended["devices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["ip"] == "10.77.0.11")
        .unwrap();
    assert_eq!(hik["manufacturer"], "Hikvision");
    assert_eq!(
        hik["rtsp_url"],
        "rtsp://10.77.0.11:554/Streaming/Channels/101"
    );
    assert_eq!(
        hik["needs_credentials"], true,
        "found, needs credentials: {hik}"
    );
    assert!(hik["confidence"].as_f64().unwrap() >= 0.7, "{hik}");

    let again = daemon.post(
        "/api/discovery/scan/start",
        json!({"networks": ["10.77.0.0/22"]}),
    );
    assert_eq!(again.status, 202, "{}", again.body);
    let stopped = Instant::now();
    daemon
        .ask("POST", "/api/discovery/scan/stop", None)
        .expect(200);
    wait_for("the scan stops", Duration::from_secs(2), || {
        (daemon.get("/api/discovery/scan/status").expect(200)["status"] == "cancelled")
            .then_some(())
    });
    println!("stopped within {} ms", stopped.elapsed().as_millis());
    for network in [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "8.8.8.0/24",
        "192.168.1",
        "192.168.1.0/40",
    ] {
        let refused = daemon.post("/api/discovery/scan/start", json!({"networks": [network]}));
        assert_eq!(refused.status, 422, "{network}: {}", refused.body);
        assert!(refused.body.contains(network), "{}", refused.body);
    }
    let info = daemon.get("/api/discovery/network-info").expect(200);
    let eth0 = info["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .find(|i| i["name"] == "eth0")
        .unwrap();
    assert_eq!(eth0["ipv4"][0]["hosts"], 254, "{info}");
    let events = daemon.get("/api/events?type=scan_completed").expect(200);
    assert_eq!(events["items"].as_array().unwrap().len(), 2, "{events}");
}
