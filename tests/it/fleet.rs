//! The operator's document: carried out, reported, mended, refused, taken back.

use std::time::Duration;

use ohmvision::model::Secret;
use ohmvision::mqtt::desired::document::{SETTINGS_PLACE, camera_place};
use ohmvision::mqtt::sealed::{Occasion, Place, seal};
use serde_json::{Value, json};

use crate::harness::broker::{Broker, Listener, free_port};
use crate::harness::{Daemon, is_skipped, wait_for};

const ALLOWED: &str = "allowed_commands = [\"camera_add\", \"camera_update\", \"camera_remove\", \"config_patch\", \"scan\"]";
const CANARY: &str = "c4n4ry-pa55w0rd";

fn config(broker: &Broker, mqtt: &str) -> String {
    let check = match mqtt.contains("desired_check_s") {
        true => "",
        false => "desired_check_s = 1\n",
    };
    format!(
        "[mqtt]\nurl = \"{}\"\n{check}{mqtt}\n[security]\nallowed_networks = [\"loopback\"]\n[gateway]\nname = \"Roof box\"\nsite = \"north\"\nrevert_after_s = 10\n",
        broker.url()
    )
}

/// A gateway with its topics.
struct Gateway {
    daemon: Daemon,
    id: String,
    root: String,
    sealing_key: String,
}

impl Gateway {
    fn start(broker: &Broker, listener: &Listener, mqtt: &str) -> Self {
        let daemon = Daemon::start(None, &config(broker, mqtt));
        let topic = wait_for("its info", Duration::from_secs(20), || {
            let newest = listener.newest().into_iter();
            let mut infos =
                newest.filter(|(topic, _)| topic.ends_with("/info") && !topic.contains("/cam/"));
            infos.next()
        });
        let info: Value = serde_json::from_str(&topic.1).unwrap();
        let id = topic.0.split('/').nth(1).unwrap().to_owned();
        Self {
            daemon,
            root: format!("ohmvision/{id}"),
            id,
            sealing_key: info["sealing_key"].as_str().unwrap().to_owned(),
        }
    }

    fn sealed(&self, revision: u64, within: &str, field: &str, value: &str) -> Value {
        let place = Place {
            gateway: &self.id,
            occasion: Occasion::Revision(revision),
            within,
        };
        seal(&self.sealing_key, place, field, &Secret::new(value)).unwrap()
    }

    fn want(&self, broker: &Broker, document: &Value) {
        broker.publish(
            &format!("{}/desired", self.root),
            document.to_string(),
            true,
        );
    }

    /// Waits for a `reported` that is as wanted.
    fn reported(
        &self,
        listener: &Listener,
        limit_s: u64,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let is_wanted = |body: &str| serde_json::from_str(body).is_ok_and(|v| is_wanted(&v));
        let topic = format!("{}/reported", self.root);
        serde_json::from_str(&listener.wait(&topic, limit_s, is_wanted)).unwrap()
    }

    /// Waits until it is refused with this code.
    fn refused(&self, listener: &Listener, code: &str) -> Value {
        self.reported(listener, 10, |r| {
            r["state"] == "refused" && r["errors"][0]["code"] == code
        })
    }

    fn cameras(&self) -> Vec<Value> {
        let list = self.daemon.get("/api/cameras").expect(200);
        list["items"].as_array().unwrap().clone()
    }
}

