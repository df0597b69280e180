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
use crate::harness::daemon::run_to_end;
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
    // The kernel counts by thread, and not to the page.
    let grown_kb = daemon.peak_rss_kb().saturating_sub(before_kb);
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

const ALL: &str = "allowed_commands = [\"scan\", \"check_now\", \"reconnect\", \"monitoring\", \"snapshot\", \"camera_add\", \"camera_update\", \"camera_remove\", \"config_get\", \"config_patch\", \"export\", \"restart\"]";

fn is_over(body: &str) -> bool {
    body.contains("\"successful\"") || body.contains("\"failed\"")
}

fn code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    body["code"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn commands_are_carried_out_once_and_refused_in_words() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    let listener = broker.listen(&["ohmvision/#"]);
    let mut daemon = Daemon::start(None, &config(&broker.url(), ALL));
    let gw = gateway(&listener);
    let fake = Fake::start(Fault::None);
    let (id, uid) = add(&daemon, "Gate", &fake.url());
    let root = format!("ohmvision/{gw}");
    let cam = format!("{root}/cam/{uid}");
    listener.wait(
        &format!("{cam}/state"),
        20,
        field("connection_health", &json!("excellent")),
    );

    // Declared, with what they want.
    let declared = listener.wait(&format!("{root}/cmd/check_now"), 10, |_| true);
    assert!(declared.contains("\"of\":\"camera\""), "{declared}");

    let ask = |topic: &str, body: Value| {
        broker.publish(topic, body.to_string(), true);
        listener.wait(topic, 20, is_over)
    };
    let topic = format!("{cam}/cmd/check_now/a1");
    let done = ask(&topic, json!({"status": "init", "requested_by": "test"}));
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!(
        (&done["status"], &done["result"]["camera_id"]),
        (&json!("successful"), &json!(id)),
        "{done}"
    );
    let states: Vec<String> = listener
        .all()
        .into_iter()
        .filter(|m| m.topic == topic)
        .map(|m| m.json()["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["init", "executing", "successful"]);

    // The same id is the same command.
    broker.publish(&topic, "{\"status\":\"init\"}", true);
    wait_for("the answer of before", Duration::from_secs(10), || {
        let all = listener.all();
        (all.iter()
            .filter(|m| m.topic == topic && m.body.contains("successful"))
            .count()
            == 2)
            .then_some(())
    });

    for (place, body, wanted) in [
        (
            format!("{cam}/cmd/dance/b1"),
            json!({"status": "init"}),
            "unknown_command",
        ),
        (
            format!("{root}/cmd/detect/b2"),
            json!({"status": "init"}),
            "not_allowed",
        ),
        (
            format!("{root}/cmd/check_now/b3"),
            json!({"status": "init"}),
            "wrong_place",
        ),
        (
            format!("{cam}/cmd/check_now/b4"),
            json!({"status": "init", "parms": {}}),
            "malformed",
        ),
        (
            format!("{root}/cmd/camera_add/b5"),
            json!({"status": "init", "params": {"ip_address": "127.0.0.1", "password": "x"}}),
            "plaintext_secret",
        ),
        (
            format!("{root}/cmd/camera_add/b6"),
            json!({"status": "init", "params": {"ip_address": "127.0.0.1", "password": {"sealed": "AAAA"}}}),
            "bad_seal",
        ),
        (
            format!("{root}/cmd/camera_add/b7"),
            json!({"status": "init", "params": {"ip_adress": "127.0.0.1"}}),
            "invalid",
        ),
        (
            format!("{root}/cam/{}/cmd/check_now/b8", Uuid::nil()),
            json!({"status": "init"}),
            "unknown_camera",
        ),
    ] {
        let answer = ask(&place, body);
        assert_eq!(code(&answer), wanted, "{place}: {answer}");
    }
    assert!(
        !listener
            .all()
            .iter()
            .any(|m| m.body.contains("\"x\"") && !m.body.contains("init"))
    );

    // To all gateways: not kept by the broker, with an end.
    let all = "ohmvision/all/cmd/export/f1";
    let body = json!({"status": "init", "expires_at": "2199-01-01T00:00:00Z", "params": {"format": "csv"}, "selector": {"labels": {}}});
    broker.publish(all, body.to_string(), false);
    let answer = listener.wait(&format!("{root}/cmd/export/f1"), 10, is_over);
    assert!(answer.contains("Gate"), "{answer}");

    // Killed in the middle of a command: it ends with a reason.
    let slow = Fake::start(Fault::Silent);
    let (_, silent) = add(&daemon, "Silent", &slow.url());
    let topic = format!("{root}/cam/{silent}/cmd/check_now/k1");
    broker.publish(&topic, "{\"status\":\"init\"}", true);
    listener.wait(&topic, 10, |b| b.contains("executing"));
    daemon.kill();
    let daemon = restart(&daemon);
    let answer = listener.wait(&topic, 20, is_over);
    assert_eq!(code(&answer), "interrupted", "{answer}");

    // Switches and buttons.
    broker.publish(&format!("{cam}/set/monitoring"), "OFF", false);
    listener.wait(&format!("{cam}/state"), 10, field("enabled", &json!(false)));
    listener.wait(&format!("{cam}/availability"), 10, |b| b == "offline");
    broker.publish(&format!("{cam}/set/monitoring"), "ON", false);
    listener.wait(
        &format!("{cam}/state"),
        20,
        field("connection_health", &json!("excellent")),
    );
    let before = fake.requests.lock().unwrap().len();
    broker.publish(&format!("{cam}/set/check_now"), "PRESS", false);
    wait_for("the check", Duration::from_secs(4), || {
        (fake.requests.lock().unwrap().len() > before).then_some(())
    });

    // Whatever comes in costs nothing but its refusal.
    for n in 0..40 {
        let junk: String = (0..n * 50)
            .map(|i| char::from(33 + (i % 90) as u8))
            .collect();
        broker.publish(&format!("{root}/cmd/scan/junk{n}"), &junk, false);
        broker.publish(&format!("{cam}/set/key{n}"), &junk, false);
    }
    assert!(daemon.peak_rss_kb() < 32 * 1024);
    daemon.get("/healthz").expect(200);
}

#[test]
fn settings_change_live_and_take_themselves_back() {
    if is_skipped("mosquitto") {
        return;
    }
    let (first, second) = (Broker::start(), Broker::start());
    let daemon = Daemon::start(None, "[log]\nfilter = \"info\"\n");
    let patch = |body: Value| daemon.ask("PATCH", "/api/config", Some(body.to_string()));
    let heard = first.listen(&["ohmvision/#"]);
    patch(json!({"mqtt": {"url": first.url()}, "health": {"interval_s": 30}})).expect(200);
    let gw = gateway(&heard);
    let proved = || {
        wait_for("the change proved itself", Duration::from_secs(20), || {
            daemon.get("/api/config").expect(200)["trial"]
                .is_null()
                .then_some(())
        });
    };
    proved();
    let view = daemon.get("/api/config").expect(200);
    assert_eq!(view["gateway_id"], json!(gw));
    assert_eq!(
        (
            &view["config"]["health"]["interval_s"],
            &view["origins"]["health.interval_s"]["layer"]
        ),
        (&json!(30), &json!("stored"))
    );
    assert_eq!(view["origins"]["server.listen"]["layer"], "command_line");

    // Elsewhere: the old one is told, the new one is filled.
    let moved = second.listen(&["ohmvision/#"]);
    patch(json!({"mqtt": {"url": second.url()}})).expect(200);
    moved.wait(&format!("ohmvision/{gw}/status"), 20, |b| b == "online");
    heard.wait(&format!("ohmvision/{gw}/status"), 10, |b| b == "offline");
    proved();

    // Mistakes change nothing.
    let wrong = patch(json!({"mqtt": {"url": "broker"}, "health": {"interval": 1}})).expect(422);
    let fields: Vec<&str> = wrong["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["field"].as_str().unwrap())
        .collect();
    assert!(
        fields.contains(&"mqtt.url") && fields.contains(&"health.interval"),
        "{wrong}"
    );
    patch(json!({"server": {"listen": "127.0.0.1:9"}})).expect(409);

    // A broker that is not there: on trial, and what was before is what comes back.
    patch(json!({"mqtt": {"url": "mqtt://127.0.0.1:1"}})).expect(200);
    let view = daemon.get("/api/config").expect(200);
    assert_eq!(view["trial"]["needs"], json!(["broker"]));
    assert!(
        view["trial"]["reverts_in_s"].as_u64().unwrap() > 250,
        "{view}"
    );
    moved.wait(&format!("ohmvision/{gw}/status"), 10, |b| b == "offline");

    // A second change takes the first one's place before it, and proves both.
    patch(json!({"mqtt": {"url": second.url()}})).expect(200);
    moved.wait(&format!("ohmvision/{gw}/status"), 20, |b| b == "online");
    proved();

    // Off again: nobody is there to be reached, and nothing has to be.
    patch(json!({"mqtt": {"url": null}})).expect(200);
    assert!(daemon.get("/api/config").expect(200)["trial"].is_null());
    let answer = daemon.post("/api/config/reload", json!({})).expect(200);
    assert_eq!(answer["config"]["mqtt"]["url"], "");
}

#[test]
fn the_installer_is_told_which_step_fails() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::with("allow_anonymous false\npassword_file DIR/passwd\n", |dir| {
        let file = dir.join("passwd");
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .arg(&file)
            .args(["box", "right horse"])
            .status();
        assert!(made.unwrap().success());
    });
    let mut daemon = Daemon::start(None, "");
    let connect = |url: &str, password: &str, more: &[&str]| {
        let address = format!("http://{}", daemon.address);
        let mut args = vec!["mqtt", "connect", url, "-u", "box"];
        args.extend(more);
        let env = [
            ("OHMVISION_URL", address.as_str()),
            ("OHMVISION_TOKEN", &daemon.token),
            ("OHMVISION_PASSWORD", password),
        ];
        run_to_end(&args, &env)
    };
    let (exit, said) = connect("mqtt://127.0.0.1:1", "x", &[]);
    assert!(exit == 1 && said.contains("tcp        failed"), "{said}");
    let tls = broker.url().replace("mqtt:", "mqtts:");
    let (exit, said) = connect(&tls, "x", &[]);
    assert!(exit == 1 && said.contains("tls        failed"), "{said}");
    let (exit, said) = connect(&broker.url(), "wrong", &[]);
    assert!(
        exit == 1 && said.contains("login      failed") && !said.contains("wrong"),
        "{said}"
    );
    let (exit, said) = connect(&broker.url(), "right horse", &[]);
    assert!(
        exit == 0 && said.contains("subscribe  ok") && said.contains("stored"),
        "{said}"
    );
    let view = daemon.get("/api/config").expect(200);
    assert_eq!(
        (
            &view["has_mqtt_password"],
            &view["config"]["mqtt"]["username"]
        ),
        (&json!(true), &json!("box"))
    );
    assert!(!view.to_string().contains("horse"));

    // The password outlives the daemon.
    daemon.stop();
    let daemon = Daemon::start_on(None, &daemon.state.clone(), None);
    wait_for("it reports again", Duration::from_secs(20), || {
        daemon.log().contains("is connected").then_some(())
    });
    assert!(!daemon.log().contains("horse"));
}

/// Reports with the access list of the page for people, as a login of its own.
#[test]
fn the_access_list_of_the_page_is_enough() {
    if is_skipped("mosquitto") {
        return;
    }
    let page = include_str!("../../packaging/doc/mqtt.md");
    let list = page
        .split("```mosquitto-acl\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    // The gateway is named like its id, which is there after its first start.
    let mut daemon = Daemon::start(None, "");
    let gw = daemon.get("/api/config").expect(200)["gateway_id"]
        .as_str()
        .unwrap()
        .to_owned();
    daemon.stop();
    let lines = "allow_anonymous false\npassword_file DIR/passwd\nacl_file DIR/acl\nuse_username_as_clientid true\n";
    let broker = Broker::with(lines, |dir| {
        // mosquitto wants the user's own lines before or after, and `pattern` lines anywhere.
        std::fs::write(dir.join("acl"), list).unwrap();
        for (user, password) in [(gw.as_str(), "gwpw"), ("homeassistant", "hapw")] {
            let file = dir.join("passwd");
            let new: &[&str] = if file.exists() {
                &["-b"]
            } else {
                &["-b", "-c"]
            };
            let made = std::process::Command::new("mosquitto_passwd")
                .args(new)
                .arg(&file)
                .args([user, password])
                .status();
            assert!(made.unwrap().success());
        }
    });
    let file = daemon.state.with_file_name("password");
    std::fs::write(&file, "gwpw\n").unwrap();
    let toml = daemon.state.with_file_name("ohmvision.toml");
    let more = format!(
        "password_file = \"{}\"\nallowed_commands = [\"check_now\", \"monitoring\"]",
        file.display()
    );
    std::fs::write(&toml, config(&broker.url(), &more)).unwrap();
    let daemon = restart(&daemon);
    let (_, uid) = add(&daemon, "Gate", "rtsp://127.0.0.1:1/live");
    let home = ["-u", "homeassistant", "-P", "hapw"];
    wait_for("the broker is reached", Duration::from_secs(20), || {
        daemon.log().contains("is connected").then_some(())
    });
    let heard = broker.retained_as(&home, &["ohmvision/#", "homeassistant/#"], |all| {
        all.contains_key(&format!(
            "homeassistant/device/{gw}/{}/config",
            uid.replace('-', "")
        )) && all
            .get(&format!("ohmvision/{gw}/cam/{uid}/availability"))
            .is_some_and(|b| b == "offline")
    });
    assert_eq!(heard[&format!("ohmvision/{gw}/status")], "online");
    assert!(
        !daemon.log().contains("WARN") || !daemon.log().contains("is not published"),
        "{}",
        daemon.log()
    );
}

/// What a broker may bring: a message beyond every size that waits for good, and a second client that
/// calls itself by our name.
#[test]
fn a_hostile_broker_is_told_about_and_survived() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    let listener = broker.listen(&["ohmvision/#"]);
    let mut daemon = Daemon::start(None, &config(&broker.url(), "version = \"3.1.1\""));
    let gw = gateway(&listener);
    let status = format!("ohmvision/{gw}/status");
    listener.wait(&status, 10, |b| b == "online");
    broker.publish(
        &format!("ohmvision/{gw}/cmd/scan/huge"),
        "x".repeat(300_000),
        true,
    );
    wait_for("commands are switched off", Duration::from_secs(20), || {
        daemon
            .log()
            .contains("commands over MQTT are off")
            .then_some(())
    });
    // It still reports.
    let (_, uid) = add(&daemon, "Gate", "rtsp://127.0.0.1:1/live");
    listener.wait(&format!("ohmvision/{gw}/cam/{uid}/availability"), 20, |b| {
        b == "offline"
    });
    listener.wait(&status, 10, |b| b == "online");
    daemon.stop();

    let file = daemon.state.with_file_name("ohmvision.toml");
    std::fs::write(&file, config(&broker.url(), "")).unwrap();
    let daemon = restart(&daemon);
    listener.wait(&status, 20, |b| b == "online");
    // MQTT 5 lets a client say what it takes: the huge one does not come at all.
    assert!(!daemon.log().contains("commands over MQTT are off"));
    let other = broker.impostor(&gw);
    // In the broker's own words where it has any, else by what it looks like.
    wait_for(
        "the second client is named",
        Duration::from_secs(30),
        || daemon.log().contains("the same identity").then_some(()),
    );
    drop(other);
    listener.wait(&status, 20, |b| b == "online");
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }

    /// Bytes of no meaning, or a good body with one byte changed, cut short, nested or repeated.
    fn body(&mut self, good: &str) -> Vec<u8> {
        let mut body = good.as_bytes().to_vec();
        match self.roll(5) {
            0 => body = (0..self.roll(2000)).map(|_| self.roll(256) as u8).collect(),
            1 => {
                let at = self.roll(body.len());
                body[at] = self.roll(256) as u8;
            }
            2 => body.truncate(self.roll(good.len())),
            3 => {
                body = ["[", "{\"a\":"][self.roll(2)]
                    .repeat(1 + self.roll(20_000))
                    .into_bytes()
            }
            _ => {
                body = format!(
                    "{{\"x\":\"{}\",{}",
                    "y".repeat(self.roll(200_000)),
                    &good[1..]
                )
                .into_bytes()
            }
        }
        body
    }
}

/// Whatever comes on a topic that is listened to, it is survived: nothing is carried out, nothing waits, nothing grows.
#[test]
fn any_bytes_on_any_topic_are_survived() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    // Nothing else: the listener reads text.
    let listener = broker.listen(&[
        "ohmvision/+/status",
        "ohmvision/+/cam/+/state",
        "ohmvision/+/cam/+/cmd/check_now/last",
    ]);
    let allowed = "allowed_commands = [\"scan\", \"check_now\", \"camera_add\", \"camera_update\", \"config_patch\", \"monitoring\"]";
    let daemon = Daemon::start(None, &config(&broker.url(), allowed));
    let gw = gateway(&listener);
    let (_, uid) = add(&daemon, "Gate", "rtsp://127.0.0.1:1/live");
    let root = format!("ohmvision/{gw}");
    listener.wait(&format!("{root}/cam/{uid}/state"), 20, |_| true);
    let command = r#"{"status":"init","requested_by":"noc","expires_at":"2020-01-31T00:00:00Z","params":{"a":[1,null,"b"]}}"#;
    let desired = r#"{"revision":3,"cameras":[{"name":"Gate","password":{"sealed":"AAAA"}}],"settings":{"mqtt":{"url":1}}}"#;
    let topics = [
        (format!("{root}/cmd/scan/a"), command),
        (format!("{root}/cmd/camera_add/b"), command),
        (format!("{root}/cmd/\u{e9}\u{1f980}/c"), command),
        (format!("{root}/cam/{uid}/cmd/camera_update/d"), command),
        (format!("{root}/cam/nobody/cmd/check_now/e"), command),
        (format!("{root}/cam/{uid}/set/monitoring"), "{OFF}"),
        (format!("{root}/set/scan"), "{PRESS}"),
        (format!("{root}/desired"), desired),
        ("ohmvision/all/cmd/scan/f".to_owned(), command),
        ("homeassistant/status".to_owned(), "{online}"),
    ];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut send = |times: usize| {
        for n in 0..times {
            let (topic, good) = &topics[n % topics.len()];
            let body = dice.body(good);
            broker.publish(topic, body, dice.roll(4) == 0);
        }
    };
    send(100);
    let before_kb = daemon.peak_rss_kb();
    send(300);
    let began = std::time::Instant::now();
    daemon.get("/healthz").expect(200);
    // A good command is answered behind them all.
    broker.publish(
        &format!("{root}/cam/{uid}/cmd/check_now/last"),
        r#"{"status":"init"}"#,
        true,
    );
    listener.wait(&format!("{root}/cam/{uid}/cmd/check_now/last"), 30, is_over);
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    // The kernel counts by thread, and not to the page.
    let grown_kb = daemon.peak_rss_kb().saturating_sub(before_kb);
    assert!(grown_kb < 2048, "grew by {grown_kb} kB");
    let cameras = daemon.get("/api/cameras").expect(200);
    assert_eq!(cameras["items"].as_array().unwrap().len(), 1);
    assert_eq!(cameras["items"][0]["name"], "Gate");
    let log = daemon.log();
    assert!(!log.contains("panic") && !log.contains("ERROR"), "{log}");
    assert!(log.lines().count() < 120, "{} lines", log.lines().count());
}
