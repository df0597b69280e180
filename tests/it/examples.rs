//! The specification's examples, as written, with the token added and the fake site's addresses where a
//! device must answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Daemon, Site, wait_for};

/// Every one of these names stands in the value.
fn has(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.get(name).is_some(), "`{name}` is missing in {value}");
    }
}

#[test]
fn urls_and_templates_need_no_device() {
    let daemon = Daemon::start(None, "");
    let body = json!({"ip": "192.168.1.100", "username": "admin", "password": "admin123", "manufacturer": "hikvision"});
    let made = daemon
        .post("/api/discovery/generate-urls", body)
        .expect(200);
    let first = |list: &str| made["urls"][list][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(
        first("rtsp"),
        "rtsp://admin:admin123@192.168.1.100:554/Streaming/Channels/101"
    );
    assert_eq!(
        first("http_mjpeg"),
        "http://192.168.1.100/ISAPI/Streaming/channels/1/httpPreview"
    );
    assert_eq!(
        first("snapshot"),
        "http://192.168.1.100/ISAPI/Streaming/channels/1/picture"
    );
    let sub = made["urls"]["rtsp"]
        .as_array()
        .unwrap()
        .iter()
        .find(|u| u["name"] == "sub")
        .unwrap();
    assert_eq!(
        sub["url"],
        "rtsp://admin:admin123@192.168.1.100:554/Streaming/Channels/102"
    );

    let wanted = [
        (
            "hikvision",
            "rtsp",
            "rtsp://{user}:{pass}@{ip}:554/Streaming/Channels/101",
        ),
        (
            "dahua",
            "rtsp",
            "rtsp://{user}:{pass}@{ip}:554/cam/realmonitor?channel=1&subtype=0",
        ),
        (
            "dahua",
            "snapshot",
            "http://{ip}/cgi-bin/snapshot.cgi?channel=1",
        ),
        (
            "axis",
            "rtsp",
            "rtsp://{user}:{pass}@{ip}:554/axis-media/media.amp",
        ),
        ("axis", "http_mjpeg", "http://{ip}/mjpg/video.mjpg"),
        ("axis", "snapshot", "http://{ip}/axis-cgi/jpg/image.cgi"),
    ];
    for (maker, list, url) in wanted {
        let body = daemon
            .get(&format!("/api/discovery/stream-templates/{maker}"))
            .expect(200);
        assert_eq!(body["templates"][list][0]["url"], url, "{maker}");
    }
    let list = daemon.get("/api/discovery/manufacturers/").expect(200);
    assert_eq!(list["count"], 84);
    for maker in [
        "Hikvision",
        "Dahua",
        "Axis",
        "Bosch",
        "Hanwha",
        "Avigilon",
        "Foscam",
        "Reolink",
        "Uniview",
        "Mobotix",
    ] {
        let known = list["manufacturers"].as_array().unwrap().iter().any(|m| {
            m["name"]
                .as_str()
                .unwrap()
                .to_lowercase()
                .contains(&maker.to_lowercase())
        });
        assert!(known, "{maker}");
    }
    let unknown = daemon.get("/api/discovery/stream-templates/hikvison");
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.body.contains("hikvision"),
        "the closest is named: {}",
        unknown.body
    );
    let odd = json!({"ip": "192.168.1.100", "username": "admin", "password": "p@ss:w/rd?#%", "manufacturer": "Hik-Vision"});
    let made = daemon.post("/api/discovery/generate-urls", odd).expect(200);
    assert_eq!(
        made["urls"]["rtsp"][0]["url"],
        "rtsp://admin:p%40ss%3Aw%2Frd%3F%23%25@192.168.1.100:554/Streaming/Channels/101"
    );
}