#[test]
fn a_document_is_carried_out_and_what_is_changed_by_hand_changed_back() {
    if is_skipped("mosquitto") {
        return;
    }
    let mut broker = Broker::start();
    let listener = broker.listen(&["ohmvision/#"]);
    let gateway = Gateway::start(&broker, &listener, ALLOWED);
    let body = json!({"name": "By hand", "primary_stream_url": "rtsp://127.0.0.1:1/hand", "enabled": false});
    gateway.daemon.post("/api/cameras", body).expect(201);
    let wanted = |revision: u64, name: &str| {
        json!({
            "revision": revision,
            "cameras": [
                {"name": name, "primary_stream_url": "rtsp://127.0.0.1:1/gate", "enabled": false, "username": "admin",
                 "password": gateway.sealed(revision, &camera_place(name), "password", CANARY)},
                {"name": "Wrong", "primary_stream_url": "gopher://127.0.0.1/"},
            ],
            "settings": {"health.interval_s": 77, "health.timeout_ms": 1},
        })
    };
    gateway.want(&broker, &wanted(3, "Gate"));
    let reported = gateway.reported(&listener, 20, |r| r["applied_revision"] == 3);
    // What cannot be done is said, and the rest is done.
    let faults: Vec<&Value> = reported["errors"].as_array().unwrap().iter().collect();
    assert!(faults.iter().any(|f| f["camera"] == "Wrong"), "{reported}");
    assert!(
        faults.iter().any(|f| f["setting"] == "health.timeout_ms"),
        "{reported}"
    );
    assert_eq!(reported["settings"]["health.interval_s"], 77);
    let gate = |cameras: Vec<Value>| cameras.into_iter().find(|c| c["name"] == "Gate");
    let camera = gate(gateway.cameras()).unwrap();
    assert_eq!(
        (&camera["username"], &camera["has_password"]),
        (&json!("admin"), &json!(true))
    );
    assert_eq!(gateway.cameras().len(), 2, "others are kept");

    // By hand: another name, another interval. Told, then mended; the camera stays the same.
    let path = format!("/api/cameras/{}", camera["id"]);
    let change = json!({"name": "Renamed", "password": "other"}).to_string();
    gateway.daemon.ask("PATCH", &path, Some(change)).expect(200);
    let drift = |r: &Value, field: &str| {
        let all = r["drift"].as_array().unwrap().clone();
        all.into_iter()
            .find(|d| d["field"] == field || d["setting"] == field)
    };
    let told = |field: &'static str| {
        wait_for("the drift is told", Duration::from_secs(10), || {
            let all = listener.all().into_iter();
            let mut reports = all
                .filter(|m| m.topic.ends_with("/reported"))
                .map(|m| m.json());
            reports.find_map(|r| drift(&r, field))
        })
    };
    assert_eq!(told("name")["present"], "Renamed");
    assert_eq!(
        told("password"),
        json!({"camera": "Gate", "field": "password"})
    );
    gateway.reported(&listener, 10, |r| r["state"] == "applied");
    assert_eq!(
        gate(gateway.cameras()).map(|c| c["uid"].clone()),
        Some(camera["uid"].clone())
    );
    let change = json!({"health": {"interval_s": 30}}).to_string();
    gateway
        .daemon
        .ask("PATCH", "/api/config", Some(change))
        .expect(200);
    assert_eq!(told("health.interval_s")["present"], 30);
    wait_for("the interval is mended", Duration::from_secs(10), || {
        let config = gateway.daemon.get("/api/config").expect(200);
        (config["config"]["health"]["interval_s"] == 77).then_some(())
    });
    gateway.daemon.ask("DELETE", &path, None).expect(204);
    wait_for("the camera is there again", Duration::from_secs(10), || {
        gate(gateway.cameras())
    });

    // Away while the operator changes his mind, and pruned when asked.
    let mut gateway = gateway;
    gateway.daemon.stop();
    let mut document =
        json!({"revision": 4, "cameras": [{"name": "Gate", "enabled": false, "tags": ["a"]}]});
    document["prune"] = json!(true);
    gateway.want(&broker, &document);
    let state = gateway.daemon.state.clone();
    // The first one owns the directory.
    let again = Daemon::start_on(None, &state, Some(&state.with_file_name("ohmvision.toml")));
    let _before = std::mem::replace(&mut gateway.daemon, again);
    gateway.reported(&listener, 20, |r| {
        r["applied_revision"] == 4 && r["errors"] == json!([])
    });
    let cameras = gateway.cameras();
    assert_eq!(cameras.len(), 1, "{cameras:?}");
    assert_eq!(cameras[0]["tags"], json!(["a"]));

    // A broker that lost all gets the report again.
    broker.stop();
    drop(listener);
    broker.begin();
    let listener = broker.listen(&["ohmvision/#"]);
    gateway.reported(&listener, 20, |r| r["applied_revision"] == 4);
}

