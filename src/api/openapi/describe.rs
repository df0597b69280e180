//! What the table of routes does not say of itself: one entry for each route. Scope, path parameters
//! and the errors that every route of its kind can give are added by `build`.

use hyper::Method;
use serde_json::{Value, json};

/// One route in words.
pub(super) struct Operation {
    pub method: Method,
    pub path: &'static str,
    /// For generated clients.
    pub id: &'static str,
    pub summary: &'static str,
    pub query: Vec<Value>,
    pub headers: Vec<Value>,
    pub body: Option<RequestBody>,
    pub answers: Vec<(u16, Value)>,
    /// Beside those of every route of its kind.
    pub errors: Vec<u16>,
}

pub(super) struct RequestBody {
    pub kinds: &'static [&'static str],
    pub schema: &'static str,
    pub examples: Vec<Value>,
    pub is_required: bool,
    /// Taken as CSV too: an example.
    pub sheet: Option<&'static str>,
}

const JSON: &[&str] = &["application/json"];
const MERGE: &[&str] = &["application/merge-patch+json", "application/json"];

fn op(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation {
        method,
        path,
        id,
        summary,
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        answers: Vec::new(),
        errors: Vec::new(),
    }
}

fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    op(Method::GET, path, id, summary)
}

fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    op(Method::POST, path, id, summary)
}

impl Operation {
    fn query(mut self, name: &str, schema: Value, description: &str) -> Self {
        let mut parameter = parameter("query", name, schema, description);
        parameter["allowEmptyValue"] = true.into(); // empty counts as absent
        self.query.push(parameter);
        self
    }

    fn header(mut self, name: &str, description: &str) -> Self {
        let schema = json!({"type": "string"});
        self.headers
            .push(parameter("header", name, schema, description));
        self
    }

    fn page(self, cursor: Value) -> Self {
        self.query(
            "limit",
            json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}),
            "Entries on one page.",
        )
        .query("cursor", cursor, "`next_cursor` of the page before.")
    }

    fn body(self, schema: &'static str, examples: Vec<Value>) -> Self {
        self.body_of(JSON, schema, examples)
    }

    fn body_of(
        mut self,
        kinds: &'static [&'static str],
        schema: &'static str,
        examples: Vec<Value>,
    ) -> Self {
        self.body = Some(RequestBody {
            kinds,
            schema,
            examples,
            is_required: true,
            sheet: None,
        });
        self
    }

    fn or_sheet(mut self, example: &'static str) -> Self {
        if let Some(body) = &mut self.body {
            body.sheet = Some(example);
        }
        self
    }

    /// Empty counts as `{}`.
    fn optional(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.is_required = false;
        }
        self
    }

    /// A body without any field.
    fn empty_body(mut self) -> Self {
        self.body = Some(RequestBody {
            kinds: JSON,
            schema: "Empty",
            examples: Vec::new(),
            is_required: false,
            sheet: None,
        });
        self
    }

    fn json(self, schema: &str) -> Self {
        self.json_with(200, schema, "Done.", &[])
    }

    fn json_with(mut self, status: u16, schema: &str, description: &str, headers: &[&str]) -> Self {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        let mut answer = json!({"description": description, "content": {"application/json": {"schema": schema}}});
        if !headers.is_empty() {
            let reference = |name: &&str| {
                (
                    name.to_string(),
                    json!({"$ref": format!("#/components/headers/{name}")}),
                )
            };
            answer["headers"] = Value::Object(headers.iter().map(reference).collect());
        }
        self.answers.push((status, answer));
        self
    }

    /// An answer that is no JSON, or empty where `kind` is.
    fn other(mut self, status: u16, kind: &str, description: &str) -> Self {
        let mut answer = json!({"description": description});
        if !kind.is_empty() {
            answer["content"] = json!({kind: {"schema": {"type": "string"}}});
        }
        self.answers.push((status, answer));
        self
    }

    /// Server-sent events; the schema is that of one event, its data are JSON.
    fn events(mut self, events: &[(&str, &str)]) -> Self {
        let event = |(name, schema): &(&str, &str)| {
            let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
            json!({"type": "object", "required": ["event", "id", "data"], "properties": {
                "event": {"const": name}, "id": {"type": "string"},
                "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
            }})
        };
        let events: Vec<Value> = events.iter().map(event).collect();
        let content = json!({"text/event-stream": {"schema": {"oneOf": events}}});
        self.answers.push((
            200,
            json!({"description": "Told as it happens.", "content": content}),
        ));
        self
    }

    /// The four formats of an export.
    fn export(mut self) -> Self {
        let text = json!({"schema": {"type": "string"}});
        let json = json!({"schema": {"$ref": "#/components/schemas/CameraExport"}});
        let content =
            json!({"application/json": json, "text/csv": text, "application/yaml": {"schema": {}}});
        self.answers.push((
            200,
            json!({"description": "As asked for.", "content": content}),
        ));
        self
    }

    fn errors(mut self, statuses: &[u16]) -> Self {
        self.errors.extend(statuses);
        self
    }
}

