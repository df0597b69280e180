//! The document is the routes, the routes are the document, and the answers fit it.

use std::collections::BTreeSet;

use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::{Value, json};

use super::build::{document, written};
use super::conforms::misfit;
use super::describe::operations;
use crate::api::camera_body::tests::with_rules;
use crate::api::camera_json::{camera_json, tests::view};
use crate::api::filters::EVENT_NAMES;
use crate::api::merge::patched;
use crate::api::problem::FieldError;
use crate::api::route::{Body, ROUTES};
use crate::api::{Problem, camera_body, detect_body};
use crate::detect::{
    AttemptError, AttemptReport, DetectReport, DeviceReport, OnvifReport, ProfileReport,
};
use crate::model::*;
use crate::site::{
    CheckView, ErrorView, HealthDetail, HistoryBucket, Outage, Percentiles, ReconnectionView,
    ScanProgress, ScanStatus, ScanView, Scope, SiteError, StatusView, TokenView,
};

fn stored() -> Value {
    serde_json::from_str(super::DOCUMENT).unwrap()
}

#[test]
fn the_file_is_what_the_table_says() {
    let text = written(&document());
    if std::env::var_os("OHMVISION_OPENAPI_WRITE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/openapi.json");
        std::fs::write(file, &text).unwrap();
        return;
    }
    assert!(
        super::DOCUMENT == text,
        "src/api/openapi.json is old: OHMVISION_OPENAPI_WRITE=1 cargo test --lib the_file_is_what_the_table_says"
    );
}

/// Method, path, scope, path and query parameters: those of the table, and nothing else.
#[test]
fn every_route_is_described_and_nothing_else() {
    let names = |operation: &Value, place: &str| -> BTreeSet<String> {
        let all = operation["parameters"].as_array().into_iter().flatten();
        let here = all.filter(|p| p["in"] == place);
        here.map(|p| p["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let routed = ROUTES.iter().map(|route| {
        let captured = route
            .path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(str::to_owned);
        let scope = serde_json::to_value(route.scope).unwrap();
        let query = route.query_names().into_iter().map(str::to_owned);
        let has_body = route.body != Body::None;
        (
            format!("{route:?}"),
            (
                captured.collect(),
                query.collect(),
                scope.clone(),
                !scope.is_null(),
                has_body,
            ),
        )
    });
    let document = stored();
    let described = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| {
                    let has_security =
                        operation["security"].as_array().unwrap() == &[json!({"token": []})];
                    let facts = (
                        names(operation, "path"),
                        names(operation, "query"),
                        operation["x-scope"].clone(),
                        has_security,
                        operation.get("requestBody").is_some(),
                    );
                    (format!("{} {path}", method.to_ascii_uppercase()), facts)
                })
        });
    let (mut routed, mut described): (Vec<_>, Vec<_>) = (routed.collect(), described.collect());
    routed.sort_by(|a, b| a.0.cmp(&b.0));
    described.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(described, routed);
    let ids: BTreeSet<_> = operations().iter().map(|o| o.id).collect();
    assert_eq!(
        ids.len(),
        ROUTES.len(),
        "an operationId stands twice, or an entry has no route"
    );
}

#[test]
fn references_lead_somewhere_and_every_component_is_used() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(name, inner)| match inner {
                Value::String(target) if name == "$ref" => drop(found.insert(target.clone())),
                inner => references(inner, found),
            }),
            Value::Array(items) => items.iter().for_each(|i| references(i, found)),
            _ => {}
        }
    }
    let document = stored();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let mut there = BTreeSet::new();
    for kind in ["schemas", "responses", "headers"] {
        let names = document["components"][kind].as_object().unwrap().keys();
        there.extend(names.map(|name| format!("#/components/{kind}/{name}")));
    }
    assert_eq!(there, used);
}

#[track_caller]
fn fits(schema: &str, value: impl serde::Serialize) {
    let document = stored();
    let schema = &document["components"]["schemas"][schema];
    assert!(schema.is_object(), "no such schema");
    let value = serde_json::to_value(value).unwrap();
    assert_eq!(misfit(&document, schema, &value), None);
}

const TIME: Timestamp = Timestamp::from_unix_s(1_790_000_000);

