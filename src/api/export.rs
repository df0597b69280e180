//! `GET /api/cameras/export`: the cameras as JSON or CSV for an import, or as the configuration of
//! Frigate or go2rtc. Secrets are placeholders, unless an administrator wants them.

mod yaml;

use serde_json::{Map, Value};

use super::camera_json::camera_json;
use super::{Context, Problem, Response, content, json_bytes, sheet};
use crate::model::{CameraSecrets, Secret, StreamUrl};
use crate::site::CameraView;

/// What stands for a password that is stored.
const MASK: &str = "***";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Csv,
    Frigate,
    Go2rtc,
}

impl Format {
    pub const NAMES: [&str; 4] = ["json", "csv", "frigate", "go2rtc"];

    /// The default for a name that is none: the query has said so already.
    pub fn of(name: Option<&str>) -> Self {
        match name {
            Some("csv") => Self::Csv,
            Some("frigate") => Self::Frigate,
            Some("go2rtc") => Self::Go2rtc,
            _ => Self::Json,
        }
    }
}

/// `?format=&secrets=`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportOptions {
    pub format: Format,
    /// Passwords in clear.
    pub secrets: bool,
}

pub fn export(context: &Context, options: ExportOptions) -> Result<Response, Problem> {
    let cameras = context.site.cameras_with_secrets();
    let record =
        |(view, secrets): &(CameraView, CameraSecrets)| record(view, secrets, options.secrets);
    match options.format {
        Format::Json => {
            let records: Vec<_> = cameras.iter().map(record).collect();
            json_bytes(serde_json::to_vec_pretty(&records))
        }
        Format::Csv => {
            let records: Vec<_> = cameras.iter().map(record).collect();
            Ok(content("text/csv; charset=utf-8", sheet::write(&records)))
        }
        Format::Frigate => Ok(yaml_of(yaml::frigate(&cameras, options.secrets))),
        Format::Go2rtc => Ok(yaml_of(yaml::go2rtc(&cameras, options.secrets))),
    }
}

fn yaml_of(text: String) -> Response {
    content("application/yaml", text)
}

/// A camera as an import takes it. URLs carry no login: user name and password stand beside them.
fn record(view: &CameraView, secrets: &CameraSecrets, in_clear: bool) -> Map<String, Value> {
    let camera = &view.camera;
    let mut record = camera_json(view);
    // What an import would not look at, the uid apart, by which it knows the camera.
    record.retain(|name, _| {
        name != "rtsp_url" && name != "nvr_id" && sheet::COLUMNS.contains(&name.as_str())
    });
    let plain =
        |url: &Option<StreamUrl>| url.as_ref().map_or(Value::Null, |u| u.to_string().into());
    record.insert(
        "primary_stream_url".into(),
        plain(&camera.primary_stream_url),
    );
    record.insert(
        "secondary_stream_url".into(),
        plain(&camera.secondary_stream_url),
    );
    record.insert("snapshot_url".into(), plain(&camera.snapshot_url));
    let shown = |secret: &Option<Secret>| match secret {
        None => Value::Null,
        Some(secret) if in_clear => secret.expose().into(),
        Some(_) => MASK.into(),
    };
    record.insert("password".into(), shown(&secrets.password));
    record.insert("onvif_password".into(), shown(&secrets.onvif_password));
    record
}