fn parameter(place: &str, name: &str, schema: Value, description: &str) -> Value {
    json!({"in": place, "name": name, "schema": schema, "description": description})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn id() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 4_294_967_295u32})
}

/// Every route, in the order of the table.
pub(super) fn operations() -> Vec<Operation> {
    let all = [daemon(), cameras(), discovery(), scan(), health(), tokens()];
    all.into_iter().flatten().collect()
}

fn daemon() -> Vec<Operation> {
    vec![
        get("/healthz", "isAlive", "The daemon answers.").json("Status"),
        get("/readyz", "isReady", "The daemon serves.").json("Status"),
        get("/openapi.json", "describe", "This description.").other(
            200,
            "application/json",
            "OpenAPI 3.1.",
        ),
        get(
            "/metrics",
            "metrics",
            "Figures for Prometheus; without a token where `server.metrics_public` is set.",
        )
        .other(200, "text/plain", "Prometheus text format 0.0.4."),
        get("/api/version", "version", "Name and version of the daemon.").json("Version"),
    ]
}

fn cameras() -> Vec<Operation> {
    let full = json!({
        "name": "Entrée Principale", "ip_address": "192.168.1.100",
        "primary_stream_url": "rtsp://admin:Hik12345@192.168.1.100:554/Streaming/Channels/101",
        "connection_type": "rtsp", "manufacturer": "hikvision"
    });
    let legacy = json!({"rtsp_url": "rtsp://admin:pass@192.168.1.100:554/stream1"});
    let bare =
        json!({"ip_address": "192.168.1.100", "username": "admin", "password": "password123"});
    let tagged = ["ETag", "Location"];
    let if_match = "Change only this state of the record: an `ETag` of it.";
    let camera = "/api/cameras/{id}";
    vec![
        get("/api/cameras", "listCameras", "Stored cameras, by id.")
            .query(
                "health",
                json!({"type": "string", "enum": crate::api::filters::HEALTH_NAMES}),
                "`disabled` cameras have no other health.",
            )
            .query("manufacturer", text(), "Id, name or alias.")
            .query("tag", text(), "One of its tags.")
            .query(
                "q",
                text(),
                "Part of name, maker, model, address, MAC, serial number or tag.",
            )
            .page(id())
            .json("CameraList"),
        post(
            "/api/cameras",
            "createCamera",
            "Stores a camera; one with only an address is detected.",
        )
        .query(
            "wait",
            json!({"type": "boolean"}),
            "Answer when the detection has ended.",
        )
        .body("CameraInput", vec![full.clone(), legacy, bare])
        .json_with(201, "Camera", "Stored.", &tagged)
        .errors(&[409, 507]),
        post(
            "/api/cameras/adopt",
            "adoptCameras",
            "Detects devices, given by address or by the scan that found them, and stores those whose picture is proven. \
             A password is never sent in clear, unless `allow_cleartext` says so.",
        )
        .body(
            "AdoptRequest",
            vec![json!({
                "ips": ["192.168.1.100", "192.168.1.101"],
                "credentials": [{"username": "admin", "password": "password123"}], "dry_run": true
            })],
        )
        .json("AdoptReport")
        .errors(&[409]),
        post(
            "/api/cameras/import",
            "importCameras",
            "Stores cameras from a JSON array or a sheet (CSV with the field names as columns; `;`, `,` or tab apart), row by row.",
        )
        .query(
            "on_duplicate",
            json!({"type": "string", "enum": ["skip", "update"], "default": "skip"}),
            "What becomes of a camera that is stored already: one with the same `uid`, or the same type and URL.",
        )
        .query("dry_run", json!({"type": "boolean"}), "Tell what would happen.")
        .body(
            "CameraImport",
            vec![json!([{"name": "Hall", "ip_address": "192.168.1.100", "username": "admin", "password": "password123"}])],
        )
        .or_sheet("name;ip_address;username;password\nHall;192.168.1.100;admin;password123\n")
        .json("ImportReport"),
        get(
            "/api/cameras/export",
            "exportCameras",
            "Every camera: as JSON or CSV for an import, or as a configuration of Frigate or go2rtc with variables for the logins.",
        )
        .query(
            "format",
            json!({"type": "string", "enum": crate::api::export::Format::NAMES, "default": "json"}),
            "What to write.",
        )
        .query(
            "secrets",
            json!({"type": "boolean"}),
            "Passwords in clear; needs `admin`.",
        )
        .export(),
        get(camera, "getCamera", "One camera.")
            .header(
                "If-None-Match",
                "Answer only if the record has changed since this `ETag`.",
            )
            .json_with(200, "Camera", "The record.", &["ETag"])
            .other(304, "", "Unchanged."),
        op(
            Method::PUT,
            camera,
            "replaceCamera",
            "Replaces the record; what is left out gets its default.",
        )
        .header("If-Match", if_match)
        .body("CameraInput", vec![full])
        .json_with(200, "Camera", "Changed.", &["ETag"])
        .errors(&[409, 507]),
        op(
            Method::PATCH,
            camera,
            "changeCamera",
            "Changes the given fields (RFC 7396).",
        )
        .header("If-Match", if_match)
        .body_of(
            MERGE,
            "CameraInput",
            vec![json!({"name": "Gate", "tags": ["yard"]})],
        )
        .json_with(200, "Camera", "Changed.", &["ETag"])
        .errors(&[409, 507]),
        op(
            Method::DELETE,
            camera,
            "deleteCamera",
            "Forgets the camera; its id is never used again.",
        )
        .header("If-Match", if_match)
        .other(204, "", "Gone.")
        .errors(&[409, 507]),
        get(
            "/api/cameras/{id}/snapshot",
            "snapshot",
            "A picture of now.",
        )
        .other(200, "image/jpeg", "JPEG.")
        .errors(&[409, 502]),
    ]
}

