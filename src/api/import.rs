//! `POST /api/cameras/import`: cameras from a JSON array or a sheet, row by row.

use std::collections::HashSet;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::camera_body;
use super::camera_json::camera_json;
use super::discovery::with_rules;
use super::merge::patched;
use super::problem::FieldError;
use super::sheet::{self, SheetError};
use super::{Context, Problem, Response, body, json};
use crate::model::{CameraId, ConnectionType, StreamUrl};
use crate::site::{CameraDraft, CameraView, SiteError};

/// Most cameras of one import.
const ROWS_MAX: usize = 2000;

/// What becomes of a camera that is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDuplicate {
    #[default]
    Skip,
    Update,
}

/// `?on_duplicate=&dry_run=`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportOptions {
    pub on_duplicate: OnDuplicate,
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum RowStatus {
    /// In a dry run: would be.
    Created,
    Updated,
    Skipped,
    Failed,
}

/// What became of one row.
#[derive(Debug, Serialize)]
struct ImportRow {
    /// From 1; in a sheet the first one after the header.
    row: usize,
    /// Of the sheet.
    line: Option<u64>,
    status: RowStatus,
    camera_id: Option<CameraId>,
    name: Option<String>,
    /// One sentence, where it was skipped or failed.
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Debug, Serialize)]
struct ImportReport {
    dry_run: bool,
    total: usize,
    created: usize,
    updated: usize,
    skipped: usize,
    failed: usize,
    rows: Vec<ImportRow>,
}

/// Goes on when the caller goes away: half an import helps nobody.
pub async fn import(
    context: std::sync::Arc<Context>,
    headers: HeaderMap,
    bytes: Bytes,
    options: ImportOptions,
) -> Result<Response, Problem> {
    let rows = rows(&headers, &bytes)?;
    let work = async move {
        let mut report = Vec::with_capacity(rows.len());
        let mut seen = HashSet::new();
        for (i, row) in rows.into_iter().enumerate() {
            let outcome = one(&context, row.camera, options, &mut seen).await;
            report.push(ImportRow {
                row: i + 1,
                line: row.line,
                ..outcome
            });
        }
        report
    };
    let rows = super::to_the_end(work).await?;
    let count = |status| rows.iter().filter(|r| r.status == status).count();
    json(&ImportReport {
        dry_run: options.dry_run,
        total: rows.len(),
        created: count(RowStatus::Created),
        updated: count(RowStatus::Updated),
        skipped: count(RowStatus::Skipped),
        failed: count(RowStatus::Failed),
        rows,
    })
}

/// A row before it is looked at.
struct Given {
    line: Option<u64>,
    camera: Result<Map<String, Value>, Vec<FieldError>>,
}

/// Takes a JSON array or a sheet apart, by its type, else by its first letter.
fn rows(headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<Given>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|k| k.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    let is_json = matches!(first, Some(b'[' | b'{'));
    match kind.to_ascii_lowercase().as_str() {
        "text/csv" | "text/tab-separated-values" | "text/plain" => sheet_rows(bytes),
        // What tools send that were told no type.
        "" | "application/octet-stream" | "application/x-www-form-urlencoded" => match is_json {
            true => json_rows(&body::json(&HeaderMap::new(), bytes)?),
            false => sheet_rows(bytes),
        },
        _ => json_rows(&body::json(headers, bytes)?),
    }
}

fn sheet_rows(bytes: &[u8]) -> Result<Vec<Given>, Problem> {
    let rows = sheet::read(bytes, ROWS_MAX).map_err(|error| match error {
        SheetError::Unreadable(why) => Problem::new(StatusCode::BAD_REQUEST, "malformed_csv", why),
        SheetError::Header(errors) => Problem::invalid(errors),
    })?;
    let given = |row: sheet::Row| Given {
        line: Some(row.line),
        camera: row.camera,
    };
    Ok(rows.into_iter().map(given).collect())
}

/// An array of cameras, or a list as `GET /api/cameras` gives it.
fn json_rows(value: &Value) -> Result<Vec<Given>, Problem> {
    let items = value.as_array().or_else(|| value.get("items")?.as_array());
    let invalid = |why: String| Problem::invalid(vec![FieldError::new("", why)]);
    let items =
        items.ok_or_else(|| invalid("the body must be an array of cameras, or CSV".to_owned()))?;
    if items.len() > ROWS_MAX {
        return Err(invalid(format!("an import has at most {ROWS_MAX} cameras")));
    }
    let given = |item: &Value| Given {
        line: None,
        camera: match item {
            Value::Object(map) => Ok(map.clone()),
            _ => Err(vec![FieldError::new("", "must be an object: one camera")]),
        },
    };
    Ok(items.iter().map(given).collect())
}

/// What tells one camera of an import from another, as the store does.
type Key = (Option<ConnectionType>, String);

