//! Camera lists in and out of a running daemon.

use serde_json::{Value, json};

use super::harness::Daemon;

const SHEET: &str = "\u{feff}name;ip_address;primary_stream_url;username;password;tags;enabled\r\n\
    Hall;;rtsp://10.9.0.1/live;admin;hunter2!;yard,north;false\r\n\
    \"Gate; east\";;rtsp://10.9.0.2/live;admin;'=1+1;;no\r\n\
    Bad;10.9.0.300;;;;;\r\n\
    Twin;;rtsp://10.9.0.1:554/live;;;;\r\n";

fn import(daemon: &Daemon, query: &str, kind: &str, body: &str) -> Value {
    let path = format!("/api/cameras/import{query}");
    let kind = [("Content-Type", kind)];
    let answer = daemon.ask_with("POST", &path, Some(body.to_owned()), &kind);
    answer.expect(200)
}

fn statuses(report: &Value) -> Vec<&str> {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().map(|r| r["status"].as_str().unwrap()).collect()
}

fn export(daemon: &Daemon, query: &str) -> String {
    let answer = daemon.get(&format!("/api/cameras/export{query}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[test]
fn a_list_of_cameras_goes_in_and_comes_out_again() {
    let daemon = Daemon::start(None, "");
    let told = import(&daemon, "?dry_run=true", "text/csv", SHEET);
    let want = ["created", "created", "failed", "skipped"];
    assert_eq!(statuses(&told), want, "{told}");
    assert_eq!(daemon.get("/api/cameras").expect(200)["items"], json!([]));
    let told = import(&daemon, "", "text/csv", SHEET);
    assert_eq!(statuses(&told), want, "{told}");
    assert_eq!(told["rows"][2]["line"], 4);
    assert_eq!(told["rows"][2]["errors"][0]["field"], "ip_address");
    assert_eq!(told["rows"][3]["camera_id"], 1);
    let camera = daemon.get("/api/cameras/2").expect(200);
    assert_eq!(
        (&camera["name"], &camera["enabled"]),
        (&json!("Gate; east"), &json!(false))
    );

    // The same again changes nothing; what it says can be taken over.
    let again = import(&daemon, "", "text/csv", SHEET);
    assert_eq!(statuses(&again)[..2], ["skipped", "skipped"]);
    let renamed = SHEET.replace("Hall;", "Lobby;");
    let changed = import(&daemon, "?on_duplicate=update", "text/csv", &renamed);
    assert_eq!(statuses(&changed)[..2], ["updated", "updated"], "{changed}");
    assert_eq!(
        daemon.get("/api/cameras/1").expect(200)["name"],
        "Twin",
        "the last line wins"
    );

    // Secrets are placeholders; they keep what is stored here and are refused elsewhere.
    let plain = export(&daemon, "");
    assert!(
        !plain.contains("hunter2") && plain.contains("***"),
        "{plain}"
    );
    assert!(!export(&daemon, "?format=csv").contains("hunter2"));
    let kept = import(&daemon, "?on_duplicate=update", "application/json", &plain);
    assert_eq!(statuses(&kept), ["updated", "updated"], "{kept}");
    let clear = export(&daemon, "?secrets=true");
    assert!(clear.contains("hunter2!"), "{clear}");
    let other = Daemon::start(None, "");
    let refused = import(&other, "", "application/json", &plain);
    assert_eq!(statuses(&refused), ["failed", "failed"]);
    assert_eq!(refused["rows"][0]["errors"][0]["field"], "password");
    for format in ["json", "csv"] {
        let other = Daemon::start(None, "");
        let list = export(&daemon, &format!("?secrets=true&format={format}"));
        let kind = if format == "csv" {
            "text/csv"
        } else {
            "application/json"
        };
        let moved = import(&other, "", kind, &list);
        assert_eq!(statuses(&moved), ["created", "created"], "{moved}");
        let of = |daemon: &Daemon| {
            let mut list: Value = serde_json::from_str(&export(daemon, "?secrets=true")).unwrap();
            for camera in list.as_array_mut().unwrap() {
                camera["uid"] = Value::Null;
            }
            list
        };
        assert_eq!(of(&other), of(&daemon), "by {format}");
    }
    assert!(export(&daemon, "?format=go2rtc").contains("streams: {}"));
    scopes_and_limits(&daemon);
}

fn scopes_and_limits(daemon: &Daemon) {
    let made = daemon
        .post("/api/tokens", json!({"name": "reader", "scope": "operate"}))
        .expect(201);
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let ask = |path: &str| {
        let headers = [("Authorization", bearer.as_str())];
        daemon.try_ask("GET", path, None, &headers).unwrap().status
    };
    assert_eq!(ask("/api/cameras/export"), 200);
    assert_eq!(ask("/api/cameras/export?secrets=true"), 403);
    for (kind, body, status) in [
        ("text/csv", "ip_adress\n10.9.0.1\n", 422),
        ("application/json", "[{", 400),
        ("application/json", "{}", 422),
        ("image/png", "x", 415),
    ] {
        let path = "/api/cameras/import";
        let kind = [("Content-Type", kind)];
        let answer = daemon.ask_with("POST", path, Some(body.to_owned()), &kind);
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}
