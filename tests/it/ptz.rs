//! Motors: every move ends, whoever lets go first.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::daemon::PROGRAM;
use super::harness::web::{Asked, Page, Web};
use super::harness::{Daemon, Site, is_skipped, wait_for};

const CONFIG: &str = "[security]\nallowed_networks = [\"loopback\"]\n";
const CONTINUOUS: &str = "/ISAPI/PTZCtrl/channels/1/continuous";
const STILL: &str = "<PTZData><pan>0</pan><tilt>0</tilt><zoom>0</zoom></PTZData>";

/// A Hikvision dome whose ONVIF is off.
fn dome() -> Web {
    Web::start(|asked: &Asked| -> Page {
        let xml = |body: &str| Some(("application/xml", body.as_bytes().to_vec()));
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/ISAPI/PTZCtrl/channels/1/presets") => xml(
                "<PTZPresetList><PTZPreset><id>1</id><presetName>Gate</presetName><enabled>true</enabled></PTZPreset></PTZPresetList>",
            ),
            (
                "PUT",
                CONTINUOUS
                | "/ISAPI/PTZCtrl/channels/1/presets/1/goto"
                | "/ISAPI/PTZCtrl/channels/1/homeposition/goto",
            ) => xml("<ResponseStatus><statusCode>1</statusCode></ResponseStatus>"),
            _ => None,
        }
    })
}

/// Stores the dome under a web address, so that it is known where its interface is.
fn stored(daemon: &Daemon, dome: &Web) -> String {
    let body = json!({
        "primary_stream_url": format!("http://admin:s3cret@{}/ISAPI/Streaming/channels/1/picture", dome.address),
        "manufacturer": "hikvision", "connection_config": {"verify_frames": false}
    });
    let id = daemon.post("/api/cameras", body).expect(201)["id"].clone();
    format!("/api/cameras/{id}/ptz")
}

/// Bodies of the speeds that were set, in order.
fn speeds(dome: &Web) -> Vec<String> {
    let all = dome.asked().into_iter();
    all.filter(|a| a.path == CONTINUOUS)
        .map(|a| a.body)
        .collect()
}

#[test]
fn a_move_ends_at_its_deadline_and_a_new_one_takes_over() {
    let dome = dome();
    let daemon = Daemon::start(None, CONFIG);
    let path = stored(&daemon, &dome);
    let shown = daemon.get(&path).expect(200);
    assert_eq!(shown["source"], "isapi", "{shown}");
    assert_eq!(shown["presets"], json!([{"preset": "1", "name": "Gate"}]));
    assert_eq!(shown["abilities"]["continuous"], true);

    let order = |body: Value| daemon.post(&path, body);
    let done = order(json!({"action": "move", "pan": 0.5, "duration_ms": 3000})).expect(200);
    assert_eq!(
        (&done["action"], &done["duration_ms"]),
        (&json!("move"), &json!(3000))
    );
    order(json!({"action": "move", "tilt": -1, "duration_ms": 600})).expect(200);
    wait_for("the move ends", Duration::from_secs(10), || {
        (speeds(&dome).last()? == STILL).then_some(())
    });
    let wanted = [
        "<PTZData><pan>50</pan><tilt>0</tilt><zoom>0</zoom></PTZData>",
        "<PTZData><pan>0</pan><tilt>-100</tilt><zoom>0</zoom></PTZData>",
        STILL,
    ];
    assert_eq!(speeds(&dome), wanted, "the first move's end is not sent");

    order(json!({"action": "preset", "preset": 1})).expect(200);
    order(json!({"action": "home"})).expect(200);
    order(json!({"action": "stop"})).expect(200);
    assert_eq!(dome.count("/ISAPI/PTZCtrl/channels/1/presets/1/goto"), 1);
    assert_eq!(dome.count("/ISAPI/PTZCtrl/channels/1/homeposition/goto"), 1);

    let odd = order(json!({"action": "preset", "preset": "gate"})).expect(422);
    assert!(odd["detail"].as_str().unwrap().contains("numbers"), "{odd}");
    let missing = order(json!({"action": "preset", "preset": 9})).expect(502);
    assert_eq!(missing["code"], "not_found", "{missing}");
    assert_eq!(
        order(json!({"action": "move"})).expect(422)["errors"][0]["field"],
        "action"
    );
}

