use super::*;
use crate::api::filters::{Page, Since, event_kind, event_names};
use crate::model::{EventKind, Timestamp};

fn ask(method: &str, path: &str, query: &str) -> Result<Request, RouteError> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    route(&method, path, query).map(|(_, request)| request)
}

#[test]
fn every_path_answers_with_and_without_slash() {
    for route in ROUTES {
        let path = route
            .path
            .replace("{id}", "7")
            .replace("{manufacturer}", "hikvision");
        let plain = ask(route.method.as_str(), &path, "");
        assert!(plain.is_ok(), "{route:?}: {plain:?}");
        assert_eq!(
            plain,
            ask(route.method.as_str(), &format!("{path}/"), ""),
            "{route:?}"
        );
    }
}

#[test]
fn no_two_routes_are_the_same() {
    for (i, a) in ROUTES.iter().enumerate() {
        for b in &ROUTES[i + 1..] {
            assert!(a.method != b.method || a.path != b.path, "{a:?}");
        }
    }
}

#[test]
fn scopes_are_those_of_the_contract() {
    let scope = |method: Method, path: &str| {
        ROUTES
            .iter()
            .find(|r| r.method == method && r.path == path)
            .unwrap()
            .scope
    };
    assert_eq!(scope(Method::GET, "/healthz"), None);
    assert_eq!(scope(Method::GET, "/api/cameras"), Some(Scope::Read));
    assert_eq!(
        scope(Method::GET, "/api/cameras/{id}/snapshot"),
        Some(Scope::Operate)
    );
    assert_eq!(
        scope(Method::POST, "/api/discovery/auto-detect"),
        Some(Scope::Operate)
    );
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(scope(method, "/api/cameras/{id}"), Some(Scope::Admin));
    }
    let open: Vec<&str> = ROUTES
        .iter()
        .filter(|r| r.scope.is_none())
        .map(|r| r.path)
        .collect();
    assert_eq!(open, ["/healthz", "/readyz", "/openapi.json"]);
}

#[test]
fn the_specifications_calls_are_routed() {
    use Request as R;
    let id = CameraId(1);
    for (method, path, want) in [
        ("POST", "/api/discovery/auto-detect", R::AutoDetect),
        ("POST", "/api/discovery/batch-test", R::BatchTest),
        ("GET", "/api/discovery/manufacturers", R::Manufacturers),
        (
            "GET",
            "/api/discovery/stream-templates/hikvision",
            R::StreamTemplates("hikvision".into()),
        ),
        (
            "GET",
            "/api/discovery/stream-templates/tp%20link",
            R::StreamTemplates("tp link".into()),
        ),
        ("POST", "/api/discovery/generate-urls", R::GenerateUrls),
        ("POST", "/api/cameras/", R::CreateCamera { wait: false }),
        ("GET", "/api/health/status", R::HealthStatus),
        ("GET", "/api/health/cameras", R::HealthCameras),
        (
            "GET",
            "/api/health/cameras/1",
            R::HealthCamera(id, Window::Day),
        ),
        (
            "GET",
            "/api/health/cameras/1/reconnection",
            R::Reconnection(id),
        ),
        ("POST", "/api/health/cameras/1/check-now", R::CheckNow(id)),
        ("POST", "/api/health/cameras/1/reconnect", R::Reconnect(id)),
        ("HEAD", "/api/cameras/1", R::GetCamera(id)),
    ] {
        assert_eq!(ask(method, path, ""), Ok(want), "{method} {path}");
    }
}

#[test]
fn wrong_methods_learn_the_right_ones() {
    let error = |method, path| ask(method, path, "").unwrap_err();
    assert_eq!(
        error("POST", "/api/cameras/1"),
        RouteError::MethodNotAllowed("GET, HEAD, PUT, PATCH, DELETE".into())
    );
    assert_eq!(
        error("GET", "/api/discovery/auto-detect"),
        RouteError::MethodNotAllowed("POST".into())
    );
    assert_eq!(
        error("HEAD", "/api/discovery/auto-detect"),
        RouteError::MethodNotAllowed("POST".into())
    );
    for path in [
        "/",
        "",
        "/api",
        "/api/cameras/1/nothing",
        "/api//cameras",
        "/api/cameras//",
    ] {
        assert_eq!(error("GET", path), RouteError::NotFound, "{path}");
    }
    for id in ["abc", "-1", "+1", "1.0", "4294967296", "%20"] {
        let got = ask("GET", &format!("/api/cameras/{id}"), "").unwrap_err();
        assert!(matches!(got, RouteError::NoSuchId(_)), "{id}: {got:?}");
    }
}

#[test]
fn queries_are_checked() {
    let list = ask(
        "GET",
        "/api/cameras",
        "health=offline&tag=yard&q=Gate&limit=10&cursor=7",
    );
    let want = CameraFilter {
        health: Some("offline"),
        manufacturer: None,
        tag: Some("yard".into()),
        q: Some("gate".into()),
        page: Page {
            limit: 10,
            after: Some(7),
        },
    };
    assert_eq!(list, Ok(Request::ListCameras(want)));
    let Err(RouteError::BadQuery(errors)) = ask(
        "GET",
        "/api/cameras",
        "health=ofline&limit=0&manufcturer=axis",
    ) else {
        panic!("accepted");
    };
    let text: Vec<&str> = errors.iter().map(|e| e.message.as_str()).collect();
    assert!(
        text.iter().any(|t| t.contains("did you mean `offline`?")),
        "{text:?}"
    );
    assert!(
        text.iter()
            .any(|t| t.contains("did you mean `manufacturer`?")),
        "{text:?}"
    );
    assert_eq!(errors.len(), 3);
    assert_eq!(
        ask("POST", "/api/cameras", "wait=true"),
        Ok(Request::CreateCamera { wait: true })
    );
    assert!(matches!(
        ask("GET", "/healthz", "x=1"),
        Err(RouteError::BadQuery(_))
    ));
}

#[test]
fn events_since() {
    let Ok(Request::Events(filter)) = ask("GET", "/api/events", "since=24h&camera=3&type=offline")
    else {
        panic!("refused");
    };
    assert_eq!(filter.since, Some(Since::AgoS(86_400)));
    assert_eq!(
        (filter.camera, filter.kind),
        (Some(CameraId(3)), Some(EventKind::Offline))
    );
    let now = Timestamp::from_unix_s(100_000);
    assert_eq!(Since::AgoS(86_400).at(now), Timestamp::from_unix_s(13_600));
    let zoned = Since::parse("1970-01-01T01:00:00 01:00");
    assert_eq!(zoned, Some(Since::At(Timestamp(0))));
    assert!(
        matches!(ask("GET", "/api/events", "since=yesterday&type=onlin"),
        Err(RouteError::BadQuery(e)) if e.len() == 2)
    );
    for name in event_names() {
        assert!(event_kind(name).is_some(), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_path_panics(path in "(/[a-z{}%0-9]{0,8}){0,5}/?", query in "\\PC{0,32}") {
        let _ = ask("GET", &path, &query);
    }
}

#[test]
fn a_path_that_is_written_out_is_no_cameras() {
    let wrong = |method: &str, path: &str| ask(method, path, "").unwrap_err();
    let allow = |methods: &str| RouteError::MethodNotAllowed(methods.to_owned());
    assert_eq!(wrong("PUT", "/api/cameras/adopt"), allow("POST"));
    assert_eq!(wrong("DELETE", "/api/cameras/export"), allow("GET, HEAD"));
    assert_eq!(
        wrong("PUT", "/api/cameras/gate"),
        RouteError::NoSuchId("gate".to_owned())
    );
}
