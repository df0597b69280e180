//! Errors as `application/problem+json` (RFC 9457).

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Serialize;

use super::Response;
use crate::model::{CameraId, ErrorCode};
use crate::site::SiteError;

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// As in the body: `credentials[1].username`. A query parameter by its name.
    pub field: String,
    /// One sentence without the value of any secret.
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// An error as the caller sees it: a code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// For a duplicate: the camera that is there already.
    pub camera_id: Option<CameraId>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            camera_id: None,
            headers: Vec::new(),
        }
    }

    /// 422 that names every bad field.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            many => {
                let names: Vec<&str> = many.iter().take(8).map(|e| e.field.as_str()).collect();
                let more = if many.len() > names.len() {
                    " and more"
                } else {
                    ""
                };
                format!("these fields are wrong: {}{more}", names.join(", "))
            }
        };
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
        }
    }

    /// 404 for an id or path.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 409 for an `If-Match` that names an older state.
    pub fn stale(current: u64) -> Self {
        SiteError::Stale { current }.into()
    }

    /// 503 while the daemon cannot serve; ask again soon.
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(1)
    }

    /// Adds a header; a value that is no header text is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, &seconds.max(1).to_string())
    }

    pub fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'static str,
            errors: &'a [FieldError],
            #[serde(skip_serializing_if = "Option::is_none")]
            camera_id: Option<CameraId>,
        }
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            errors: &self.errors,
            camera_id: self.camera_id,
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(bytes.into());
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl From<SiteError> for Problem {
    fn from(error: SiteError) -> Self {
        let detail = error.to_string();
        match error {
            SiteError::UnknownCamera(_) => Self::not_found("unknown_camera", detail),
            SiteError::NoSnapshotSource(_) => Self::not_found("no_snapshot_source", detail),
            SiteError::NoMotors(_) => Self::not_found("no_ptz", detail),
            SiteError::NotARecorder(_) => Self::new(StatusCode::CONFLICT, "not_a_recorder", detail),
            SiteError::Duplicate(id) => Self {
                camera_id: Some(id),
                ..Self::new(StatusCode::CONFLICT, "duplicate_camera", detail)
            },
            SiteError::Stale { .. } => Self::new(StatusCode::CONFLICT, "stale", detail),
            SiteError::ScanRunning => Self::new(StatusCode::CONFLICT, "scan_running", detail),
            SiteError::UnknownToken(_) => Self::not_found("unknown_token", detail),
            SiteError::LastAdminToken => {
                Self::new(StatusCode::CONFLICT, "last_admin_token", detail)
            }
            SiteError::NotConnected(_) => Self::new(StatusCode::CONFLICT, "not_connected", detail),
            SiteError::Disabled(_) => Self::new(StatusCode::CONFLICT, "camera_disabled", detail),
            SiteError::Invalid { field, message } => {
                Self::invalid(vec![FieldError::new(field, message)])
            }
            // The camera failed, not the gateway: its own code says how.
            SiteError::Probe(error) => {
                let status = match error.code {
                    ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
                    _ => StatusCode::BAD_GATEWAY,
                };
                Self::new(status, error.code.as_str(), detail)
            }
            SiteError::Store { full: true, .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail)
            }
            SiteError::Store { full: false, .. } => Self::unavailable("store", detail),
            SiteError::Stopping => Self::unavailable("stopping", detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ProbeError, Stage};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    /// The JSON of an answer whose body is in memory.
    fn body_of(response: Response) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let bytes = runtime
            .block_on(response.into_body().collect())
            .unwrap()
            .to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn has_the_shape_of_rfc_9457() {
        let errors = vec![
            FieldError::new("port", "must be a whole number from 1 to 65535"),
            FieldError::new("pasword", "is not known; did you mean `password`?"),
        ];
        let response = Problem::invalid(errors).into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(
            body_of(response),
            json!({
                "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
                "detail": "these fields are wrong: port, pasword", "code": "invalid",
                "errors": [
                    {"field": "port", "message": "must be a whole number from 1 to 65535"},
                    {"field": "pasword", "message": "is not known; did you mean `password`?"},
                ],
            })
        );
    }

    #[test]
    fn every_site_error_has_its_status() {
        let id = CameraId(7);
        let probe = ProbeError::new(ErrorCode::Timeout, Stage::Connect, "no answer");
        let store = |full| SiteError::Store {
            full,
            message: "x".into(),
        };
        for (error, status, code) in [
            (SiteError::UnknownCamera(id), 404, "unknown_camera"),
            (SiteError::Duplicate(id), 409, "duplicate_camera"),
            (SiteError::Stale { current: 3 }, 409, "stale"),
            (SiteError::NoSnapshotSource(id), 404, "no_snapshot_source"),
            (SiteError::Probe(probe), 504, "timeout"),
            (SiteError::NotARecorder(id), 409, "not_a_recorder"),
            (SiteError::NoMotors(id), 404, "no_ptz"),
            (SiteError::NotConnected(id), 409, "not_connected"),
            (SiteError::Disabled(id), 409, "camera_disabled"),
            (store(true), 507, "disk_full"),
            (store(false), 503, "store"),
            (SiteError::Stopping, 503, "stopping"),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.status.as_u16(), problem.code), (status, code));
        }
        let duplicate = body_of(Problem::from(SiteError::Duplicate(id)).into_response());
        assert_eq!(duplicate["camera_id"], 7);
        let busy = Problem::from(SiteError::Stopping).into_response();
        assert_eq!(busy.headers()["retry-after"], "1");
    }
}
