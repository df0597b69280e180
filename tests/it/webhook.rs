//! Cameras that push: every maker's message goes in as curl sends it and comes out as one event.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Daemon, wait_for};

const CONFIG: &str = "[webhooks]\nlisten = \"127.0.0.1:0\"\n[security]\nallowed_networks = [\"private\", \"loopback\"]\n";
/// A file of `tests/fixtures/events`, the type that its maker names, and what comes out: type, state,
/// format.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);
const CASES: &[Case] = &[
    (
        "hikvision.xml",
        "application/xml",
        "line_crossing",
        "start",
        "hikvision",
    ),
    (
        "hikvision.multipart",
        "multipart/form-data; boundary=boundary",
        "line_crossing",
        "start",
        "hikvision",
    ),
    (
        "hikvision.json",
        "application/json",
        "motion",
        "start",
        "hikvision",
    ),
    ("dahua.txt", "text/plain", "line_crossing", "start", "dahua"),
    (
        "dahua.multipart",
        "multipart/x-mixed-replace; boundary=myboundary",
        "license_plate",
        "pulse",
        "dahua",
    ),
    ("dahua.json", "application/json", "person", "pulse", "dahua"),
    ("axis.json", "application/json", "person", "start", "axis"),
    (
        "onvif_notify.xml",
        "application/soap+xml; charset=utf-8",
        "person",
        "start",
        "onvif",
    ),
    (
        "reolink.json",
        "application/json",
        "person",
        "pulse",
        "reolink",
    ),
    ("hanwha.txt", "text/plain", "motion", "start", "hanwha"),
    ("uniview.json", "text/html", "intrusion", "start", "uniview"),
    (
        "uniview_structure.json",
        "application/json",
        "license_plate",
        "pulse",
        "uniview",
    ),
    (
        "tplink.json",
        "application/json",
        "person",
        "pulse",
        "tplink",
    ),
    (
        "tplink.multipart",
        "multipart/form-data; boundary=b7",
        "person",
        "pulse",
        "tplink",
    ),
    (
        "ubiquiti.json",
        "application/json",
        "person",
        "pulse",
        "ubiquiti",
    ),
    (
        "frigate.json",
        "application/json",
        "vehicle",
        "start",
        "frigate",
    ),
    ("generic.json", "application/json", "motion", "start", ""),
    (
        "generic.form",
        "application/x-www-form-urlencoded",
        "doorbell",
        "start",
        "",
    ),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/events")
        .join(name)
}

fn camera(daemon: &Daemon, body: Value) -> u64 {
    let made = daemon.post("/api/cameras", body).expect(201);
    made["id"].as_u64().unwrap()
}

/// Where a camera pushes to.
fn key_url(daemon: &Daemon, id: u64) -> String {
    let made = daemon
        .post(&format!("/api/cameras/{id}/webhook-key"), json!({}))
        .expect(201);
    made["webhook_url"].as_str().unwrap().to_owned()
}

