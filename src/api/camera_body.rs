//! Body of `POST`, `PUT` and (merged) `PATCH` -> [`CameraDraft`]. Pure.

mod link;
mod login;
mod url;

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::camera_json::{READ_ONLY, camera_json};
use super::problem::FieldError;
use super::strict::{Fields, integer, line};
use crate::model::{CameraId, ConnectionConfig, ConnectionType, ParsedUrl};
use crate::site::{CameraDraft, CameraView, PasswordChange};
use link::read_link;

const TEXT_CHARS_MAX: usize = 128;
const TAGS_MAX: usize = 32;
const CHANNEL_MAX: u32 = 9999;
const TIMEOUT_MS: (u32, u32) = (500, 60_000);
/// `cloud_config` as JSON, bytes.
const CLOUD_CONFIG_BYTES_MAX: usize = 4096;

/// What the reading of a camera needs to know of the rest of the gateway.
pub struct Rules<'a> {
    /// Id of the maker with this id, name or alias; the error holds close matches.
    pub resolve: &'a dyn Fn(&str) -> Result<String, Vec<String>>,
    /// May this address be dialled (`security.allowed_networks`)?
    pub allowed: &'a dyn Fn(IpAddr) -> bool,
    /// Is there a prober for this type?
    pub supported: &'a dyn Fn(ConnectionType) -> bool,
    /// Finds a login where the maker's templates (by the name that the body gives) put it in path or
    /// query; the usual names are found by the URL's own reader already.
    pub locate: &'a dyn Fn(&mut ParsedUrl, Option<&str>),
}

impl std::fmt::Debug for Rules<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rules")
    }
}

/// The camera that a body changes, with its record: a field that equals the record's says nothing
/// new, so that a record sent back whole means what was edited in it.
#[derive(Debug)]
struct Stored<'a> {
    pub view: &'a CameraView,
    pub record: Map<String, Value>,
}

/// What a body says of a field.
#[derive(Debug, Clone, PartialEq)]
enum Said<T> {
    /// It is not there (or `null`, where nothing is stored).
    Nothing,
    /// What the record shows.
    Same,
    /// Something new; `None` removes.
    New(Option<T>),
}

impl<T> Said<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> Option<U>) -> Said<U> {
        match self {
            Said::Nothing => Said::Nothing,
            Said::Same => Said::Same,
            Said::New(None) => Said::New(None),
            Said::New(Some(value)) => f(value).map_or(Said::Nothing, |v| Said::New(Some(v))),
        }
    }
}

/// Compares a field with the stored record.
fn said<'v>(
    fields: &mut Fields<'v>,
    stored: Option<&Stored<'_>>,
    name: &'static str,
) -> Said<&'v Value> {
    let value = fields.raw(name);
    match (value, stored) {
        (None, _) | (Some(Value::Null), None) => Said::Nothing,
        (Some(value), Some(stored)) if stored.record.get(name) == Some(value) => Said::Same,
        (Some(Value::Null), Some(_)) => Said::New(None),
        (Some(value), _) => Said::New(Some(value)),
    }
}

/// Reads the whole camera that a body stands for. `stored` is the camera that it replaces.
///
/// # Errors
/// Every bad field at once.
pub fn parse(
    body: &Map<String, Value>,
    stored: Option<&CameraView>,
    rules: &Rules<'_>,
) -> Result<CameraDraft, Vec<FieldError>> {
    let stored = stored.map(|view| Stored {
        view,
        record: camera_json(view),
    });
    let stored = stored.as_ref();
    let mut fields = Fields::new(body);
    fields.ignore(&READ_ONLY);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mut draft = CameraDraft {
        name: owned(fields.text("name", TEXT_CHARS_MAX)).unwrap_or_default(),
        tags: tags(&mut fields),
        enabled: fields.boolean("enabled").unwrap_or(true),
        manufacturer: manufacturer(&mut fields, stored, rules),
        model: owned(fields.text("model", TEXT_CHARS_MAX)),
        firmware_version: owned(fields.text("firmware_version", TEXT_CHARS_MAX)),
        serial_number: owned(fields.text("serial_number", TEXT_CHARS_MAX)),
        mac_address: mac_address(&mut fields),
        nvr_id: fields.integer("nvr_id", 0, u32::MAX).map(CameraId),
        channel: fields.integer("channel", 1, CHANNEL_MAX),
        connection_config: connection_config(&mut fields),
        cloud_config: cloud_config(&mut fields),
        ..CameraDraft::default()
    };
    read_link(&mut fields, stored, rules, &mut draft);
    onvif_login(&mut fields, stored, &mut draft);
    match fields.finish() {
        errors if errors.is_empty() => Ok(draft),
        errors => Err(errors),
    }
}

