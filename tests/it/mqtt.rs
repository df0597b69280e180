//! Reports to a real broker, heard by a client that others wrote.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ohmvision::model::{Event, EventKind, Timestamp};
use ohmvision::store::{OpenOptions, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::broker::{Broker, Cutter, Listener};
use crate::harness::fake::{Fake, Fault};
use crate::harness::{Daemon, is_skipped, wait_for};

fn config(url: &str, more: &str) -> String {
    format!(
        "[mqtt]\nurl = \"{url}\"\n{more}\n[security]\nallowed_networks = [\"loopback\"]\n[health]\ninterval_s = 5\n[gateway]\nname = \"Roof box\"\n"
    )
}

/// Adds a camera; its uid.
fn add(daemon: &Daemon, name: &str, url: &str) -> (u64, String) {
    let body = json!({"name": name, "primary_stream_url": url});
    let camera = daemon.post("/api/cameras", body).expect(201);
    let uid = camera["uid"].as_str().unwrap().to_owned();
    (camera["id"].as_u64().unwrap(), uid)
}

fn field<'a>(name: &'a str, value: &'a Value) -> impl Fn(&str) -> bool + 'a {
    move |body| serde_json::from_str::<Value>(body).is_ok_and(|v| v[name] == *value)
}

/// The gateway's id, from the first status.
fn gateway(listener: &Listener) -> String {
    let topic = wait_for("a status", Duration::from_secs(10), || {
        listener
            .newest()
            .into_keys()
            .find(|t| t.ends_with("/status") && t.starts_with("ohmvision/"))
    });
    topic.split('/').nth(1).unwrap().to_owned()
}

fn reports(version: &str) {
    let mut broker = Broker::start();
    let listener = broker.listen(&["ohmvision/#", "homeassistant/#"]);
    let mut daemon = Daemon::start(
        None,
        &config(&broker.url(), &format!("version = \"{version}\"")),
    );
    let gw = gateway(&listener);
    let root = format!("ohmvision/{gw}");
    listener.wait(&format!("{root}/status"), 10, |b| b == "online");
    let info = listener.wait(&format!("{root}/info"), 10, |_| true);
    assert!(
        info.contains("\"name\":\"Roof box\"") && info.contains("\"schema\":1"),
        "{info}"
    );

    let fake = Fake::start(Fault::None);
    let (id, uid) = add(&daemon, "Entrée Principale", &fake.url());
    let (_, dead) = add(&daemon, "Yard", "rtsp://127.0.0.1:1/live");
    let cam = format!("{root}/cam/{uid}");
    listener.wait(
        &format!("{cam}/state"),
        20,
        field("connection_health", &json!("excellent")),
    );
    listener.wait(&format!("{cam}/availability"), 10, |b| b == "online");
    let offline = format!("{root}/cam/{dead}");
    listener.wait(
        &format!("{offline}/state"),
        20,
        field("connection_health", &json!("offline")),
    );
    listener.wait(&format!("{offline}/availability"), 10, |b| b == "offline");
    let alarm = listener.wait(&format!("{offline}/alarm/offline"), 10, |b| !b.is_empty());
    assert!(alarm.contains("\"cause\":\"refused\""), "{alarm}");
    let event = listener.wait(&format!("{offline}/event/offline"), 10, |_| true);
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["type"], "io.ohmvision.camera.offline.v1");
    assert_eq!(
        (&event["subject"], &event["event_type"]),
        (&json!(dead), &json!("offline"))
    );
    listener.wait(&format!("{root}/cams"), 40, |b| {
        b.contains(&uid) && b.contains(&dead)
    });
    let document = format!("homeassistant/device/{gw}/{}/config", uid.replace('-', ""));
    let told = listener.wait(&document, 10, |_| true);
    assert!(
        told.contains("\"default_entity_id\":\"sensor.entree_principale_health\""),
        "{told}"
    );

    // A broker that lost everything is filled again.
    broker.stop();
    drop(listener);
    broker.begin();
    let listener = broker.listen(&["ohmvision/#", "homeassistant/#"]);
    listener.wait(&format!("{root}/status"), 20, |b| b == "online");
    listener.wait(&format!("{cam}/state"), 20, |_| true);
    listener.wait(&document, 20, |b| b == told);
    listener.wait(&format!("{offline}/alarm/offline"), 10, |b| !b.is_empty());

    // What is deleted leaves nothing behind.
    daemon
        .ask("DELETE", &format!("/api/cameras/{id}"), None)
        .expect(204);
    wait_for("the camera is gone", Duration::from_secs(10), || {
        listener
            .newest()
            .keys()
            .all(|t| !t.contains(&uid) && *t != document || t.contains("/event/"))
            .then_some(())
    });
    listener.wait(&format!("{root}/event/camera_removed"), 10, |_| true);

    // Killed: the will. Stopped: said goodbye.
    daemon.kill();
    listener.wait(&format!("{root}/status"), 10, |b| b == "offline");
    let mut daemon = Daemon::start_on(
        None,
        &daemon.state.clone(),
        Some(&daemon.state.with_file_name("ohmvision.toml")),
    );
    listener.wait(&format!("{root}/status"), 20, |b| b == "online");
    let (ended, _) = daemon.stop();
    assert!(ended.success());
    listener.wait(&format!("{root}/status"), 10, |b| b == "offline");
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn cameras_are_reported_over_mqtt_5() {
    if !is_skipped("mosquitto") {
        reports("5");
    }
}

#[test]
fn cameras_are_reported_over_mqtt_3() {
    if !is_skipped("mosquitto") {
        reports("3.1.1");
    }
}

/// Puts this many transitions into the store of a daemon that does not run; their ids.
fn put_transitions(state: &Path, count: u32) -> Vec<String> {
    let (store, loaded) = Store::open(OpenOptions::new(state)).unwrap();
    let camera = &loaded.cameras[0].0;
    let event = |n: u32| Event {
        id: Uuid::now_v7(),
        time: Timestamp::from_unix_s(1_800_000_000 + i64::from(n)),
        kind: [EventKind::Offline, EventKind::Online][n as usize % 2],
        camera_id: Some(camera.id),
        camera_name: Some(camera.name.clone()),
        cause: None,
        duration_s: None,
        message: format!("transition {n}"),
        detail: None,
    };
    let events: Vec<Event> = (0..count).map(event).collect();
    let ids = events.iter().map(|e| e.id.to_string()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        for some in events.chunks(100) {
            store
                .commit_transition(Vec::new(), some.to_vec())
                .await
                .unwrap();
        }
        store.close().await.unwrap();
    });
    ids
}

