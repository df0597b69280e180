use super::*;
use crate::api::camera_json::tests::view;
use crate::api::merge::patched;
use crate::model::{Secret, StreamUrl};
use serde_json::json;

/// Rules of a gateway with RTSP and HTTP probers, two makers, and private networks allowed.
pub(in crate::api) fn with_rules<T>(f: impl FnOnce(&Rules<'_>) -> T) -> T {
    use ConnectionType::{HttpMjpeg, Https, Rtsp};
    let networks = crate::policy::networks::AllowedNetworks::parse(&["private"]).unwrap();
    f(&Rules {
        resolve: &|name| match name.to_lowercase().as_str() {
            "hikvision" | "hik" => Ok("hikvision".into()),
            "axis" => Ok("axis".into()),
            _ => Err(vec!["hikvision".into()]),
        },
        allowed: &|ip| networks.allows((ip, 80).into()),
        supported: &|kind| matches!(kind, Rtsp | HttpMjpeg | Https),
        locate: &|parsed, maker| crate::vendor::Catalogue::builtin().locate_login(parsed, maker),
    })
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn read(
    body: &Map<String, Value>,
    stored: Option<&CameraView>,
) -> Result<CameraDraft, Vec<FieldError>> {
    with_rules(|rules| parse(body, stored, rules))
}

fn post(body: Value) -> CameraDraft {
    read(&object(body.clone()), None).unwrap_or_else(|e| panic!("{body}: {e:?}"))
}

/// The bad fields of a `POST`.
fn post_errors(body: Value) -> Vec<String> {
    let errors = read(&object(body), None).unwrap_err();
    errors.into_iter().map(|e| e.field).collect()
}

fn patch(change: Value) -> Result<CameraDraft, Vec<String>> {
    let view = view();
    let whole = patched(&camera_json(&view), &object(change));
    read(&whole, Some(&view)).map_err(|e| e.into_iter().map(|e| e.field).collect())
}

fn put(edit: impl FnOnce(&mut Map<String, Value>)) -> Result<CameraDraft, Vec<String>> {
    let view = view();
    let mut body = camera_json(&view);
    edit(&mut body);
    read(&body, Some(&view)).map_err(|e| e.into_iter().map(|e| e.field).collect())
}

fn url(text: &str) -> Option<StreamUrl> {
    Some(StreamUrl::parse(text).unwrap().url)
}

fn set(password: &str) -> PasswordChange {
    PasswordChange::Set(Secret::new(password))
}

/// What the stored camera of these tests is as a draft.
fn unchanged() -> CameraDraft {
    let camera = view().camera;
    CameraDraft {
        name: camera.name,
        tags: camera.tags,
        enabled: true,
        manufacturer: camera.manufacturer,
        model: camera.model,
        mac_address: camera.mac_address,
        connection_type: camera.connection_type,
        primary_stream_url: camera.primary_stream_url,
        snapshot_url: camera.snapshot_url,
        ip_address: camera.ip_address,
        port: camera.port,
        username: camera.username,
        ..CameraDraft::default()
    }
}

#[test]
fn the_specifications_new_body() {
    let draft = post(json!({
        "name": "Entrée Principale", "ip_address": "192.168.1.100",
        "primary_stream_url": "rtsp://admin:Hik12345@192.168.1.100:554/Streaming/Channels/101",
        "connection_type": "rtsp", "manufacturer": "hikvision"
    }));
    let want = CameraDraft {
        name: "Entrée Principale".into(),
        enabled: true,
        manufacturer: Some("hikvision".into()),
        connection_type: Some(ConnectionType::Rtsp),
        primary_stream_url: url("rtsp://192.168.1.100:554/Streaming/Channels/101"),
        ip_address: Some("192.168.1.100".into()),
        port: Some(554),
        username: Some("admin".into()),
        password: set("Hik12345"),
        ..CameraDraft::default()
    };
    assert_eq!(draft, want);
}

#[test]
fn the_specifications_legacy_body() {
    let draft = post(json!({"rtsp_url": "rtsp://admin:pass@192.168.1.100:554/stream1"}));
    let want = CameraDraft {
        enabled: true,
        connection_type: Some(ConnectionType::Rtsp),
        primary_stream_url: url("rtsp://192.168.1.100:554/stream1"),
        ip_address: Some("192.168.1.100".into()),
        port: Some(554),
        username: Some("admin".into()),
        password: set("pass"),
        ..CameraDraft::default()
    };
    assert_eq!(draft, want);
}

#[test]
fn an_address_alone_is_enough() {
    let draft = post(json!({
        "ip_address": "192.168.1.7", "port": 8554, "username": "admin", "password": "x", "manufacturer": "Hik"
    }));
    assert_eq!(draft.ip_address.as_deref(), Some("192.168.1.7"));
    assert_eq!((draft.port, draft.connection_type), (Some(8554), None));
    assert_eq!(draft.manufacturer.as_deref(), Some("hikvision"));
    assert_eq!(draft.password, set("x"));
    assert_eq!(post_errors(json!({})), ["primary_stream_url"]);
    assert_eq!(
        post_errors(json!({"ip_address": null})),
        ["primary_stream_url"]
    );
}

#[test]
fn every_mistake_is_named_and_no_secret_repeated() {
    let body = json!({
        "ip_address": "192.168.1.300", "port": 70000, "username": "admin", "pasword": "hunter2",
        "connection_type": "rtssp", "manufacturer": "hikvison", "mac_address": "44:19", "tags": ["", 3],
        "enabled": "yes", "channel": 0, "connection_config": {"timeout_ms": 1, "transport": "udp", "timeot": 3},
        "primary_stream_url": "rtsp://admin:hunter2@192.168.1.1:99999/x", "cloud_config": {"a": {"refresh_token": "hunter2"}}
    });
    let errors = read(&object(body), None).unwrap_err();
    let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
    for field in [
        "tags[0]",
        "tags[1]",
        "enabled",
        "manufacturer",
        "mac_address",
        "channel",
        "connection_config.timeout_ms",
        "connection_config.transport",
        "connection_config.timeot",
        "cloud_config",
        "primary_stream_url",
        "ip_address",
        "port",
        "connection_type",
        "pasword",
    ] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    assert_eq!(fields.len(), 15, "{fields:?}");
    let shown = format!("{errors:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("did you mean `password`?"), "{shown}");
    assert!(shown.contains("did you mean `rtsp`?"), "{shown}");
    assert!(shown.contains("did you mean hikvision?"), "{shown}");
}

#[test]
fn contradictions_are_refused() {
    let rtsp = "rtsp://admin:a@10.0.0.1:554/x";
    for (body, field) in [
        (
            json!({"primary_stream_url": rtsp, "connection_type": "http_mjpeg"}),
            "connection_type",
        ),
        (
            json!({"primary_stream_url": rtsp, "ip_address": "10.0.0.2"}),
            "ip_address",
        ),
        (json!({"primary_stream_url": rtsp, "port": 80}), "port"),
        (
            json!({"primary_stream_url": rtsp, "username": "bob"}),
            "username",
        ),
        (
            json!({"primary_stream_url": rtsp, "password": "b"}),
            "password",
        ),
        (
            json!({"primary_stream_url": rtsp, "rtsp_url": "rtsp://10.0.0.1/y"}),
            "rtsp_url",
        ),
        (
            json!({"primary_stream_url": rtsp, "snapshot_url": "http://admin:b@10.0.0.1/"}),
            "snapshot_url",
        ),
        (
            json!({"connection_config": {"timeout": 2, "timeout_ms": 3000}, "primary_stream_url": rtsp}),
            "connection_config.timeout",
        ),
    ] {
        assert_eq!(post_errors(body.clone()), [field], "{body}");
    }
    // Said twice and the same is no contradiction.
    post(json!({
        "primary_stream_url": rtsp, "rtsp_url": rtsp, "username": "admin", "password": "a",
        "ip_address": "10.0.0.1", "port": 554, "connection_type": "rtsp"
    }));
}

#[test]
fn what_cannot_be_reached_is_refused() {
    assert_eq!(
        post_errors(json!({"ip_address": "8.8.8.8"})),
        ["ip_address"]
    );
    assert_eq!(
        post_errors(json!({"primary_stream_url": "rtsp://8.8.8.8/x"})),
        ["primary_stream_url"]
    );
    assert_eq!(
        post_errors(json!({"rtsp_url": "rtsp://127.0.0.1/x"})),
        ["rtsp_url"]
    );
    assert_eq!(
        post_errors(json!({"primary_stream_url": "rtmp://10.0.0.1/x"})),
        ["primary_stream_url"]
    );
    assert_eq!(
        post_errors(json!({"ip_address": "10.0.0.1", "connection_type": "cloud"})),
        ["connection_type"]
    );
}

#[test]
fn a_mask_needs_something_stored() {
    assert_eq!(
        post_errors(json!({"rtsp_url": "rtsp://admin:***@10.0.0.1/x"})),
        ["rtsp_url"]
    );
    let body = json!({"rtsp_url": "rtsp://admin:***@10.0.0.1/x", "password": null});
    assert_eq!(post_errors(body), ["rtsp_url"]);
    assert_eq!(
        post_errors(json!({"ip_address": "10.0.0.1", "username": "a", "password": "***"})),
        ["password"]
    );
    let draft = post(json!({"rtsp_url": "rtsp://admin:***@10.0.0.1/x", "password": "new"}));
    assert_eq!(draft.password, set("new"));
}

#[test]
fn the_password_vanishes_from_paths_and_queries() {
    let draft = post(json!({
        "primary_stream_url": "http://10.0.0.1/av/s3cret/live", "username": "admin", "password": "s3cret",
        "snapshot_url": "http://10.0.0.1/snap?usr=admin&pwd=s3cret"
    }));
    assert_eq!(draft.primary_stream_url.unwrap().path, "/av/{pass}/live");
    assert_eq!(
        draft.snapshot_url.unwrap().path,
        "/snap?usr={user}&pwd={pass}"
    );
}

#[test]
fn details_are_normalised() {
    for mac in [
        "44-19-B6-00-00-01",
        "4419.b600.0001",
        "4419B6000001",
        "44:19:b6:00:00:01",
    ] {
        let draft = post(json!({"ip_address": "10.0.0.1", "mac_address": mac}));
        assert_eq!(
            draft.mac_address.as_deref(),
            Some("44:19:b6:00:00:01"),
            "{mac}"
        );
    }
    for mac in [
        "44:19:b6:00:00",
        "44:19:b6:00:00:0g",
        "é4:19:b6:00:00:01",
        "4419:b6000001",
    ] {
        assert_eq!(
            post_errors(json!({"ip_address": "10.0.0.1", "mac_address": mac})),
            ["mac_address"],
            "{mac}"
        );
    }
    let config = json!({"timeout": 2.5, "retry": 0, "transport": "tcp", "check_interval_s": 30, "verify_frames": true, "tls_verify": false});
    let draft = post(
        json!({"ip_address": "fe80::1%eth0", "tags": [" a ", "a", "b"], "connection_config": config}),
    );
    assert_eq!(draft.tags, ["a", "b"]);
    assert_eq!(draft.ip_address.as_deref(), Some("fe80::1%eth0"));
    let want = ConnectionConfig {
        timeout_ms: Some(2500),
        retry: Some(0),
        transport: Some("tcp".into()),
        check_interval_s: Some(30),
        verify_frames: Some(true),
        tls_verify: Some(false),
        onvif_events: None,
    };
    assert_eq!(draft.connection_config, want);
}

#[test]
fn a_record_sent_back_changes_nothing() {
    assert_eq!(put(|_| {}), Ok(unchanged()));
    assert_eq!(patch(json!({})), Ok(unchanged()));
    let renamed = CameraDraft {
        name: "Door".into(),
        ..unchanged()
    };
    assert_eq!(
        put(|body| {
            body.insert("name".into(), "Door".into());
        }),
        Ok(renamed.clone())
    );
    assert_eq!(patch(json!({"name": "Door"})), Ok(renamed));
}

#[test]
fn a_masked_url_keeps_its_secret_through_an_edit() {
    let sub = "rtsp://admin:***@192.168.1.100:554/Streaming/Channels/102";
    let draft = patch(json!({"primary_stream_url": sub})).unwrap();
    assert_eq!(draft.password, PasswordChange::Keep);
    assert_eq!(
        draft.primary_stream_url,
        url("rtsp://192.168.1.100:554/Streaming/Channels/102")
    );
    // The legacy name does the same.
    assert_eq!(patch(json!({"rtsp_url": sub})), Ok(draft));
    let snap = patch(
        json!({"snapshot_url": "http://admin:***@192.168.1.100/snap?usr=admin&pwd=***&size=2"}),
    )
    .unwrap();
    assert_eq!(
        snap.snapshot_url.unwrap().path,
        "/snap?usr={user}&pwd={pass}&size=2"
    );
    assert_eq!(snap.password, PasswordChange::Keep);
}

#[test]
fn a_mask_elsewhere_is_refused() {
    for url in [
        "rtsp://admin:***@192.168.1.200:554/x",
        "rtsps://admin:***@192.168.1.100/x",
        "rtsp://bob:***@192.168.1.100:554/x",
    ] {
        let errors = patch(json!({"primary_stream_url": url})).unwrap_err();
        assert_eq!(errors[0], "primary_stream_url", "{url}");
        let given =
            patch(json!({"primary_stream_url": url.replace("***", "new"), "ip_address": null}))
                .unwrap();
        assert_eq!(given.password, set("new"));
    }
}

#[test]
fn the_stored_password_goes_to_no_other_host_or_user() {
    assert_eq!(
        patch(json!({"primary_stream_url": "rtsp://192.168.1.200:554/x"})),
        Err(vec!["password".into()])
    );
    assert_eq!(
        patch(json!({"snapshot_url": "http://192.168.1.200/x"})),
        Err(vec!["password".into()])
    );
    assert_eq!(
        patch(json!({"ip_address": "192.168.1.200"})),
        Err(vec!["password".into()])
    );
    assert_eq!(
        patch(json!({"username": "bob"})),
        Err(vec!["password".into()])
    );
    let bob = patch(json!({"username": "bob", "password": "b"})).unwrap();
    assert_eq!(
        (bob.username.as_deref(), bob.password),
        (Some("bob"), set("b"))
    );
    let bob = patch(json!({"primary_stream_url": "rtsp://bob:b@192.168.1.100:554/x"})).unwrap();
    assert_eq!(
        (bob.username.as_deref(), bob.password),
        (Some("bob"), set("b"))
    );
}

#[test]
fn a_new_address_moves_the_urls() {
    let moved =
        patch(json!({"ip_address": "192.168.1.200", "port": 8554, "password": "again"})).unwrap();
    assert_eq!(
        moved.primary_stream_url,
        url("rtsp://192.168.1.200:8554/Streaming/Channels/101")
    );
    assert_eq!(
        moved.snapshot_url,
        url("http://192.168.1.200/snap?usr={user}&pwd={pass}")
    );
    assert_eq!(
        (moved.ip_address.as_deref(), moved.port),
        (Some("192.168.1.200"), Some(8554))
    );
    let by_url =
        patch(json!({"primary_stream_url": "http://admin:b@192.168.1.200:8080/v"})).unwrap();
    assert_eq!(
        (by_url.ip_address.as_deref(), by_url.port),
        (Some("192.168.1.200"), Some(8080))
    );
    assert_eq!(by_url.connection_type, Some(ConnectionType::HttpMjpeg));
}

#[test]
fn passwords_are_set_kept_and_cleared() {
    assert_eq!(
        patch(json!({"password": "new"})).unwrap().password,
        set("new")
    );
    assert_eq!(
        patch(json!({"password": "***"})).unwrap().password,
        PasswordChange::Keep
    );
    let cleared = patch(json!({"password": null})).unwrap();
    assert_eq!(
        (cleared.password, cleared.username.as_deref()),
        (PasswordChange::Clear, Some("admin"))
    );
    // A PUT that names no login at all has none.
    let bare = put(|body| {
        body.retain(|name, _| name == "primary_stream_url");
        body.insert("primary_stream_url".into(), "rtsp://192.168.1.100/y".into());
    })
    .unwrap();
    assert_eq!(
        (bare.username, bare.password),
        (None, PasswordChange::Clear)
    );
    assert_eq!(bare.name, "");
}

#[test]
fn an_xiongmai_hash_survives_the_mask() {
    let mut view = view();
    view.camera.primary_stream_url =
        url("rtsp://192.168.1.100/user={user}_password={hash}_channel=1");
    let mut body = camera_json(&view);
    let shown = body["primary_stream_url"]
        .as_str()
        .unwrap()
        .replace("channel=1", "channel=2");
    body.insert("primary_stream_url".into(), shown.into());
    let draft = read(&body, Some(&view)).unwrap();
    assert_eq!(
        draft.primary_stream_url.unwrap().path,
        "/user={user}_password={hash}_channel=2"
    );
    assert_eq!(draft.password, PasswordChange::Keep);
}

#[test]
fn the_onvif_login_follows_the_same_rules() {
    let mut view = view();
    view.camera.onvif_username = Some("onvif".into());
    view.has_onvif_password = true;
    let read_with = |change: Value| {
        let whole = patched(&camera_json(&view), &object(change));
        read(&whole, Some(&view)).map(|d| (d.onvif_username, d.onvif_password))
    };
    let user = Some("onvif".to_owned());
    assert_eq!(
        read_with(json!({})),
        Ok((user.clone(), PasswordChange::Keep))
    );
    assert_eq!(
        read_with(json!({"onvif_password": null})),
        Ok((user, PasswordChange::Clear))
    );
    assert_eq!(
        read_with(json!({"onvif_username": null})),
        Ok((None, PasswordChange::Clear))
    );
    assert!(read_with(json!({"onvif_username": "other"})).is_err());
    assert!(read_with(json!({"onvif_username": "other", "onvif_password": "x"})).is_ok());
}

fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let text = "[a-z0-9:/@*{}%._-]{0,24}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        text.prop_map(Value::from),
        "(rtsp|http|usb|file)://[a-z0-9:/@*{}%._-]{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_]{1,8}", inner, 0..3)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn no_body_panics(values in proptest::collection::vec(any_json(), 40), skip in 0usize..40) {
        let view = view();
        let mut names: Vec<String> = camera_json(&view).keys().cloned().collect();
        names.extend(["password", "onvif_password", "zzz"].map(str::to_owned));
        let body: Map<String, Value> = names.into_iter().skip(skip).zip(values).collect();
        let _ = read(&body, None);
        let _ = read(&body, Some(&view));
        let whole = patched(&camera_json(&view), &body);
        let _ = read(&whole, Some(&view));
    }
}

#[test]
fn a_login_where_only_the_makers_template_knows_it_is_hidden() {
    let body = object(json!({
        "primary_stream_url": "http://10.0.0.5/mjpegstream.cgi?-chn=11&-usr=joe&-pwd=hunter2"
    }));
    let draft = with_rules(|rules| parse(&body, None, rules)).unwrap();
    let url = draft.primary_stream_url.unwrap().to_string();
    assert_eq!(
        url,
        "http://10.0.0.5/mjpegstream.cgi?-chn=11&-usr={user}&-pwd={pass}"
    );
    assert_eq!(draft.username.as_deref(), Some("joe"));
    assert_eq!(draft.password, PasswordChange::Set(Secret::new("hunter2")));
}
