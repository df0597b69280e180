//! Recorders: from an address to a list of channels, and from channels to cameras that are watched.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::daemon::PROGRAM;
use super::harness::fake::{Fake, Fault};
use super::harness::web::{Asked, Page, Web};
use super::harness::{Daemon, wait_for};

const CONFIG: &str = "[security]\nallowed_networks = [\"loopback\"]\n";

/// A Hikvision recorder with three channels: one alive, one dead, one empty.
fn hikvision(rtsp_port: u16) -> Web {
    let xml = |body: String| -> Page { Some(("application/xml", body.into_bytes())) };
    Web::start(move |asked: &Asked| match asked.path.as_str() {
        "/ISAPI/ContentMgmt/InputProxy/channels" => {
            let channel = |id: u8, name: &str| {
                format!(
                    "<InputProxyChannel><id>{id}</id><name>{name}</name><sourceInputPortDescriptor><ipAddress>192.168.254.{id}</ipAddress><model>DS-{id}</model></sourceInputPortDescriptor></InputProxyChannel>"
                )
            };
            let all = [channel(1, "Gate"), channel(2, "Yard"), channel(3, "")].concat();
            xml(format!(
                "<InputProxyChannelList>{all}</InputProxyChannelList>"
            ))
        }
        "/ISAPI/ContentMgmt/InputProxy/channels/status" => {
            let status = |id: u8, online: bool, result: &str| {
                format!(
                    "<InputProxyChannelStatus><id>{id}</id><online>{online}</online><chanDetectResult>{result}</chanDetectResult></InputProxyChannelStatus>"
                )
            };
            let all = [
                status(1, true, "connect"),
                status(2, false, "netUnreachable"),
                status(3, false, "notExist"),
            ];
            xml(format!("<l>{}</l>", all.concat()))
        }
        "/ISAPI/Security/adminAccesses" => xml(format!(
            "<l><AdminAccessProtocol><protocol>RTSP</protocol><portNo>{rtsp_port}</portNo></AdminAccessProtocol></l>"
        )),
        _ => None,
    })
}

fn column<'v>(list: &'v Value, field: &str) -> Vec<&'v Value> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|row| &row[field])
        .collect()
}