fn discovery() -> Vec<Operation> {
    let hikvision = json!({"ip": "192.168.1.100", "username": "admin", "password": "password123", "manufacturer": "hikvision"});
    let batch = json!([
        {"ip": "192.168.1.100", "username": "admin", "password": "pass1"},
        {"ip": "192.168.1.101", "username": "admin", "password": "pass2"},
        {"ip": "192.168.1.102", "username": "admin", "password": "pass3"}
    ]);
    let probe = json!({"url": "rtsp://192.168.1.100:554/Streaming/Channels/101", "username": "admin", "password": "password123", "frames": true});
    let urls = json!({"ip": "192.168.1.100", "username": "admin", "password": "admin123", "manufacturer": "hikvision"});
    vec![
        post(
            "/api/discovery/auto-detect",
            "autoDetect",
            "Works out how to connect to one device. 200 whenever probing ran; `success` tells.",
        )
        .body("DetectRequest", vec![hikvision])
        .json("DetectReport"),
        post(
            "/api/discovery/batch-test",
            "batchTest",
            "The same for many devices.",
        )
        .body("BatchRequest", vec![batch])
        .json("BatchReport"),
        post("/api/discovery/probe", "probe", "Probes one URL.")
            .body("ProbeRequest", vec![probe])
            .json("Attempt"),
        get(
            "/api/discovery/manufacturers",
            "listManufacturers",
            "The makers of the catalogue.",
        )
        .json("Manufacturers"),
        get(
            "/api/discovery/stream-templates/{manufacturer}",
            "streamTemplates",
            "A maker's URL templates.",
        )
        .json("Templates"),
        post(
            "/api/discovery/generate-urls",
            "generateUrls",
            "A maker's URLs for one address.",
        )
        .body("UrlsRequest", vec![urls])
        .json("Urls"),
    ]
}

