//! Commands as they come in: read, judged, and the bodies of their states. Touches nothing.
//!
//! Life cycle (after thin-edge.io's): the requester writes `init`, the gateway `executing`, then
//! `successful` or `failed`; the requester clears the topic.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::topics::Subject;
use crate::model::Timestamp;
use crate::policy::closest::nearest;

/// One type of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type {
    pub name: &'static str,
    pub of: Of,
    /// Parameters and what they are, for people.
    pub params: &'static [(&'static str, &'static str)],
}

/// On whose topics a command lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Gateway,
    Camera,
}

const CAMERA_BODY: &[(&str, &str)] = &[(
    "...",
    "fields of a camera as in POST /api/cameras; passwords sealed",
)];

/// Every command that can be carried out. What may be asked stands in `mqtt.allowed_commands`.
#[rustfmt::skip]
pub const TYPES: &[Type] = &[
    Type { name: "scan", of: Of::Gateway, params: &[("...", "as in POST /api/discovery/scan/start")] },
    Type { name: "detect", of: Of::Gateway, params: &[("...", "as in POST /api/discovery/auto-detect; passwords sealed")] },
    Type { name: "batch_test", of: Of::Gateway, params: &[("...", "as in POST /api/discovery/batch-test; passwords sealed")] },
    Type { name: "check_now", of: Of::Camera, params: &[] },
    Type { name: "reconnect", of: Of::Camera, params: &[] },
    Type { name: "snapshot", of: Of::Camera, params: &[] },
    Type { name: "ptz", of: Of::Camera, params: &[("...", "as in POST /api/cameras/{id}/ptz")] },
    Type { name: "reboot", of: Of::Camera, params: &[] },
    Type { name: "camera_add", of: Of::Gateway, params: CAMERA_BODY },
    Type { name: "camera_update", of: Of::Camera, params: CAMERA_BODY },
    Type { name: "camera_remove", of: Of::Camera, params: &[] },
    Type { name: "config_get", of: Of::Gateway, params: &[] },
    Type { name: "config_patch", of: Of::Gateway, params: &[("...", "as in PATCH /api/config")] },
    Type { name: "log_level", of: Of::Gateway, params: &[("filter", "as log.filter")] },
    Type { name: "export", of: Of::Gateway, params: &[("format", "json, csv, frigate or go2rtc; never with secrets")] },
    Type { name: "restart", of: Of::Gateway, params: &[] },
];

impl Type {
    pub fn find(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|t| t.name == name)
    }

    /// What stands on `cmd/<type>`.
    pub fn capability(&self) -> Value {
        let params: Map<_, _> = self
            .params
            .iter()
            .map(|(name, words)| ((*name).to_owned(), json!(words)))
            .collect();
        let of = match self.of {
            Of::Gateway => "gateway",
            Of::Camera => "camera",
        };
        json!({"type": self.name, "of": of, "params": params})
    }
}

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub reason: String,
}

impl Refusal {
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Codes of commands that were not begun; the others are the API's.
pub const REFUSALS: [&str; 9] = [
    "malformed",
    "unknown_command",
    "not_allowed",
    "wrong_place",
    "unknown_camera",
    "expired",
    "plaintext_secret",
    "bad_seal",
    "busy",
];

/// What a message on a command's topic says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A requester asks.
    Init(Init),
    /// Written by a gateway, before a restart or just now.
    Executing,
    /// Finished, or cleared.
    Over,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Init {
    pub expires_at: Option<Timestamp>,
    pub params: Map<String, Value>,
    /// For whom, in a command to all gateways.
    pub selector: Option<Selector>,
}

/// Which gateways are meant; an empty one means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub site: Option<String>,
    pub labels: Vec<(String, String)>,
}

impl Selector {
    pub fn fits(&self, site: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
        self.site.as_deref().is_none_or(|wanted| wanted == site)
            && self
                .labels
                .iter()
                .all(|(name, value)| labels.get(name) == Some(value))
    }
}

const FIELDS: [&str; 5] = ["status", "requested_by", "expires_at", "params", "selector"];

/// Reads a message on a command's topic.
///
/// # Errors
/// [`Refusal`] `malformed`, for what only a requester can have written.
pub fn read(payload: &[u8]) -> Result<Said, Refusal> {
    let malformed = |reason: String| Refusal::new("malformed", reason);
    if payload.is_empty() {
        return Ok(Said::Over);
    }
    let value: Value = serde_json::from_slice(payload)
        .map_err(|e| malformed(format!("the command is no JSON: {e}")))?;
    let Value::Object(fields) = value else {
        return Err(malformed("the command must be a JSON object".to_owned()));
    };
    match fields.get("status").and_then(Value::as_str) {
        Some("init") => init(fields).map(Said::Init).map_err(malformed),
        Some("executing") => Ok(Said::Executing),
        Some("successful" | "failed") => Ok(Said::Over),
        _ => Err(malformed("`status` must be \"init\"".to_owned())),
    }
}