/// Status and body of the answer to what curl sends.
fn curl(url: &str, args: &[&str]) -> (u16, String) {
    let out = Command::new("curl")
        .args(["-s", "-m", "20", "-w", "\n%{http_code}"])
        .args(args)
        .arg(url)
        .output()
        .expect("curl runs");
    let said = String::from_utf8(out.stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn push(url: &str, name: &str, content_type: &str) -> (u16, String) {
    let data = format!("@{}", fixture(name).display());
    let kind = format!("Content-Type: {content_type}");
    curl(url, &["--data-binary", &data, "-H", &kind])
}

/// What the camera reported, oldest first.
fn reports(daemon: &Daemon, id: u64) -> Vec<Value> {
    let list = daemon.get(&format!("/api/cameras/{id}/events")).expect(200);
    list["items"].as_array().unwrap().clone()
}

#[test]
fn every_makers_message_becomes_an_event() {
    let daemon = Daemon::start(None, CONFIG);
    for (name, content_type, kind, state, format) in CASES {
        let body = json!({"name": name, "connection_type": "webhook"});
        let id = camera(&daemon, body);
        let answer = push(&key_url(&daemon, id), name, content_type);
        assert_eq!(answer, (200, String::new()), "{name}");
        let event = &reports(&daemon, id)[0];
        assert_eq!(event["type"], *kind, "{name}: {event}");
        assert_eq!(event["detail"]["state"], *state, "{name}: {event}");
        let told = event["detail"]["format"].as_str().unwrap_or_default();
        assert_eq!(told, *format, "{name}: {event}");
        let had_picture = event["detail"]["had_picture"] == true;
        assert_eq!(had_picture, name.ends_with("multipart"), "{name}: {event}");
        // The one list of everything has it too.
        let query = format!("/api/events?camera={id}&type={kind}");
        let all = daemon.get(&query).expect(200);
        assert_eq!(&all["items"][0], event, "{name}");
        // Its messages are its health.
        let health = format!("/api/health/cameras/{id}");
        wait_for(
            "a camera that pushes is good",
            Duration::from_secs(10),
            || {
                let health = daemon.get(&health).expect(200);
                (health["connection_health"] == "good").then_some(())
            },
        );
    }
    let status = daemon.get("/api/health/status").expect(200);
    assert_eq!(status["cameras_good"], CASES.len(), "{status}");
    let log = daemon.log();
    assert!(!log.contains("ohm_"), "a key stands in the log: {log}");
}

#[test]
fn keys() {
    let mut daemon = Daemon::start(None, CONFIG);
    let id = camera(
        &daemon,
        json!({"name": "Gate", "connection_type": "webhook"}),
    );
    let url = format!("/api/cameras/{id}");
    assert_eq!(daemon.get(&url).expect(200)["webhook_url"], Value::Null);
    let first = key_url(&daemon, id);
    let record = daemon.get(&url).expect(200);
    assert_eq!(record["webhook_url"], "/api/webhooks/***");
    // A record that is sent back whole keeps the key.
    daemon
        .ask("PUT", &url, Some(record.to_string()))
        .expect(200);
    assert_eq!(curl(&first, &["-d", "event=motion"]).0, 200);
    // In the path, by GET, and behind the key.
    assert_eq!(curl(&format!("{first}?event=person"), &[]).0, 200);
    assert_eq!(curl(&format!("{first}/doorbell"), &[]).0, 200);
    assert_eq!(curl(&first, &["-X", "PUT", "-d", "event=tamper"]).0, 200);
    let kinds: Vec<Value> = reports(&daemon, id)
        .iter()
        .map(|e| e["type"].clone())
        .collect();
    assert_eq!(kinds, ["motion", "person", "doorbell", "tamper"]);
    // The API's own listener takes it as well, whatever the Host.
    let path = first.split_once("/api/").unwrap().1;
    let api = format!("http://{}/api/{path}", daemon.address);
    assert_eq!(
        curl(&api, &["-H", "Host: camera.example", "-d", "event=pir"]).0,
        200
    );
    // The listener for cameras is for them alone.
    let (base, _) = first.split_once("/api/").unwrap();
    let bearer = format!("Authorization: Bearer {}", daemon.token);
    assert_eq!(
        curl(&format!("{base}/api/cameras"), &["-H", &bearer]).0,
        404
    );
    assert_eq!(curl(&first, &["-X", "DELETE"]).0, 405);

    // Rotated: the old one is nothing, and nothing tells that it was one.
    let second = key_url(&daemon, id);
    let old = curl(&first, &["-d", "event=motion"]);
    let never = curl(
        &format!("{base}/api/webhooks/ohm_never"),
        &["-d", "event=motion"],
    );
    assert_eq!(old.0, 404);
    assert_eq!(old, never);
    // Kept over a restart; the port is another one.
    let (config, state) = (
        daemon.state.with_file_name("ohmvision.toml"),
        daemon.state.clone(),
    );
    assert!(daemon.stop().0.success());
    let after = Daemon::start_on(None, &state, Some(&config));
    let path = second.split_once("/api/").unwrap().1;
    let api = format!("http://{}/api/{path}", after.address);
    assert_eq!(curl(&api, &["-d", "event=face"]).0, 200);
    assert_eq!(reports(&after, id).last().unwrap()["type"], "face");
    assert!(reports(&after, id).len() >= 6, "what was reported is kept");
    let revoke = format!("/api/cameras/{id}/webhook-key");
    after.ask("DELETE", &revoke, None).expect(204);
    assert_eq!(curl(&api, &["-d", "event=face"]).0, 404);
    assert_eq!(after.get(&url).expect(200)["webhook_url"], Value::Null);
}

#[test]
fn messages_without_a_key_are_known_by_what_is_in_them() {
    let daemon = Daemon::start(None, CONFIG);
    let gate = camera(
        &daemon,
        json!({"name": "Gate", "connection_type": "webhook", "mac_address": "00:00:5e:00:53:01"}),
    );
    let yard = camera(
        &daemon,
        json!({"name": "Yard", "connection_type": "webhook", "serial_number": "210235C3EV0000000001"}),
    );
    let (base, _) = key_url(&daemon, gate);
    let fixed = format!("{base}/LAPI/V1.0/System/Event/Notification/Alarm");
    let (status, body) = push(&fixed, "uniview.json", "application/json");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"ResponseCode\":0"), "{body}");
    assert_eq!(reports(&daemon, yard)[0]["type"], "intrusion");
    assert_eq!(
        push(&format!("{base}/"), "hikvision.xml", "application/xml").0,
        200
    );
    assert_eq!(reports(&daemon, gate)[0]["type"], "line_crossing");
    // Dahua asks before it pushes.
    assert_eq!(
        curl(&format!("{base}/EventHttpUpload/keepalive"), &[]).0,
        200
    );
    // Nobody's.
    assert_eq!(
        push(&format!("{base}/x"), "tplink.json", "application/json").0,
        404
    );
    // A console that reports for a camera of ours.
    let porch = camera(
        &daemon,
        json!({"name": "Porch", "connection_type": "webhook", "mac_address": "00:00:5e:00:53:04"}),
    );
    let url = key_url(&daemon, gate).1;
    assert_eq!(push(&url, "ubiquiti.json", "application/json").0, 200);
    assert_eq!(reports(&daemon, porch)[0]["detail"]["rule"], "Gate person");

    /// The base of the listener beside the whole URL.
    fn key_url(daemon: &Daemon, id: u64) -> (String, String) {
        let url = super::webhook::key_url(daemon, id);
        (url.split_once("/api/").unwrap().0.to_owned(), url)
    }
}

