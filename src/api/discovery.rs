//! Working out how to connect, and the catalogue of makers.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::camera_body::{Rules, unknown_maker};
use super::detect_body::{self, BATCH_ITEMS_MAX, UrlsRequest};
use super::problem::FieldError;
use super::{Context, Problem, Response, body, json, json_bytes, to_the_end};
use crate::detect::{DetectReport, DeviceReport};
use crate::model::{ConnectionType, ParsedUrl};
use crate::probe::prober;

/// JSON as it goes out, written straight from the catalogue: it may hold the request's own login.
pub type JsonBytes = serde_json::Result<Vec<u8>>;

/// What the API asks of the catalogue of manufacturers.
pub trait Makers: Send + Sync {
    /// Id of the maker with this id, name or alias; the error holds the closest names.
    fn resolve(&self, name: &str) -> Result<String, Vec<String>>;
    /// Body of `GET /api/discovery/manufacturers`.
    fn list(&self) -> JsonBytes;
    /// Body of `GET /api/discovery/stream-templates/{id}`; `None` for an unknown id.
    fn templates(&self, id: &str) -> Option<JsonBytes>;
    /// Body of `POST /api/discovery/generate-urls`, login percent-encoded.
    fn urls(&self, request: &UrlsRequest) -> Result<JsonBytes, FieldError>;
}

/// Calls `f` with the rules of this gateway.
pub(super) fn with_rules<T>(context: &Context, f: impl FnOnce(&Rules<'_>) -> T) -> T {
    f(&Rules {
        resolve: &|name: &str| context.makers.resolve(name),
        allowed: &|ip: IpAddr| context.site.allowed(ip),
        supported: &|kind: ConnectionType| prober(kind).is_some(),
        locate: &|parsed: &mut ParsedUrl, maker: Option<&str>| {
            context.site.catalogue().locate_login(parsed, maker);
        },
    })
}

/// Ends with the connection that asked.
pub async fn auto_detect(context: &Context, body: &Value) -> Result<Response, Problem> {
    let map = body::object(body)?;
    let request = with_rules(context, |rules| detect_body::detect(map, rules));
    json(
        &context
            .site
            .detect(request.map_err(Problem::invalid)?)
            .await,
    )
}

/// One element of a batch answer.
#[derive(Debug, Serialize)]
struct BatchResult<'a> {
    ip: Option<&'a str>,
    #[serde(flatten)]
    report: DetectReport,
    /// What was wrong with this item; it was not tried then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Debug, Serialize)]
struct BatchAnswer<'a> {
    total: usize,
    succeeded: usize,
    failed: usize,
    results: Vec<BatchResult<'a>>,
}

/// Goes on when the caller goes away: the logins were used up either way.
pub async fn batch_test(context: &Context, body: &Value) -> Result<Response, Problem> {
    let items = match body.as_array() {
        Some(items) if items.len() <= BATCH_ITEMS_MAX => items,
        Some(_) => {
            let message = format!("a batch has at most {BATCH_ITEMS_MAX} devices");
            return Err(Problem::invalid(vec![FieldError::new("", message)]));
        }
        None => {
            let message = "the body must be an array of auto-detect bodies";
            return Err(Problem::invalid(vec![FieldError::new("", message)]));
        }
    };
    let read: Vec<_> = with_rules(context, |rules| {
        items
            .iter()
            .map(|item| detect_body::batch_item(item, rules))
            .collect()
    });
    let requests: Vec<_> = read
        .iter()
        .filter_map(|r| r.as_ref().ok())
        .cloned()
        .collect();
    let site = context.site.clone();
    let reports = to_the_end(async move { site.batch_detect(requests).await }).await?;
    let errors = read.into_iter().map(|r| r.err().unwrap_or_default());
    json(&batch_answer(items, errors, reports))
}