#[test]
fn bodies_that_are_wrong_are_told_in_words() {
    let daemon = Daemon::start(None, "");
    let malformed = daemon.ask("POST", "/api/cameras", Some("{\"name\": }".to_owned()));
    assert_eq!(malformed.status, 400);
    assert!(malformed.body.contains("line 1"), "{}", malformed.body);
    let misspelt = daemon.post(
        "/api/discovery/auto-detect",
        json!({"ip": "192.168.1.100", "pasword": "x"}),
    );
    assert_eq!(misspelt.status, 422);
    assert!(misspelt.body.contains("`password`"), "{}", misspelt.body);
    let several = daemon
        .post(
            "/api/cameras",
            json!({"ip_address": "nowhere", "port": 70000, "nme": "x"}),
        )
        .expect(422);
    assert_eq!(several["errors"].as_array().unwrap().len(), 3, "{several}");
    let unknown = daemon.post(
        "/api/discovery/auto-detect",
        json!({"ip": "10.0.0.1", "manufacturer": "hikvison"}),
    );
    assert_eq!(unknown.status, 422);
    assert!(unknown.body.contains("hikvision"), "{}", unknown.body);
    let unbuilt = daemon.post(
        "/api/cameras",
        json!({"ip_address": "10.0.0.1", "connection_type": "cloud"}),
    );
    assert_eq!(unbuilt.status, 422);
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1_100_000));
    assert_eq!(daemon.ask("POST", "/api/cameras", Some(large)).status, 413);
    let kind = [("Content-Type", "text/plain")];
    assert_eq!(
        daemon
            .ask_with("POST", "/api/cameras", Some("{}".to_owned()), &kind)
            .status,
        415
    );
    let wrong = daemon.ask("DELETE", "/api/health/status", None);
    assert_eq!(wrong.status, 405);
    assert!(
        wrong.head.to_ascii_lowercase().contains("allow: "),
        "{}",
        wrong.head
    );
    assert_eq!(daemon.get("/api/nothing").status, 404);
    assert_eq!(daemon.get("/api/cameras/99").status, 404);
    let rebinding = daemon
        .try_ask(
            "GET",
            "/api/cameras",
            None,
            &[("Origin", "http://evil.example")],
        )
        .unwrap();
    assert_eq!(rebinding.status, 403, "{}", rebinding.body);
}

#[test]
fn the_scenarios_of_the_specification_run_as_written() {
    let Some(site) = Site::up("ex", "hik,dahua,odd") else {
        return;
    };
    let daemon = Daemon::start(Some(&site), "");
    let found = auto_detection(&daemon);
    batch_test(&daemon);
    let id = cameras(&daemon, &found);
    legacy_body(&daemon);
    health(&daemon, id);
    background_detection(&daemon);
    let everything = format!(
        "{}{}{}",
        daemon.log(),
        daemon.get("/metrics").body,
        daemon.get("/api/events").body
    );
    assert!(
        !everything.contains("Hik12345"),
        "a password in log, metrics or events"
    );
}

/// "Auto-Détection Intelligente" and scenario 1, step 1.
fn auto_detection(daemon: &Daemon) -> Value {
    let body = json!({"ip": "10.77.0.11", "username": "admin", "password": "Hik12345", "manufacturer": "hikvision"});
    let found = daemon.post("/api/discovery/auto-detect", body).expect(200);
    has(
        &found,
        &[
            "success",
            "recommended_method",
            "recommended_url",
            "all_results",
            "reason",
            "device",
            "tried",
            "duration_ms",
        ],
    );
    assert_eq!(found["recommended_method"], "rtsp");
    assert_eq!(
        found["recommended_url"],
        "rtsp://admin:Hik12345@10.77.0.11:554/Streaming/Channels/101"
    );
    let first = &found["all_results"][0];
    has(
        first,
        &[
            "success",
            "connection_type",
            "response_time_ms",
            "resolution",
            "fps",
            "url",
            "codec",
            "transport",
            "stream",
            "first_frame_ms",
            "evidence",
            "stages",
            "error",
        ],
    );
    assert_eq!(
        (&first["success"], &first["connection_type"]),
        (&json!(true), &json!("rtsp"))
    );
    assert_eq!(
        (&first["resolution"], &first["codec"]),
        (&json!("1280x720"), &json!("h264"))
    );
    found
}