fn attempt() -> AttemptReport {
    AttemptReport {
        success: true,
        connection_type: ConnectionType::Rtsp,
        url: "rtsp://192.168.1.100:554/Streaming/Channels/101".to_owned(),
        response_time_ms: Some(245),
        resolution: Some("1920x1080".to_owned()),
        fps: Some(25.0),
        codec: Some("h264"),
        transport: Some("tcp"),
        stream: "main",
        first_frame_ms: Some(640),
        evidence: Some(Evidence::KeyFrame),
        stages: vec![StageTime {
            name: Stage::Connect,
            ms: 3,
        }],
        error: None,
        certificate: Some(CertificateFacts {
            sha256: "ab".to_owned(),
            not_after: Some(TIME),
            expired: false,
            self_signed: true,
            subject: None,
        }),
        onvif: Some(OnvifReport {
            information: DeviceInformation {
                manufacturer: Some("HIKVISION".to_owned()),
                ..DeviceInformation::default()
            },
            mac: None,
            clock_offset_s: Some(-94_608_000),
            login_by: Some(OnvifLogin::WsseDigest),
            ptz: Some(PtzAbilities::default()),
            profiles: vec![ProfileReport {
                token: "p0".to_owned(),
                name: "main".to_owned(),
                stream: "main",
                codec: Some("h264"),
                resolution: Some("1920x1080".to_owned()),
                fps: Some(25.0),
                stream_url: Some("rtsp://192.168.1.100:554/x".to_owned()),
                snapshot_url: None,
            }],
        }),
    }
}

#[test]
fn detections_fit() {
    let failed = AttemptReport {
        success: false,
        evidence: None,
        codec: None,
        certificate: None,
        onvif: None,
        error: Some(AttemptError {
            code: ErrorCode::AuthFailed,
            stage: Stage::Authenticate,
            message: "refused".to_owned(),
        }),
        ..attempt()
    };
    let report = DetectReport {
        success: true,
        recommended_method: Some(ConnectionType::Rtsp),
        recommended_url: Some("rtsp://x/".to_owned()),
        reason: Some("video key frame proven".to_owned()),
        hint: None,
        device: DeviceReport::default(),
        credential_index: Some(0),
        all_results: vec![attempt(), failed],
        tried: 2,
        duration_ms: 1830,
    };
    fits("DetectReport", &report);
    fits("DetectReport", DetectReport::broken());
    fits("Attempt", attempt());
    // The document says of each field of a report that it is there: an answer without one is seen.
    let mut less = serde_json::to_value(&report).unwrap();
    less.as_object_mut().unwrap().remove("tried");
    let document = stored();
    let schema = &document["components"]["schemas"]["DetectReport"];
    assert_eq!(
        misfit(&document, schema, &less).as_deref(),
        Some(": \"tried\" is missing")
    );
    less["tried"] = json!(1);
    less["more"] = json!(1);
    assert_eq!(
        misfit(&document, schema, &less).as_deref(),
        Some(": more is not described")
    );
}

#[test]
fn cameras_health_and_events_fit() {
    fits("Camera", camera_json(&view()));
    fits(
        "CameraList",
        json!({"items": [camera_json(&view())], "next_cursor": null}),
    );
    let health = view().health;
    fits("CameraHealthList", [&health]);
    fits(
        "CameraHealthDetail",
        HealthDetail {
            health,
            window: "24h",
            percentiles: Percentiles::default(),
            history: vec![HistoryBucket {
                from: TIME,
                duration_s: 3600,
                up_s: 3600,
                down_s: 0,
                uptime_percentage: Some(100.0),
                checks: 60,
                failed_checks: 0,
                average_response_time_ms: Some(245),
                disconnections: 0,
            }],
            outages: vec![Outage {
                from: TIME,
                to: None,
                duration_s: 90,
                cause: Some(ErrorCode::Timeout),
            }],
        },
    );
    fits("SiteHealth", StatusView::default());
    let attempt = ReconnectAttempt {
        attempt: 1,
        delay_s: 10,
        started_at: TIME,
        finished_at: Some(TIME),
        success: false,
        error: Some(ErrorCode::Refused),
    };
    for state in [
        LinkState::Connected,
        LinkState::Waiting,
        LinkState::Reconnecting,
        LinkState::GivenUp,
    ] {
        let view = ReconnectionView {
            state,
            attempt: 1,
            max_attempts: 5,
            next_attempt_at: Some(TIME),
            next_delay_s: Some(20),
            attempts: vec![attempt.clone()],
        };
        fits("Reconnection", view);
    }
    let check = CheckView {
        camera_id: CameraId(7),
        success: false,
        connection_health: "offline",
        response_time_ms: None,
        first_frame_ms: None,
        codec: None,
        resolution: None,
        fps: None,
        stages: vec![],
        error: Some(ErrorView {
            code: ErrorCode::Dns,
            stage: Stage::Resolve,
            message: "x".to_owned(),
        }),
        checked_at: TIME,
    };
    fits("Check", check);
    let event = Event {
        id: uuid::Uuid::nil(),
        time: TIME,
        kind: EventKind::Offline,
        camera_id: Some(CameraId(7)),
        camera_name: Some("Gate".to_owned()),
        cause: Some(ErrorCode::Timeout),
        duration_s: None,
        message: "x".to_owned(),
    };
    fits("EventList", json!({"items": [event], "next_cursor": "a"}));
}