fn key(draft: &CameraDraft) -> Key {
    let url = draft.primary_stream_url.as_ref();
    let kind = draft
        .connection_type
        .or(url.map(StreamUrl::connection_type));
    let address = || format!("{:?} {:?}", draft.ip_address, draft.port);
    (kind, url.map_or_else(address, ToString::to_string))
}

async fn one(
    context: &Context,
    camera: Result<Map<String, Value>, Vec<FieldError>>,
    options: ImportOptions,
    seen: &mut HashSet<Key>,
) -> ImportRow {
    let map = match camera {
        Ok(map) => map,
        Err(errors) => return failed(errors),
    };
    // A camera that is known by its uid needs no password of its own.
    if let Some(view) = by_uid(context, &map) {
        return known(context, &map, &view, options).await;
    }
    let draft = with_rules(context, |rules| camera_body::parse(&map, None, rules));
    let draft = match draft {
        Ok(draft) => draft,
        Err(errors) => return failed(errors),
    };
    let name = Some(draft.name.clone()).filter(|n| !n.is_empty());
    if let Some(id) = context.site.twin_of(&draft) {
        return match context.site.camera(id) {
            Some(view) => known(context, &map, &view, options).await,
            None => row(RowStatus::Skipped, Some(id), name),
        };
    }
    if !seen.insert(key(&draft)) {
        let reason = Some("the same camera stands further up".to_owned());
        return ImportRow {
            reason,
            ..row(RowStatus::Skipped, None, name)
        };
    }
    if options.dry_run {
        return row(RowStatus::Created, None, name);
    }
    match context.site.create_camera(draft, false).await {
        Ok(view) => row(
            RowStatus::Created,
            Some(view.camera.id),
            Some(view.camera.name),
        ),
        Err(error) => refused(error, None, name),
    }
}

fn by_uid(context: &Context, map: &Map<String, Value>) -> Option<CameraView> {
    let uid = Uuid::parse_str(map.get("uid")?.as_str()?).ok()?;
    context.site.camera_by_uid(uid)
}

/// A camera that is stored already.
async fn known(
    context: &Context,
    map: &Map<String, Value>,
    view: &CameraView,
    options: ImportOptions,
) -> ImportRow {
    let (id, name) = (view.camera.id, Some(view.camera.name.clone()));
    if options.on_duplicate == OnDuplicate::Skip {
        return ImportRow {
            reason: Some(format!("it is camera {id} already")),
            ..row(RowStatus::Skipped, Some(id), name)
        };
    }
    let whole = patched(&camera_json(view), map);
    let draft = with_rules(context, |rules| {
        camera_body::parse(&whole, Some(view), rules)
    });
    match draft {
        Err(errors) => ImportRow {
            camera_id: Some(id),
            name,
            ..failed(errors)
        },
        Ok(_) if options.dry_run => row(RowStatus::Updated, Some(id), name),
        Ok(draft) => match context.site.update_camera(id, draft, None).await {
            Ok(view) => row(RowStatus::Updated, Some(id), Some(view.camera.name)),
            Err(error) => refused(error, Some(id), name),
        },
    }
}

fn row(status: RowStatus, camera_id: Option<CameraId>, name: Option<String>) -> ImportRow {
    ImportRow {
        row: 0,
        line: None,
        status,
        camera_id,
        name,
        reason: None,
        errors: Vec::new(),
    }
}

fn failed(errors: Vec<FieldError>) -> ImportRow {
    ImportRow {
        reason: Some(Problem::invalid(errors.clone()).detail),
        errors,
        ..row(RowStatus::Failed, None, None)
    }
}

fn refused(error: SiteError, id: Option<CameraId>, name: Option<String>) -> ImportRow {
    ImportRow {
        reason: Some(error.to_string()),
        ..row(RowStatus::Failed, id, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn taken_apart(kind: &str, body: &str) -> Result<Vec<Given>, Problem> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        }
        rows(&headers, body.as_bytes())
    }

    #[test]
    fn json_and_sheets_are_told_apart() {
        let json = r#"[{"ip_address": "10.0.0.1"}, 7]"#;
        for kind in ["", "application/json", "application/octet-stream"] {
            let rows = taken_apart(kind, json).unwrap();
            assert_eq!(rows.len(), 2, "{kind}");
            assert!(rows[0].camera.is_ok() && rows[1].camera.is_err());
        }
        let list = r#"{"items": [{"ip_address": "10.0.0.1"}], "next_cursor": null}"#;
        assert_eq!(taken_apart("", list).unwrap().len(), 1);
        for kind in ["", "text/csv", "text/csv; charset=utf-8", "text/plain"] {
            let rows = taken_apart(kind, "ip_address;port\n10.0.0.1;554\n").unwrap();
            assert_eq!(rows[0].line, Some(2), "{kind}");
        }
        for (kind, body) in [
            ("application/json", "ip_address\n"),
            ("", "{}"),
            ("", "nonsense"),
            ("image/png", "ip_address\n"),
        ] {
            assert!(taken_apart(kind, body).is_err(), "{kind} {body}");
        }
    }
}