/// "Test Batch de Caméras": order kept, one bad device fails alone.
fn batch_test(daemon: &Daemon) {
    let body = json!([
        {"ip": "10.77.0.11", "username": "admin", "password": "Hik12345"},
        {"ip": "10.77.0.200", "username": "admin", "password": "pass2", "timeout_ms": 3000},
        {"ip": "10.77.0.15", "username": "camera", "password": "p@ss:w/rd?#%"},
        {"ip": "not an address"}
    ]);
    let batch = daemon.post("/api/discovery/batch-test", body).expect(200);
    assert_eq!(
        (&batch["total"], &batch["succeeded"], &batch["failed"]),
        (&json!(4), &json!(2), &json!(2)),
        "{batch}"
    );
    let ips: Vec<&Value> = batch["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["ip"])
        .collect();
    assert_eq!(
        ips,
        ["10.77.0.11", "10.77.0.200", "10.77.0.15", "not an address"]
    );
    assert_eq!(
        batch["results"][2]["recommended_url"],
        "rtsp://camera:p%40ss%3Aw%2Frd%3F%23%25@10.77.0.15:554/stream1"
    );
}

/// Scenario 1, step 2, then reading, editing, deleting.
fn cameras(daemon: &Daemon, found: &Value) -> u64 {
    let body = json!({"name": "Entrée Principale", "ip_address": "10.77.0.11",
                      "primary_stream_url": found["recommended_url"], "connection_type": "rtsp", "manufacturer": "hikvision"});
    let made = daemon.post("/api/cameras/", body.clone());
    assert_eq!(made.status, 201, "{}", made.body);
    let made_head = made.head.to_ascii_lowercase();
    let camera = made.json();
    let id = camera["id"].as_u64().unwrap();
    assert!(
        made_head.contains(&format!("location: /api/cameras/{id}")),
        "{made_head}"
    );
    assert_eq!(
        camera["primary_stream_url"],
        "rtsp://admin:***@10.77.0.11:554/Streaming/Channels/101"
    );
    assert_eq!(
        (&camera["has_password"], &camera["username"]),
        (&json!(true), &json!("admin"))
    );
    let twice = daemon.post("/api/cameras", body).expect(409);
    assert!(
        twice["detail"].as_str().unwrap().contains(&id.to_string()),
        "{twice}"
    );

    // GET -> edit -> PUT works, masked URL and all.
    let path = format!("/api/cameras/{id}");
    let read = daemon.get(&path);
    let etag = read
        .head
        .lines()
        .find_map(|l| l.strip_prefix("etag: ").or(l.strip_prefix("ETag: ")))
        .unwrap()
        .to_owned();
    let mut edited = read.json();
    edited["name"] = json!("Entrée");
    edited["tags"] = json!(["porte"]);
    let put = daemon
        .ask_with(
            "PUT",
            &path,
            Some(edited.to_string()),
            &[("If-Match", &etag)],
        )
        .expect(200);
    assert_eq!(
        (&put["name"], &put["has_password"]),
        (&json!("Entrée"), &json!(true))
    );
    let stale = daemon.ask_with(
        "PUT",
        &path,
        Some(edited.to_string()),
        &[("If-Match", &etag)],
    );
    assert_eq!(stale.status, 409, "{}", stale.body);
    edited["primary_stream_url"] = json!("rtsp://admin:***@10.77.0.12:554/Streaming/Channels/101");
    assert_eq!(
        daemon.ask("PUT", &path, Some(edited.to_string())).status,
        422,
        "another host, masked password"
    );
    let tagged = daemon
        .get("/api/cameras?tag=porte&manufacturer=Hikvision&q=entr")
        .expect(200);
    assert_eq!(tagged["items"].as_array().unwrap().len(), 1, "{tagged}");
    let patched = daemon
        .ask(
            "PATCH",
            &path,
            Some(json!({"tags": null, "name": "Entrée Principale"}).to_string()),
        )
        .expect(200);
    assert_eq!(patched["tags"], json!([]));
    id
}

/// "Migration Automatique".
fn legacy_body(daemon: &Daemon) {
    let made = daemon.post("/api/cameras", json!({"rtsp_url": "rtsp://admin:Hik12345@10.77.0.12:554/cam/realmonitor?channel=1&subtype=1"}));
    let camera = made.expect(201);
    assert_eq!(
        (
            &camera["connection_type"],
            &camera["ip_address"],
            &camera["port"]
        ),
        (&json!("rtsp"), &json!("10.77.0.12"), &json!(554))
    );
    assert_eq!(
        camera["primary_stream_url"],
        "rtsp://admin:***@10.77.0.12:554/cam/realmonitor?channel=1&subtype=1"
    );
    assert_eq!(camera["rtsp_url"], camera["primary_stream_url"]);
    let id = camera["id"].as_u64().unwrap();
    daemon
        .ask("DELETE", &format!("/api/cameras/{id}"), None)
        .expect(204);
    assert_eq!(daemon.get(&format!("/api/cameras/{id}")).status, 404);
    let next = daemon
        .post(
            "/api/cameras",
            json!({"rtsp_url": "rtsp://10.77.0.12:554/other", "enabled": false}),
        )
        .expect(201);
    assert!(
        next["id"].as_u64().unwrap() > id,
        "ids are never used again"
    );
}

/// "API Health Check", "Dashboard Health", scenario 3.
fn health(daemon: &Daemon, id: u64) {
    wait_for("the camera is excellent", Duration::from_secs(15), || {
        let health = daemon.get(&format!("/api/health/cameras/{id}")).expect(200);
        (health["connection_health"] == "excellent").then_some(())
    });
    let status = daemon.get("/api/health/status").expect(200);
    has(
        &status,
        &[
            "total_cameras",
            "online_cameras",
            "offline_cameras",
            "average_uptime",
            "cameras_excellent",
            "cameras_good",
            "cameras_fair",
            "cameras_poor",
            "cameras_offline",
        ],
    );
    assert_eq!(
        (
            &status["total_cameras"],
            &status["cameras_excellent"],
            &status["disabled_cameras"]
        ),
        (&json!(1), &json!(1), &json!(1)),
        "{status}"
    );
    let all = daemon.get("/api/health/cameras").expect(200);
    let row = all
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["camera_id"] == id)
        .unwrap();
    has(
        row,
        &[
            "name",
            "connection_health",
            "response_time_ms",
            "uptime_percentage",
            "last_health_check",
            "last_error_message",
        ],
    );
    let one = daemon
        .get(&format!("/api/health/cameras/{id}?window=7d"))
        .expect(200);
    has(
        &one,
        &[
            "history",
            "outages",
            "disconnections",
            "reconnect_attempts",
            "average_response_time_ms",
            "percentiles",
            "codec",
            "resolution",
            "fps",
            "issues",
        ],
    );
    let link = daemon
        .get(&format!("/api/health/cameras/{id}/reconnection"))
        .expect(200);
    assert_eq!(
        (&link["state"], &link["max_attempts"]),
        (&json!("connected"), &json!(5)),
        "{link}"
    );
    let checked = daemon
        .post(&format!("/api/health/cameras/{id}/check-now"), json!({}))
        .expect(200);
    assert_eq!(checked["success"], true, "{checked}");
    assert_eq!(
        daemon
            .ask("POST", &format!("/api/health/cameras/{id}/reconnect"), None)
            .status,
        202
    );
    let metrics = daemon.get("/metrics").body;
    assert!(
        metrics.contains(&format!("ohmvision_camera_up{{camera_id=\"{id}\"}} 1")),
        "{metrics}"
    );
}

/// A body with only an address is legal: detection in the background.
fn background_detection(daemon: &Daemon) {
    let body =
        json!({"ip_address": "10.77.0.15", "username": "camera", "password": "p@ss:w/rd?#%"});
    let made = daemon.post("/api/cameras", body).expect(201);
    assert_eq!(
        (&made["connection_health"], &made["connection_type"]),
        (&json!("unknown"), &Value::Null)
    );
    let id = made["id"].as_u64().unwrap();
    let detected = wait_for("detection", Duration::from_secs(30), || {
        let camera = daemon.get(&format!("/api/cameras/{id}")).expect(200);
        (camera["connection_health"] == "excellent").then_some(camera)
    });
    assert_eq!(
        detected["primary_stream_url"],
        "rtsp://camera:***@10.77.0.15:554/stream1"
    );
    assert_eq!(
        (&detected["connection_type"], &detected["port"]),
        (&json!("rtsp"), &json!(554))
    );
}
