//! The examples of the contract, and what it promises around them.

use super::*;
use crate::model::ConnectionType;

fn templates(name: &str) -> serde_json::Value {
    let catalogue = Catalogue::builtin();
    let maker = catalogue.find(name).unwrap();
    serde_json::to_value(templates_body(maker)).unwrap()
}

fn generated(request: &str) -> Result<serde_json::Value, GenerateError> {
    let catalogue = Catalogue::builtin();
    let request: GenerateUrls = serde_json::from_str(request).unwrap();
    generate_urls(&catalogue, &request).map(|urls| serde_json::to_value(urls).unwrap())
}

fn first(body: &serde_json::Value, top: &str, list: &str) -> String {
    body[top][list][0]["url"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn all(body: &serde_json::Value, list: &str) -> Vec<String> {
    let items = body["urls"][list].as_array().unwrap();
    items
        .iter()
        .map(|item| item["url"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn templates_are_the_specifications_own_first() {
    let hik = templates("hikvision");
    assert_eq!(hik["manufacturer"], "hikvision");
    assert_eq!(hik["templates"]["rtsp"][0]["name"], "main");
    assert_eq!(
        first(&hik, "templates", "rtsp"),
        "rtsp://{user}:{pass}@{ip}:554/Streaming/Channels/101"
    );
    assert_eq!(hik["templates"]["rtsp"][1]["name"], "sub");
    assert_eq!(
        hik["templates"]["rtsp"][1]["url"],
        "rtsp://{user}:{pass}@{ip}:554/Streaming/Channels/102"
    );
    assert_eq!(
        first(&hik, "templates", "http_mjpeg"),
        "http://{ip}/ISAPI/Streaming/channels/1/httpPreview"
    );
    assert_eq!(
        first(&hik, "templates", "snapshot"),
        "http://{ip}/ISAPI/Streaming/channels/1/picture"
    );
    let dahua = templates("dahua");
    let rtsp = &dahua["templates"]["rtsp"];
    assert_eq!(
        rtsp[0]["url"],
        "rtsp://{user}:{pass}@{ip}:554/cam/realmonitor?channel=1&subtype=0"
    );
    assert_eq!(
        rtsp[1]["url"],
        "rtsp://{user}:{pass}@{ip}:554/cam/realmonitor?channel=1&subtype=1"
    );
    assert_eq!(
        first(&dahua, "templates", "snapshot"),
        "http://{ip}/cgi-bin/snapshot.cgi?channel=1"
    );
    let axis = templates("axis");
    assert_eq!(
        first(&axis, "templates", "rtsp"),
        "rtsp://{user}:{pass}@{ip}:554/axis-media/media.amp"
    );
    assert_eq!(
        first(&axis, "templates", "http_mjpeg"),
        "http://{ip}/mjpg/video.mjpg"
    );
    assert_eq!(
        first(&axis, "templates", "snapshot"),
        "http://{ip}/axis-cgi/jpg/image.cgi"
    );
}

#[test]
fn recorders_show_their_channel_rule() {
    let nvr = &templates("hikvision")["nvr"];
    assert_eq!(nvr["first"], 1);
    assert!(nvr["rule"].as_str().unwrap().contains("channel * 100"));
    assert_eq!(
        nvr["templates"][0]["url"],
        "rtsp://{user}:{pass}@{ip}:554/Streaming/Channels/{channel}01"
    );
    assert!(templates("mobotix")["nvr"].is_null());
}

#[test]
fn the_specifications_request_runs_as_written() {
    let body = generated(
        r#"{"ip": "192.168.1.100", "username": "admin", "password": "admin123", "manufacturer": "hikvision"}"#,
    )
    .unwrap();
    assert_eq!(body["manufacturer"], "hikvision");
    assert_eq!(
        all(&body, "rtsp")[..2],
        [
            "rtsp://admin:admin123@192.168.1.100:554/Streaming/Channels/101",
            "rtsp://admin:admin123@192.168.1.100:554/Streaming/Channels/102",
        ]
    );
    let preview = "http://192.168.1.100/ISAPI/Streaming/channels/1/httpPreview";
    assert_eq!(first(&body, "urls", "http_mjpeg"), preview);
    let picture = "http://192.168.1.100/ISAPI/Streaming/channels/1/picture";
    assert_eq!(first(&body, "urls", "snapshot"), picture);
}

#[test]
fn every_special_character_is_encoded_wherever_the_login_stands() {
    let request = |maker: &str| {
        format!(
            r#"{{"ip": "10.0.0.5", "username": "ad min", "password": "p@ss:w/rd?#%", "manufacturer": "{maker}"}}"#
        )
    };
    let dahua = generated(&request("dahua")).unwrap();
    let login = "ad%20min:p%40ss%3Aw%2Frd%3F%23%25@10.0.0.5:554";
    assert!(
        all(&dahua, "rtsp")
            .iter()
            .all(|url| url.starts_with(&format!("rtsp://{login}/")))
    );
    let foscam = generated(&request("foscam")).unwrap();
    let snapshot = "http://10.0.0.5:88/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=ad%20min&pwd=p%40ss%3Aw%2Frd%3F%23%25";
    assert_eq!(first(&foscam, "urls", "snapshot"), snapshot);
}

#[test]
fn port_channel_and_stream() {
    let with = |extra: &str| {
        generated(&format!(
            r#"{{"ip": "10.0.0.5", "username": "a", "password": "b", {extra}}}"#
        ))
    };
    let body = with(r#""manufacturer": "hikvision", "port": 8554, "channel": 16"#).unwrap();
    assert_eq!(
        all(&body, "rtsp")[0],
        "rtsp://a:b@10.0.0.5:8554/Streaming/Channels/1601"
    );
    assert_eq!(
        first(&body, "urls", "snapshot"),
        "http://10.0.0.5/ISAPI/Streaming/channels/16/picture"
    );
    let body = with(r#""manufacturer": "hikvision", "port": 8080"#).unwrap();
    assert_eq!(
        all(&body, "rtsp")[0],
        "rtsp://a:b@10.0.0.5:554/Streaming/Channels/101"
    );
    assert_eq!(
        first(&body, "urls", "snapshot"),
        "http://10.0.0.5:8080/ISAPI/Streaming/channels/1/picture"
    );
    let body = with(r#""manufacturer": "dahua", "stream": "sub""#).unwrap();
    assert_eq!(
        all(&body, "rtsp"),
        ["rtsp://a:b@10.0.0.5:554/cam/realmonitor?channel=1&subtype=1"]
    );
    let body = with(r#""manufacturer": "hanwha", "stream": "5""#).unwrap();
    assert!(all(&body, "rtsp").contains(&"rtsp://a:b@10.0.0.5:554/profile5/media.smp".to_owned()));
}

#[test]
fn mistakes_name_their_field() {
    let with = |extra: &str| {
        let text =
            format!(r#"{{"ip": "10.0.0.5", "username": "a", "password": "hunter2", {extra}}}"#);
        let error = generated(&text).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        (error.field(), error.to_string())
    };
    assert_eq!(with(r#""manufacturer": "hikvison""#).0, "manufacturer");
    assert_eq!(with(r#""manufacturer": "axis", "channel": 0"#).0, "channel");
    assert_eq!(with(r#""manufacturer": "axis", "port": 0"#).0, "port");
    let (field, message) = with(r#""manufacturer": "axis", "stream": "mian""#);
    assert_eq!(field, "stream");
    assert!(message.contains("did you mean `main`?"), "{message}");
    let bad = r#"{"ip": "10.0.0.5/x", "manufacturer": "ring"}"#;
    assert_eq!(generated(bad).unwrap_err().field(), "ip");
    let unknown = serde_json::from_str::<GenerateUrls>(
        r#"{"ip": "h", "manufacturer": "axis", "pasword": "x"}"#,
    );
    assert!(unknown.unwrap_err().to_string().contains("pasword"));
}

#[test]
fn without_a_login_nothing_is_invented() {
    let body = generated(r#"{"ip": "10.0.0.5", "manufacturer": "axis"}"#).unwrap();
    assert_eq!(
        all(&body, "rtsp")[0],
        "rtsp://10.0.0.5:554/axis-media/media.amp"
    );
}

#[test]
fn the_list_of_makers() {
    let catalogue = Catalogue::builtin();
    let body = serde_json::to_value(manufacturers_body(&catalogue)).unwrap();
    assert_eq!(body["count"], 84);
    let list = body["manufacturers"].as_array().unwrap();
    let hik = list
        .iter()
        .find(|maker| maker["id"] == "hikvision")
        .unwrap();
    assert_eq!(hik["name"], "Hikvision");
    assert_eq!(hik["category"], "professional");
    assert_eq!(hik["default_ports"]["rtsp"], serde_json::json!([554]));
    let types = serde_json::json!(["rtsp", "onvif", "http_mjpeg", "https", "webhook", "nvr"]);
    assert_eq!(hik["connection_types"], types);
    let ways = |id: &str| catalogue.by_id(id).unwrap().connection_types();
    assert_eq!(ways("generic_usb"), [ConnectionType::Usb]);
    assert_eq!(ways("ring"), [ConnectionType::Cloud]);
    let pi = [
        ConnectionType::Webrtc,
        ConnectionType::Hls,
        ConnectionType::Rtmp,
    ];
    assert!(pi.iter().all(|way| ways("raspberry_pi").contains(way)));
    let whole = serde_json::to_value(maker_body(catalogue.by_id("dahua").unwrap())).unwrap();
    assert_eq!(
        (&whole["id"], &whole["locks_accounts"]),
        (&"dahua".into(), &true.into())
    );
}

#[test]
fn nothing_prints_the_login() {
    let text = r#"{"ip": "h", "username": "a", "password": "hunter2", "manufacturer": "foscam"}"#;
    let request: GenerateUrls = serde_json::from_str(text).unwrap();
    let catalogue = Catalogue::builtin();
    let shown = format!(
        "{request:?} {:?}",
        generate_urls(&catalogue, &request).unwrap()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
