//! Method, path and query -> what is asked. Pure: the body and the caller's rights come later.

use hyper::Method;

use super::export::{ExportOptions, Format};
use super::filters::{
    CameraFilter, DevicePage, EventFilter, camera_event_filter, camera_filter, device_page,
    event_filter, window,
};
use super::import::{ImportOptions, OnDuplicate};
use super::problem::FieldError;
use super::query::{Query, digits, percent_decode};
use crate::model::CameraId;
use crate::site::{Scope, Window};

/// Everything that can be asked of the API.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Healthz,
    Readyz,
    OpenApi,
    Metrics,
    Version,
    ListCameras(CameraFilter),
    CreateCamera { wait: bool },
    Adopt,
    Import(ImportOptions),
    Export(ExportOptions),
    GetCamera(CameraId),
    PutCamera(CameraId),
    PatchCamera(CameraId),
    DeleteCamera(CameraId),
    Snapshot(CameraId),
    Ptz(CameraId),
    OrderPtz(CameraId),
    Channels(CameraId),
    ImportChannels(CameraId),
    AutoDetect,
    BatchTest,
    Probe,
    Manufacturers,
    StreamTemplates(String),
    GenerateUrls,
    HealthStatus,
    HealthCameras,
    HealthCamera(CameraId, Window),
    Reconnection(CameraId),
    CheckNow(CameraId),
    Reconnect(CameraId),
    Events(EventFilter),
    NetworkInfo,
    StartScan,
    ScanStatus,
    ScanEvents,
    StopScan,
    DiscoverOnvif,
    SeenDevices(DevicePage),
    UsbCameras,
    ShowConfig,
    ChangeConfig,
    ReloadConfig,
    MakeWebhookKey(CameraId),
    DropWebhookKey(CameraId),
    CameraEvents(CameraId, EventFilter),
    ListTokens,
    CreateToken,
    RevokeToken(String),
}

/// What a route does with the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Not looked at.
    None,
    /// No field is known: empty or `{}`.
    Empty,
    Json,
    /// Whatever its type says; its handler reads it.
    Raw,
}