#[test]
fn floods_and_giants_are_held_off() {
    let daemon = Daemon::start(None, CONFIG);
    let noisy = camera(
        &daemon,
        json!({"name": "Noisy", "connection_type": "webhook"}),
    );
    let quiet = camera(
        &daemon,
        json!({"name": "Quiet", "connection_type": "webhook"}),
    );
    let (url, other) = (key_url(&daemon, noisy), key_url(&daemon, quiet));
    // One connection for all, as a camera would.
    let many: Vec<&str> = std::iter::repeat_n(url.as_str(), 150).collect();
    let out = Command::new("curl")
        .args([
            "-s",
            "-m",
            "30",
            "-d",
            "event=motion",
            "-w",
            "%{http_code}\n",
        ])
        .args(std::iter::repeat_n(["-o", "/dev/null"], 150).flatten())
        .args(&many)
        .output()
        .unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let count = |status: &str| said.lines().filter(|l| *l == status).count();
    assert_eq!(count("200") + count("429"), 150, "{said}");
    assert!((60..120).contains(&count("200")), "{said}");
    assert_eq!(
        curl(&other, &["-d", "event=motion"]).0,
        200,
        "the others are not braked"
    );
    // All those were one event.
    assert_eq!(reports(&daemon, noisy).len(), 1);

    // Sixteen MiB of pictures pass, more does not, and none of it is held.
    let dir = tempfile::tempdir().unwrap();
    let before_kb = daemon.peak_rss_kb();
    for (mib, status) in [(15, 200), (17, 413)] {
        let file = dir.path().join("picture.jpg");
        let picture = vec![0xff_u8; mib << 20];
        std::fs::write(&file, picture).unwrap();
        let form = format!("picture=@{};type=image/jpeg", file.display());
        let args = ["-F", "event=person", "-F", &form, "-H", "Expect:"];
        assert_eq!(curl(&other, &args).0, status, "{mib} MiB");
    }
    assert_eq!(reports(&daemon, quiet).last().unwrap()["type"], "person");
    let grown_kb = daemon.peak_rss_kb() - before_kb;
    assert!(grown_kb < 1024, "{grown_kb} kB more than before");
}

#[test]
fn silence_beyond_the_rhythm_is_an_outage_and_a_message_ends_it() {
    let daemon = Daemon::start(
        None,
        "[security]\nallowed_networks = [\"private\", \"loopback\"]\n",
    );
    let id = camera(
        &daemon,
        json!({"name": "Gate", "connection_type": "webhook", "connection_config": {"check_interval_s": 5}}),
    );
    let url = key_url(&daemon, id);
    let health = format!("/api/health/cameras/{id}");
    let is = |wanted: &str| {
        wait_for(wanted, Duration::from_secs(40), || {
            let health = daemon.get(&health).expect(200);
            (health["connection_health"] == wanted).then_some(health)
        })
    };
    is("unknown");
    assert_eq!(curl(&url, &["-d", "event=heartbeat"]).0, 200);
    let good = is("good");
    assert_eq!(good["response_time_ms"], Value::Null);
    let offline = is("offline");
    assert_eq!(offline["cause"], "timeout");
    let why = offline["last_error_message"].as_str().unwrap();
    assert!(why.contains("no message for"), "{why}");
    assert_eq!(curl(&url, &["-d", "event=heartbeat"]).0, 200);
    is("good");
    assert!(reports(&daemon, id).is_empty(), "a heartbeat is no event");
}