/// A daemon with one camera that has reported once and then stopped.
fn stopped_daemon(broker: &Broker, more: &str) -> Daemon {
    let listener = broker.listen(&["ohmvision/#"]);
    let mut daemon = Daemon::start(None, &config(&broker.url(), more));
    add(&daemon, "Gate", "rtsp://127.0.0.1:1/live");
    wait_for("the outage is told", Duration::from_secs(20), || {
        listener
            .all()
            .iter()
            .any(|m| m.topic.ends_with("/event/offline"))
            .then_some(())
    });
    daemon.stop();
    daemon
}

fn restart(daemon: &Daemon) -> Daemon {
    let state = daemon.state.clone();
    Daemon::start_on(None, &state, Some(&state.with_file_name("ohmvision.toml")))
}

/// The ids of the injected events as they came, without repetitions.
fn arrived(listener: &Listener, ids: &[String]) -> Vec<String> {
    let wanted: HashSet<&String> = ids.iter().collect();
    let mut seen = HashSet::new();
    let events = listener
        .all()
        .into_iter()
        .filter(|m| m.topic.contains("/event/"));
    events
        .map(|m| m.json()["id"].as_str().unwrap().to_owned())
        .filter(|id| wanted.contains(id) && seen.insert(id.clone()))
        .collect()
}

#[test]
fn five_thousand_transitions_wait_for_the_broker() {
    if is_skipped("mosquitto") {
        return;
    }
    let mut broker = Broker::start();
    let daemon = stopped_daemon(&broker, "");
    let ids = put_transitions(&daemon.state, 5000);
    broker.stop();
    let daemon = restart(&daemon);
    wait_for("the absence is told", Duration::from_secs(10), || {
        daemon.log().contains("no MQTT broker").then_some(())
    });
    let before_kb = daemon.peak_rss_kb();
    broker.begin();
    let listener = broker.listen(&["ohmvision/+/event/#", "ohmvision/+/cam/+/event/#"]);
    wait_for("all of them", Duration::from_secs(70), || {
        (arrived(&listener, &ids).len() == ids.len()).then_some(())
    });
    assert!(arrived(&listener, &ids) == ids, "in order");
    let grown_kb = daemon.peak_rss_kb() - before_kb;
    println!("memory grew by {grown_kb} kB");
    assert!(grown_kb < 2048, "{grown_kb} kB");
    let lines = daemon
        .log()
        .lines()
        .filter(|l| l.contains("no MQTT broker"))
        .count();
    assert_eq!(lines, 1, "{}", daemon.log());

    // What was taken is not told again by the next life.
    drop(listener);
    let mut daemon = daemon;
    assert!(daemon.stop().0.success());
    let listener = broker.listen(&["ohmvision/#"]);
    let daemon = restart(&daemon);
    let started = || {
        listener
            .all()
            .into_iter()
            .any(|m| m.topic.ends_with("/event/started"))
    };
    wait_for("the new life's own event", Duration::from_secs(10), || {
        started().then_some(())
    });
    assert!(arrived(&listener, &ids).is_empty());
    drop(daemon);
}

#[test]
fn a_link_that_breaks_loses_nothing() {
    if is_skipped("mosquitto") {
        return;
    }
    for version in ["5", "3.1.1"] {
        let broker = Broker::start();
        let daemon = stopped_daemon(&broker, &format!("version = \"{version}\""));
        let ids = put_transitions(&daemon.state, 600);
        let cutter = Cutter::before(broker.port, 5, 60_000);
        let file = daemon.state.with_file_name("ohmvision.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let cut = format!("mqtt://127.0.0.1:{}", cutter.port);
        std::fs::write(&file, text.replace(&broker.url(), &cut)).unwrap();
        let listener = broker.listen(&["ohmvision/#"]);
        let daemon = restart(&daemon);
        wait_for("all of them", Duration::from_secs(90), || {
            (arrived(&listener, &ids).len() == ids.len()).then_some(())
        });
        assert!(arrived(&listener, &ids) == ids, "in order");
        assert_eq!(cutter.cuts.load(Ordering::SeqCst), 5);
        drop(daemon);
    }
}