/// One row of the API's table.
pub struct Route {
    pub method: Method,
    /// `{id}` stands for one segment.
    pub path: &'static str,
    /// `None`: no token needed.
    pub scope: Option<Scope>,
    pub body: Body,
    /// Longest time to an answer; the body has a deadline of its own.
    pub answer_s_max: u32,
    build: fn(&mut Args) -> Option<Request>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

const READ: Option<Scope> = Some(Scope::Read);
const OPERATE: Option<Scope> = Some(Scope::Operate);
const ADMIN: Option<Scope> = Some(Scope::Admin);

/// Every route. The OpenAPI description and the tests walk this table.
pub static ROUTES: &[Route] = &[
    get("/healthz", None, |_| Some(Request::Healthz)),
    get("/readyz", None, |_| Some(Request::Readyz)),
    get("/openapi.json", None, |_| Some(Request::OpenApi)),
    get("/metrics", READ, |_| Some(Request::Metrics)),
    get("/api/version", READ, |_| Some(Request::Version)),
    get("/api/cameras", READ, |a| {
        Some(Request::ListCameras(camera_filter(&mut a.query)))
    }),
    post("/api/cameras", ADMIN, Body::Json, 150, |a| {
        Some(Request::CreateCamera {
            wait: a.query.flag("wait"),
        })
    }),
    post("/api/cameras/adopt", ADMIN, Body::Json, 600, |_| {
        Some(Request::Adopt)
    }),
    post("/api/cameras/import", ADMIN, Body::Raw, 600, |a| {
        let names = ["skip", "update"];
        let on_duplicate = match a.query.choice("on_duplicate", &names) {
            Some("update") => OnDuplicate::Update,
            _ => OnDuplicate::Skip,
        };
        let dry_run = a.query.flag("dry_run");
        Some(Request::Import(ImportOptions {
            on_duplicate,
            dry_run,
        }))
    }),
    get("/api/cameras/export", READ, |a| {
        let format = Format::of(a.query.choice("format", &Format::NAMES));
        let secrets = a.query.flag("secrets");
        Some(Request::Export(ExportOptions { format, secrets }))
    }),
    get("/api/cameras/{id}", READ, |a| {
        a.id().map(Request::GetCamera)
    }),
    change(Method::PUT, Body::Json, |a| a.id().map(Request::PutCamera)),
    change(Method::PATCH, Body::Json, |a| {
        a.id().map(Request::PatchCamera)
    }),
    change(Method::DELETE, Body::None, |a| {
        a.id().map(Request::DeleteCamera)
    }),
    get("/api/cameras/{id}/snapshot", OPERATE, |a| {
        a.id().map(Request::Snapshot)
    }),
    get("/api/cameras/{id}/ptz", OPERATE, |a| {
        a.id().map(Request::Ptz)
    }),
    post("/api/cameras/{id}/ptz", OPERATE, Body::Json, 30, |a| {
        a.id().map(Request::OrderPtz)
    }),
    Route {
        method: Method::GET,
        path: "/api/cameras/{id}/channels",
        scope: READ,
        body: Body::None,
        answer_s_max: 60,
        build: |a| a.id().map(Request::Channels),
    },
    post(
        "/api/cameras/{id}/channels/import",
        ADMIN,
        Body::Json,
        90,
        |a| a.id().map(Request::ImportChannels),
    ),
    post(
        "/api/cameras/{id}/webhook-key",
        ADMIN,
        Body::Empty,
        30,
        |a| a.id().map(Request::MakeWebhookKey),
    ),
    Route {
        method: Method::DELETE,
        path: "/api/cameras/{id}/webhook-key",
        scope: ADMIN,
        body: Body::None,
        answer_s_max: 30,
        build: |a| a.id().map(Request::DropWebhookKey),
    },
    get("/api/cameras/{id}/events", READ, |a| {
        let filter = camera_event_filter(&mut a.query);
        a.id().map(|id| Request::CameraEvents(id, filter))
    }),
    post(
        "/api/discovery/auto-detect",
        OPERATE,
        Body::Json,
        75,
        |_| Some(Request::AutoDetect),
    ),
    post(
        "/api/discovery/batch-test",
        OPERATE,
        Body::Json,
        600,
        |_| Some(Request::BatchTest),
    ),
    post("/api/discovery/probe", OPERATE, Body::Json, 45, |_| {
        Some(Request::Probe)
    }),
    get("/api/discovery/manufacturers", READ, |_| {
        Some(Request::Manufacturers)
    }),
    get(
        "/api/discovery/stream-templates/{manufacturer}",
        READ,
        |a| a.captured.take().map(Request::StreamTemplates),
    ),
    post("/api/discovery/generate-urls", READ, Body::Json, 30, |_| {
        Some(Request::GenerateUrls)
    }),
    get("/api/health/status", READ, |_| Some(Request::HealthStatus)),
    get("/api/health/cameras", READ, |_| {
        Some(Request::HealthCameras)
    }),
    get("/api/health/cameras/{id}", READ, |a| {
        let window = window(&mut a.query);
        a.id().map(|id| Request::HealthCamera(id, window))
    }),
    get("/api/health/cameras/{id}/reconnection", READ, |a| {
        a.id().map(Request::Reconnection)
    }),
    post(
        "/api/health/cameras/{id}/check-now",
        OPERATE,
        Body::Empty,
        75,
        |a| a.id().map(Request::CheckNow),
    ),
    post(
        "/api/health/cameras/{id}/reconnect",
        OPERATE,
        Body::Empty,
        30,
        |a| a.id().map(Request::Reconnect),
    ),
    get("/api/events", READ, |a| {
        Some(Request::Events(event_filter(&mut a.query)))
    }),
    get("/api/discovery/network-info", READ, |_| {
        Some(Request::NetworkInfo)
    }),
    post("/api/discovery/scan/start", OPERATE, Body::Json, 30, |_| {
        Some(Request::StartScan)
    }),
    get("/api/discovery/scan/status", READ, |_| {
        Some(Request::ScanStatus)
    }),
    get("/api/discovery/scan/events", READ, |_| {
        Some(Request::ScanEvents)
    }),
    post("/api/discovery/scan/stop", OPERATE, Body::Empty, 30, |_| {
        Some(Request::StopScan)
    }),
    post(
        "/api/discovery/onvif/discover",
        OPERATE,
        Body::Json,
        60,
        |_| Some(Request::DiscoverOnvif),
    ),
    get("/api/discovery/usb", READ, |_| Some(Request::UsbCameras)),
    get("/api/discovery/devices", READ, |a| {
        Some(Request::SeenDevices(device_page(&mut a.query)))
    }),
    get("/api/config", READ, |_| Some(Request::ShowConfig)),
    Route {
        method: Method::PATCH,
        path: "/api/config",
        scope: ADMIN,
        body: Body::Json,
        answer_s_max: 90,
        build: |_| Some(Request::ChangeConfig),
    },
    post("/api/config/reload", ADMIN, Body::Empty, 90, |_| {
        Some(Request::ReloadConfig)
    }),
    get("/api/tokens", ADMIN, |_| Some(Request::ListTokens)),
    post("/api/tokens", ADMIN, Body::Json, 30, |_| {
        Some(Request::CreateToken)
    }),
    Route {
        method: Method::DELETE,
        path: "/api/tokens/{token}",
        scope: ADMIN,
        body: Body::None,
        answer_s_max: 30,
        build: |a| a.captured.take().map(Request::RevokeToken),
    },
];

const fn get(
    path: &'static str,
    scope: Option<Scope>,
    build: fn(&mut Args) -> Option<Request>,
) -> Route {
    Route {
        method: Method::GET,
        path,
        scope,
        body: Body::None,
        answer_s_max: 30,
        build,
    }
}

const fn post(
    path: &'static str,
    scope: Option<Scope>,
    body: Body,
    answer_s_max: u32,
    build: fn(&mut Args) -> Option<Request>,
) -> Route {
    Route {
        method: Method::POST,
        path,
        scope,
        body,
        answer_s_max,
        build,
    }
}

/// A change of one camera.
const fn change(method: Method, body: Body, build: fn(&mut Args) -> Option<Request>) -> Route {
    Route {
        method,
        path: "/api/cameras/{id}",
        scope: ADMIN,
        body,
        answer_s_max: 30,
        build,
    }
}

#[cfg(test)]
impl Route {
    /// The query parameters that this route knows.
    pub(super) fn query_names(&self) -> Vec<&'static str> {
        let mut args = Args {
            captured: Some("7".to_owned()),
            query: Query::default(),
        };
        (self.build)(&mut args);
        args.query.names()
    }
}