#[test]
fn a_document_that_is_wrong_changes_nothing_and_says_so() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    let listener = broker.listen(&["#"]);
    let gateway = Gateway::start(
        &broker,
        &listener,
        "allowed_commands = [\"camera_add\", \"config_patch\"]",
    );
    let camera =
        json!({"name": "Gate", "primary_stream_url": "rtsp://127.0.0.1:1/gate", "enabled": false});
    gateway.want(&broker, &json!({"revision": 5, "cameras": [camera]}));
    gateway.reported(&listener, 20, |r| r["applied_revision"] == 5);
    let before = gateway.cameras();
    let more = |revision: u64, camera: Value| json!({"revision": revision, "cameras": [camera]});
    let mut plain = camera.clone();
    plain["password"] = json!(CANARY);
    let mut foreign = camera.clone();
    foreign["password"] = gateway.sealed(6, &camera_place("Yard"), "password", CANARY);
    let mut renamed = camera.clone();
    renamed["tags"] = json!(["x"]);
    for (document, code) in [
        (more(5, renamed.clone()), "stale"),
        (more(4, renamed.clone()), "stale"),
        (more(6, plain), "plaintext_secret"),
        (more(6, foreign), "bad_seal"),
        // The camera is there: that would be an update.
        (more(6, renamed), "not_allowed"),
        (json!({"revision": 6, "camera": []}), "malformed"),
        (
            json!({"revision": 6, "settings": {"health.intervall_s": 5}}),
            "malformed",
        ),
        (
            json!({"revision": 6, "expires_at": "2020-01-01T00:00:00Z"}),
            "expired",
        ),
        (more(6, json!({"name": "x".repeat(200_000)})), "too_large"),
    ] {
        if code == "expired" && !clock_is_right() {
            continue;
        }
        gateway.want(&broker, &document);
        let reported = gateway.refused(&listener, code);
        assert_eq!(reported["applied_revision"], 5, "{code}");
        assert!(!reported["errors"][0]["reason"].as_str().unwrap().is_empty());
    }
    let uids = |cameras: &[Value]| -> Vec<Value> {
        cameras.iter().map(|c| c["updated_at"].clone()).collect()
    };
    assert_eq!(uids(&gateway.cameras()), uids(&before));
    // What the gateway itself says holds no secret, and neither does its log.
    let own = listener
        .all()
        .into_iter()
        .filter(|m| !m.topic.ends_with("/desired"));
    for message in own {
        assert!(!message.body.contains(CANARY), "{}", message.topic);
    }
    assert!(!gateway.daemon.log().contains(CANARY));
}

/// As the daemon sees it: without a synchronised clock no time is judged.
fn clock_is_right() -> bool {
    ohmvision::sys::board::clock().is_some_and(|clock| clock.is_synchronized)
}

#[test]
fn a_broker_that_is_none_is_taken_back() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    let listener = broker.listen(&["ohmvision/#"]);
    let gateway = Gateway::start(&broker, &listener, ALLOWED);
    let nowhere = format!("mqtt://127.0.0.1:{}", free_port());
    let document = json!({
        "revision": 1,
        "settings": {"mqtt.url": nowhere, "mqtt.password": gateway.sealed(1, SETTINGS_PLACE, "mqtt.password", CANARY), "health.interval_s": 66},
    });
    gateway.want(&broker, &document);
    listener.wait(&format!("{}/status", gateway.root), 20, |body| {
        body == "offline"
    });
    let reported = gateway.reported(&listener, 40, |r| r["applied_revision"] == 1);
    let faults = reported["errors"].as_array().unwrap();
    assert!(
        faults
            .iter()
            .any(|f| f["setting"] == "mqtt.url" && f["code"] == "reverted"),
        "{reported}"
    );
    // Not tried again for this revision.
    let sessions = |listener: &Listener| {
        let all = listener.all();
        all.iter()
            .filter(|m| m.topic.ends_with("/status") && m.body == "offline")
            .count()
    };
    let before = sessions(&listener);
    let change = json!({"log": {"filter": "debug"}}).to_string();
    gateway
        .daemon
        .ask("PATCH", "/api/config", Some(change))
        .expect(200);
    gateway.want(
        &broker,
        &json!({"revision": 2, "settings": {"health.interval_s": 55}}),
    );
    gateway.reported(&listener, 20, |r| {
        r["applied_revision"] == 2 && r["errors"] == json!([])
    });
    assert_eq!(sessions(&listener), before);
}