fn init(mut fields: Map<String, Value>) -> Result<Init, String> {
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let near = nearest(unknown, FIELDS);
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let shown: String = unknown.chars().take(40).collect();
        return Err(format!("there is no field `{shown}`{hint}"));
    }
    let expires_at = match fields.get("expires_at") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let time = value.as_str().and_then(Timestamp::parse);
            Some(time.ok_or("`expires_at` must be a time such as 2027-01-31T00:00:00Z")?)
        }
    };
    let params = match fields.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err("`params` must be an object".to_owned()),
    };
    let selector = match fields.remove("selector") {
        None | Some(Value::Null) => None,
        Some(value) => Some(selector(&value)?),
    };
    Ok(Init {
        expires_at,
        params,
        selector,
    })
}

fn selector(value: &Value) -> Result<Selector, String> {
    let wrong = || "`selector` must be an object of `site` (text) and `labels` (texts)".to_owned();
    let fields = value.as_object().ok_or_else(wrong)?;
    let mut selector = Selector::default();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("site", Value::String(site)) => selector.site = Some(site.clone()),
            ("labels", Value::Object(labels)) => {
                for (name, value) in labels {
                    let value = value.as_str().ok_or_else(wrong)?;
                    selector.labels.push((name.clone(), value.to_owned()));
                }
            }
            _ => return Err(wrong()),
        }
    }
    Ok(selector)
}

/// Judges a request by what is allowed here. `now` is `None` while the clock is not known to be right.
///
/// # Errors
/// `unknown_command`, `not_allowed`, `wrong_place`, `expired`, `plaintext_secret`.
pub fn judge(
    name: &str,
    subject: Subject,
    init: &Init,
    allowed: &[String],
    now: Option<Timestamp>,
) -> Result<&'static Type, Refusal> {
    let Some(found) = Type::find(name) else {
        let near = nearest(name, TYPES.iter().map(|t| t.name));
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        return Err(Refusal::new(
            "unknown_command",
            format!("this gateway has no command {name}{hint}"),
        ));
    };
    if !allowed.iter().any(|a| a == name) {
        return Err(Refusal::new(
            "not_allowed",
            format!("{name} is not in mqtt.allowed_commands of this gateway"),
        ));
    }
    match (found.of, subject) {
        (Of::Gateway, Subject::Gateway) | (Of::Camera, Subject::Camera(_)) => {}
        (Of::Gateway, Subject::Camera(_)) => {
            let reason = format!("{name} is a command of the gateway: its topic has no cam/<uid>");
            return Err(Refusal::new("wrong_place", reason));
        }
        (Of::Camera, Subject::Gateway) => {
            let reason = format!("{name} is a command of a camera: its topic needs cam/<uid>");
            return Err(Refusal::new("wrong_place", reason));
        }
    }
    if let (Some(expires_at), Some(now)) = (init.expires_at, now)
        && expires_at <= now
    {
        return Err(Refusal::new(
            "expired",
            format!("the command was good until {expires_at}"),
        ));
    }
    match plain_secret(&Value::Object(init.params.clone()), 0) {
        Some(field) => Err(Refusal::new(
            "plaintext_secret",
            format!("`{field}` holds a password in clear: seal it with the gateway's sealing_key"),
        )),
        None => Ok(found),
    }
}

/// The name of the first field that holds a secret in clear: a password, or a login in an address.
pub fn plain_secret(value: &Value, depth: u32) -> Option<String> {
    if depth > 16 {
        return Some("nesting".to_owned());
    }
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let is_secret = name.ends_with("password") && value.is_string();
            let is_login = value.as_str().is_some_and(has_login);
            match is_secret || is_login {
                true => Some(name.clone()),
                false => plain_secret(value, depth + 1),
            }
        }),
        Value::Array(items) => items.iter().find_map(|item| match item.as_str() {
            Some(text) if has_login(text) => Some("address".to_owned()),
            _ => plain_secret(item, depth + 1),
        }),
        _ => None,
    }
}

/// `scheme://user:password@host`
fn has_login(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let login = authority.rsplit_once('@').map(|(login, _)| login);
    login
        .and_then(|l| l.split_once(':'))
        .is_some_and(|(_, secret)| !matches!(secret, "" | "***"))
}

/// `executing`
pub fn executing(progress: u32) -> String {
    json!({"status": "executing", "progress": progress}).to_string()
}

/// `successful`
pub fn successful(result: &impl Serialize) -> String {
    json!({"status": "successful", "result": result}).to_string()
}

/// `failed`
pub fn failed(refusal: &Refusal) -> String {
    json!({"status": "failed", "code": refusal.code, "reason": refusal.reason}).to_string()
}

#[cfg(test)]
mod tests;