#[test]
fn devices_and_tokens_fit() {
    let device = crate::discover::scan::Device {
        ip: "192.168.1.100".parse().unwrap(),
        addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        mac: None,
        vendor: None,
        manufacturer: Some("Hikvision".to_owned()),
        manufacturer_id: Some("hikvision".to_owned()),
        model: None,
        firmware_version: None,
        serial_number: None,
        hostname: None,
        is_camera: true,
        confidence: 0.9,
        is_onvif: true,
        onvif_url: None,
        open_ports: vec![80, 554],
        rtsp_url: None,
        needs_credentials: true,
        off_subnet: false,
        interface: None,
        found_by: vec!["tcp"],
        evidence: vec!["banner".to_owned()],
        camera_id: Some(CameraId(7)),
    };
    fits("Device", &device);
    let progress = ScanProgress {
        scan_id: Some(uuid::Uuid::nil()),
        status: ScanStatus::Scanning,
        progress: 75,
        scanned_ips: 191,
        total_ips: 254,
        started_at: Some(TIME),
        finished_at: None,
        duration_ms: Some(900),
        host_sweep: Some(crate::discover::sweep::HostSweep::Arp),
        eta_s: Some(1),
    };
    fits("ScanProgress", &progress);
    let devices = vec![device];
    fits("Scan", ScanView { progress, devices });
    for interface in crate::discover::interfaces::list() {
        fits("Interface", interface);
    }
    let token = TokenView {
        id: uuid::Uuid::nil().to_string(),
        name: "x".to_owned(),
        scope: Scope::Read,
        created_at: TIME,
        expires_at: None,
        last_used_at: Some(TIME),
    };
    fits("Token", token);
}

#[tokio::test]
async fn problems_and_answers_of_the_daemon_fit() {
    let duplicate = Problem::from(SiteError::Duplicate(CameraId(7)));
    let invalid = Problem::invalid(vec![FieldError::new("port", "is odd")]);
    for problem in [duplicate, invalid] {
        let body = problem
            .into_response()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        fits("Problem", serde_json::from_slice::<Value>(&body).unwrap());
    }
    let version = crate::api::system::version()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    fits(
        "Version",
        serde_json::from_slice::<Value>(&version).unwrap(),
    );
    let alive = crate::api::system::healthz()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    fits("Status", serde_json::from_slice::<Value>(&alive).unwrap());
}

#[test]
fn the_catalogue_fits() {
    use crate::vendor::{
        Catalogue, GenerateUrls, generate_urls, manufacturers_body, templates_body,
    };
    let catalogue = Catalogue::with_overlay(&[]).unwrap();
    fits("Manufacturers", manufacturers_body(&catalogue));
    for maker in catalogue.makers() {
        fits("Templates", templates_body(maker));
    }
    let request: GenerateUrls =
        serde_json::from_value(json!({"ip": "192.168.1.100", "manufacturer": "hikvision"}))
            .unwrap();
    fits("Urls", generate_urls(&catalogue, &request).unwrap());
}

#[test]
fn names_are_those_of_the_code() {
    let document = stored();
    let listed = |schema: &str| document["components"]["schemas"][schema]["enum"].clone();
    assert_eq!(listed("ErrorCode"), json!(ErrorCode::ALL));
    assert_eq!(listed("ConnectionType"), json!(ConnectionType::ALL));
    assert_eq!(listed("EventType"), json!(EVENT_NAMES));
}

/// The examples fit their schemas, and the code takes them.
#[test]
fn examples_are_accepted() {
    let resolve = |name: &str| Ok(name.to_owned());
    for operation in operations() {
        let Some(body) = operation.body else { continue };
        for example in body.examples {
            fits(body.schema, &example);
            let errors = with_rules(|rules| match (body.schema, example.as_object()) {
                ("CameraInput", Some(map)) if operation.method == Method::PATCH => {
                    let merged = patched(&camera_json(&view()), map);
                    camera_body::parse(&merged, Some(&view()), rules).err()
                }
                ("CameraInput", Some(map)) => camera_body::parse(map, None, rules).err(),
                ("DetectRequest", Some(map)) => detect_body::detect(map, rules).err(),
                ("ProbeRequest", Some(map)) => detect_body::probe(map, rules).err(),
                ("UrlsRequest", Some(map)) => detect_body::urls(map, &resolve).err(),
                ("CameraImport", None) => {
                    let cameras = example.as_array().unwrap().iter();
                    cameras
                        .filter_map(|c| {
                            camera_body::parse(c.as_object().unwrap(), None, rules).err()
                        })
                        .next()
                }
                ("BatchRequest", None) => {
                    let items = example.as_array().unwrap().iter();
                    items
                        .filter_map(|i| detect_body::batch_item(i, rules).err())
                        .next()
                }
                // Read by their handlers.
                (
                    "AdoptRequest"
                    | "ScanRequest"
                    | "DiscoverRequest"
                    | "TokenRequest"
                    | "ConfigurationChange",
                    Some(_),
                ) => None,
                (other, _) => panic!("no reader of {other} is known to this test"),
            });
            assert_eq!(errors, None, "{example}");
        }
    }
}