#[test]
fn what_is_changed_by_hand_is_told_at_once_and_left_until_it_is_time() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    let listener = broker.listen(&["ohmvision/#"]);
    // The next look is an hour away.
    let gateway = Gateway::start(
        &broker,
        &listener,
        &format!("desired_check_s = 3600\n{ALLOWED}"),
    );
    let document = |revision: u64, mend: bool| {
        json!({
            "revision": revision,
            "mend": mend,
            "cameras": [{"name": "Gate", "primary_stream_url": "rtsp://127.0.0.1:1/gate", "enabled": false}],
            "settings": {"health.interval_s": 77},
        })
    };
    let change = |path: &str, change: Value| {
        let change = Some(change.to_string());
        gateway.daemon.ask("PATCH", path, change).expect(200);
    };
    let name = || gateway.cameras()[0]["name"].clone();
    for (revision, mend) in [(1, true), (3, false)] {
        gateway.want(&broker, &document(revision, mend));
        gateway.reported(&listener, 20, |r| {
            r["applied_revision"] == revision && r["state"] == "applied"
        });
        assert_eq!(name(), "Gate");
        let path = format!("/api/cameras/{}", gateway.cameras()[0]["id"]);
        change(&path, json!({"name": "Renamed"}));
        gateway.reported(&listener, 20, |r| {
            r["state"] == "drift" && r["drift"][0]["present"] == "Renamed"
        });
        change("/api/config", json!({"health": {"interval_s": 30}}));
        gateway.reported(&listener, 20, |r| {
            let drift = r["drift"].as_array().unwrap().iter();
            drift
                .filter(|d| d["setting"] == "health.interval_s")
                .count()
                == 1
        });
        assert_eq!(name(), "Renamed");
        gateway.want(&broker, &document(revision + 1, true));
        gateway.reported(&listener, 20, |r| {
            r["applied_revision"] == revision + 1 && r["drift"] == json!([])
        });
        assert_eq!(name(), "Gate");
    }
}

#[test]
fn a_command_to_all_is_answered_by_those_that_are_meant() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    let listener = broker.listen(&["ohmvision/#"]);
    let _daemons = ["north", "south"].map(|site| {
        let text = format!(
            "[mqtt]\nurl = \"{}\"\n[gateway]\nsite = \"{site}\"\nlabels = {{ role = \"nvr\" }}\n",
            broker.url()
        );
        Daemon::start(None, &text)
    });
    let root_of = |site: &str| {
        wait_for("its info", Duration::from_secs(20), || {
            let mut newest = listener.newest().into_iter();
            newest.find_map(|(topic, body)| {
                let info: Value = serde_json::from_str(&body).ok()?;
                let root = topic.strip_suffix("/info")?;
                (info["site"] == site).then(|| root.to_owned())
            })
        })
    };
    let (north, south) = (root_of("north"), root_of("south"));
    let send = |id: &str, selector: Value, expires_at: Option<&str>| {
        let mut body = json!({"status": "init", "selector": selector});
        if let Some(at) = expires_at {
            body["expires_at"] = json!(at);
        }
        let topic = format!("ohmvision/all/cmd/config_get/{id}");
        broker.publish(&topic, body.to_string(), false);
    };
    let answer = |root: &str, id: &str| -> Value {
        let topic = format!("{root}/cmd/config_get/{id}");
        let is_over = |body: &str| body.contains("\"successful\"") || body.contains("\"failed\"");
        serde_json::from_str(&listener.wait(&topic, 20, is_over)).unwrap()
    };
    let later = Some("2199-01-01T00:00:00Z");
    send(
        "one",
        json!({"site": "north", "labels": {"role": "nvr"}}),
        later,
    );
    send("none", json!({"labels": {"role": "doorbell"}}), later);
    send("endless", json!({}), None);
    send("all", json!({}), later);
    assert_eq!(answer(&north, "one")["status"], "successful");
    for root in [&north, &south] {
        // The last one: those before it have been looked at.
        assert_eq!(answer(root, "all")["status"], "successful");
        assert_eq!(answer(root, "endless")["code"], "malformed");
    }
    let newest = listener.newest();
    for (root, id) in [(&south, "one"), (&north, "none"), (&south, "none")] {
        let topic = format!("{root}/cmd/config_get/{id}");
        assert!(!newest.contains_key(&topic), "{topic}");
    }
    if clock_is_right() {
        send("late", json!({}), Some("2020-01-01T00:00:00Z"));
        for root in [&north, &south] {
            assert_eq!(answer(root, "late")["code"], "expired");
        }
    }
}