fn tags(fields: &mut Fields<'_>) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for (i, value) in fields.array("tags", TAGS_MAX).iter().enumerate() {
        match line(value, 64) {
            Ok("") => fields.error(&format!("tags[{i}]"), "is empty"),
            Ok(tag) if tags.iter().any(|t| t == tag) => {}
            Ok(tag) => tags.push(tag.to_owned()),
            Err(message) => fields.error(&format!("tags[{i}]"), message),
        }
    }
    tags
}

fn manufacturer(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    rules: &Rules<'_>,
) -> Option<String> {
    // A stored maker stays, also when the operator has taken it out of the configuration since.
    if let (Some(stored), Said::Same) = (stored, said(fields, stored, "manufacturer")) {
        return stored.view.camera.manufacturer.clone();
    }
    resolved_maker(fields, rules.resolve)
}

/// `manufacturer` of a body as a catalogue id.
pub(super) fn resolved_maker(
    fields: &mut Fields<'_>,
    resolve: &dyn Fn(&str) -> Result<String, Vec<String>>,
) -> Option<String> {
    let name = fields.text("manufacturer", TEXT_CHARS_MAX)?;
    match resolve(name) {
        Ok(id) => Some(id),
        Err(near) => {
            fields.error("manufacturer", unknown_maker(&near));
            None
        }
    }
}

/// What is said of a maker that the catalogue does not hold.
pub(super) fn unknown_maker(near: &[String]) -> String {
    let hint = match near {
        [] => "; GET /api/discovery/manufacturers lists them".to_owned(),
        near => format!("; did you mean {}?", near.join(" or ")),
    };
    format!("is not in the catalogue{hint}")
}

/// Six bytes in any of the usual spellings -> lower case with colons.
fn mac_address(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.text("mac_address", 32)?;
    let mac = normal_mac(text);
    if mac.is_none() {
        fields.error("mac_address", "must be six bytes such as 44:19:b6:00:00:01");
    }
    mac
}

fn normal_mac(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let hex: String = lower.chars().filter(|c| !":-.".contains(*c)).collect();
    let groups = lower.split([':', '-', '.']);
    let is_even = matches!(
        groups.clone().map(str::len).collect::<Vec<_>>().as_slice(),
        [2, 2, 2, 2, 2, 2] | [4, 4, 4] | [12]
    );
    if !is_even || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = String::with_capacity(17);
    for (i, c) in hex.chars().enumerate() {
        if i > 0 && i % 2 == 0 {
            out.push(':');
        }
        out.push(c);
    }
    Some(out)
}

fn connection_config(fields: &mut Fields<'_>) -> ConnectionConfig {
    let Some(map) = fields.object("connection_config") else {
        return ConnectionConfig::default();
    };
    let mut inner = Fields::nested(map, "connection_config.");
    let (min, max) = TIMEOUT_MS;
    let timeout_ms = inner.integer("timeout_ms", min, max);
    let alias_ms = timeout_alias(&mut inner);
    if let (Some(ms), Some(alias)) = (timeout_ms, alias_ms)
        && ms != alias
    {
        inner.error(
            "timeout",
            "says something else than timeout_ms; send one of them",
        );
    }
    let transport = inner.text("transport", 16);
    if transport.is_some_and(|t| t != "tcp") {
        inner.error("transport", "must be `tcp`, the only one that is built");
    }
    let config = ConnectionConfig {
        timeout_ms: timeout_ms.or(alias_ms),
        retry: inner.integer("retry", 0, 1000),
        transport: transport.map(str::to_owned),
        check_interval_s: inner.integer("check_interval_s", 5, 86_400),
        verify_frames: inner.boolean("verify_frames"),
        tls_verify: inner.boolean("tls_verify"),
        onvif_events: inner.boolean("onvif_events"),
    };
    fields.absorb(inner.finish());
    config
}