#[test]
fn a_gateway_that_stops_lets_no_camera_run_on() {
    let dome = dome();
    let mut daemon = Daemon::start(None, CONFIG);
    let path = stored(&daemon, &dome);
    daemon
        .post(
            &path,
            json!({"action": "move", "zoom": 1, "duration_ms": 10_000}),
        )
        .expect(200);
    let asked = Instant::now();
    daemon.stop();
    assert!(asked.elapsed() < Duration::from_secs(6));
    assert_eq!(speeds(&dome).last().map(String::as_str), Some(STILL));
}

#[test]
fn cameras_without_motors_say_so() {
    let still = Web::start(|_| None);
    let daemon = Daemon::start(None, CONFIG);
    let path = stored(&daemon, &still);
    let none = daemon.get(&path).expect(404);
    assert_eq!(none["code"], "no_ptz", "{none}");
    let none = daemon.post(&path, json!({"action": "home"})).expect(404);
    assert_eq!(none["code"], "no_ptz", "{none}");
    assert_eq!(
        daemon.get("/api/cameras/99/ptz").expect(404)["code"],
        "unknown_camera"
    );
    let camera = path.trim_end_matches("/ptz");
    daemon
        .ask("PATCH", camera, Some(json!({"enabled": false}).to_string()))
        .expect(200);
    assert_eq!(daemon.get(&path).expect(409)["code"], "camera_disabled");
}

#[test]
fn the_command_line_moves() {
    let dome = dome();
    let daemon = Daemon::start(None, CONFIG);
    let path = stored(&daemon, &dome);
    let id = path.split('/').nth(3).unwrap().to_owned();
    let run = |args: &[&str]| {
        let out = std::process::Command::new(PROGRAM)
            .args(["camera", "ptz", &id])
            .args(args)
            .env("OHMVISION_URL", format!("http://{}", daemon.address))
            .env("OHMVISION_TOKEN", &daemon.token)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        (
            out.status.code(),
            said + &String::from_utf8_lossy(&out.stderr),
        )
    };
    let (code, said) = run(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Gate"), "{said}");
    let (code, said) = run(&["move", "--pan=-0.2", "--ms", "100"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(speeds(&dome)[0].contains("<pan>-20</pan>"));
    assert_eq!(run(&["preset", "1"]).0, Some(0));
    assert_ne!(run(&["preset", "x"]).0, Some(0));
}

/// A device of another ONVIF library.
#[test]
fn an_onvif_device_of_others_moves() {
    if is_skipped("peers") {
        return;
    }
    let Some(site) = Site::up("pz", "oxvif") else {
        return;
    };
    let daemon = Daemon::start(Some(&site), "");
    let body = json!({
        "primary_stream_url": "onvif://admin:Hik12345@10.77.0.21",
        "connection_config": {"verify_frames": false}
    });
    let id = daemon.post("/api/cameras", body).expect(201)["id"].clone();
    let path = format!("/api/cameras/{id}/ptz");
    let shown = daemon.get(&path).expect(200);
    assert_eq!(shown["source"], "onvif", "{shown}");
    assert_eq!(shown["abilities"]["pan_tilt"], true, "{shown}");
    println!("{shown}");
    let order = |body: Value| daemon.post(&path, body).expect(200);
    order(json!({"action": "move", "pan": 1, "zoom": -0.5, "duration_ms": 200}));
    order(json!({"action": "stop"}));
    if let Some(preset) = shown["presets"][0]["preset"].as_str() {
        order(json!({"action": "preset", "preset": preset}));
    }
    let listed = daemon.get(&format!("/api/cameras/{id}/channels"));
    let listed = listed.expect(200);
    assert_eq!(listed["source"], "onvif", "{listed}");
    let first = &listed["channels"][0];
    assert_eq!(first["streams"][0]["stream"], "main", "{listed}");
}