#[test]
fn channels_become_cameras_that_are_watched() {
    let streams = Fake::start(Fault::None);
    let recorder = hikvision(streams.address.port());
    let mut daemon = Daemon::start(None, CONFIG);
    let stored = daemon
        .post(
            "/api/cameras?wait=true",
            json!({
                "name": "Recorder", "connection_type": "nvr", "ip_address": "127.0.0.1", "port": recorder.address.port(),
                "username": "admin", "password": "s3cret", "manufacturer": "hikvision"
            }),
        )
        .expect(201);
    let url = format!("nvr://admin:***@{}/?api=isapi", recorder.address);
    assert_eq!(stored["primary_stream_url"], url, "{stored}");
    let id = stored["id"].as_u64().unwrap();

    let listed = daemon
        .get(&format!("/api/cameras/{id}/channels"))
        .expect(200);
    assert_eq!(listed["source"], "isapi", "{listed}");
    let channels = &listed["channels"];
    assert_eq!(column(channels, "channel"), [1, 2, 3]);
    assert_eq!(column(channels, "state"), ["online", "offline", "empty"]);
    assert_eq!(channels[0]["name"], "Gate");
    assert_eq!(channels[1]["ip_address"], "192.168.254.2");
    let main = format!(
        "rtsp://admin:***@{}/Streaming/Channels/101",
        streams.address
    );
    assert_eq!(
        channels[0]["streams"][0],
        json!({"stream": "main", "url": main})
    );
    assert_eq!(channels[0]["streams"][1]["stream"], "sub");

    let path = format!("/api/cameras/{id}/channels/import");
    let report = daemon
        .post(&path, json!({"channels": [1, 2, 3, 9]}))
        .expect(200);
    assert_eq!(
        column(&report["rows"], "status"),
        ["imported", "imported", "empty", "unknown_channel"],
        "{report}"
    );
    assert_eq!(report["imported"], 2);
    let gate = report["rows"][0]["camera_id"].as_u64().unwrap();
    let camera = daemon.get(&format!("/api/cameras/{gate}")).expect(200);
    assert_eq!(camera["connection_type"], "rtsp");
    assert_eq!(
        (&camera["nvr_id"], &camera["channel"]),
        (&json!(id), &json!(1))
    );
    assert_eq!(
        (&camera["name"], &camera["model"]),
        (&json!("Gate"), &json!("DS-1"))
    );
    assert_eq!(camera["has_password"], true);
    assert_eq!(camera["primary_stream_url"], main);

    let again = daemon.post(&path, json!({"channels": [1]})).expect(200);
    assert_eq!(again["rows"][0]["status"], "already_stored");
    assert_eq!(again["rows"][0]["camera_id"], gate);
    let listed = daemon
        .get(&format!("/api/cameras/{id}/channels"))
        .expect(200);
    assert_eq!(listed["channels"][0]["camera_id"], gate);

    for camera in [gate, id] {
        wait_for("it is watched", Duration::from_secs(20), || {
            let health = daemon
                .get(&format!("/api/health/cameras/{camera}"))
                .expect(200);
            (health["connection_health"] == "excellent" && health["last_frame_at"].is_string())
                .then_some(())
        });
    }
    // Without its recorder a channel is a camera of its own, also after a restart.
    let url = format!("/api/cameras/{gate}");
    daemon
        .ask("DELETE", &format!("/api/cameras/{id}"), None)
        .expect(204);
    assert_eq!(daemon.get(&url).expect(200)["nvr_id"], Value::Null);
    daemon.stop();
    let after = Daemon::start_on(None, &daemon.state, None);
    let camera = after.get(&url).expect(200);
    assert_eq!(
        (&camera["nvr_id"], &camera["channel"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(camera["has_password"], true);
    assert!(!daemon.log().contains("s3cret"));
}

#[test]
fn the_command_line_lists_and_imports() {
    let streams = Fake::start(Fault::None);
    let recorder = hikvision(streams.address.port());
    let daemon = Daemon::start(None, CONFIG);
    let body =
        json!({"primary_stream_url": format!("nvr://admin:s3cret@{}?api=isapi", recorder.address)});
    let id = daemon.post("/api/cameras", body).expect(201)["id"].to_string();
    let run = |args: &[&str]| {
        let out = std::process::Command::new(PROGRAM)
            .args(args)
            .env("OHMVISION_URL", format!("http://{}", daemon.address))
            .env("OHMVISION_TOKEN", &daemon.token)
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap())
    };
    let (code, table) = run(&["camera", "channels", &id]);
    assert_eq!(code, Some(0));
    assert!(
        table.contains("Gate") && table.contains("offline"),
        "{table}"
    );
    let (code, said) = run(&["camera", "import-channels", &id, "2", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["camera", "import-channels", &id, "3"]);
    assert_eq!(code, Some(1), "{said}");
    let probe = format!("nvr://{}?api=isapi&channel=1", recorder.address);
    let out = std::process::Command::new(PROGRAM)
        .args(["probe", &probe, "-u", "admin", "--frames", "--json"])
        .env("OHMVISION_PASSWORD", "s3cret")
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["success"], true, "{report}");
    assert_eq!(report["connection_type"], "nvr");
    assert_eq!(
        (&report["codec"], &report["evidence"]),
        (&json!("h264"), &json!("key_frame"))
    );
}

#[test]
fn a_recorder_that_refuses_says_so() {
    let recorder = hikvision(554);
    let daemon = Daemon::start(None, CONFIG);
    let body = json!({"primary_stream_url": format!("nvr://admin:wrong@{}?api=isapi", recorder.address), "manufacturer": "hikvision"});
    let id = daemon.post("/api/cameras", body).expect(201)["id"].clone();
    let path = format!("/api/cameras/{id}/channels");
    let refused = daemon.get(&path).expect(502);
    assert_eq!(refused["code"], "auth_failed", "{refused}");
    assert_eq!(
        daemon.get("/api/cameras/999/channels").expect(404)["code"],
        "unknown_camera"
    );
    let nothing = daemon
        .post(&format!("{path}/import"), json!({}))
        .expect(422);
    assert_eq!(nothing["errors"][0]["field"], "channels");
}