fn scan() -> Vec<Operation> {
    vec![
        get(
            "/api/discovery/network-info",
            "networkInfo",
            "This machine's networks, and what it can do in them.",
        )
        .json("NetworkInfo"),
        post(
            "/api/discovery/scan/start",
            "startScan",
            "Looks for every device, in the background; one scan at a time.",
        )
        .body("ScanRequest", vec![json!({"networks": ["192.168.1.0/24"]})])
        .optional()
        .json_with(202, "Scan", "Begun.", &[])
        .errors(&[409]),
        get(
            "/api/discovery/scan/status",
            "scanStatus",
            "The scan that runs, or ran last.",
        )
        .json("Scan"),
        get(
            "/api/discovery/scan/events",
            "scanEvents",
            "The scan that runs, or ran last, as server-sent events: `device`, `progress` and, at the end, `done`.",
        )
        .header(
            "Last-Event-ID",
            "Id of the last event that was read: what came before it is not told again.",
        )
        .events(&[("device", "Device"), ("progress", "ScanProgress"), ("done", "ScanProgress")])
        .other(204, "", "`Last-Event-ID` was the end; there is no newer scan."),
        post(
            "/api/discovery/scan/stop",
            "stopScan",
            "Ends a running scan; what was found stays.",
        )
        .empty_body()
        .json("Scan"),
        get(
            "/api/discovery/devices",
            "seenDevices",
            "Every device that any scan saw, with its first and last sighting, by address.",
        )
        .page(text())
        .json("DeviceList"),
        post(
            "/api/discovery/onvif/discover",
            "discoverOnvif",
            "Asks by multicast alone.",
        )
        .body("DiscoverRequest", vec![json!({"timeout_ms": 3000})])
        .optional()
        .json("Discovered"),
    ]
}

fn tokens() -> Vec<Operation> {
    let token = json!({"name": "home assistant", "scope": "read"});
    vec![
        get(
            "/api/config",
            "showConfig",
            "The configuration, with the origin of each value.",
        )
        .json("Configuration"),
        op(
            Method::PATCH,
            "/api/config",
            "changeConfig",
            "Changes stored settings (RFC 7396). What touches mqtt or server takes itself back unless the broker, or this API, is reached with it within 5 minutes.",
        )
        .body("ConfigurationChange", vec![json!({"health": {"interval_s": 30}})])
        .json("Configuration")
        .errors(&[409]),
        post(
            "/api/config/reload",
            "reloadConfig",
            "Reads file and environment again.",
        )
        .empty_body()
        .json("Configuration"),
        get("/api/tokens", "listTokens", "Tokens without their secrets.").json("TokenList"),
        post("/api/tokens", "createToken", "Makes a token.")
            .body("TokenRequest", vec![token])
            .json_with(201, "MadeToken", "Made.", &[])
            .errors(&[507]),
        op(
            Method::DELETE,
            "/api/tokens/{token}",
            "revokeToken",
            "Revokes the token with this id.",
        )
        .other(204, "", "Revoked.")
        .errors(&[409, 507]),
    ]
}

fn health() -> Vec<Operation> {
    let window = json!({"type": "string", "enum": ["24h", "7d", "30d"], "default": "24h"});
    vec![
        get(
            "/api/health/status",
            "siteHealth",
            "Counts of the whole site.",
        )
        .json("SiteHealth"),
        get(
            "/api/health/cameras",
            "listHealth",
            "Health of every camera.",
        )
        .json("CameraHealthList"),
        get(
            "/api/health/cameras/{id}",
            "cameraHealth",
            "Health of one camera with its history.",
        )
        .query("window", window, "How far back.")
        .json("CameraHealthDetail"),
        get(
            "/api/health/cameras/{id}/reconnection",
            "reconnection",
            "Where the reconnection stands.",
        )
        .json("Reconnection"),
        post(
            "/api/health/cameras/{id}/check-now",
            "checkNow",
            "Runs a check and answers with its result.",
        )
        .empty_body()
        .json("Check")
        .errors(&[409]),
        post(
            "/api/health/cameras/{id}/reconnect",
            "reconnect",
            "Begins the reconnection anew and tries at once.",
        )
        .empty_body()
        .json_with(202, "Reconnection", "Begun.", &[])
        .errors(&[409]),
        get("/api/events", "listEvents", "What happened, newest first.")
            .query(
                "since",
                text(),
                "An RFC 3339 time, Unix seconds, or a time span such as `24h`.",
            )
            .query("camera", id(), "Of this camera only.")
            .query(
                "type",
                json!({"$ref": "#/components/schemas/EventType"}),
                "Of this type only.",
            )
            .page(text())
            .json("EventList"),
    ]
}
