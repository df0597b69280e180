//! Routes and their descriptions -> the document.

use serde_json::{Map, Value, json};

use super::describe::{Operation, operations, push};
use crate::api::route::{Body, ROUTES, Route};

/// Written once and referred to.
const ERRORS: [(u16, &str, &str); 17] = [
    (
        400,
        "BadRequest",
        "Not readable as HTTP with one `Host`, or as JSON; line and column are told.",
    ),
    (401, "Unauthorized", "No token, or none that is known."),
    (
        403,
        "Forbidden",
        "The token's scope is too small, or the `Origin` is another host's.",
    ),
    (404, "NotFound", "There is no such thing."),
    (408, "RequestTimeout", "The body did not arrive in time."),
    (
        409,
        "Conflict",
        "Against what is there: a duplicate, an older `If-Match`, a disabled camera.",
    ),
    (
        413,
        "TooLarge",
        "The body is longer than `server.body_bytes_max`.",
    ),
    (415, "WrongType", "The body is not JSON in UTF-8."),
    (
        421,
        "Misdirected",
        "The `Host` is not one of the gateway's.",
    ),
    (
        422,
        "Invalid",
        "Well-formed, but fields or parameters are wrong: `errors` names each.",
    ),
    (
        429,
        "TooManyRequests",
        "Too many bad tokens from this address, or messages from this camera.",
    ),
    (
        502,
        "CameraFailed",
        "The camera did not do its part; `code` is one of `ErrorCode`.",
    ),
    (
        503,
        "Unavailable",
        "The gateway is starting, stopping, or takes too long.",
    ),
    (504, "CameraTimeout", "The camera did not answer in time."),
    (507, "DiskFull", "There is no room for the change."),
    // Room for what later routes give.
    (410, "Gone", "It was there and is no more."),
    (501, "NotBuilt", "This version cannot do it."),
];

/// Beside the table of routes.
pub(super) const PUSHED_TO: &str = "/api/webhooks/{key}";

pub(super) fn document() -> Value {
    let operations = operations();
    let mut paths: Map<String, Value> = Map::new();
    let mut used = Vec::new();
    for route in ROUTES {
        let found = operations
            .iter()
            .find(|o| o.method == route.method && o.path == route.path)
            .unwrap_or_else(|| panic!("{route:?} has no entry in openapi/describe.rs"));
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, found, &mut used);
    }
    paths.insert(PUSHED_TO.to_owned(), push());
    let mut schemas: Map<String, Value> =
        serde_json::from_str(include_str!("schemas.json")).unwrap();
    schemas.insert(
        "Empty".into(),
        json!({"type": "object", "additionalProperties": false}),
    );
    let health = json!({"type": "array", "items": {"$ref": "#/components/schemas/CameraHealth"}});
    schemas.insert("CameraHealthList".into(), health);
    let is_used = |(status, ..): &&(u16, &str, &str)| used.contains(status);
    let responses = ERRORS
        .iter()
        .filter(is_used)
        .map(|(status, name, text)| ((*name).to_owned(), error(*status, text)));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "OhmVision Edge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Finds cameras, works out how to connect, proves pictures, watches and reconnects. \
                A path answers with and without a trailing slash; HEAD goes wherever GET goes; other methods get 405 with `Allow`. \
                Each scope includes the ones before it: read, operate, admin (`x-scope`; none where it is missing). \
                Unknown fields and parameters are refused and named.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses.collect::<Map<_, _>>(),
            "headers": headers(),
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "The first one is in `admin.token` in the state directory.",
            }},
        },
    })
}

fn headers() -> Value {
    let header = |text: &str, kind: &str| json!({"description": text, "schema": {"type": kind}});
    json!({
        "ETag": header("State of the record.", "string"),
        "Location": header("Path of what was made.", "string"),
        "Retry-After": header("Seconds.", "integer"),
        "WWW-Authenticate": header("`Bearer`", "string"),
    })
}

