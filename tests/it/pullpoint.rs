//! Events that are pulled from an ONVIF device of other people: a subscription that outlives the device's reboot.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Daemon, Site, is_skipped, wait_for};

const PATIENCE: Duration = Duration::from_secs(40);

fn reports(daemon: &Daemon, id: &Value) -> Vec<Value> {
    let list = daemon.get(&format!("/api/cameras/{id}/events")).expect(200);
    list["items"].as_array().unwrap().clone()
}

fn issues(daemon: &Daemon, id: &Value) -> Value {
    let health = daemon.get(&format!("/api/health/cameras/{id}")).expect(200);
    health["issues"].clone()
}

#[test]
fn events_are_pulled_before_and_after_a_reboot() {
    if is_skipped("peers") {
        return;
    }
    let Some(site) = Site::up("pp", "oxvif") else {
        return;
    };
    let daemon = Daemon::start(Some(&site), "");
    let body = json!({
        "name": "Yard", "primary_stream_url": "onvif://admin:Hik12345@10.77.0.21",
        "connection_config": {"verify_frames": false}
    });
    let id = daemon.post("/api/cameras", body).expect(201)["id"].clone();
    assert_eq!(
        reports(&daemon, &id),
        [] as [Value; 0],
        "nobody asked for events"
    );

    let camera = format!("/api/cameras/{id}");
    let on = json!({"connection_config": {"onvif_events": true}}).to_string();
    daemon.ask("PATCH", &camera, Some(on)).expect(200);
    let motion = wait_for("a motion report", PATIENCE, || {
        let all = reports(&daemon, &id);
        all.into_iter().find(|report| report["type"] == "motion")
    });
    assert_eq!(motion["detail"]["transport"], "pullpoint", "{motion}");
    assert_eq!(issues(&daemon, &id), json!([]));

    site.lan("stop", "oxvif");
    wait_for("the loss is told", PATIENCE, || {
        (issues(&daemon, &id) == json!(["onvif_events_lost"])).then_some(())
    });
    site.lan("start", "oxvif");
    wait_for("the subscription is made anew", PATIENCE, || {
        (issues(&daemon, &id) == json!([])).then_some(())
    });
    let before = reports(&daemon, &id);
    wait_for("reports go on", PATIENCE, || {
        (reports(&daemon, &id) != before).then_some(())
    });
    // One line for each change, and none for each attempt.
    let log = daemon.log();
    assert_eq!(
        log.matches("camera reports its events over ONVIF").count(),
        2,
        "{log}"
    );
    assert_eq!(log.matches("no events over ONVIF").count(), 1, "{log}");
    assert!(!log.contains("Hik12345"));
}