/// Puts reports and refused items back into the order of the request.
fn batch_answer(
    items: &[Value],
    errors: impl Iterator<Item = Vec<FieldError>>,
    reports: Vec<DetectReport>,
) -> BatchAnswer<'_> {
    let mut reports = reports.into_iter();
    let results: Vec<_> = items
        .iter()
        .zip(errors)
        .map(|(item, errors)| {
            let report = match errors.is_empty() {
                true => reports
                    .next()
                    .unwrap_or_else(|| not_tried("this device was not tried")),
                false => not_tried(&Problem::invalid(errors.clone()).detail),
            };
            BatchResult {
                ip: item.get("ip").and_then(Value::as_str),
                report,
                errors,
            }
        })
        .collect();
    let succeeded = results.iter().filter(|r| r.report.success).count();
    BatchAnswer {
        total: items.len(),
        succeeded,
        failed: items.len() - succeeded,
        results,
    }
}

fn not_tried(hint: &str) -> DetectReport {
    DetectReport {
        success: false,
        recommended_method: None,
        recommended_url: None,
        reason: None,
        hint: Some(hint.to_owned()),
        device: DeviceReport::default(),
        credential_index: None,
        all_results: Vec::new(),
        tried: 0,
        duration_ms: 0,
    }
}

pub async fn probe(context: &Context, body: &Value) -> Result<Response, Problem> {
    let map = body::object(body)?;
    let request = with_rules(context, |rules| detect_body::probe(map, rules));
    json(&context.site.probe(request.map_err(Problem::invalid)?).await)
}

pub fn manufacturers(context: &Context) -> Result<Response, Problem> {
    json_bytes(context.makers.list())
}

pub fn stream_templates(context: &Context, maker: &str) -> Result<Response, Problem> {
    let makers = &context.makers;
    let near = match makers.resolve(maker).map(|id| makers.templates(&id)) {
        Ok(Some(body)) => return json_bytes(body),
        Ok(None) => Vec::new(),
        Err(near) => near,
    };
    let shown: String = maker.chars().take(40).collect();
    let detail = format!("the maker {shown} {}", unknown_maker(&near));
    Err(Problem::not_found("unknown_manufacturer", detail))
}

pub fn generate_urls(context: &Context, body: &Value) -> Result<Response, Problem> {
    let map = body::object(body)?;
    let resolve = |name: &str| context.makers.resolve(name);
    let request = detect_body::urls(map, &resolve).map_err(Problem::invalid)?;
    let body = context.makers.urls(&request);
    json_bytes(body.map_err(|error| Problem::invalid(vec![error]))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bad_item_fails_alone_and_in_its_place() {
        let items = [
            json!({"ip": "10.0.0.1"}),
            json!({"ip": "x", "password": "hunter2"}),
            json!(3),
            json!({"ip": "10.0.0.2"}),
        ];
        let bad = || vec![FieldError::new("ip", "must be an IP address")];
        let errors = [vec![], bad(), bad(), vec![]];
        let good = DetectReport {
            success: true,
            tried: 3,
            ..not_tried("")
        };
        let answer = batch_answer(
            &items,
            errors.into_iter(),
            vec![good, not_tried("no camera")],
        );
        let answer = serde_json::to_value(answer).unwrap();
        assert_eq!(answer["total"], 4);
        assert_eq!(answer["succeeded"], 1);
        assert_eq!(answer["failed"], 3);
        let results = answer["results"].as_array().unwrap();
        let ips: Vec<&Value> = results.iter().map(|r| &r["ip"]).collect();
        assert_eq!(
            ips,
            [
                &json!("10.0.0.1"),
                &json!("x"),
                &Value::Null,
                &json!("10.0.0.2")
            ]
        );
        assert_eq!(results[0]["tried"], 3);
        assert_eq!(
            results[1]["errors"],
            json!([{"field": "ip", "message": "must be an IP address"}])
        );
        assert_eq!(results[1]["hint"], "ip: must be an IP address");
        assert_eq!(results[3]["hint"], "no camera");
        assert!(!answer.to_string().contains("hunter2"));
    }
}