/// `timeout` in seconds, whole or not, as milliseconds.
fn timeout_alias(inner: &mut Fields<'_>) -> Option<u32> {
    let value = inner.value("timeout")?;
    let (min, max) = TIMEOUT_MS;
    let ms = value
        .as_f64()
        .map(|s| serde_json::json!((s * 1000.0).round().max(0.0) as u64));
    let ms = ms.and_then(|ms| integer(&ms, min, max));
    if ms.is_none() {
        inner.error(
            "timeout",
            format!("must be a number of seconds from 0.5 to {}", max / 1000),
        );
    }
    ms
}

fn cloud_config(fields: &mut Fields<'_>) -> Map<String, Value> {
    let Some(map) = fields.object("cloud_config") else {
        return Map::new();
    };
    if let Some(name) = secret_name(map) {
        let name: String = name.chars().take(40).collect();
        fields.error(
            "cloud_config",
            format!("`{name}` looks like a secret, and this object is stored and shown in clear"),
        );
    }
    let bytes = serde_json::to_vec(map).map_or(usize::MAX, |b| b.len());
    if CLOUD_CONFIG_BYTES_MAX < bytes {
        fields.error(
            "cloud_config",
            format!("has at most {CLOUD_CONFIG_BYTES_MAX} bytes"),
        );
    }
    map.clone()
}

/// A name in this object, at any depth, that usually stands before a secret.
fn secret_name(map: &Map<String, Value>) -> Option<&str> {
    const MARKS: [&str; 6] = ["password", "passwd", "secret", "token", "api_key", "apikey"];
    map.iter().find_map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let is_marked = MARKS.iter().any(|m| lower.contains(m)) && !value.is_null();
        let inside = || match value {
            Value::Object(inner) => secret_name(inner),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_object)
                .find_map(secret_name),
            _ => None,
        };
        is_marked.then_some(name.as_str()).or_else(inside)
    })
}

fn onvif_login(fields: &mut Fields<'_>, stored: Option<&Stored<'_>>, draft: &mut CameraDraft) {
    draft.onvif_username = fields
        .text("onvif_username", super::strict::USERNAME_CHARS_MAX)
        .map(str::to_owned);
    let change = password_field(fields, stored, "onvif_password");
    draft.onvif_password = change.unwrap_or_default();
    let Some(stored) = stored.filter(|s| s.view.has_onvif_password) else {
        return;
    };
    if draft.onvif_password != PasswordChange::Keep {
        return;
    }
    let before = &stored.view.camera;
    match &draft.onvif_username {
        None => draft.onvif_password = PasswordChange::Clear,
        user if *user == before.onvif_username && draft.ip_address == before.ip_address => {}
        _ => fields.error(
            "onvif_password",
            "is needed again: the stored one is only kept while address and onvif_username stay the same",
        ),
    }
}

/// A write-only password: absent or `***` keeps, `null` clears, a text sets. `None`: not said at all.
fn password_field(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    name: &'static str,
) -> Option<PasswordChange> {
    match (fields.raw(name)?, stored) {
        (Value::Null, None) => None,
        (Value::Null, Some(_)) => Some(PasswordChange::Clear),
        (Value::String(text), Some(_)) if text == "***" => None,
        (Value::String(text), None) if text == "***" => {
            fields.error(
                name,
                "is the mask of a stored password, and nothing is stored yet",
            );
            None
        }
        _ => fields.secret(name).map(PasswordChange::Set),
    }
}

#[cfg(test)]
pub(in crate::api) mod tests;