fn error(status: u16, description: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    let mut answer = json!({"description": description, "content": {"application/problem+json": {"schema": schema}}});
    let header = match status {
        401 => Some("WWW-Authenticate"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    if let Some(name) = header {
        answer["headers"] = json!({name: {"$ref": format!("#/components/headers/{name}")}});
    }
    answer
}

fn operation(route: &Route, words: &Operation, used: &mut Vec<u16>) -> Value {
    let mut parameters = path_parameters(route);
    parameters.extend(words.query.iter().chain(&words.headers).cloned());
    let mut responses = Map::new();
    for (status, answer) in &words.answers {
        responses.insert(status.to_string(), answer.clone());
    }
    for status in errors(route, words) {
        let (_, name, _) = ERRORS.iter().find(|(s, ..)| *s == status).unwrap();
        let answer = json!({"$ref": format!("#/components/responses/{name}")});
        assert!(
            responses.insert(status.to_string(), answer).is_none(),
            "{route:?}: {status} twice"
        );
        used.push(status);
    }
    let mut operation = json!({
        "operationId": words.id,
        "summary": words.summary,
        "tags": [tag(route.path)],
        "responses": responses,
        "security": [],
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(scope) = route.scope {
        operation["x-scope"] = json!(scope);
        operation["security"] = json!([{"token": []}]);
    }
    if let Some(body) = &words.body {
        let examples = body.examples.iter().enumerate();
        let examples: Map<_, _> = examples
            .map(|(i, e)| (format!("{}", i + 1), json!({"value": e})))
            .collect();
        let mut media =
            json!({"schema": {"$ref": format!("#/components/schemas/{}", body.schema)}});
        if !examples.is_empty() {
            media["examples"] = examples.into();
        }
        let mut content: Map<_, _> = body
            .kinds
            .iter()
            .map(|k| ((*k).to_owned(), media.clone()))
            .collect();
        if let Some(example) = body.sheet {
            let sheet = json!({"schema": {"type": "string"}, "example": example});
            content.insert("text/csv".to_owned(), sheet);
        }
        operation["requestBody"] = json!({"required": body.is_required, "content": content});
    }
    operation
}

/// `/api/cameras/{id}` -> `cameras`.
fn tag(path: &str) -> &str {
    let below = path.strip_prefix("/api/").and_then(|p| p.split('/').next());
    match below {
        Some(part @ ("cameras" | "discovery" | "health" | "events" | "tokens")) => part,
        _ => "daemon",
    }
}

fn path_parameters(route: &Route) -> Vec<Value> {
    let names = route
        .path
        .split('/')
        .filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let schema = match name {
            "id" => json!({"type": "integer", "minimum": 0, "maximum": 4_294_967_295u32}),
            _ => json!({"type": "string", "minLength": 1}),
        };
        json!({"in": "path", "name": name, "required": true, "schema": schema})
    };
    names.map(parameter).collect()
}

/// Every status that this route can give beside its answers.
fn errors(route: &Route, words: &Operation) -> Vec<u16> {
    let mut statuses = vec![400, 403, 421, 422];
    if route.scope.is_some() {
        statuses.extend([401, 429, 503]);
    }
    if route.path == "/readyz" {
        statuses.push(503);
    }
    if route.path.contains('{') {
        statuses.push(404);
    }
    if route.body != Body::None {
        statuses.extend([408, 413, 415]);
    }
    statuses.extend(&words.errors);
    statuses.sort_unstable();
    statuses
}

/// The document as it is stored: one line for each operation and each schema.
pub(super) fn written(document: &Value) -> String {
    let mut out = String::new();
    write(document, 0, &mut out);
    out.push('\n');
    out
}

fn write(value: &Value, depth: usize, out: &mut String) {
    /// Below: paths, methods; components, kinds, names.
    const SPREAD: usize = 3;
    let Some(map) = value
        .as_object()
        .filter(|m| depth < SPREAD && !m.is_empty())
    else {
        out.push_str(&value.to_string());
        return;
    };
    out.push('{');
    for (i, (name, inner)) in map.iter().enumerate() {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(depth + 1));
        out.push_str(&Value::from(name.as_str()).to_string());
        out.push(':');
        write(inner, depth + 1, out);
    }
    out.push('\n');
    out.push_str(&" ".repeat(depth));
    out.push('}');
}
