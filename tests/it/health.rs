//! Cameras that die and come back, on the real site.

use std::time::{Duration, Instant};

use serde_json::json;

use super::harness::{Daemon, Site, wait_for};

const INTERVAL_S: u64 = 5;
const TIMEOUT_MS: u64 = 2000;

#[test]
fn a_dead_camera_is_told_with_its_cause_and_comes_back_without_help() {
    let Some(site) = Site::up("hl", "hik,dahua") else {
        return;
    };
    let config = format!("[health]\ninterval_s = {INTERVAL_S}\ntimeout_ms = {TIMEOUT_MS}\n");
    let daemon = Daemon::start(Some(&site), &config);
    let add = |url: &str, name: &str| {
        let body = json!({"name": name, "primary_stream_url": url});
        daemon.post("/api/cameras", body).expect(201)["id"]
            .as_u64()
            .unwrap()
    };
    let stopped = add(
        "rtsp://admin:Hik12345@10.77.0.11:554/Streaming/Channels/101",
        "stopped",
    );
    let unplugged = add(
        "rtsp://admin:Hik12345@10.77.0.12:554/cam/realmonitor?channel=1&subtype=0",
        "unplugged",
    );
    let health = |id: u64| daemon.get(&format!("/api/health/cameras/{id}")).expect(200);
    let is = |id: u64, wanted: &str| health(id)["connection_health"] == wanted;
    wait_for("both are excellent", Duration::from_secs(15), || {
        (is(stopped, "excellent") && is(unplugged, "excellent")).then_some(())
    });
    let seen = health(stopped);
    assert_eq!(
        (&seen["codec"], &seen["resolution"]),
        (&json!("h264"), &json!("1280x720")),
        "{seen}"
    );
    assert!(
        seen["last_frame_at"].is_string() && seen["first_frame_ms"].is_u64(),
        "{seen}"
    );

    site.lan("stop", "hik");
    site.lan("unplug", "dahua");
    let died = Instant::now();
    let limit = Duration::from_millis(INTERVAL_S * 1000 + 2 * TIMEOUT_MS + 3000);
    let mut was_suspect = false;
    for (id, cause) in [(stopped, "refused"), (unplugged, "timeout")] {
        wait_for("offline", limit.saturating_sub(died.elapsed()), || {
            was_suspect |= health(id)["suspect"] == true;
            is(id, "offline").then_some(())
        });
        let told = health(id);
        let seen = told["cause"].as_str().unwrap();
        assert!(
            seen == cause || (cause == "timeout" && seen == "unreachable"),
            "{told}"
        );
        println!(
            "offline with cause {seen} after {:.1} s",
            died.elapsed().as_secs_f64()
        );
    }
    assert!(was_suspect, "a suspicion comes before the outage");
    let status = daemon.get("/api/health/status").expect(200);
    assert_eq!(
        (&status["offline_cameras"], &status["online_cameras"]),
        (&json!(2), &json!(0)),
        "{status}"
    );

    let link = |id: u64| {
        daemon
            .get(&format!("/api/health/cameras/{id}/reconnection"))
            .expect(200)
    };
    let plan = wait_for(
        "the second attempt is planned",
        Duration::from_secs(20),
        || {
            let plan = link(stopped);
            (plan["attempt"] == 2 && plan["state"] == "waiting").then_some(plan)
        },
    );
    assert_eq!(
        (&plan["next_delay_s"], &plan["max_attempts"]),
        (&json!(20), &json!(5)),
        "{plan}"
    );
    assert_eq!(plan["attempts"][0]["delay_s"], 10, "{plan}");

    site.lan("start", "hik");
    site.lan("plug", "dahua");
    for id in [stopped, unplugged] {
        wait_for("online without help", Duration::from_secs(45), || {
            is(id, "excellent").then_some(())
        });
        assert_eq!(link(id)["state"], "connected");
    }
    let events = daemon
        .get(&format!("/api/events?camera={stopped}"))
        .expect(200);
    let kinds: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["camera_added", "offline", "online"]);
    let told = health(stopped);
    assert_eq!(told["disconnections"], 1);
    let uptime = told["uptime_percentage"].as_f64().unwrap();
    assert!(uptime > 0.0 && uptime < 100.0, "downtime counts: {uptime}");
    assert_eq!(told["outages"].as_array().unwrap().len(), 1, "{told}");

    // One line for each change, not for each retry.
    let lines = daemon
        .log()
        .lines()
        .filter(|l| l.contains("camera is offline"))
        .count();
    assert_eq!(lines, 2, "{}", daemon.log());
}