/// Why nothing can be asked this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    NotFound,
    /// The value of `Allow`.
    MethodNotAllowed(String),
    /// The part of the path that stands for a camera is no number.
    NoSuchId(String),
    BadQuery(Vec<FieldError>),
}

/// What a route's `build` may look at.
struct Args {
    /// The segment that `{..}` stands for, decoded.
    captured: Option<String>,
    query: Query,
}

impl Args {
    fn id(&self) -> Option<CameraId> {
        self.captured.as_deref().and_then(digits).map(CameraId)
    }
}

/// The route of a request and what it asks. `HEAD` goes where `GET` goes; a trailing slash changes
/// nothing.
///
/// # Errors
/// [`RouteError`]; the method and path are judged before the query.
pub fn route(
    method: &Method,
    path: &str,
    query: &str,
) -> Result<(&'static Route, Request), RouteError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let wanted = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let Some(route) = of_path(path).find(|r| r.method == *wanted) else {
        return Err(match allowed(path) {
            methods if methods.is_empty() => RouteError::NotFound,
            methods => RouteError::MethodNotAllowed(methods.join(", ")),
        });
    };
    let captured = matches(route.path, path).flatten().map(percent_decode);
    let mut args = Args {
        captured,
        query: Query::parse(query),
    };
    let request = (route.build)(&mut args);
    let Some(request) = request else {
        return Err(RouteError::NoSuchId(args.captured.unwrap_or_default()));
    };
    match args.query.finish() {
        errors if errors.is_empty() => Ok((route, request)),
        errors => Err(RouteError::BadQuery(errors)),
    }
}

/// The routes of a path. One that is written out is no camera's: `/api/cameras/import`.
fn of_path(path: &str) -> impl Iterator<Item = &'static Route> {
    let is_written_out = ROUTES.iter().any(|r| r.path == path);
    ROUTES.iter().filter(move |r| match is_written_out {
        true => r.path == path,
        false => matches(r.path, path).is_some(),
    })
}

/// The methods of a path, as `Allow` lists them.
fn allowed(path: &str) -> Vec<&'static str> {
    let mut methods = Vec::new();
    for route in of_path(path) {
        methods.push(route.method.as_str());
        if route.method == Method::GET {
            methods.push("HEAD");
        }
    }
    methods
}

/// `None`: another path. Inside: the captured segment, if the pattern has one.
fn matches<'p>(pattern: &str, path: &'p str) -> Option<Option<&'p str>> {
    let mut captured = None;
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') && !segment.is_empty() {
            captured = Some(segment);
        } else if expected != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(captured)
}

#[cfg(test)]
mod tests;
